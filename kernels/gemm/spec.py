"""The base of the specs of ``matmul`` and ``fused_matmul``: inputs, reference, tolerance, operation counts, space."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import torch

from kernels.defaults import shrunk
from kernels.gemm import launch, space
from kernels.gemm.baselines import operands
from kernels.gemm.config import ELEMENT_BYTES, GemmConfig, GemmProblem, cdiv
from kernels.hardware import Hardware
from kernels.spec import Inputs, KernelSpec
from kernels.triton.activations import Activation, activate_torch

GP = TypeVar("GP", bound=GemmProblem)

FP8_LARGEST = 448.0
"""Largest e4m3 number (OCP 8-bit floating point specification 1.0, table 1)."""
FP8_DEVIATION = 64.0
"""Standard deviation of fp8 operands. The largest number is seven standard deviations."""


class Gemm(KernelSpec[GP, GemmConfig]):
    """C = act(A @ B + bias). Inputs are (A, B, bias or None) in the order of the formula; with fp8 operands
    (A, B, bias or None, scale of A, scale of B) and C = act((A @ B) * scales + bias)."""

    config_type = GemmConfig

    def activation(self, problem: GP) -> Activation:
        return "none"

    def has_bias(self, problem: GP) -> bool:
        return False

    def default_config(self, problem: GP, hardware: Hardware) -> GemmConfig:
        """A 128x128 tile, or smaller tiles for smaller problems. Operands are loaded by descriptor if the hardware has
        descriptors, else by pointer. The last choice breaks no constraint on any problem, unless the hardware has no
        fp8.

        Raises ValueError for an fp8 problem on hardware without fp8."""
        size = problem.torch_dtype.itemsize
        choices = [
            GemmConfig.model_validate(
                {"family": family, "BLOCK_M": bm, "BLOCK_N": bn, "BLOCK_K": bk * ELEMENT_BYTES // size, "GROUP_M": 8}
                | {"num_warps": warps, "num_stages": stages}
            )
            for family in ("tma", "pointer")
            for bm, bn, bk, warps, stages in (
                (128, 128, 64, 8, 3),
                (64, 128, 64, 4, 3),
                (128, 64, 64, 4, 3),
                (64, 64, 32, 4, 2),
            )
        ]
        reasons = {c: self.constraint(problem, c, hardware) for c in choices}
        sound = next((c for c, reason in reasons.items() if reason is None), None)
        if sound is None:
            raise ValueError(f"no config fits {problem.label()}: {reasons[choices[-1]]}")
        return sound

    def parse_problem(self, shape: tuple[int, ...] | None, options: dict[str, Any]) -> GP:
        """As for every kernel. fp8 implies ``b_layout`` col, the only layout that fp8 supports."""
        implied = {"b_layout": "col"} if options.get("dtype") == "fp8" else {}
        return super().parse_problem(shape, {**implied, **options})

    def interpretable(self, config: GemmConfig) -> str | None:
        if config.family == "warp_specialized":
            return "family warp_specialized is written in Gluon, which Triton's interpreter does not run"
        return None

    def candidates(self, problem: GP, hardware: Hardware) -> Iterator[GemmConfig]:
        return space.candidates(problem, hardware)

    def constraint(self, problem: GP, config: GemmConfig, hardware: Hardware) -> str | None:
        return space.constraint(problem, config, hardware)

    def inputs(self, problem: GP, generator: torch.Generator | None, device: str) -> Inputs:
        """A (M, K), B (K, N) with strides (N, 1) or (1, K), bias (N,) or None. The values are normal. The elements of C
        have variance one before the activation, so that fp16 overflows for no K. fp8 operands use the range of e4m3.
        Their scales, (1,) each or (M,) and (N,), undo that and vary by a factor of two.

        C[0, 0] is about four standard deviations above zero, because the products of its first 6 sqrt(K) terms get a
        positive sign. A large C has such elements anyway. A small C (1x1, say) could otherwise be all zero after a
        relu, or so small that a relative error means nothing."""
        M, N, K = problem.M, problem.N, problem.K
        column_major, fp8 = problem.b_layout == "col", problem.dtype == "fp8"
        deviation = FP8_DEVIATION if fp8 else K**-0.25

        def normal(*shape: int, scale: float, dtype: torch.dtype) -> torch.Tensor:
            if device == "meta":
                return torch.empty(shape, dtype=dtype, device=device)
            drawn = torch.randn(shape, generator=generator, device=device).mul_(scale)
            return (drawn.clamp_(-FP8_LARGEST, FP8_LARGEST) if fp8 else drawn).to(dtype)

        def scale(rows: int) -> torch.Tensor:
            shape = (rows if problem.scales == "row" else 1,)
            if device == "meta":
                return torch.empty(shape, device=device)
            varied = torch.rand(shape, generator=generator, device=device) * 2**0.5 + 2**-0.5
            return varied * (K**-0.25 / FP8_DEVIATION)

        a = normal(M, K, scale=deviation, dtype=problem.torch_dtype)
        across = (N, K) if column_major else (K, N)
        b = normal(*across, scale=deviation, dtype=problem.torch_dtype)
        b = b.T if column_major else b
        bias = normal(N, scale=1.0, dtype=problem.result_dtype) if self.has_bias(problem) else None
        positive = min(K, 6 * math.isqrt(K))
        a[0, :positive] = torch.copysign(a[0, :positive].float(), b[:positive, 0].float()).to(a.dtype)
        if bias is not None:
            bias[0].abs_()
        return (a, b, bias, scale(M), scale(N)) if fp8 else (a, b, bias)

    def output(self, problem: GP, device: str) -> torch.Tensor:
        """An empty result (M, N), row-major."""
        return torch.empty((problem.M, problem.N), dtype=problem.result_dtype, device=device)

    def launch(self, problem: GP, config: GemmConfig, inputs: Inputs, out: torch.Tensor, hardware: Hardware) -> None:
        a, b, bias, scales = operands(inputs)
        launch.launch_gemm(a, b, bias, out, self.activation(problem), config, hardware, scales)

    def reference(self, problem: GP, inputs: Inputs) -> torch.Tensor:
        a, b, bias, scales = operands(inputs)
        c = a.double() @ b.double()
        if scales is not None:
            c *= scales[0].double()[:, None] * scales[1].double()[None, :]
        if bias is not None:
            c += bias.double()
        return activate_torch(c, self.activation(problem))

    def tolerance(self, problem: GP) -> float:
        """The sum of three errors that a correct kernel makes, each relative to max|ref|:

        - the final rounding: u = 2^-11 (fp16) or 2^-8 (bf16), half a unit in the last place. It is most of the sum;
        - the fp32 accumulation. Products of two fp16 or bf16 numbers are exact in fp32. Tensor cores truncate when they
          add a block of at least 8 products to the accumulator (Fasi, Higham, Mikaitis and Pranesh 2021), half a unit
          of 2^-23 on average and always towards zero: K/8 * 2^-24. The random part of this error, and rounding to
          nearest elsewhere, grow with the root: 4 sqrt(K) * 2^-24 (Higham and Mary 2019, with lambda = 4);
        - a bias, an activation of slope up to 1.13 and the second-order terms: 1/16 of the above, and 8 * 2^-24.

        A wrong kernel exceeds the tolerance: accumulating in fp16 errs by at least about u sqrt(K/16) / 3, which is
        more than 2 u from K = 1024 on, and leaving out a share s of K errs by sqrt(s).

        fp8: Hopper's tensor core aligns the 32 products of an instruction and the accumulator to the largest of them
        and cuts them off 13 bits below it: 14 significant bits, an accumulator of 22 (DeepSeek-V3 technical report,
        section 3.5.2; SageAttention2, section 3.2). cuBLAS with fast accumulation and Triton by default accept this
        precision, and so do these kernels. The second term is then K/32 cuts of the accumulator, always towards zero,
        half a unit of 2^-13 each, and 33 K/32 cuts of either sign, of at most 2^-13 and 2^-13 / sqrt(3) in the mean
        square: (K/32) 2^-14 + 4 sqrt(33 K/32 / 3) 2^-13, as if the accumulator were as large as max|ref| from the first
        step on. The scales are two more roundings in fp32."""
        unit = 2.0**-11 if problem.dtype == "fp16" else 2.0**-8
        accumulation = (problem.K / 8 + 4 * math.sqrt(problem.K)) * 2.0**-24
        if problem.dtype == "fp8":
            cuts = math.ceil(problem.K / 32)
            accumulation = cuts * 2.0**-14 + 4 * math.sqrt(11 * cuts) * 2.0**-13
        return (unit + accumulation) * (1 + 1 / 16) + 8 * 2.0**-24

    def flops(self, problem: GP) -> int:
        """2 M N K; the epilogue is not counted."""
        return 2 * problem.M * problem.N * problem.K

    def bytes(self, problem: GP) -> int:
        M, N, K = problem.M, problem.N, problem.K
        moved = problem.torch_dtype.itemsize * (M * K + K * N)
        moved += ELEMENT_BYTES * (M * N + (N if self.has_bias(problem) else 0))
        if problem.dtype == "fp8":
            moved += 4 * (M + N if problem.scales == "row" else 2)
        return moved

    def reduced(self, problem: GP, config: GemmConfig) -> GP:
        """A smaller problem: up to two tiles along M and N and, along K, three for each program that shares the range.
        Remainders modulo the tile are kept. The last tile is therefore cut like that of the true shape, and a shape
        that descriptors accept stays one.

        ``stream_k`` takes four tiles along N, or two. On three SMs, as in the interpreter, eight tiles are three whole
        tiles and five streamed tiles, two of which are shared. With three or six tiles none would be streamed."""
        across = 4 if config.family == "stream_k" and cdiv(problem.N, config.BLOCK_N) > 3 else 2
        return problem.model_copy(
            update={
                "M": shrunk(problem.M, config.BLOCK_M, 2),
                "N": shrunk(problem.N, config.BLOCK_N, across),
                "K": shrunk(problem.K, config.BLOCK_K, 3 * config.SPLIT_K),
            }
        )

    def registers(self, config: GemmConfig) -> int:
        return space.accumulator_registers(config)
