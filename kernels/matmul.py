"""``matmul``: C = A @ B, accumulated in fp32. Its source and its space are in ``kernels/gemm/``."""

from __future__ import annotations

from kernels.gemm.baselines import matmul_baselines
from kernels.gemm.config import GemmProblem
from kernels.gemm.spec import Gemm
from kernels.spec import Baseline


class MatmulProblem(GemmProblem):
    """C (M, N) = A (M, K) @ B (K, N)."""


class Matmul(Gemm[MatmulProblem]):
    """The matmul alone: how far a Triton kernel is from cuBLAS."""

    name = "matmul"
    aliases = ("gemm", "mm", "matrix multiplication")
    problem_type = MatmulProblem

    def default_problem(self) -> MatmulProblem:
        return MatmulProblem(M=4096, N=4096, K=4096)

    def baselines(self, problem: MatmulProblem) -> list[Baseline[MatmulProblem]]:
        return matmul_baselines(problem, "none", bias=False)
