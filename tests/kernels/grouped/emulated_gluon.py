"""Gluon kernels of ``kernels.grouped`` on the CPU, as far as these kernels need it: Triton's interpreter runs no Gluon.

A kernel's Python is run as it stands, with this file's stand-ins for what the language provides. The programs of a grid
run one after the other. Within a program each partition of ``gl.warp_specialize`` is a thread, and what the hardware
does asynchronously happens as late as the hardware may do it, so that a missing wait gives a wrong result:

- A load by descriptor is done by another thread, in any order among those in flight.
- A store by descriptor reads shared memory when ``store_wait`` waits for it, and a matrix instruction reads its
  operands when ``warpgroup_mma_wait`` waits for it.
- Shared memory begins as NaN. A barrier counts arrivals and bytes and has the phases of an mbarrier.

It shows the order of loads, products, stores and barriers, deadlocks included. It knows nothing of layouts, of fences
between the two ways to shared memory, of registers or of time.
"""

from __future__ import annotations

import math
import random
import threading
import types
from typing import Any

import torch
from triton.runtime.jit import JITCallable

from tests.kernels.grouped.emulated_memory import Array, Barrier, BarrierArray, Descriptor, Number, Pointer, Shared

WAIT_S = 20.0
"""A barrier that nobody completes for so long is a deadlock."""


class Deadlock(AssertionError):
    """A partition waits for a barrier in vain."""


