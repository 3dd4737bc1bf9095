"""What ``matmul`` and ``fused_matmul`` have in common as tunable kernels: inputs, reference, tolerance, work, space."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import torch

from kernels import activations, gemm, gemm_space
from kernels.activations import Activation, activate_torch
from kernels.gemm_space import ELEMENT_BYTES, GemmConfig, GemmProblem
from kernels.hardware import Hardware
from kernels.spec import Inputs, KernelSpec

GP = TypeVar("GP", bound=GemmProblem)


class Gemm(KernelSpec[GP, GemmConfig]):
    """C = act(A @ B + bias). Inputs are (A, B, bias or None) in the order of the formula."""

    config_type = GemmConfig
    mends_bf16 = True

    def activation(self, problem: GP) -> Activation:
        return "none"

    def has_bias(self, problem: GP) -> bool:
        return False

    def default_config(self, problem: GP, hardware: Hardware) -> GemmConfig:
        """A 128x128 tile with operands by descriptor where the hardware has them, by pointer where not; smaller tiles
        for smaller problems. The last choice breaks no constraint on any problem."""
        choices = [
            GemmConfig(family=family, BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk, GROUP_M=8, num_warps=warps, num_stages=stages)
            for family in ("tma", "pointer")
            for bm, bn, bk, warps, stages in (
                (128, 128, 64, 8, 3),
                (64, 128, 64, 4, 3),
                (128, 64, 64, 4, 3),
                (64, 64, 32, 4, 2),
            )
        ]
        return next(c for c in choices if self.constraint(problem, c, hardware) is None)

    def candidates(self, problem: GP, hardware: Hardware) -> Iterator[GemmConfig]:
        return gemm_space.candidates(problem, hardware)

    def constraint(self, problem: GP, config: GemmConfig, hardware: Hardware) -> str | None:
        return gemm_space.constraint(problem, config, hardware)

    def inputs(self, problem: GP, generator: torch.Generator | None, device: str) -> Inputs:
        """A (M, K), B (K, N) with strides (N, 1) or (1, K), bias (N,) or None; normal, with elements of C of variance
        one before the activation, so that fp16 overflows for no K.

        C[0, 0] is made to lie about four standard deviations above zero: products of its first 6 sqrt(K) terms get a
        positive sign. A large C holds elements as large anyway; a small one (1x1, say) could otherwise be all zero
        after a relu, or so small that a relative error means nothing."""
        M, N, K = problem.M, problem.N, problem.K
        column_major = problem.b_layout == "col"

        def normal(*shape: int, scale: float) -> torch.Tensor:
            if device == "meta":
                return torch.empty(shape, dtype=problem.torch_dtype, device=device)
            return torch.randn(shape, generator=generator, device=device).mul_(scale).to(problem.torch_dtype)

        a = normal(M, K, scale=K**-0.25)
        b = normal(N, K, scale=K**-0.25).T if column_major else normal(K, N, scale=K**-0.25)
        bias = normal(N, scale=1.0) if self.has_bias(problem) else None
        positive = min(K, 6 * math.isqrt(K))
        a[0, :positive] = torch.copysign(a[0, :positive], b[:positive, 0])
        if bias is not None:
            bias[0].abs_()
        return a, b, bias

    def output(self, problem: GP, device: str) -> torch.Tensor:
        """(M, N), row-major."""
        return torch.empty((problem.M, problem.N), dtype=problem.torch_dtype, device=device)

    def launch(self, problem: GP, config: GemmConfig, inputs: Inputs, out: torch.Tensor, hardware: Hardware) -> None:
        a, b, bias = inputs
        assert a is not None
        assert b is not None
        gemm.launch_gemm(a, b, bias, out, self.activation(problem), config, hardware)

    def reference(self, problem: GP, inputs: Inputs) -> torch.Tensor:
        a, b, bias = inputs
        assert a is not None
        assert b is not None
        c = a.double() @ b.double()
        if bias is not None:
            c += bias.double()
        return activate_torch(c, self.activation(problem))

    def tolerance(self, problem: GP) -> float:
        """Three honest errors, each relative to max|ref|:

        - the final rounding: u = 2^-11 (fp16) or 2^-8 (bf16), half a unit in the last place. It is most of the sum;
        - the fp32 accumulation. Products of two fp16 or bf16 numbers are exact in fp32. Tensor cores truncate when they
          add a block of at least 8 products to the accumulator (Fasi, Higham, Mikaitis and Pranesh 2021), half a unit
          of 2^-23 on average and always towards zero: K/8 * 2^-24. What is random in it, and rounding to nearest
          elsewhere, grows with the root: 4 sqrt(K) * 2^-24 (Higham and Mary 2019, with lambda = 4);
        - a bias, an activation of slope up to 1.13 and the second-order terms: 1/16 of the above, and 8 * 2^-24.

        Accumulating in fp16 errs by about u sqrt(K/16) / 3 and more, which passes 2 u from K = 1024 on; leaving out a
        share s of K errs by sqrt(s)."""
        unit = 2.0**-11 if problem.dtype == "fp16" else 2.0**-8
        accumulation = (problem.K / 8 + 4 * math.sqrt(problem.K)) * 2.0**-24
        return (unit + accumulation) * (1 + 1 / 16) + 8 * 2.0**-24

    def flops(self, problem: GP) -> int:
        """2 M N K; the epilogue is not counted."""
        return 2 * problem.M * problem.N * problem.K

    def bytes(self, problem: GP) -> int:
        M, N, K = problem.M, problem.N, problem.K
        return ELEMENT_BYTES * (M * K + K * N + M * N + (N if self.has_bias(problem) else 0))

    def reduced(self, problem: GP, config: GemmConfig) -> GP:
        """Up to two tiles along M and N and three along K, the last one as ragged as the true shape's. Remainders
        modulo the tile are kept, so a shape that descriptors accept stays one."""
        return problem.model_copy(
            update={
                "M": _shrunk(problem.M, config.BLOCK_M, 2),
                "N": _shrunk(problem.N, config.BLOCK_N, 2),
                "K": _shrunk(problem.K, config.BLOCK_K, 3),
            }
        )

    def registers(self, config: GemmConfig) -> int:
        return gemm_space.accumulator_registers(config)

    def source_hash(self) -> str:
        """Covers the shared files as well as the kernel's own."""
        files = [m.__file__ for m in (gemm, gemm_space, activations)]
        text = b"".join(Path(f).read_bytes() for f in files if f is not None)
        return hashlib.sha256(super().source_hash().encode() + text).hexdigest()[:16]


def _shrunk(size: int, block: int, most: int) -> int:
    """The longest length of at most `most` blocks that ends like `size` does."""
    return size if size <= most * block else (most - 1) * block + (size % block or block)
