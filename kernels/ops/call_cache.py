"""Replays the launches of a call of a public op, without PyTorch's and Triton's work on the host.

An eager call that needs no gradient spends most of its host time in PyTorch's dispatch of a Python operator, in
Triton's binding of arguments and in the encoding of TMA descriptors. The result of that work depends on shapes,
strides, dtypes and options alone.

    1. The first call with given shapes, strides, dtypes and options is made normally and recorded: the compiled kernels
       it starts, their grids and arguments, and which arguments are the caller's tensors (``recorded_call.py``).
    2. A later call is looked up by the same shapes, strides, dtypes and options (:func:`key`). If it is found, its
       tensors' addresses are passed to the C function that Triton's launcher calls.
    3. Most calls skip the look-up. An earlier call suggests the recorded one, and a guard of PyTorch's compiler
       (``TensorGuards``) checks in C that the tensors are like those of the recorded call (:class:`Form`).

A call is replayed only if it has plain, aligned tensors on the current device and no gradient, is not being compiled,
is not observed by a mode, hook or profiler, and its kernels use only the call's tensors and fresh memory. Any other
call is made normally each time. If this Triton's launcher has an unknown form, one :class:`SlowLaunchWarning` is
issued.

Triton's settings (``triton.knobs``: debug, instrumentation) are those of the recorded call until :func:`forget`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, ParamSpec

import torch
from torch import is_grad_enabled
from torch._C import DispatchKey, DispatchKeySet, _len_torch_function_stack
from torch._C._autograd import _profiler_enabled
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from triton import knobs

from kernels.ops.recorded_call import Guard, Recording, Replay, SlowLaunchWarning

__all__ = ["ALIGNMENT", "SlowLaunchWarning", "forget", "launch", "replayed"]

Tensor = torch.Tensor
P = ParamSpec("P")

ALIGNMENT = 16
"""Bytes. Triton compiles another kernel for a pointer that is not a multiple of it, and a descriptor refuses one."""
MOST_CALLS = 4096
"""Recorded calls that are kept. The oldest is dropped first."""
MOST_HINTS = 4096
"""Addresses that suggest a recorded call, of each :class:`Form`. All are dropped when there would be more."""
PLAIN = (torch.Tensor, torch.nn.Parameter)
"""The types of tensors in a replayed call. A subclass of them may have its own meaning of an operation."""

_KEPT = DispatchKeySet(DispatchKey.BackendSelect)
_QUIET = {_KEPT.raw_repr(), _KEPT.add(DispatchKey.ADInplaceOrView).raw_repr()}
"""The thread's dispatch keys in which no mode and no function transform is active: in inference mode, and outside."""

_runtime = knobs.runtime
_enter, _exit = (
    hook if hasattr(hook, "calls") else SimpleNamespace(calls=[None])
    for hook in (_runtime.launch_enter_hook, _runtime.launch_exit_hook)
)
"""Triton's own chains of hooks, which a program may fill or replace."""

current_device: Callable[[], int] = getattr(torch._C, "_cuda_getDevice", lambda: -1)
"""The GPU that this thread launches on."""

_calls: dict[tuple[Any, ...], Replay | None] = {}
_forms: dict[tuple[Any, ...], Form] = {}
"""By the name of an op, the keywords of a call and the types of its arguments."""
_UNKNOWN: Any = object()
_local = threading.local()


def forget() -> None:
    """Drop all recorded calls: needed after a change of tuned configs or of Triton's settings."""
    global _calls, _forms
    # New ones, because a call of another thread may still add what it has recorded to the old ones.
    _calls, _forms = {}, {}


