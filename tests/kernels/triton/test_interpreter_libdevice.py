"""A kernel that uses libdevice is computed by the interpreter; what cannot be computed is not the kernel's failure."""

import pytest

from kernels.hardware import hardware_named
from kernels.registry import get

pytestmark = pytest.mark.process

KERNEL = """
from typing import Literal

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from kernels.defaults import normal
from kernels.spec import Config, KernelSpec, Problem


@triton.jit
def inner(x):
    return libdevice.norm3d(x, x, x)


@triton.jit
def through(x):
    return inner(x)


@triton.jit
def kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n).to(tl.float32)
    tl.store(out_ptr + at, EXPRESSION, mask=at < n)


class OwnProblem(Problem):
    dims = ("N",)
    N: int = 1000


class OwnConfig(Config):
    BLOCK: Literal[256]


class Own(KernelSpec):
    name = "own"
    metric = "gbps"
    problem_type = OwnProblem
    config_type = OwnConfig

    def inputs(self, p, g, d):
        return (normal((p.N,), p.torch_dtype, g, d),)

    def launch(self, p, c, inputs, out, hw):
        kernel[(triton.cdiv(p.N, c.BLOCK),)](inputs[0], out, p.N, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return torch.tanh(inputs[0])
"""


@pytest.mark.parametrize(
    ("expression", "status", "says"),
    [
        ("libdevice.tanh(x)", "correct", ""),
        ("libdevice.sinh(x) / libdevice.cosh(x)", "correct", ""),
        ("libdevice.sin(x)", "correctness", ""),
        ("libdevice.norm3d(x, x, x)", "infrastructure", "it cannot be interpreted: it uses libdevice.norm3d"),
        ("through(x)", "infrastructure", "it cannot be interpreted: it uses libdevice.norm3d"),
        ("tl.view(x, (BLOCK,))", "infrastructure", "it leaves the order of elements to the compiler"),
        ("tl.fma(at, at, at)", "infrastructure", "tl.fma of integers"),
        ("x.to(tl.float8e5) + x.to(tl.float8e5)", "infrastructure", "it computes with fp8e5 outside of tl.dot"),
        ("x.to(tl.float8e5).to(tl.float8e4nv)", "infrastructure", "it converts fp8e5 to fp8e4nv"),
        ("tl.sum(tl.join(x, x).to(tl.float8e5), 1)", "infrastructure", "it computes with fp8e5 outside of tl.dot"),
        ("libdevice.tanh(x.to(tl.float16))", "runtime", "convert it to fp32"),
    ],
)
def test_what_cannot_be_interpreted_is_named(tmp_path, interpreter, expression, status, says):
    path = tmp_path / "own.py"
    path.write_text(KERNEL.replace("EXPRESSION", expression))
    spec = get(f"{path}:Own")
    problem = spec.default_problem()
    [found] = interpreter.check(spec, problem, spec.space(problem, hardware_named("H200")), "H200")
    assert found.status == status, found.reason
    assert says in (found.reason or "")
