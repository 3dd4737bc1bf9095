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
        ("libdevice.tanh(x.to(tl.float16))", "runtime", "convert it to fp32"),
    ],
)
def test_libdevice_is_computed_or_named(tmp_path, interpreter, expression, status, says):
    path = tmp_path / "own.py"
    path.write_text(KERNEL.replace("EXPRESSION", expression))
    spec = get(f"{path}:Own")
    problem = spec.default_problem()
    [found] = interpreter.check(spec, problem, spec.space(problem, hardware_named("H200")), "H200")
    assert found.status == status, found.reason
    assert says in (found.reason or "")