class Emulation:
    """One launch: ``kernel[grid](…)`` runs every program of the grid."""

    def __init__(self, kernel: Any, seed: int = 0) -> None:
        self.kernel, self.random = kernel, random.Random(seed)
        self.functions: dict[Any, Any] = {}
        self.loads_in_flight: list[Any] = []
        self.changed = threading.Condition()
        self.own = threading.local()
        self.loaded_bytes = 0
        self.multiplied_rows = 0

    def __getitem__(self, grid: tuple[int]) -> Any:
        def run(*args: Any, num_warps: int, maxnreg: int, launch_pdl: bool = False, **choices: Any) -> None:
            self.programs, self.num_warps = grid[0], num_warps
            # A tensor that a kernel is given is a pointer, as Triton passes it.
            given = [Pointer(a.reshape(-1)) if isinstance(a, torch.Tensor) else a for a in args]
            for self.program in range(grid[0]):
                self.translated(self.kernel)(*given, **choices)

        return run

    def translated(self, function: Any) -> Any:
        """The function's Python, whose globals are this file's stand-ins and translated functions."""
        if function not in self.functions:
            plain = function.fn
            named = dict(plain.__globals__)
            copy = types.FunctionType(plain.__code__, named, plain.__name__, plain.__defaults__)
            self.functions[function] = copy
            stand_ins = {
                "gl": Language(self), "tl": Language(self), "mbarrier": Barriers(self), "tma": Stores(self),
                "load_tile": self.load_tile, "store_tile": self.store_tile, "fence_async_shared": lambda: None,
                "thread_barrier": lambda: None,
                "warpgroup_mma": self.multiply, "warpgroup_mma_wait": self.multiply_wait,
            }  # fmt: skip
            for name, value in named.items():
                if name in stand_ins:
                    named[name] = stand_ins[name]
                elif isinstance(value, JITCallable):
                    named[name] = self.translated(value)
        return self.functions[function]

    def specialize(self, partitions: Any, warps: Any, registers: Any) -> None:
        assert len(partitions) == len(warps) + 1 == len(registers) + 1
        failures: list[BaseException] = []

        def run(function: Any, args: Any) -> None:
            self.own.stores, self.own.products = [], []
            try:
                function(*args)
                assert not self.own.stores, "shared memory is freed before a store has read it"
                assert not self.own.products, "a matrix instruction was never waited for"
            except Exception as error:  # noqa: BLE001 - raised again by the thread that started this one
                failures.append(error)

        over = threading.Event()
        engine = threading.Thread(target=self.carry_loads, args=(over,), daemon=True)
        threads = [threading.Thread(target=run, args=partition, daemon=True) for partition in partitions]
        for thread in (engine, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        engine.join()
        if failures:
            raise failures[0]
        assert not self.loads_in_flight, "a load was never waited for"

    def carry_loads(self, over: threading.Event) -> None:
        """The tensor memory accelerator: carry out the loads in flight in any order, until the program is over."""
        while not over.is_set():
            with self.changed:
                if self.loads_in_flight:
                    desc, at, barrier, buffer = self.loads_in_flight.pop(
                        self.random.randrange(len(self.loads_in_flight))
                    )
                    buffer.data.copy_(desc.read(at))
                    self.loaded_bytes += desc.block_type.nbytes
                    barrier.bytes -= desc.block_type.nbytes
                    barrier.advance()
                    self.changed.notify_all()
                else:
                    self.changed.wait(0.001)

    def load_tile(self, desc: Descriptor, at: Any, barrier: Barrier, buffer: Shared, pred: bool = True) -> None:
        assert list(buffer.shape) == desc.block_shape
        if pred:
            with self.changed:
                self.loads_in_flight.append((desc, tuple(at), barrier, buffer))
                self.changed.notify_all()

    def store_tile(self, desc: Descriptor, at: Any, buffer: Shared) -> None:
        assert list(buffer.shape) == desc.block_shape
        self.own.stores.append((desc, tuple(at), buffer))

    def multiply(self, a: Shared, b: Shared, acc: Array, *, use_acc: bool, is_async: bool) -> Array:
        assert is_async
        self.own.products.append((a, b, acc, use_acc))
        return acc

    def multiply_wait(self, outstanding: int, deps: tuple[Array]) -> Array:
        while len(self.own.products) > outstanding:
            a, b, acc, use_acc = self.own.products.pop(0)
            product = a.data.float() @ b.data.float()
            acc.data = acc.data + product if use_acc else product
            self.multiplied_rows += a.data.shape[0]
        return deps[0]


class Language:
    """What the kernels use of ``gl`` and ``tl``."""

    float32, int32, int64 = torch.float32, torch.int32, torch.int64
    constexpr, static_range = int, staticmethod(range)

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self.warp_specialize = emulation.specialize

    def program_id(self, axis: int) -> int:
        return self._emulation.program

    def num_programs(self, axis: int) -> int:
        return self._emulation.programs

    def num_warps(self) -> int:
        return self._emulation.num_warps

    @staticmethod
    def cdiv(a: int, b: int) -> int:
        return -(-a // b)

    @staticmethod
    def to_tensor(value: int) -> int:
        return value

    @staticmethod
    def where(condition: bool, yes: int, no: int) -> int:
        return yes if condition else no

    @staticmethod
    def static_assert(condition: bool) -> None:
        assert condition

    @staticmethod
    def inline_asm_elementwise(*args: Any, **options: Any) -> None:
        """The only one waits for the launch before, which has ended here."""

    @staticmethod
    def SliceLayout(dim: int, parent: Any) -> Any:
        return dim, parent

    @staticmethod
    def BlockedLayout(*sizes: Any) -> Any:
        assert math.prod(sizes[1]) == 32
        return sizes

    @staticmethod
    def NVMMADistributedLayout(version: Any, warps: Any, shape: Any) -> Any:
        return version, warps, shape

    @staticmethod
    def zeros(shape: Any, dtype: torch.dtype, layout: Any) -> Array:
        return Array(torch.zeros(shape, dtype=dtype))

    @staticmethod
    def arange(start: int, end: int, layout: Any) -> Array:
        return Array(torch.arange(start, end))

    @staticmethod
    def expand_dims(value: Array, axis: int) -> Array:
        return Array(value.data.unsqueeze(axis))

    @staticmethod
    def load(pointer: Pointer, mask: Array | None = None, other: float = 0.0) -> Any:
        if isinstance(pointer.offset, int):
            one = pointer.data[pointer.offset].item()
            return one if isinstance(one, float) else Number(one)
        at, inside = pointer.offset.data, mask.data
        found = torch.full(at.shape, other, dtype=pointer.data.dtype)
        found[inside] = pointer.data[at[inside]]
        return Array(found)

    @staticmethod
    def store(pointer: Pointer, value: Array, mask: Array) -> None:
        inside = mask.data.expand(value.data.shape)
        pointer.data[pointer.offset.data[inside]] = value.data[inside]

    @staticmethod
    def allocate_shared_memory(dtype: Any, shape: list[int], layout: Any) -> Any:
        if dtype is torch.int64:
            return BarrierArray(shape[0])
        return Shared(torch.full(shape, float("nan")).to(dtype))


class Barriers:
    """``mbarrier``."""

    def __init__(self, emulation: Emulation) -> None:
        self._changed = emulation.changed

    @staticmethod
    def MBarrierLayout() -> None:
        return None

    def init(self, barrier: Barrier, count: int) -> None:
        barrier.count = barrier.missing = count

    def expect(self, barrier: Barrier, size: int, pred: bool = True) -> None:
        if pred:
            with self._changed:
                barrier.bytes += size
            self.arrive(barrier)

    def arrive(self, barrier: Barrier, *, count: int = 1, pred: bool = True) -> None:
        if pred:
            with self._changed:
                barrier.missing -= count
                barrier.advance()
                self._changed.notify_all()

    def wait(self, barrier: Barrier, phase: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: barrier.phases % 2 != phase, WAIT_S):
                raise Deadlock(f"nobody completes phase {phase} of a barrier after {barrier.phases} phases")


class Stores:
    """``tma``, what is left of it."""

    def __init__(self, emulation: Emulation) -> None:
        self._own = emulation.own

    def store_wait(self, pending: int) -> None:
        while len(self._own.stores) > pending:
            desc, at, buffer = self._own.stores.pop(0)
            desc.write(at, buffer.data)
