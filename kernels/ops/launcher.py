"""Records the launch of a compiled Triton kernel, and makes it again with other pointers.

The second launch skips what Triton does first: binding and specialising arguments, finding the kernel, encoding
descriptors. It calls the same C function with the same arguments.
"""

from __future__ import annotations

import inspect
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from triton.compiler import CompiledKernel

MOST_MAPS = 512
"""Encoded descriptors that are kept per argument. The caching allocator returns the same addresses again and again."""

Launched = tuple[Any, tuple[Any, ...]]
"""A compiled kernel, and what its ``run`` was called with: three grid dimensions, stream, function, metadata, launch
metadata, two hooks, the kernel's arguments."""
_BEFORE_ARGUMENTS = 9

Start = Callable[[int, list[int]], None]
"""Starts a kernel on a stream, with the addresses of the call's tensors and its result."""


class NotReplayable(Exception):
    """A launch that depends on more than its tensors, so that it cannot be made again."""


class UnknownLauncher(NotReplayable):
    """The launcher of this Triton has an unknown form."""


_patching = threading.RLock()


@contextmanager
def launches() -> Iterator[list[Launched]]:
    """Yields a list, to which every Triton launch of this thread within the context is added."""
    seen: list[Launched] = []
    thread = threading.get_ident()
    with _patching:
        original = CompiledKernel.run

        def run(self: Any) -> Any:
            start = original.__get__(self)
            if threading.get_ident() != thread:
                return start

            def noted(*args: Any) -> Any:
                seen.append((self, args))
                return start(*args)

            return noted

        CompiledKernel.run = property(run)
        try:
            yield seen
        finally:
            CompiledKernel.run = original


class _At:
    """Stands for the tensor under a descriptor."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def data_ptr(self) -> int:
        return self.pointer


def restart(kernel: Any, args: tuple[Any, ...], where: dict[int, int]) -> Start:
    """A function that makes a launch again. `where`: index, in its list of addresses, of each tensor's address.

    Raises NotReplayable for a kernel that uses anything else, UnknownLauncher if the launcher has an unknown form."""
    run = kernel.run
    grid, function, packed = args[:3], args[4], args[5]
    raw, head, together = _launcher(run, grid, function, packed)
    if run.global_scratch_size or run.profile_scratch_size or getattr(run, "gsan_enabled", False):
        raise NotReplayable("it takes scratch memory")
    if kernel.src.fn.pre_run_hooks:
        raise NotReplayable("it has pre_run_hooks")
    signature = list(kernel.src.signature.values())
    encoded = list(getattr(kernel.metadata, "tensordesc_meta", None) or [])
    body: list[Any] = [] if together else head
    addresses: list[tuple[int, int]] = []
    maps: list[tuple[int, int, _Maps]] = []
    for value, kind in zip(args[_BEFORE_ARGUMENTS:], signature, strict=True):
        if isinstance(kind, str) and kind.startswith("tensordesc"):
            if not encoded:
                raise NotReplayable("it takes descriptors apart")
            encode = _encoder(value, encoded.pop(0))
            maps.append((len(body), _which(where, value.base.data_ptr()), _Maps(encode)))
            body += encode(value.base.data_ptr())
        elif isinstance(value, torch.Tensor):
            addresses.append((len(body), _which(where, value.data_ptr())))
            body.append(value.data_ptr())
        elif kind == "constexpr" or isinstance(value, int | float | bool) or value is None:
            body.append(value)
        else:
            raise NotReplayable(f"it takes a {type(value).__name__}")
    x, y, z, _, *rest = head

    def start(stream: int, pointers: list[int]) -> None:
        line = body.copy()
        for at, which in addresses:
            line[at] = pointers[which]
        for at, which, known in maps:
            line[at] = known[pointers[which]]
        if together:
            raw(x, y, z, stream, *rest, tuple(line))
        else:
            line[3] = stream
            raw(*line)

    return start


class _Maps(dict[int, Any]):
    """Encoded descriptors of one argument by address; one that is missing is encoded."""

    def __init__(self, encode: Callable[[int], list[Any]]) -> None:
        super().__init__()
        self.encode = encode

    def __missing__(self, pointer: int) -> Any:
        if len(self) >= MOST_MAPS:
            self.clear()
        found = self[pointer] = self.encode(pointer)[0]
        return found


def _which(where: dict[int, int], pointer: int) -> int:
    if pointer not in where:
        raise NotReplayable("it works on memory that is none of the call's")
    return where[pointer]


def _launcher(
    run: Any, grid: tuple[int, ...], function: int, packed: Any
) -> tuple[Callable[..., Any], list[Any], bool]:
    """The C function that `run`, a CudaLauncher, ends in; what it takes before the kernel's arguments, with the stream
    fourth; and whether it takes these as one tuple.

    The two forms are those of ``triton/backends/nvidia/driver.py`` in Triton 3.6 and in 3.9, told apart by what they
    keep. Raises UnknownLauncher for any other."""
    if type(run).__name__ != "CudaLauncher":
        raise UnknownLauncher(f"it is a {type(run).__name__}")
    raw = run.launch
    if isinstance(raw, types.FunctionType):  # wrapped, to encode descriptors
        raw = inspect.getclosurevars(raw).nonlocals.get("launcher")
    if not callable(raw):
        raise UnknownLauncher("it ends in no function")
    start = [*grid, 0, function, run.launch_cooperative_grid, run.launch_pdl]
    if hasattr(run, "kernel_signature"):
        metadata_hooks_scratch = [packed, None, None, None, None, None]
        return raw, [*start, *metadata_hooks_scratch, run.arg_annotations, run.kernel_signature], True
    module = inspect.getmodule(type(run))
    if getattr(module, "_BASE_ARGS_FORMAT", None) != "iiiKKppOOOOOO":
        raise UnknownLauncher("it takes arguments in another order")
    scratch_metadata_hooks = [None, None, packed, None, None, None]
    return raw, [*start, *scratch_metadata_hooks], False


def _encoder(descriptor: Any, metadata: Any) -> Callable[[int], list[Any]]:
    """Encodes a descriptor like `descriptor` at another address: the map, then shape and strides."""
    from triton.backends.nvidia import driver

    make = driver.make_tensordesc_arg
    unused = [None] * (len(inspect.signature(make).parameters) - 2)

    def encode(pointer: int) -> list[Any]:
        moved = object.__new__(type(descriptor))
        moved.__dict__.update(descriptor.__dict__, base=_At(pointer))
        return list(make(moved, metadata, *unused))

    return encode
