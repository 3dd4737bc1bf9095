"""Records the launches of a call that is made normally, and replays them on other tensors of the same shapes."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kernels.ops.launcher import NotReplayable, Start, UnknownLauncher, launches, restart

Tensor = torch.Tensor
Layout = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]
"""Shape, strides and dtype of a contiguous tensor."""

Guard = Callable[..., bool]
"""Whether tensors have the properties of those that the guard was made from, in the thread's present state."""
MOST_GUARDS = 16
"""Guards of one replay: its tensors may be parameters or not, made in inference mode or not, and so on."""

_TensorGuards: Any = getattr(torch._C._dynamo.guards, "TensorGuards", None)

current_stream: Callable[[int], int] = getattr(torch._C, "_cuda_getCurrentRawStream", lambda device: 0)
"""PyTorch's current stream on a device, as the driver's handle."""


class SlowLaunchWarning(RuntimeWarning):
    """The launcher of this Triton has an unknown form: results are right, and calls take more host time."""


class Recording:
    """The recording of one call that is made normally."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        self.settled = True
        """False if this call could not be recorded; the next one like it is recorded again."""
        self.starts: list[Start] | None = None
        self.workspaces: list[Layout] = []

    def watch(self, start: Callable[[], None], inputs: tuple[Tensor | None, ...], out: Tensor) -> None:
        given = {t.data_ptr() for t in self.tensors}
        if len(given) < len(self.tensors):
            # Two arguments with one address cannot be told apart.
            self.settled = False
            start()
            return
        with launches() as seen, _Aside() as aside:
            start()
        copied = any(t is not None and t.data_ptr() not in given for t in inputs)
        if copied or aside.others or self.starts is not None:
            self.starts = []
            return
        self.workspaces = [_layout(t) for t in aside.workspaces]
        where = {t.data_ptr(): i for i, t in enumerate((*self.tensors, out, *aside.workspaces))}
        try:
            self.starts = [restart(kernel, args, where) for kernel, args in seen]
        except UnknownLauncher as e:
            _warn_once(str(e))
            self.starts = []
        except NotReplayable:
            self.starts = []

    def replay(self, result: Tensor) -> Replay | None:
        """How to compute `result` again; ``None`` if calls like this one must always be made normally."""
        if not self.starts or not result.is_contiguous():
            return None
        return Replay(self.starts, _layout(result), self.workspaces, result.device)


class Replay:
    """The launches of a call, to be made on other tensors of the same shapes."""

    def __init__(self, starts: list[Start], result: Layout, workspaces: list[Layout], device: torch.device) -> None:
        self.starts, self.result, self.workspaces = starts, result, workspaces
        self.device: int = -1 if device.index is None else device.index
        """As ``Tensor.get_device`` numbers it."""
        self.allocate = _allocator(device)
        self.guards: list[Guard] = []

    def run(self, pointers: list[int]) -> Tensor:
        """The result for tensors at these addresses, to which its own is added."""
        out = self.allocate(*self.result)
        pointers.append(out.data_ptr())
        if self.workspaces:
            held = [self.allocate(*layout) for layout in self.workspaces]
            pointers += [t.data_ptr() for t in held]
        stream = current_stream(self.device)
        for start in self.starts:
            start(stream, pointers)
        return out

    def guard(self, tensors: tuple[Tensor, ...]) -> Guard | None:
        """A function that accepts tensors like these alone; ``None`` if there is none."""
        for known in self.guards:
            if known(*tensors):
                return known
        if _TensorGuards is None:
            return None
        made: Guard = _TensorGuards(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check
        if not made(*tensors):  # one tensor twice
            return None
        if len(self.guards) >= MOST_GUARDS:
            self.guards.clear()
        self.guards.append(made)
        return made


def _layout(t: Tensor) -> Layout:
    return tuple(t.shape), t.stride(), t.dtype


def _allocator(device: torch.device) -> Callable[..., Tensor]:
    """A function from shape, strides and dtype to a new tensor on `device`, which must be current when it is called.

    It is the function that code of PyTorch's compiler calls: it skips the dispatcher, which has nobody to notify during
    a replay. It does not fill memory under ``torch.use_deterministic_algorithms``: kernels write what they read."""
    found = getattr(torch._C._dynamo.guards, f"_empty_strided_{device.type}", None)
    return found or functools.partial(_empty_strided, device)


def _empty_strided(device: torch.device, shape: Any, strides: Any, dtype: torch.dtype) -> Tensor:
    return torch.empty_strided(shape, strides, dtype=dtype, device=device)


class _Aside(TorchDispatchMode):
    """Notes what PyTorch does besides the launches: the memory that it allocates, and any operation that a replay would
    leave out. A view of a tensor counts as neither."""

    def __init__(self) -> None:
        super().__init__()
        self.workspaces: list[Tensor] = []
        self.others = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.empty.memory_format, torch.ops.aten.new_empty.default) and found.is_contiguous():
            self.workspaces.append(found)
        elif not func.is_view:
            self.others = True
        return found


@functools.cache
def _warn_once(why: str) -> None:
    warnings.warn(
        f"calls cannot be replayed through this Triton's launcher ({why}): every call takes the slower normal road",
        SlowLaunchWarning,
        stacklevel=2,
    )
