"""``rms_norm_backward``: the gradients of ``rms_norm`` for x and weight. The Triton source is in
``kernels/rows/norm_backward_source.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kernels.rows.norm_backward import NormBackward, NormBackwardProblem
from kernels.rows.norm_backward_baselines import norm_baselines, without_liger
from kernels.spec import Baseline, Inputs


class RmsNormBackwardProblem(NormBackwardProblem):
    """dx (M, N) and dweight (N) of rms_norm(x (M, N)) * weight (N), for grad (M, N)."""


class RmsNormBackward(NormBackward[RmsNormBackwardProblem]):
    """Gradients of the root-mean-square norm; inputs are (grad, x, weight, None, rstd or None)."""

    name = "rms_norm_backward"
    aliases = (
        "rmsnorm backward",
        "backward rms_norm",
        "backward rmsnorm",
        "rms_norm gradient",
        "rmsnorm gradient",
        "rms_norm gradients",
        "rmsnorm gradients",
        "gradient of rms_norm",
        "gradient of rmsnorm",
        "backward of rms_norm",
        "backward of rmsnorm",
    )
    problem_type = RmsNormBackwardProblem
    centred = False

    def eager(self, problem: RmsNormBackwardProblem, inputs: Inputs) -> Any:
        """By PyTorch's own operator, which exists on GPUs alone; elsewhere by elementary operations."""
        grad, x, weight, _, rstd = inputs
        assert x is not None
        if not x.is_cuda or x.dtype == torch.float64 or not hasattr(torch.ops.aten, "_fused_rms_norm_backward"):
            return self.formula(problem, inputs)
        if rstd is None:
            rstd = self.statistics(problem, x.float())[1]
        found = torch.ops.aten._fused_rms_norm_backward(grad, x, [problem.N], rstd[:, None], weight, [True, True])
        return tuple(found)

    def baselines(self, problem: RmsNormBackwardProblem) -> list[Baseline[Any]]:
        title = "liger_kernel.ops.rms_norm.rms_norm_backward"
        liger: Baseline[Any] = Baseline("liger", title, _liger, missing=without_liger)
        return norm_baselines(self, "_fused_rms_norm_backward", liger)


def _liger(problem: RmsNormBackwardProblem, inputs: Inputs) -> Callable[[], Any]:
    from liger_kernel.ops.rms_norm import rms_norm_backward
    from liger_kernel.ops.utils import calculate_settings

    grad, x, weight, _, rstd = inputs
    block, warps = calculate_settings(problem.N)
    llama = 0  # its default: xhat is rounded to the dtype of x
    return lambda: rms_norm_backward(grad, x, weight, rstd, 0.0, llama, block, warps, False, None)[:2]
