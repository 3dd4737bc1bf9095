"""PyTorch's ways to multiply groups of rows: a loop over ``torch.mm``, ``torch._grouped_mm``, and the latter through
torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch

from kernels.defaults import BACKENDS, MODE, compile_function
from kernels.gemm.tiles import Scales
from kernels.grouped.config import GroupedProblem, group_sizes
from kernels.spec import Baseline, Inputs

Call = Callable[[], torch.Tensor]


def operands(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Scales | None]:
    """A, B, the groups' ends and the scales."""
    a, b, ends, *scales = inputs
    assert a is not None
    assert b is not None
    assert ends is not None
    if not scales:
        return a, b, ends, None
    a_scale, b_scale = scales
    assert a_scale is not None
    assert b_scale is not None
    return a, b, ends, (a_scale, b_scale)


def loop(problem: GroupedProblem, inputs: Inputs, sizes: tuple[int, ...]) -> torch.Tensor:
    """One product for each group that has rows, written into its rows of the result. `sizes` are known on the host."""
    a, b, _, scales = operands(inputs)
    dtype = a.dtype if scales is None else torch.bfloat16
    out = torch.empty((problem.M, problem.N), dtype=dtype, device=a.device)
    start = 0
    for group, size in enumerate(sizes):
        rows = slice(start, start + size)
        start += size
        if not size:
            continue
        if scales is None:
            torch.mm(a[rows], b[group], out=out[rows])
        else:
            out[rows] = _scaled(problem, a[rows], b[group], *_scales_of(problem, scales, rows, group))
    return out


def _scales_of(problem: GroupedProblem, scales: Scales, rows: slice, group: int) -> Scales:
    """One group's scales, as a column and a row, or as one number each."""
    if problem.scales == "row":
        return scales[0][rows, None], scales[1][group, None, :]
    return scales[0], scales[1][group : group + 1]


def _scaled(
    problem: GroupedProblem, a: torch.Tensor, b: torch.Tensor, a_scale: torch.Tensor, b_scale: torch.Tensor
) -> torch.Tensor:
    if problem.N % 16 == 0 and problem.K % 16 == 0 and a.is_cuda:
        return torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16, use_fast_accum=True)
    return ((a.bfloat16() @ b.bfloat16()) * a_scale * b_scale).bfloat16()


def sizes_of(ends: torch.Tensor) -> tuple[int, ...]:
    """Rows of each group; waits for the GPU."""
    last = [0, *ends.tolist()]
    return tuple(after - before for before, after in pairwise(last))


def grouped_baselines(problem: GroupedProblem) -> list[Baseline[GroupedProblem]]:
    """The loop with sizes that are known before the clock starts, then the library's grouped product, by itself and
    through torch.compile."""
    fp8 = problem.dtype == "fp8"
    one = "torch._scaled_mm" if fp8 else "torch.mm"
    all_groups = "torch._scaled_grouped_mm" if fp8 else "torch._grouped_mm"
    return [
        Baseline("loop", f"eager: {one} for each group, sizes known on the host", _prepare_loop),
        Baseline("grouped", all_groups, _prepare_grouped, missing=_no_grouped),
        Baseline(
            "compiled",
            f'torch.compile({all_groups}, mode="{MODE}")',
            _prepare_compiled,
            missing=_no_grouped,
            choices=lambda problem: {name: partial(_prepare_compiled, backend=b) for name, b in BACKENDS.items()},
        ),
    ]


def _prepare_loop(problem: GroupedProblem, inputs: Inputs) -> Call:
    sizes = sizes_of(operands(inputs)[2])
    return lambda: loop(problem, inputs, sizes)


def _grouped(
    a: torch.Tensor, b: torch.Tensor, ends: torch.Tensor, a_scale: torch.Tensor | None, b_scale: torch.Tensor | None
) -> torch.Tensor:
    if a_scale is None or b_scale is None:
        return torch._grouped_mm(a, b, offs=ends)
    if b_scale.dim() == 1:
        a_scale = a_scale.expand(a.shape[0]).contiguous()
        b_scale = b_scale[:, None].expand(b.shape[0], b.shape[2]).contiguous()
    return torch._scaled_grouped_mm(a, b, a_scale, b_scale, offs=ends, out_dtype=torch.bfloat16, use_fast_accum=True)


def _prepare_grouped(problem: GroupedProblem, inputs: Inputs) -> Call:
    a, b, ends, scales = operands(inputs)
    a_scale, b_scale = scales or (None, None)
    return lambda: _grouped(a, b, ends, a_scale, b_scale)


def _prepare_compiled(problem: GroupedProblem, inputs: Inputs, backend: str | None = None) -> Call:
    a, b, ends, scales = operands(inputs)
    a_scale, b_scale = scales or (None, None)
    compiled = compile_function(_grouped, backend)
    compiled(a, b, ends, a_scale, b_scale)
    return lambda: compiled(a, b, ends, a_scale, b_scale)


def _no_grouped(problem: GroupedProblem) -> str | None:
    """What ``torch._grouped_mm`` and ``torch._scaled_grouped_mm`` refuse (torch 2.11 and 2.13)."""
    if problem.dtype == "fp16":
        return "torch._grouped_mm takes bf16"
    if not hasattr(torch, "_scaled_grouped_mm"):
        return f"torch {torch.__version__} has no grouped product"
    size = problem.torch_dtype.itemsize
    lengths = problem.K, problem.N if problem.b_layout == "row" else problem.K
    if any(n * size % 16 for n in lengths) or problem.N * 2 % 16:
        return "torch._grouped_mm needs rows of a multiple of 16 bytes"
    if problem.dtype == "fp8" and any(size % 16 for size in group_sizes(problem)):
        return "torch._scaled_grouped_mm needs groups of a multiple of 16 rows"
    return None
