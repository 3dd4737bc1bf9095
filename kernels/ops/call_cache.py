"""Replays the launches of a call of a public op, without PyTorch's and Triton's work on the host.

An eager call that needs no gradient spends most of its host time in PyTorch's dispatch of a Python operator, in
Triton's binding of arguments and in the encoding of TMA descriptors. The result of that work depends on shapes,
strides, dtypes and options alone.

    1. The first call with given shapes, strides, dtypes and options is made normally and recorded: the compiled kernels
       it starts, their grids and arguments, and which arguments are the caller's tensors.
    2. Later calls pass the same arguments, with new pointers, to the C function that Triton's launcher calls.

A call is replayed only if it has plain, aligned tensors on the current device and no gradient, is not being compiled,
is not observed by a mode, hook or profiler, and its kernels use only the call's tensors and fresh memory. Any other
call is made normally each time. If this Triton's launcher has an unknown form, one :class:`SlowLaunchWarning` is
issued.

Triton's settings (``triton.knobs``: debug, instrumentation) are those of the recorded call until :func:`forget`.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch._C import DispatchKey, DispatchKeySet
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode
from triton import knobs

from kernels.ops.launcher import NotReplayable, Start, UnknownLauncher, launches, restart

Tensor = torch.Tensor
P = ParamSpec("P")

ALIGNMENT = 16
"""Bytes. Triton compiles another kernel for a pointer that is not a multiple of it, and a descriptor refuses one."""
MOST_CALLS = 4096
"""Recorded calls that are kept. The oldest is dropped first."""

_KEPT = DispatchKeySet(DispatchKey.BackendSelect)
_QUIET = {_KEPT.raw_repr(), _KEPT.add(DispatchKey.ADInplaceOrView).raw_repr()}
"""The thread's dispatch keys in which no mode and no function transform is active: in inference mode, and outside."""


class SlowLaunchWarning(RuntimeWarning):
    """The launcher of this Triton has an unknown form: results are right, and calls take more host time."""


_calls: dict[tuple[Any, ...], Replay | None] = {}
_UNKNOWN: Any = object()
_local = threading.local()


def forget() -> None:
    """Drop all recorded calls: needed after a change of tuned configs or of Triton's settings."""
    _calls.clear()


def replayed(op: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """`op`, whose launches go through :func:`launch`, with recorded calls replayed."""
    name = op.__name__

    @functools.wraps(op)
    def call(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if torch.compiler.is_compiling():
            return op(*args, **kwargs)
        taken = key(name, args, kwargs)
        if taken is None:
            return op(*args, **kwargs)
        what, tensors = taken
        known = _calls.get(what, _UNKNOWN)
        if known is None:
            return op(*args, **kwargs)
        if known is not _UNKNOWN:
            return known(tensors)
        _local.recording = recording = Recording(tensors)
        try:
            result = op(*args, **kwargs)
        finally:
            _local.recording = None
        if recording.settled:
            while len(_calls) >= MOST_CALLS:
                _calls.pop(next(iter(_calls)), None)
            _calls[what] = recording.replay(result)
        return result

    return call


def launch(start: Callable[[], None], inputs: tuple[Tensor | None, ...], out: Tensor) -> None:
    """Call ``start()``, which launches kernels on `inputs` and `out`, and record it if a recording is in progress."""
    recording: Recording | None = getattr(_local, "recording", None)
    if recording is None:
        start()
    else:
        recording.watch(start, inputs, out)


def key(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], list[Tensor]] | None:
    """The key under which a call is recorded, and its tensors; ``None`` for a call that must be made normally."""
    if watched():
        return None
    grad = torch.is_grad_enabled()
    parts: list[Any] = [name]
    tensors: list[Tensor] = []
    device = -1
    for value in (*args, *kwargs, *kwargs.values()) if kwargs else args:
        kind = type(value)
        if kind is torch.Tensor or kind is torch.nn.Parameter:
            pointer = value.data_ptr() if value.layout is torch.strided else 0
            if not pointer or pointer % ALIGNMENT or (grad and value.requires_grad) or value.is_neg():
                return None
            if not tensors:
                device = value.get_device()
            elif value.get_device() != device:
                return None
            tensors.append(value)
            parts += (value.shape, value.stride(), value.dtype)
        elif value is None or kind in (int, float, bool, str):
            parts += (kind, value)
        else:
            return None
    if not tensors or not is_current(device):
        return None
    parts.append(device)
    return tuple(parts), tensors


def watched() -> bool:
    """Whether a mode, a function transform, a profiler or one of Triton's hooks observes the next call."""
    return (
        torch._C._dispatch_tls_local_include_set().raw_repr() not in _QUIET
        or torch._C._len_torch_function_stack() > 0
        or forward_ad._current_level >= 0
        or torch._C._autograd._profiler_enabled()
        or _hooked(knobs.runtime.launch_enter_hook)
        or _hooked(knobs.runtime.launch_exit_hook)
    )


def _hooked(hook: Any) -> bool:
    return hook is not None and getattr(hook, "calls", True) != []


def is_current(device: int) -> bool:
    """Whether `device` is the GPU that this thread launches on; -1 is the CPU."""
    return device >= 0 and device == torch._C._cuda_getDevice()


Layout = tuple[tuple[int, ...], torch.dtype]
"""Shape and dtype of a contiguous tensor."""


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
        self.workspaces = [(tuple(t.shape), t.dtype) for t in aside.workspaces]
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
        return Replay(self.starts, (tuple(result.shape), result.dtype), self.workspaces, result.get_device())


class Replay:
    """The launches of a call, to be made on other tensors of the same shapes."""

    def __init__(self, starts: list[Start], result: Layout, workspaces: list[Layout], device: int) -> None:
        self.starts, self.result, self.workspaces, self.device = starts, result, workspaces, device

    def __call__(self, tensors: list[Tensor]) -> Tensor:
        first = tensors[0]
        shape, dtype = self.result
        out = first.new_empty(shape, dtype=dtype)
        pointers = [t.data_ptr() for t in tensors]
        pointers.append(out.data_ptr())
        if self.workspaces:
            held = [first.new_empty(shape, dtype=dtype) for shape, dtype in self.workspaces]
            pointers += [t.data_ptr() for t in held]
        stream = current_stream(self.device)
        for start in self.starts:
            start(stream, pointers)
        return out


def current_stream(device: int) -> int:
    """PyTorch's current stream on a device, as the driver's handle."""
    return torch._C._cuda_getCurrentRawStream(device)


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
