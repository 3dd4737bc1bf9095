"""A kernel that has @triton.autotune already: scale * x + bias per column, with its own configs as the space.

Tune it with --kernel examples/autotuned_scale.py:Scale"""

import triton
import triton.language as tl

from kernels.autotuned import AutotunedKernel, configs_of
from kernels.defaults import normal
from kernels.spec import Problem


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": m, "BLOCK_N": n}, num_warps=w)
        for m in (1, 4, 16)
        for n in (256, 1024)
        for w in (4, 8)
    ],
    key=["M", "N"],
)
@triton.jit
def scale_bias(x_ptr, scale_ptr, bias_ptr, out_ptr, M, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    cols = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    inside = (rows < M) & (cols < N)
    x = tl.load(x_ptr + rows * N + cols, mask=inside).to(tl.float32)
    scale = tl.load(scale_ptr + cols, mask=cols < N).to(tl.float32)
    bias = tl.load(bias_ptr + cols, mask=cols < N).to(tl.float32)
    tl.store(out_ptr + rows * N + cols, x * scale + bias, mask=inside)


class ScaleProblem(Problem):
    dims = ("M", "N")
    M: int = 16384
    N: int = 4096


class Scale(AutotunedKernel):
    name = "scale_bias"
    metric = "gbps"
    kernel = scale_bias
    problem_type = ScaleProblem
    config_type = configs_of(scale_bias)

    def inputs(self, problem, generator, device):
        shapes = (problem.M, problem.N), (problem.N,), (problem.N,)
        return tuple(normal(s, problem.torch_dtype, generator, device) for s in shapes)

    def arguments(self, problem, inputs, out):
        return (*inputs, out, problem.M, problem.N)

    def grid(self, problem, meta):
        return triton.cdiv(problem.M, meta["BLOCK_M"]), triton.cdiv(problem.N, meta["BLOCK_N"])

    def eager(self, problem, inputs):
        x, scale, bias = inputs
        return x * scale + bias
