"""``attention_backward``: the gradients of ``attention`` for q, k and v, from its result, the logarithms of its sums
and the result's gradient. Source and launch are in ``kernels/attention_backward/backward_launch.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch

from kernels.attention.space import ELEMENT_BYTES, AttentionProblem
from kernels.attention.spec import SHARPNESS
from kernels.attention_backward import backward_launch, space
from kernels.attention_backward.backward_passes import backward_baselines, by_formula, by_library, forward
from kernels.attention_backward.space import AttentionBackwardConfig
from kernels.defaults import UNIT, normal, shrunk
from kernels.hardware import Hardware
from kernels.spec import Baseline, Inputs, KernelSpec

Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class AttentionBackward(KernelSpec[AttentionProblem, AttentionBackwardConfig]):
    """Self-attention, backward. Inputs are (q, k, v, out, lse, dout), results (dq, dk, dv)."""

    name = "attention_backward"
    aliases = ("attention backward", "backward attention", "flash attention backward", "sdpa backward")
    problem_type = AttentionProblem
    config_type = AttentionBackwardConfig
    deterministic = False
    """The families ``fused`` and ``warp_specialized`` add to dq in no fixed order."""

    def default_config(self, problem: AttentionProblem, hardware: Hardware) -> AttentionBackwardConfig:
        return space.default_config(problem, hardware)

    def candidates(self, problem: AttentionProblem, hardware: Hardware) -> Iterator[AttentionBackwardConfig]:
        return space.candidates(problem, hardware)

    def promising(self, problem: AttentionProblem, hardware: Hardware) -> list[AttentionBackwardConfig]:
        return space.promising(problem, hardware)

    def constraint(self, problem: AttentionProblem, config: AttentionBackwardConfig, hardware: Hardware) -> str | None:
        return space.constraint(problem, config, hardware)

    def interpretable(self, config: AttentionBackwardConfig) -> str | None:
        if config.family == "warp_specialized":
            return "family warp_specialized is written in Gluon, which Triton's interpreter does not run"
        if config.family == "fused":
            return "family fused adds by descriptor, which Triton's interpreter does not do"
        return None

    def inputs(self, problem: AttentionProblem, generator: torch.Generator | None, device: str) -> Inputs:
        """q (B, H, S, D) normal with standard deviation 3; k, v (B, H / GROUP, S, D) and dout (B, H, S, D) standard
        normal; out (B, H, S, D) and lse (B, H, S) fp32, the natural logarithms of the softmax's sums, as the forward
        pass leaves them."""
        p = problem
        whole, shared = (p.B, p.H, p.S, p.D), (p.B, p.H // p.GROUP, p.S, p.D)
        q = normal(whole, p.torch_dtype, generator, device, scale=SHARPNESS)
        k = normal(shared, p.torch_dtype, generator, device)
        v = normal(shared, p.torch_dtype, generator, device)
        dout = normal(whole, p.torch_dtype, generator, device)
        out, lse = forward(p, q, k, v)
        return q, k, v, out, lse, dout

    def output(self, problem: AttentionProblem, device: str) -> torch.Tensor:
        """Empty gradients of q, k and v."""
        p = problem
        shapes = ((p.B, p.H, p.S, p.D), *((p.B, p.H // p.GROUP, p.S, p.D),) * 2)
        made = tuple(torch.empty(shape, dtype=p.torch_dtype, device=device) for shape in shapes)
        return cast(torch.Tensor, made)

    def launch(
        self,
        problem: AttentionProblem,
        config: AttentionBackwardConfig,
        inputs: Inputs,
        out: torch.Tensor,
        hardware: Hardware,
    ) -> None:
        names = ("q", "k", "v", "out", "lse", "dout")
        given = {name: t for name, t in zip(names, inputs, strict=True) if t is not None}
        backward_launch.launch_backward(problem, config, given, cast(Gradients, out))

    def eager(self, problem: AttentionProblem, inputs: Inputs) -> torch.Tensor:
        """What autograd calls for scaled_dot_product_attention with FlashAttention-2 on a GPU; elsewhere the formula in
        fp32."""
        first = inputs[0]
        assert first is not None
        found = by_library(problem, inputs) if first.is_cuda else by_formula(problem, inputs, torch.float32)
        return cast(torch.Tensor, tuple(t.to(first.dtype) for t in found))

    def reference(self, problem: AttentionProblem, inputs: Inputs) -> torch.Tensor:
        return cast(torch.Tensor, by_formula(problem, inputs, torch.float64))

    def tolerance(self, problem: AttentionProblem) -> float:
        """The sum of: the roundings, of u = 2^-11 (fp16) or 2^-8 (bf16) each, of the weights or their gradients before
        the second product (which averages them), of ``out`` in delta, and of the result; the errors of the exponential
        of scores of about 20 to the base 2, 20 * 2^-23 + sqrt(D) * 2^-24, and of lse, which is fp32, 20 * 2^-24, twice,
        because dS has a weight and a difference; sqrt(S GROUP) * 2^-24 for the sums; and a sixteenth of u."""
        unit = UNIT[problem.dtype]
        sums = math.sqrt(problem.S * problem.GROUP)
        return unit * (3 + 1 / 16) + (2 * (60 + math.sqrt(problem.D)) + sums) * 2.0**-24

    def flops(self, problem: AttentionProblem) -> int:
        """Five products of 2 D operations over all pairs of a query and a key that it attends to, the fewest that do
        it. The softmax is not counted."""
        p = problem
        pairs = p.S * (p.S + 1) // 2 if p.causal else p.S * p.S
        return 10 * p.B * p.H * p.D * pairs

    def bytes(self, problem: AttentionProblem) -> int:
        """q, k, v, out, dout and lse read once, three gradients written once."""
        p = problem
        return p.B * p.S * (ELEMENT_BYTES * p.D * (4 * p.H + 4 * (p.H // p.GROUP)) + 4 * p.H)

    def baselines(self, problem: AttentionProblem) -> list[Baseline[AttentionProblem]]:
        return backward_baselines(self.eager)

    def reduced(self, problem: AttentionProblem, config: AttentionBackwardConfig) -> AttentionProblem:
        """A smaller problem: one sequence, two heads of keys, and up to three of the largest block along S, with the
        true shape's remainder."""
        p, c = problem, config
        block = max(c.BLOCK_KV, c.BLOCK_Q, *((c.DQ_BLOCK_Q, c.DQ_BLOCK_KV) if c.family in ("pointer", "tma") else ()))
        heads = min(p.H, 2 * p.GROUP)
        return p.model_copy(update={"B": 1, "H": heads, "S": shrunk(p.S, block, 2)})
