"""Baselines of ``fused_linear_cross_entropy``: eager PyTorch, torch.compile, Liger's function, and eager PyTorch
without fp32 logits."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from kernels.defaults import BACKENDS, MODE, compile_function
from kernels.spec import Baseline, Inputs

Call = Callable[[], Any]
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy_baselines(eager: Callable[[Any, Inputs], Any]) -> list[Baseline[Any]]:
    """`eager` first. ``rounded`` takes the softmax of logits in their own dtype, which is less exact."""
    formula = "F.cross_entropy(F.linear(x, weight).float(), target)"
    return [
        Baseline("unfused", f"eager {formula} and autograd", partial(_eager, eager)),
        Baseline(
            "compiled",
            f'torch.compile({formula}, mode="{MODE}") and autograd',
            _compiled,
            choices=lambda problem: {name: partial(_compiled, backend=backend) for name, backend in BACKENDS.items()},
        ),
        Baseline("liger", "LigerFusedLinearCrossEntropyFunction and autograd", _liger, missing=_without_liger),
        Baseline("rounded", "eager F.cross_entropy(F.linear(x, weight), target)", _rounded, equivalent=False),
    ]


def gradients_of(loss: Loss, inputs: Inputs) -> Any:
    """(loss, dx, dweight) of `loss` on (x, weight, target), by autograd."""
    x, weight, target = inputs
    assert x is not None
    assert weight is not None
    assert target is not None
    with torch.enable_grad():
        leaves = x.detach().requires_grad_(), weight.detach().requires_grad_()
        found = loss(*leaves, target)
        dx, dweight = torch.autograd.grad(found, leaves)
    return found.detach(), dx, dweight


def _eager(eager: Callable[[Any, Inputs], Any], problem: Any, inputs: Inputs) -> Call:
    return lambda: eager(problem, inputs)


def _compiled(problem: Any, inputs: Inputs, backend: str | None = None) -> Call:
    ignored = problem.ignore_index

    def loss(x: torch.Tensor, weight: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(F.linear(x, weight).float(), target, ignore_index=ignored)

    compiled = compile_function(loss, backend)
    gradients_of(compiled, inputs)
    return lambda: gradients_of(compiled, inputs)


def _rounded(problem: Any, inputs: Inputs) -> Call:
    def loss(x: torch.Tensor, weight: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(F.linear(x, weight), target, ignore_index=problem.ignore_index)

    return lambda: gradients_of(loss, inputs)


def _liger(problem: Any, inputs: Inputs) -> Call:
    from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction

    def loss(x: torch.Tensor, weight: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        apply = LigerFusedLinearCrossEntropyFunction.apply
        found: torch.Tensor = apply(x, weight, target, None, None, problem.ignore_index)[0]
        return found

    return lambda: gradients_of(loss, inputs)


def _without_liger(problem: Any) -> str | None:
    if importlib.util.find_spec("liger_kernel") is None:
        return "Liger is not installed (pip install liger-kernel)"
    return None
