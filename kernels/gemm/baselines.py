"""PyTorch's ways to compute C = act(A @ B + bias) and, for fp8 operands, C = act((A @ B) * scales + bias)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from kernels.defaults import BACKENDS, MODE, compile_function
from kernels.gemm.config import GemmProblem
from kernels.gemm.tiles import Scales, row_scales
from kernels.spec import Baseline, Inputs
from kernels.triton.activations import Activation, activate_torch

Call = Callable[[], torch.Tensor]
Prepare = Callable[[Any, Inputs], Call]


def matmul_baselines(problem: GemmProblem, activation: Activation, bias: bool) -> list[Baseline[Any]]:
    """Eager PyTorch, then torch.compile, then the library's fused epilogue and the matmul alone if they differ from
    eager PyTorch."""
    if problem.dtype == "fp8":
        return fp8_baselines(problem, activation, bias)
    formula = _formula(activation, bias)
    found = [
        Baseline("unfused", f"eager {formula}", _eager(activation)),
        Baseline(
            "compiled",
            f'torch.compile({formula}, mode="{MODE}")',
            _compiled(activation),
            choices=lambda problem: {name: _compiled(activation, backend) for name, backend in BACKENDS.items()},
        ),
    ]
    if activation != "none" or bias:
        found.append(_cublaslt(activation, bias))
        found.append(Baseline("cublas", "a @ b alone, no epilogue", _eager("none", use_bias=False), equivalent=False))
    return found


def fp8_baselines(problem: GemmProblem, activation: Activation, bias: bool) -> list[Baseline[Any]]:
    """The same for fp8: ``torch._scaled_mm`` with fast accumulation, which is the precision of the kernels here. It
    takes only multiples of 16 for N and K. For other sizes the baseline multiplies the scaled operands in bf16."""
    supported = problem.N % 16 == 0 and problem.K % 16 == 0
    multiply = _scaled_mm if supported else _dequantized_mm
    said = "torch._scaled_mm(a, b, use_fast_accum=True)" if supported else "a.bfloat16() @ b.bfloat16() * scales"
    formula = f"{said} + bias" if bias else said
    formula = formula if activation == "none" else f"{activation}({formula})"

    def compute(use_bias: bool, act: Activation, inputs: Inputs) -> torch.Tensor:
        return activate_torch(multiply(inputs, use_bias), act)

    def eager(problem: Any, inputs: Inputs) -> Call:
        return lambda: compute(bias, activation, inputs)

    def bare(problem: Any, inputs: Inputs) -> Call:
        return lambda: compute(False, "none", inputs)

    def compiled(problem: Any, inputs: Inputs, backend: str | None = None) -> Call:
        call = compile_function(compute, backend)
        call(bias, activation, inputs)
        return lambda: call(bias, activation, inputs)

    found = [
        Baseline("unfused", f"eager {formula}", eager),
        Baseline(
            "compiled",
            f'torch.compile({formula}, mode="{MODE}")',
            compiled,
            choices=lambda problem: {name: partial(compiled, backend=backend) for name, backend in BACKENDS.items()},
        ),
    ]
    if activation != "none" or bias:
        found.append(Baseline("cublas", f"{said} alone, no epilogue", bare, equivalent=False))
    return found


def _scaled_mm(inputs: Inputs, use_bias: bool) -> torch.Tensor:
    a, b, bias, scales = operands(inputs)
    assert scales is not None
    per_row = row_scales(scales)
    return torch._scaled_mm(
        a,
        b,
        scale_a=scales[0][:, None] if per_row else scales[0],
        scale_b=scales[1][None, :] if per_row else scales[1],
        bias=bias if use_bias else None,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )


def _dequantized_mm(inputs: Inputs, use_bias: bool) -> torch.Tensor:
    a, b, bias, scales = operands(inputs)
    assert scales is not None
    c = ((a.bfloat16() @ b.bfloat16()) * scales[0][:, None] * scales[1][None, :]).bfloat16()
    return c + bias if use_bias and bias is not None else c


def _formula(activation: Activation, bias: bool) -> str:
    product = "a @ b + bias" if bias else "a @ b"
    return product if activation == "none" else f"{activation}({product})"


def _compute(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, activation: Activation) -> torch.Tensor:
    c = a @ b
    return activate_torch(c if bias is None else c + bias, activation)


def _eager(activation: Activation, use_bias: bool = True) -> Prepare:
    def prepare(problem: Any, inputs: Inputs) -> Call:
        a, b, bias, _ = operands(inputs)
        return lambda: _compute(a, b, bias if use_bias else None, activation)

    return prepare


def _compiled(activation: Activation, backend: str | None = None) -> Prepare:
    def prepare(problem: Any, inputs: Inputs) -> Call:
        a, b, bias, _ = operands(inputs)
        compiled = compile_function(_compute, backend)
        compiled(a, b, bias, activation)
        return lambda: compiled(a, b, bias, activation)

    return prepare


def _cublaslt(activation: Activation, bias: bool) -> Baseline[Any]:
    """cuBLASLt's fused epilogues: bias; bias and relu; bias and gelu (tanh form). cuBLASLt needs a bias, so a problem
    without one passes zeros. If cuBLASLt lacks the activation, relu takes its place, and the baseline does not compute
    the same function."""
    if activation == "none":
        call, same = "torch.addmm(bias, a, b)", True
    else:
        call = f"torch._addmm_activation({'bias' if bias else 'zeros'}, a, b, use_gelu={activation == 'gelu'})"
        same = activation in ("relu", "gelu")
    title = f"cuBLASLt epilogue: {call}" + ("" if same else f" (relu in the place of {activation})")

    def prepare(problem: Any, inputs: Inputs) -> Call:
        a, b, given, _ = operands(inputs)
        vector = torch.zeros(b.shape[1], dtype=b.dtype, device=b.device) if given is None else given
        if activation == "none":
            return lambda: torch.addmm(vector, a, b)
        gelu = activation == "gelu"
        return lambda: torch._addmm_activation(vector, a, b, use_gelu=gelu)

    def missing(problem: Any) -> str | None:
        if activation != "none" and not hasattr(torch, "_addmm_activation"):
            return f"torch {torch.__version__} has no _addmm_activation"
        return None

    return Baseline("cublaslt", title, prepare, equivalent=same, missing=missing)


def operands(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Scales | None]:
    """A, B, bias and scales of the inputs of a matmul kernel."""
    a, b, bias, *scales = inputs
    assert a is not None
    assert b is not None
    if not scales:
        return a, b, bias, None
    a_scale, b_scale = scales
    assert a_scale is not None
    assert b_scale is not None
    return a, b, bias, (a_scale, b_scale)