def replayed(op: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """`op`, whose launches go through :func:`launch`, with recorded calls replayed."""
    name = op.__name__

    @functools.wraps(op)
    def call(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if is_dynamo_compiling():
            return op(*args, **kwargs)
        calls, forms = _calls, _forms
        values = (*args, *kwargs.values()) if kwargs else args
        kinds = (name, *kwargs, *map(type, values))
        form = forms.get(kinds)
        if form is not None:
            found = form.replay(values)
            if found is not None:
                return found
        taken = key(name, args, kwargs)
        if taken is None:
            return op(*args, **kwargs)
        what, tensors = taken
        known = calls.get(what, _UNKNOWN)
        if known is None:
            return op(*args, **kwargs)
        if known is not _UNKNOWN:
            if form is None:
                form = forms[kinds] = Form(values)
            form.learn(values, known)
            return known.run([t.data_ptr() for t in tensors])
        _local.recording = recording = Recording(tensors)
        try:
            result = op(*args, **kwargs)
        finally:
            _local.recording = None
        if recording.settled:
            while len(calls) >= MOST_CALLS:
                calls.pop(next(iter(calls)), None)
            calls[what] = recording.replay(result)
        return result

    return call


Hint = tuple[Guard, bool, tuple[Any, ...], Replay]
"""What a replay's tensors are like, whether one of them requires a gradient, the other arguments, and the replay."""


class Form:
    """Replayed calls of one op whose arguments have the same types: a quick way from a call to its replay.

    A hint suggests the replay: the one that was found for the same sum of an address and a size, else the latest one.
    Everything that :func:`key` compares or refuses is then checked again. A guard compares each tensor's type, dispatch
    keys (layout, device type, negative view, and the thread's modes and transforms), dtype, device, ``requires_grad``,
    shape and strides. It ignores the grad mode."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        tensors = [i for i, v in enumerate(values) if type(v) in PLAIN]
        self.tensors = _picker(tensors)
        self.options = _picker([i for i in range(len(values)) if i not in tensors])
        self.hints: dict[int, Hint] = {}
        self.latest: Hint | None = None

    def replay(self, values: tuple[Any, ...]) -> Tensor | None:
        """The result of a call with these arguments; ``None`` if the call must be looked up."""
        if (
            _len_torch_function_stack()
            or _profiler_enabled()
            or forward_ad._current_level >= 0
            or _runtime.launch_enter_hook is not _enter
            or _runtime.launch_exit_hook is not _exit
            or _enter.calls
            or _exit.calls
        ):
            return None
        tensors = self.tensors(values)
        try:
            pointers = [t.data_ptr() for t in tensors]
        except RuntimeError:  # a tensor without memory of its own, such as vmap makes
            return None
        hint = self.hints.get(pointers[-1] + tensors[0].numel(), self.latest)
        if hint is None:
            return None
        guard, differentiable, options, replay = hint
        if differentiable and is_grad_enabled():
            return None
        if not guard(*tensors) or options != self.options(values) or current_device() != replay.device:
            return None
        for pointer in pointers:
            if not pointer or pointer % ALIGNMENT:
                return None
        return replay.run(pointers)

    def learn(self, values: tuple[Any, ...], replay: Replay) -> None:
        """Let this call, which :func:`key` has accepted, suggest `replay` from now on."""
        tensors = self.tensors(values)
        guard = replay.guard(tensors)
        if guard is not None:
            if len(self.hints) >= MOST_HINTS:
                self.hints.clear()
            differentiable = any(t.requires_grad for t in tensors)
            self.latest = hint = guard, differentiable, self.options(values), replay
            self.hints[tensors[-1].data_ptr() + tensors[0].numel()] = hint


def _picker(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function in C from a tuple to the tuple of its elements at these places."""
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1) if places else slice(0))


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
    grad = is_grad_enabled()
    parts: list[Any] = [name, *kwargs]
    tensors: list[Tensor] = []
    device = -1
    for value in (*args, *kwargs.values()):
        kind = type(value)
        if kind in PLAIN:
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
    if not tensors or not is_current(tensors[0]):
        return None
    parts.append(device)
    return tuple(parts), tensors


def watched() -> bool:
    """Whether a mode, a function transform, a profiler or one of Triton's hooks observes the next call."""
    return (
        torch._C._dispatch_tls_local_include_set().raw_repr() not in _QUIET
        or _len_torch_function_stack() > 0
        or forward_ad._current_level >= 0
        or _profiler_enabled()
        or _hooked(_runtime.launch_enter_hook)
        or _hooked(_runtime.launch_exit_hook)
    )


def _hooked(hook: Any) -> bool:
    return hook is not None and getattr(hook, "calls", True) != []


def is_current(tensor: Tensor) -> bool:
    """Whether `tensor` lies on the GPU that this thread launches on."""
    return tensor.is_cuda and tensor.get_device() == current_device()
