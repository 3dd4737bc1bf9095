"""``grouped_matmul``: one product for each group of rows, as the experts of a mixture of experts need it.

Tokens are sorted by expert, so that an expert's rows follow one another, and every expert's rows may be padded to a
multiple of ``align``, as serving engines do. C has the rows of A. The group sizes are data on the GPU: ``ends`` holds
the row after each group's last one, the offsets of ``torch._grouped_mm``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from kernels.defaults import shrunk
from kernels.gemm.config import ELEMENT_BYTES
from kernels.gemm.space import accumulator_registers
from kernels.gemm.spec import FP8_DEVIATION, FP8_LARGEST
from kernels.grouped import grouped_launch, space
from kernels.grouped.config import GroupedConfig, GroupedProblem, group_sizes
from kernels.grouped.grouped_products import grouped_baselines, loop, operands, sizes_of
from kernels.hardware import Hardware
from kernels.spec import Baseline, Inputs, KernelSpec


class GroupedMatmul(KernelSpec[GroupedProblem, GroupedConfig]):
    """C[rows of e] = A[rows of e] @ B[e]. Inputs are (A, B, ends); fp8 operands add (scales of A, scales of B)."""

    name = "grouped_matmul"
    aliases = ("grouped gemm", "grouped mm", "moe gemm", "moe matmul", "mixture of experts", "moe")
    problem_type = GroupedProblem
    config_type = GroupedConfig

    def default_config(self, problem: GroupedProblem, hardware: Hardware) -> GroupedConfig:
        return space.default_config(problem, hardware)

    def candidates(self, problem: GroupedProblem, hardware: Hardware) -> Iterator[GroupedConfig]:
        return space.candidates(problem, hardware)

    def promising(self, problem: GroupedProblem, hardware: Hardware) -> list[GroupedConfig]:
        return space.promising(problem, hardware)

    def constraint(self, problem: GroupedProblem, config: GroupedConfig, hardware: Hardware) -> str | None:
        return space.constraint(problem, config, hardware)

    def interpretable(self, config: GroupedConfig) -> str | None:
        if config.family in ("warp_specialized", "trimmed"):
            return f"family {config.family} is written in Gluon, which Triton's interpreter does not run"
        return None

    def inputs(self, problem: GroupedProblem, generator: torch.Generator | None, device: str) -> Inputs:
        """A (M, K), B (E, K, N) with strides (K N, N, 1) or (K N, 1, K), ends (E,) int32. The values are normal, the
        elements of C have variance one. The last rows of a padded group are zero: up to ``align`` - 1 of them. fp8
        operands use the range of e4m3; their scales, (1,) and (E,) or (M,) and (E, N), undo that and vary by a factor
        of two.

        C[0, 0] is about four standard deviations above zero, as in ``Gemm.inputs``: a small C could otherwise be so
        near zero that a relative error means nothing. The group sizes are those of ``group_sizes``, whatever the
        generator draws."""
        p = problem
        fp8 = p.dtype == "fp8"
        deviation = FP8_DEVIATION if fp8 else p.K**-0.25
        across = (p.E, p.N, p.K) if p.b_layout == "col" else (p.E, p.K, p.N)
        scale_shapes = ((p.M,), (p.E, p.N)) if p.scales == "row" else ((1,), (p.E,))
        if device == "meta":
            a = torch.empty((p.M, p.K), dtype=p.torch_dtype, device=device)
            b = torch.empty(across, dtype=p.torch_dtype, device=device)
            b = b.transpose(1, 2) if p.b_layout == "col" else b
            ends = torch.empty((p.E,), dtype=torch.int32, device=device)
            scales = [torch.empty(s, device=device) for s in scale_shapes] if fp8 else []
            return (a, b, ends, *scales)

        def normal(*shape: int) -> torch.Tensor:
            drawn = torch.randn(shape, generator=generator, device=device).mul_(deviation)
            return drawn.clamp_(-FP8_LARGEST, FP8_LARGEST) if fp8 else drawn

        a = normal(p.M, p.K)
        # One matrix at a time: all of B in fp32 may need several times the memory of B.
        b = torch.stack([normal(*across[1:]).to(p.torch_dtype) for _ in range(p.E)])
        b = b.transpose(1, 2) if p.b_layout == "col" else b
        sizes = group_sizes(p)
        ends = torch.tensor(sizes, dtype=torch.int32).cumsum(0, dtype=torch.int32).to(device)
        if p.align > 1:
            padding = torch.randint(p.align, (p.E,), generator=generator, device=device)
            row = torch.arange(p.M, device=device)
            group = torch.searchsorted(ends, row, right=True)
            a[row >= ends[group] - padding[group]] = 0
        positive = min(p.K, 6 * math.isqrt(p.K))
        first = next(group for group, size in enumerate(sizes) if size)
        a[0, :positive] = torch.copysign(a[0, :positive], b[first, :positive, 0].float())
        a = a.to(p.torch_dtype)
        if not fp8:
            return a, b, ends
        varied = [torch.rand(s, generator=generator, device=device) * 2**0.5 + 2**-0.5 for s in scale_shapes]
        return (a, b, ends, *(v * (p.K**-0.25 / FP8_DEVIATION) for v in varied))

    def output(self, problem: GroupedProblem, device: str) -> torch.Tensor:
        """An empty result (M, N), row-major."""
        return torch.empty((problem.M, problem.N), dtype=problem.result_dtype, device=device)

    def launch(
        self, problem: GroupedProblem, config: GroupedConfig, inputs: Inputs, out: torch.Tensor, hardware: Hardware
    ) -> None:
        a, b, ends, scales = operands(inputs)
        grouped_launch.launch_grouped(problem, config, a, b, ends, scales, out, hardware)

    def eager(self, problem: GroupedProblem, inputs: Inputs) -> torch.Tensor:
        """A loop over the groups; it waits for their sizes."""
        ends = operands(inputs)[2]
        return loop(problem, inputs, group_sizes(problem) if ends.is_meta else sizes_of(ends))

    def reference(self, problem: GroupedProblem, inputs: Inputs) -> torch.Tensor:
        a, b, ends, scales = operands(inputs)
        out = torch.empty((problem.M, problem.N), dtype=torch.float64, device=a.device)
        start = 0
        for group, size in enumerate(group_sizes(problem) if ends.is_meta else sizes_of(ends)):
            rows = slice(start, start + size)
            start += size
            out[rows] = a[rows].double() @ b[group].double()
            if scales is not None:
                per_row = problem.scales == "row"
                out[rows] *= scales[0][rows, None].double() if per_row else scales[0].double()
                out[rows] *= scales[1][group].double()
        return out

    def tolerance(self, problem: GroupedProblem) -> float:
        """That of a matmul with the same K and dtype, because every element of C is one of its (``Gemm.tolerance``
        derives it): the rounding of the result, u = 2^-11 (fp16) or 2^-8; K/8 truncations of 2^-24 in tensor cores and
        random errors of 4 sqrt(K) * 2^-24; for fp8, K/32 cuts of the accumulator of 2^-14 and 33 K/32 cuts of either
        sign, 4 sqrt(11 K/32) * 2^-13; a sixteenth for second-order terms, and 8 * 2^-24."""
        accumulation = (problem.K / 8 + 4 * math.sqrt(problem.K)) * 2.0**-24
        if problem.dtype == "fp8":
            cuts = math.ceil(problem.K / 32)
            accumulation = cuts * 2.0**-14 + 4 * math.sqrt(11 * cuts) * 2.0**-13
        unit = 2.0**-11 if problem.dtype == "fp16" else 2.0**-8
        return (unit + accumulation) * (1 + 1 / 16) + 8 * 2.0**-24

    def flops(self, problem: GroupedProblem) -> int:
        """2 M N K, padding included."""
        return 2 * problem.M * problem.N * problem.K

    def bytes(self, problem: GroupedProblem) -> int:
        """A, the ends and B of every group that has rows read once, C written once."""
        p = problem
        used = sum(1 for size in group_sizes(p) if size)
        moved = p.torch_dtype.itemsize * (p.M * p.K + used * p.N * p.K) + ELEMENT_BYTES * p.M * p.N + 4 * p.E
        if p.dtype == "fp8":
            moved += 4 * (p.M + used * p.N if p.scales == "row" else 1 + used)
        return moved

    def baselines(self, problem: GroupedProblem) -> list[Baseline[GroupedProblem]]:
        return grouped_baselines(problem)

    def reduced(self, problem: GroupedProblem, config: GroupedConfig) -> GroupedProblem:
        """A smaller problem: up to four groups of about two tiles of rows, two tiles along N and three steps along K,
        with the true shape's remainders."""
        p, c = problem, config
        groups = min(p.E, 4)
        step = max(c.BLOCK_M, p.align)
        return p.model_copy(
            update={
                "E": groups,
                "M": shrunk(p.M, step, max(2, min(2 * groups, 512 // step))),
                "N": shrunk(p.N, c.BLOCK_N, 2),
                "K": shrunk(p.K, c.BLOCK_K, 3),
            }
        )

    def registers(self, config: GroupedConfig) -> int:
        return accumulator_registers(config.as_gemm())

    def parse_problem(self, shape: tuple[int, ...] | None, options: dict[str, Any]) -> GroupedProblem:
        """As for every kernel. A number of rows that ``align`` does not divide means groups without padding, unless
        ``align`` is given."""
        rows = shape[0] if shape else options.get("M")
        ragged = isinstance(rows, int) and rows % GroupedProblem.model_fields["align"].default
        return super().parse_problem(shape, {**({"align": 1} if ragged else {}), **options})
