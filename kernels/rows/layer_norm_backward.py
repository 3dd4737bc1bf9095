"""``layer_norm_backward``: the gradients of ``layer_norm`` for x, weight and bias. The Triton source is in
``kernels/rows/norm_backward_source.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field

from kernels.rows.norm_backward import NormBackward, NormBackwardProblem
from kernels.rows.norm_backward_baselines import norm_baselines, without_liger
from kernels.spec import Baseline, Inputs


class LayerNormBackwardProblem(NormBackwardProblem):
    """dx (M, N), dweight (N) and dbias (N) of layer_norm(x (M, N)) * weight (N) + bias (N), for grad (M, N)."""

    eps: float = Field(default=1e-5, gt=0, le=1)


class LayerNormBackward(NormBackward[LayerNormBackwardProblem]):
    """Gradients of the layer norm with weight and bias; inputs are (grad, x, weight, mean or None, rstd or None)."""

    name = "layer_norm_backward"
    aliases = (
        "layernorm backward",
        "backward layer_norm",
        "backward layernorm",
        "layer_norm gradient",
        "layernorm gradient",
        "layer_norm gradients",
        "layernorm gradients",
        "gradient of layer_norm",
        "gradient of layernorm",
        "backward of layer_norm",
        "backward of layernorm",
    )
    problem_type = LayerNormBackwardProblem
    centred = True

    def eager(self, problem: LayerNormBackwardProblem, inputs: Inputs) -> Any:
        """By PyTorch's own operator on a GPU; elsewhere it does not take fp32 statistics of fp16 and bf16 rows."""
        grad, x, weight, mean, rstd = inputs
        assert x is not None
        if not x.is_cuda or x.dtype == torch.float64:
            return self.formula(problem, inputs)
        if mean is None or rstd is None:
            mean, rstd = self.statistics(problem, x.float())
        shape, wanted = [problem.N], [True, True, True]
        # The operator reads no bias; it takes one to know the dtype of its gradient.
        found = torch.ops.aten.native_layer_norm_backward(
            grad, x, shape, mean[:, None], rstd[:, None], weight, weight, wanted
        )
        return tuple(found)

    def baselines(self, problem: LayerNormBackwardProblem) -> list[Baseline[Any]]:
        title = "liger_kernel.ops.layer_norm.layer_norm_backward"
        liger: Baseline[Any] = Baseline("liger", title, _liger, missing=without_liger)
        return norm_baselines(self, "native_layer_norm_backward", liger)


def _liger(problem: LayerNormBackwardProblem, inputs: Inputs) -> Callable[[], Any]:
    from liger_kernel.ops.layer_norm import layer_norm_backward

    grad, x, weight, mean, rstd = inputs
    return lambda: layer_norm_backward(grad, x, weight, weight, mean, rstd)
