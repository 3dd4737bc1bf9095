"""What PyTorch offers for C = act(A @ B + bias)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kernels.activations import Activation, activate_torch
from kernels.spec import Baseline, Inputs

Call = Callable[[], torch.Tensor]
Prepare = Callable[[Any, Inputs], Call]


def matmul_baselines(activation: Activation, bias: bool) -> list[Baseline[Any]]:
    """Eager PyTorch first, then the compiler, then the libraries' fused epilogue and the matmul alone where those are
    something else than eager PyTorch already is."""
    formula = _formula(activation, bias)
    found = [
        Baseline("unfused", f"eager {formula}", _eager(activation)),
        Baseline("compiled", f'torch.compile({formula}, mode="max-autotune-no-cudagraphs")', _compiled(activation)),
    ]
    if activation != "none" or bias:
        found.append(_cublaslt(activation, bias))
        found.append(Baseline("cublas", "a @ b alone, no epilogue", _eager("none", use_bias=False), equivalent=False))
    return found


def _formula(activation: Activation, bias: bool) -> str:
    product = "a @ b + bias" if bias else "a @ b"
    return product if activation == "none" else f"{activation}({product})"


def _compute(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, activation: Activation) -> torch.Tensor:
    c = a @ b
    return activate_torch(c if bias is None else c + bias, activation)


def _eager(activation: Activation, use_bias: bool = True) -> Prepare:
    def prepare(problem: Any, inputs: Inputs) -> Call:
        a, b, bias = _operands(inputs)
        return lambda: _compute(a, b, bias if use_bias else None, activation)

    return prepare


def _compiled(activation: Activation) -> Prepare:
    def prepare(problem: Any, inputs: Inputs) -> Call:
        a, b, bias = _operands(inputs)
        # A function that has met eight shapes is no longer compiled but run eagerly, in silence: start afresh, and
        # refuse graph breaks.
        torch.compiler.reset()
        compiled = torch.compile(_compute, mode="max-autotune-no-cudagraphs", fullgraph=True, dynamic=False)
        compiled(a, b, bias, activation)
        return lambda: compiled(a, b, bias, activation)

    return prepare


def _cublaslt(activation: Activation, bias: bool) -> Baseline[Any]:
    """cuBLASLt's fused epilogues: bias; bias and relu; bias and gelu (tanh form). It wants a bias, so without one it
    gets zeros. The relu stands in for activations that it does not have, and is then not the same function."""
    if activation == "none":
        call, same = "torch.addmm(bias, a, b)", True
    else:
        call = f"torch._addmm_activation({'bias' if bias else 'zeros'}, a, b, use_gelu={activation == 'gelu'})"
        same = activation in ("relu", "gelu")
    title = f"cuBLASLt epilogue: {call}" + ("" if same else f" (relu in the place of {activation})")

    def prepare(problem: Any, inputs: Inputs) -> Call:
        a, b, given = _operands(inputs)
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


def _operands(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    a, b, bias = inputs
    assert a is not None
    assert b is not None
    return a, b, bias
