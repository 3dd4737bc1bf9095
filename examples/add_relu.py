"""Your own kernel, from nothing: relu(x + y). Tune it with --kernel examples/add_relu.py:AddRelu"""

from typing import Literal

import torch
import triton
import triton.language as tl

from kernels.defaults import normal
from kernels.spec import Config, KernelSpec, Problem


@triton.jit
def add_relu(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n).to(tl.float32)
    y = tl.load(y_ptr + offsets, mask=offsets < n).to(tl.float32)
    tl.store(out_ptr + offsets, tl.maximum(x + y, 0.0), mask=offsets < n)


class AddReluProblem(Problem):
    dims = ("N",)
    N: int = 1 << 26


class AddReluConfig(Config):
    BLOCK: Literal[256, 512, 1024, 2048, 4096, 8192]
    num_warps: Literal[2, 4, 8, 16]


class AddRelu(KernelSpec):
    name = "add_relu"
    metric = "gbps"
    problem_type = AddReluProblem
    config_type = AddReluConfig

    def inputs(self, problem, generator, device):
        return tuple(normal((problem.N,), problem.torch_dtype, generator, device) for _ in range(2))

    def launch(self, problem, config, inputs, out, hardware):
        grid = (triton.cdiv(problem.N, config.BLOCK),)
        add_relu[grid](*inputs, out, problem.N, BLOCK=config.BLOCK, num_warps=config.num_warps)

    def eager(self, problem, inputs):
        x, y = inputs
        return torch.relu(x + y)
