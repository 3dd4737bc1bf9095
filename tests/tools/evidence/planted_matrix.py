"""Planted limits of tensor cores and of shared memory; see :mod:`tests.tools.evidence.planted`."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tests.tools.evidence.planted import Planted


@triton.jit
def products(x_ptr, out_ptr, ROUNDS, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, CHAINED: tl.constexpr):
    """ROUNDS products of tiles that never leave the multiprocessor; chained, each needs the one before."""
    rows, columns, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(x_ptr + rows[:, None] * K + inner[None, :])
    b = tl.load(x_ptr + inner[:, None] * N + columns[None, :])
    total = tl.zeros((M, N), tl.float32)
    for _ in range(ROUNDS):
        if CHAINED:
            a = tl.dot(a, b).to(a.dtype)
        else:
            total = tl.dot(a, b, total)
    if CHAINED:
        total += a.to(tl.float32)
    at = tl.program_id(0) * M * N + rows[:, None] * N + columns[None, :]
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty))


class TensorCores(Planted):
    """A thousand products of a tile; the twin does one."""

    name, limit, elements = "planted_tensor", "tensor cores", 1 << 26

    def launch(self, problem, config, inputs, out, hardware):
        blocks, rounds = (4 * hardware.sms, 1024) if config.planted else (problem.N // (128 * 256), 1)
        products[(blocks,)](inputs[0], out, rounds, 128, 256, 64, False, num_warps=8)


class Serialised(Planted):
    """One warp group whose every product needs the one before; the twin's accumulate."""

    name, limit, elements = "planted_serial", "serialised matrix instructions", 1 << 22

    def launch(self, problem, config, inputs, out, hardware):
        n = 64 if config.planted else 256
        products[(hardware.sms,)](inputs[0], out, 4096, 64, n, 64, config.planted, num_warps=4)


@gluon.jit
def turned(x_ptr, out_ptr, ROUNDS, SIDE: gl.constexpr, SWIZZLED: gl.constexpr, WRITE: gl.constexpr, READ: gl.constexpr):
    """Puts a square tile into shared memory and reads it again, ROUNDS times."""
    rows = gl.arange(0, SIDE, gl.SliceLayout(1, WRITE))
    columns = gl.arange(0, SIDE, gl.SliceLayout(0, WRITE))
    at = gl.program_id(0) * SIDE * SIDE + rows[:, None] * SIDE + columns[None, :]
    tile = gl.load(x_ptr + at).to(gl.float32)
    plain: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, order=[1, 0])
    mixed: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 32, order=[1, 0])
    shared = gl.allocate_shared_memory(gl.float32, [SIDE, SIDE], mixed if SWIZZLED else plain)
    for _ in range(ROUNDS):
        shared.store(tile)
        shared.store(gl.convert_layout(shared.load(READ) + 1.0, WRITE))
        tile = shared.load(WRITE)
    gl.store(out_ptr + at, tile.to(out_ptr.dtype.element_ty))


ALONG = gl.BlockedLayout([1, 1], [1, 32], [8, 1], [1, 0])
"""A warp holds a piece of a row."""
ACROSS = gl.BlockedLayout([1, 1], [32, 1], [1, 8], [0, 1])
"""A warp holds a piece of a column."""


class SharedPort(Planted):
    """A tile through shared memory 512 times, without a conflict; the twin does it once."""

    name, limit, elements = "planted_shared", "shared-memory port", 1 << 24

    def launch(self, problem, config, inputs, out, hardware):
        rounds = 512 if config.planted else 1
        turned[(problem.N // 4096,)](inputs[0], out, rounds, 64, True, ALONG, ALONG, num_warps=8)


class BankConflicts(Planted):
    """A tile turned through shared memory whose columns lie in one bank; the twin's layout is swizzled."""

    name, limit, elements = "planted_banks", "bank conflicts", 1 << 24

    def launch(self, problem, config, inputs, out, hardware):
        turned[(problem.N // 4096,)](inputs[0], out, 32, 64, not config.planted, ALONG, ACROSS, num_warps=8)
