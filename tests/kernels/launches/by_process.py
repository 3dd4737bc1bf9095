"""A file that defines another device function for Triton's interpreter, which has no inline assembly."""

import os
from typing import Literal

import triton
import triton.language as tl

from kernels.defaults import normal
from kernels.spec import Config, KernelSpec, Problem


@triton.jit
def added_by_assembly(x, y):
    return tl.inline_asm_elementwise("add.f32 $0, $1, $2;", "=f,f,f", [x, y], dtype=tl.float32, is_pure=True, pack=1)


@triton.jit
def added_plainly(x, y):
    return x + y


added = added_plainly if os.environ.get("TRITON_INTERPRET") == "1" else added_by_assembly


@triton.jit
def add_reversed(x_ptr, out_ptr, n, WRONG: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    back = at if WRONG else n - 1 - at
    x = tl.load(x_ptr + at, mask=at < n).to(tl.float32)
    y = tl.load(x_ptr + back, mask=at < n).to(tl.float32)
    tl.store(out_ptr + at, added(x, y).to(out_ptr.dtype.element_ty), mask=at < n)


class Line(Problem):
    dims = ("N",)
    N: int = 300


class Block(Config):
    BLOCK: Literal[64, 128]


class ByProcess(KernelSpec):
    """The twin adds each element to itself."""

    name, metric, wrong = "by_process", "gbps", False
    problem_type, config_type = Line, Block

    def inputs(self, p, g, d):
        return (normal((p.N,), p.torch_dtype, g, d),)

    def launch(self, p, c, inputs, out, hw):
        grid = (triton.cdiv(p.N, c.BLOCK),)
        add_reversed[grid](inputs[0], out, p.N, WRONG=self.wrong, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return inputs[0] + inputs[0].flip(0)


class ByProcessTwin(ByProcess):
    name, wrong = "by_process_twin", True
