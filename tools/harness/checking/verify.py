"""Whether an output is right: scale-relative error against a float64 reference."""

from __future__ import annotations

import math
from typing import Any

import torch

from kernels.launches.expected import Results, bounds, expected, results_of
from kernels.spec import Inputs, KernelSpec

CHUNK = 1 << 24
"""Elements compared at a time, so that the temporaries in float64 stay at 128 MiB."""
BLIND = "the check is blind"
"""A reason begins so if the reference does not tell a right result from none."""
WROTE_BESIDE = "the launch wrote outside its outputs"
"""A reason begins so if memory around the outputs changed."""


def stray_write(spec: KernelSpec[Any, Any], untouched: list[tuple[str, torch.Tensor]]) -> str:
    """What the launch wrote that it must not write, by the flags of :meth:`kernels.launches.bound.Bound.untouched`, and
    how to declare it; empty if it wrote its results alone."""
    path = next((path for path, flag in untouched if not bool(flag)), None)
    if path is None:
        return ""
    if not path:
        return f"{WROTE_BESIDE}: between their elements, before them or behind them"
    place = path if path.isdecimal() else repr(path)
    return (
        f"the kernel changed its input {path}: if it is meant to, set inplace = ({place},) in {type(spec).__name__} "
        "and let eager() give its new contents"
    )


def scale_error(out: torch.Tensor, reference: torch.Tensor) -> float:
    """max|out - ref| / max|ref|, in float64. NaN or infinity anywhere in `out` gives infinity, never a pass.

    Shapes must be equal. An all-zero reference is compared absolutely."""
    flat, ref = out.reshape(-1), reference.reshape(-1)
    worst = torch.zeros((), dtype=torch.float64, device=ref.device)
    scale = torch.zeros((), dtype=torch.float64, device=ref.device)
    for start in range(0, flat.numel(), CHUNK):
        r = ref[start : start + CHUNK].to(torch.float64)
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
    spec: KernelSpec[Any, Any], problem: Any, out: Any, inputs: Inputs, self_test: bool = False
) -> tuple[str, float, float]:
    """:func:`judge` of an output that a launch on `inputs` filled."""
    return judge(spec, problem, results_of(spec.effects(problem), inputs, out), inputs, self_test)


def judge(
    spec: KernelSpec[Any, Any], problem: Any, results: Results, inputs: Inputs, self_test: bool = False
) -> tuple[str, float, float]:
    """(reason, error, bound): reason is empty if every result is right for `inputs`, which must be pristine. Error and
    bound are those of the result that comes nearest to its bound.

    `self_test` makes sure first that the check could fail."""
    references = expected(spec, problem, inputs, list(results))
    return judge_against(spec, problem, results, references, self_test)


def judge_against(
    spec: KernelSpec[Any, Any],
    problem: Any,
    results: Results,
    references: Results,
    self_test: bool = False,
    saturating: bool = False,
    accepted: dict[str, float] | None = None,
) -> tuple[str, float, float]:
    """:func:`judge` by known references. With `saturating`, what lies beyond a result's dtype counts as its largest
    number. `accepted`: bounds by result, if they are known."""
    accepted = accepted or bounds(spec, problem, results)
    unwritten = spec.effects(problem).unwritten
    worst = ("", 0.0, 0.0)
    for name, out in results.items():
        given = saturated(out, references[name]) if saturating else (out, references[name])
        found = result_fault(*given, accepted[name], name in unwritten, self_test)
        if found[0]:
            return found if len(results) == 1 else (f"result {name}: {found[0]}", *found[1:])
        if not worst[2] or found[1] * worst[2] > worst[1] * found[2]:
            worst = found
    return worst


def saturated(out: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both with infinities, and what the dtype of `out` cannot hold, as its largest number."""
    if not out.is_floating_point():
        return out, reference
    most = torch.finfo(out.dtype).max
    return computable(out).clamp(-most, most), computable(reference).clamp(-most, most)


def computable(t: torch.Tensor) -> torch.Tensor:
    """`t`, in float32 if its floats have 8 bits: PyTorch has no isfinite, clamp or max of those."""
    return t.float() if t.is_floating_point() and t.element_size() == 1 else t


def result_fault(
    out: torch.Tensor, reference: torch.Tensor, bound: float, unwritten: bool, self_test: bool
) -> tuple[str, float, float]:
    """(reason, error, bound) of one result; reason is empty if `out` is right. `unwritten`: places where the reference
    is NaN are not compared. `self_test`: make sure first that zeros, rubbish and half a result would be rejected."""
    if tuple(reference.shape) != tuple(out.shape):
        return f"the output's shape is {tuple(out.shape)}, the reference's {tuple(reference.shape)}", math.inf, bound
    out = computable(out)
    if unwritten:
        compared = ~torch.isnan(reference)
        out, reference = out[compared], reference[compared]
    if out.numel() == 0:
        return ("the reference leaves nothing to compare" if unwritten else ""), 0.0, bound
    if self_test:
        blind = blind_spot(reference, bound)
        if blind:
            return f"{BLIND}: a tolerance of {bound:.3g} on this problem accepts {blind}", math.inf, bound
    error = scale_error(out, reference)
    if error == math.inf:
        bad = int((~torch.isfinite(out)).sum())
        return f"{bad:,} of {out.numel():,} output elements are NaN or infinite (unwritten or overflowed)", error, bound
    if error > bound:
        return f"scale-relative error {error:.3g} is above the bound {bound:.3g}", error, bound
    return "", error, bound
