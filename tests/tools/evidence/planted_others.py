"""A second exam: the same limits in kernels of other kinds, as one finds them in programs. No rule was fitted to them
before they were first read; see docs/EVIDENCE.md for how many are named."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tests.tools.evidence.planted import Planted


@triton.jit
def add(x_ptr, y_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at) + tl.load(y_ptr + at))


class AddVectors(Planted):
    name, limit, elements = "other_dram", "DRAM", 1 << 26

    def launch(self, problem, config, inputs, out, hardware):
        half = problem.N // 2
        add[(half // 1024,)](inputs[0], inputs[0][half:], out, 1024, num_warps=4)


@triton.jit
def strided(x_ptr, out_ptr, ROWS, ROW: tl.constexpr, BLOCK: tl.constexpr):
    """Reads one element of every row: a sector of 32 bytes for two bytes asked."""
    lanes = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for column in range(ROW):
        total += tl.load(x_ptr + ((tl.program_id(0) * BLOCK + lanes) % ROWS) * ROW + column).to(tl.float32)
    tl.store(out_ptr + tl.program_id(0) * BLOCK + lanes, total.to(out_ptr.dtype.element_ty))


class Uncoalesced(Planted):
    """A table of 8 MB that every program walks across its rows."""

    name, limit, elements = "other_l2", "L2 port", 1 << 22

    def launch(self, problem, config, inputs, out, hardware):
        strided[(problem.N // 512,)](inputs[0], out, problem.N // 64, 64, 512, num_warps=4)


@triton.jit
def turn(x_ptr, out_ptr, ROUNDS, SIDE: tl.constexpr):
    rows, columns = tl.arange(0, SIDE)[:, None], tl.arange(0, SIDE)[None, :]
    at = tl.program_id(0) * SIDE * SIDE + rows * SIDE + columns
    x = tl.load(x_ptr + at).to(tl.float32)
    for _ in range(ROUNDS):
        x = x * 0.5 + tl.trans(x)
    tl.store(out_ptr + at, x.to(out_ptr.dtype.element_ty))


class Transposes(Planted):
    """A tile and its transpose, added again and again."""

    name, limit, elements = "other_shared", "shared-memory port", 1 << 24

    def launch(self, problem, config, inputs, out, hardware):
        turn[(problem.N // 4096,)](inputs[0], out, 256, 64, num_warps=4)


@gluon.jit
def column(x_ptr, out_ptr, ROUNDS, ROWS: gl.constexpr, COLUMNS: gl.constexpr, WRITE: gl.constexpr, READ: gl.constexpr):
    """Columns of an unpadded fp32 tile."""
    rows = gl.arange(0, ROWS, gl.SliceLayout(1, WRITE))
    columns = gl.arange(0, COLUMNS, gl.SliceLayout(0, WRITE))
    at = gl.program_id(0) * ROWS * COLUMNS + rows[:, None] * COLUMNS + columns[None, :]
    tile = gl.load(x_ptr + at).to(gl.float32)
    shared = gl.allocate_shared_memory(gl.float32, [ROWS, COLUMNS], gl.SwizzledSharedLayout(1, 1, 1, order=[1, 0]))
    for _ in range(ROUNDS):
        shared.store(tile)
        tile = tile + gl.convert_layout(shared.load(READ), WRITE)
    gl.store(out_ptr + at, tile.to(out_ptr.dtype.element_ty))


class Columns(Planted):
    name, limit, elements = "other_banks", "bank conflicts", 1 << 23

    def launch(self, problem, config, inputs, out, hardware):
        along, across = (
            gl.BlockedLayout([1, 4], [4, 8], [4, 1], [1, 0]),
            gl.BlockedLayout([1, 1], [32, 1], [1, 4], [0, 1]),
        )
        column[(problem.N // 4096,)](inputs[0], out, 128, 128, 32, along, across, num_warps=4)


@triton.jit
def product(a_ptr, b_ptr, c_ptr, SIZE, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """c = a b for squares of SIZE, by pointers."""
    rows = tl.program_id(0) * M + tl.arange(0, M)
    columns = tl.program_id(1) * N + tl.arange(0, N)
    inner = tl.arange(0, K)
    total = tl.zeros((M, N), tl.float32)
    for k in range(0, SIZE, K):
        a = tl.load(a_ptr + rows[:, None] * SIZE + (k + inner)[None, :])
        b = tl.load(b_ptr + (k + inner)[:, None] * SIZE + columns[None, :])
        total = tl.dot(a, b, total)
    tl.store(c_ptr + rows[:, None] * SIZE + columns[None, :], total.to(c_ptr.dtype.element_ty))


class SquareProduct(Planted):
    """A product of squares of 4096."""

    name, limit, elements = "other_tensor", "tensor cores", 1 << 24

    def launch(self, problem, config, inputs, out, hardware):
        grid = (4096 // 128, 4096 // 256)
        product[grid](inputs[0], inputs[0], out, 4096, 128, 256, 64, num_warps=8, num_stages=4)


@triton.jit
def decay(x_ptr, out_ptr, ROUNDS, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at).to(tl.float32)
    for _ in range(ROUNDS):
        x = tl.exp(-x) + tl.rsqrt(x + 1.0)
    tl.store(out_ptr + at, x.to(out_ptr.dtype.element_ty))


class Decay(Planted):
    name, limit, elements = "other_special", "special functions", 1 << 23

    def launch(self, problem, config, inputs, out, hardware):
        decay[(problem.N // 1024,)](inputs[0], out, 64, 1024, num_warps=4)


@triton.jit
def horner(x_ptr, out_ptr, ROUNDS, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at).to(tl.float32)
    y = x
    for _ in range(ROUNDS):
        y = y * x + 0.3
        y = y * x + 0.2
        y = y * x + 0.1
        y = tl.where(y > 4.0, y - 4.0, y)
    tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty))


class Polynomial(Planted):
    """Multiply-adds, comparisons and selections, all on chip."""

    name, limit, elements = "other_issue", "issue slots", 1 << 23

    def launch(self, problem, config, inputs, out, hardware):
        horner[(problem.N // 1024,)](inputs[0], out, 512, 1024, num_warps=4)


class WithIndices(Planted):
    """The first input holds whole numbers."""

    dtype = torch.int32

    def inputs(self, problem, generator, device):
        if device == "meta":
            return (torch.empty(problem.N, dtype=torch.int32, device="meta"), torch.empty(problem.N, device="meta"))
        return (self.indices(problem, generator, device), torch.rand(problem.N, device=device, generator=generator))

    def indices(self, problem, generator, device):
        return torch.randint(0, problem.N, (problem.N,), device=device, generator=generator, dtype=torch.int32)


@triton.jit
def chase(next_ptr, out_ptr, STEPS):
    at = tl.program_id(0)
    for _ in range(STEPS):
        at = tl.load(next_ptr + at)
    tl.store(out_ptr + tl.program_id(0), at)


class PointerChase(WithIndices):
    """Each address is what the load before brought."""

    name, limit, elements = "other_latency", "latency", 1 << 22

    def launch(self, problem, config, inputs, out, hardware):
        chase[(hardware.sms,)](inputs[0], out, 512, num_warps=1)


class TinyAdd(Planted):
    name, limit, elements = "other_launch", "launch overhead", 1 << 13

    def launch(self, problem, config, inputs, out, hardware):
        add[(4,)](inputs[0], inputs[0][4096:], out, 1024, num_warps=4)


class TwoWaves(Planted):
    """A product whose tiles are a few more than the multiprocessors hold at once."""

    name, limit, elements = "other_tail", "tail wave", 1 << 24

    def launch(self, problem, config, inputs, out, hardware):
        grid = (hardware.sms // 11 + 1, 11)  # 143 tiles on 132 multiprocessors, one on each at a time
        product[grid](inputs[0], inputs[0], out, 4096, 128, 256, 64, num_warps=8, num_stages=4)


@triton.jit
def ragged(lengths_ptr, x_ptr, out_ptr, BLOCK: tl.constexpr):
    """Each program sums as many blocks of x as its row is long."""
    lanes = tl.arange(0, BLOCK)
    length = tl.load(lengths_ptr + tl.program_id(0))
    total = tl.zeros((BLOCK,), tl.float32)
    for step in range(length):
        total += tl.load(x_ptr + (step * BLOCK + lanes))
    tl.store(out_ptr + tl.program_id(0) * BLOCK + lanes, total.to(out_ptr.dtype.element_ty))


class Ragged(WithIndices):
    """One row is forty times as long as the others."""

    name, limit, elements = "other_imbalance", "imbalance", 1 << 20

    def indices(self, problem, generator, device):
        lengths = torch.full((problem.N,), 100, device=device, dtype=torch.int32)
        lengths[77] = 4000
        return lengths

    def launch(self, problem, config, inputs, out, hardware):
        ragged[(hardware.sms,)](inputs[0], inputs[1], out, 256, num_warps=8)


@triton.jit
def rows(x_ptr, out_ptr, N: tl.constexpr):
    """A softmax that keeps its row in registers."""
    at = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    x = tl.load(x_ptr + at).to(tl.float32)
    e = tl.exp2((x - tl.max(x, 0)) * 1.4427)
    tl.store(out_ptr + at, (e / tl.sum(e, 0)).to(out_ptr.dtype.element_ty))


class WideRow(Planted):
    """32,768 numbers in 128 threads: more than their registers hold."""

    name, limit, elements = "other_spills", "spills", 1 << 25

    def launch(self, problem, config, inputs, out, hardware):
        rows[(problem.N // 32768,)](inputs[0], out, 32768, num_warps=2)


@triton.jit
def powers(x_ptr, out_ptr, ROUNDS, SIDE: tl.constexpr):
    """The ROUNDS-th power of a small matrix: each product needs the one before."""
    lanes = tl.arange(0, SIDE)
    at = lanes[:, None] * SIDE + lanes[None, :]
    m = tl.load(x_ptr + at)
    power = m
    for _ in range(ROUNDS):
        power = tl.dot(power, m).to(m.dtype)
    tl.store(out_ptr + tl.program_id(0) * SIDE * SIDE + at, power)


class MatrixPowers(Planted):
    name, limit, elements = "other_serial", "serialised matrix instructions", 1 << 20

    def launch(self, problem, config, inputs, out, hardware):
        powers[(hardware.sms,)](inputs[0], out, 4096, 64, num_warps=4)


@triton.jit
def histogram(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out_ptr + (tl.load(x_ptr + at) & 63), 1, sem="relaxed")


class Histogram(WithIndices):
    """64 counters, chosen by the data."""

    name, limit, elements = "other_atomics", "atomics", 1 << 22

    def launch(self, problem, config, inputs, out, hardware):
        histogram[(problem.N // 1024,)](inputs[0], out, 1024, num_warps=4)


OTHERS = (
    AddVectors,
    Uncoalesced,
    Transposes,
    Columns,
    SquareProduct,
    Decay,
    Polynomial,
    PointerChase,
    TinyAdd,
    TwoWaves,
    Ragged,
    WideRow,
    MatrixPowers,
    Histogram,
)
