"""``fused_matmul``: C = act(A @ B + bias) in one kernel. Its source and its space are in ``kernels/gemm/``."""

from __future__ import annotations

from kernels.gemm.baselines import matmul_baselines
from kernels.gemm.config import GemmProblem
from kernels.gemm.spec import Gemm
from kernels.spec import Baseline
from kernels.triton.activations import Activation


class FusedMatmulProblem(GemmProblem):
    """C (M, N) = act(A (M, K) @ B (K, N) + bias (N))."""

    activation: Activation = "none"
    bias: bool = False


class FusedMatmul(Gemm[FusedMatmulProblem]):
    """A matmul whose epilogue runs on the accumulators, before C is written."""

    name = "fused_matmul"
    aliases = ("fused", "fused gemm", "linear", "matmul with epilogue")
    problem_type = FusedMatmulProblem

    def default_problem(self) -> FusedMatmulProblem:
        return FusedMatmulProblem(M=4096, N=4096, K=4096, activation="leaky_relu")

    def activation(self, problem: FusedMatmulProblem) -> Activation:
        return problem.activation

    def has_bias(self, problem: FusedMatmulProblem) -> bool:
        return problem.bias

    def baselines(self, problem: FusedMatmulProblem) -> list[Baseline[FusedMatmulProblem]]:
        return matmul_baselines(problem, problem.activation, problem.bias)
