"""Whether an output is right: scale-relative error against a float64 reference."""

from __future__ import annotations

import math
from typing import Any

import torch

from kernels.spec import Inputs, KernelSpec

CHUNK = 1 << 24
"""Elements compared at a time, so that the temporaries in float64 stay at 128 MiB."""


def spoil(out: torch.Tensor, with_nan: bool, generator: torch.Generator | None = None) -> None:
    """Fill `out` with what no kernel computes: NaN, or finite values that nobody can foresee; integers at random."""
    if not out.dtype.is_floating_point:
        high = 2 if out.dtype == torch.bool else min(torch.iinfo(out.dtype).max, 2**31 - 1)
        out.copy_(torch.randint(0, high, out.shape, generator=generator, device=out.device))
    elif with_nan:
        out.copy_(torch.full((), math.nan, device=out.device).expand(out.shape))
    else:
        out.copy_(torch.randn(out.shape, generator=generator, device=out.device))


def scale_error(out: torch.Tensor, reference: torch.Tensor) -> float:
    """max|out - ref| / max|ref|, in float64. NaN or infinity anywhere in `out` gives infinity, never a pass.

    Shapes must be equal. An all-zero reference is compared absolutely."""
    flat, ref = out.reshape(-1), reference.reshape(-1)
    worst = torch.zeros((), dtype=torch.float64, device=ref.device)
    scale = torch.zeros((), dtype=torch.float64, device=ref.device)
    for start in range(0, flat.numel(), CHUNK):
        r = ref[start : start + CHUNK]
        difference = (flat[start : start + CHUNK].to(torch.float64) - r).abs()
        worst = torch.maximum(worst, difference.max())  # maximum() hands NaN on
        scale = torch.maximum(scale, r.abs().max())
    error = float(worst) / (float(scale) or 1.0)
    return error if math.isfinite(error) else math.inf


def blind_spot(reference: torch.Tensor, bound: float) -> str:
    """What a check with this reference and bound would let pass though it is wrong; empty where it sees everything.

    A check that accepts zeros, half a result or what somebody left in the buffer proves nothing. Half a result is
    tried only where both halves hold something to miss."""
    wrong = {
        "an output of zeros": torch.zeros_like(reference),
        "an output that nobody wrote": torch.randn_like(reference) * reference.abs().max(),
    }
    flat = reference.reshape(-1)
    if flat.numel() > 1 and bool(flat[flat.numel() // 2 :].abs().max() > bound * flat.abs().max()):
        half = flat.clone()
        half[flat.numel() // 2 :] = 0
        wrong["half a result"] = half.reshape(reference.shape)
    return next((what for what, output in wrong.items() if scale_error(output, reference) <= bound), "")


def fault(
    spec: KernelSpec[Any, Any], problem: Any, out: torch.Tensor, inputs: Inputs, self_test: bool = False
) -> tuple[str, float, float]:
    """(reason, error, bound): reason is empty where `out` is the result for `inputs`, which must be pristine.

    `self_test` makes sure first that the check could fail."""
    reference = spec.reference(problem, inputs)
    bound = spec.tolerance(problem)
    if tuple(reference.shape) != tuple(out.shape):
        return f"the output's shape is {tuple(out.shape)}, the reference's {tuple(reference.shape)}", math.inf, bound
    if self_test:
        blind = blind_spot(reference, bound)
        if blind:
            return f"the check is blind: a tolerance of {bound:.3g} on this problem accepts {blind}", math.inf, bound
    error = scale_error(out, reference)
    if error == math.inf:
        bad = int((~torch.isfinite(out)).sum())
        return f"{bad:,} of {out.numel():,} output elements are NaN or infinite (unwritten or overflowed)", error, bound
    if error > bound:
        return f"scale-relative error {error:.3g} is above the bound {bound:.3g}", error, bound
    return "", error, bound
