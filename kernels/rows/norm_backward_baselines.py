"""Baselines of the norms' gradients: PyTorch's own operator, torch.compile, and Liger's kernel if it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch

from kernels.defaults import MODE, compile_function
from kernels.spec import Baseline, Inputs

Call = Callable[[], Any]


class Norm(Protocol):
    """What the baselines ask of :class:`kernels.rows.norm_backward.NormBackward`, which imports this file."""

    @property
    def name(self) -> str: ...
    def eager(self, problem: Any, inputs: Inputs) -> Any: ...
    def formula(self, problem: Any, inputs: Inputs) -> Any: ...


def norm_baselines(spec: Norm, operator: str, liger: Baseline[Any]) -> list[Baseline[Any]]:
    """Eager PyTorch by `operator`, torch.compile of it and of the formula, the faster of which counts, and `liger`."""
    return [
        Baseline("unfused", f"eager torch.ops.aten.{operator}", partial(_eager, spec)),
        Baseline(
            "compiled",
            f'torch.compile(torch.ops.aten.{operator}, mode="{MODE}")',
            partial(_compiled, spec.eager),
            choices=lambda problem: {"formula": partial(_compiled, spec.formula)},
        ),
        liger,
    ]


def _eager(spec: Norm, problem: Any, inputs: Inputs) -> Call:
    return lambda: spec.eager(problem, inputs)


def _compiled(function: Callable[[Any, Inputs], Any], problem: Any, inputs: Inputs) -> Call:
    def computed(*given: torch.Tensor | None) -> Any:
        return function(problem, given)

    compiled = compile_function(computed)
    compiled(*inputs)
    return lambda: compiled(*inputs)


def without_liger(problem: Any) -> str | None:
    """Why Liger's kernel cannot run; ``None`` if it can. It takes the forward pass's statistics."""
    if importlib.util.find_spec("liger_kernel") is None:
        return "Liger is not installed (pip install liger-kernel)"
    return None if problem.saved else "Liger's kernel wants the statistics of the forward pass"
