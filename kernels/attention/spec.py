"""``attention``: out = softmax(q k^T / sqrt(D)) v per head, causal or not, with shared key/value heads (GQA).

It is the online softmax of FlashAttention-2 (Dao 2023). A program holds BLOCK_M queries and goes over the keys: first
over blocks that every query attends to, then over blocks that the diagonal or the end cuts. The scale of the scores
includes log2(e), so that the exponential is one exp2. The weights are rounded to the problem's dtype for the second
product. Both products accumulate in fp32.

q and out are (B, H, S, D), k and v (B, H / GROUP, S, D), all contiguous.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.attention import space
from kernels.attention.space import ELEMENT_BYTES, AttentionConfig, AttentionProblem
from kernels.defaults import UNIT, normal, shrunk
from kernels.gemm.tiles import multiply_add, rounded
from kernels.hardware import Hardware
from kernels.spec import Baseline, Inputs, KernelSpec

SHARPNESS = 3.0
"""Standard deviation of the scores. At 1, the weights of a long row would be similar and its result nearly zero, so the
error of leaving out a block of keys would be too small to detect."""


@triton.jit
def load_rows(source, row, end, D: tl.constexpr, BLOCK: tl.constexpr, TMA: tl.constexpr):
    """BLOCK rows of D elements from `row` on. Rows from `end` on are zero; by descriptor they are the data that
    follow."""
    if TMA:
        tile = source.load([row, 0])
    else:
        rows = row + tl.arange(0, BLOCK)
        at = rows.to(tl.int64)[:, None] * D + tl.arange(0, D)[None, :]
        tile = tl.load(source + at, mask=rows[:, None] < end, other=0.0)
    return tile


@triton.jit
def attend(
    acc,
    total,
    top,
    q,
    k_source,
    v_source,
    first,
    queries,
    lo,
    hi,
    S,
    scale,
    CAUSAL: tl.constexpr,
    CUT: tl.constexpr,
    TMA: tl.constexpr,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Add the keys [lo, hi) of the head whose rows start at `first` to the result. CUT means that some may be
    masked."""
    for start in tl.range(lo, hi, BLOCK_N):
        k = load_rows(k_source, first + start, first + S, D, BLOCK_N, TMA)
        scores = multiply_add(q, k.T, tl.zeros((BLOCK_M, BLOCK_N), tl.float32))
        if CUT:
            keys = start + tl.arange(0, BLOCK_N)
            seen = keys[None, :] < S
            if CAUSAL:
                seen = seen & (keys[None, :] <= queries[:, None])
            scores = tl.where(seen, scores, -float("inf"))
        # The first block holds key 0, to which every query attends, so the maximum is finite from then on.
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp2(scores * scale - (higher * scale)[:, None])  # one fused multiply-add per element
        shrink = tl.exp2((top - higher) * scale)
        total = total * shrink + tl.sum(weights, 1)
        v = load_rows(v_source, first + start, first + S, D, BLOCK_N, TMA)
        acc = multiply_add(rounded(weights, v.dtype), v, acc * shrink[:, None])
        top = higher
    return acc, total, top


@triton.jit
def attention_forward(
    q_source,
    k_source,
    v_source,
    out_ptr,
    H,
    S,
    scale,
    GROUP: tl.constexpr,
    CAUSAL: tl.constexpr,
    TMA: tl.constexpr,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """One program per BLOCK_M queries of a head. A head's programs are consecutive, so that they share keys in L2."""
    blocks = tl.cdiv(S, BLOCK_M)
    head = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    if CAUSAL:
        block = blocks - 1 - block  # the longest tiles first, so that the last ones are short
    query = block * BLOCK_M
    queries = query + tl.arange(0, BLOCK_M)
    # Heads are numbered over the batch: H of them, H / GROUP of keys and values.
    first = (head // H * (H // GROUP) + head % H // GROUP) * S
    q = load_rows(q_source, head * S + query, head * S + S, D, BLOCK_M, TMA)

    acc = tl.zeros((BLOCK_M, D), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    top = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    end = tl.minimum(query + BLOCK_M, S) if CAUSAL else S
    whole = (query if CAUSAL else S) // BLOCK_N * BLOCK_N
    acc, total, top = attend(
        acc, total, top, q, k_source, v_source, first, queries, 0, whole, S, scale,
        CAUSAL, False, TMA, D, BLOCK_M, BLOCK_N,
    )  # fmt: skip
    acc, total, top = attend(
        acc, total, top, q, k_source, v_source, first, queries, whole, end, S, scale,
        CAUSAL, True, TMA, D, BLOCK_M, BLOCK_N,
    )  # fmt: skip

    at = (head * S + queries).to(tl.int64)[:, None] * D + tl.arange(0, D)[None, :]
    out = rounded(acc / total[:, None], out_ptr.dtype.element_ty)
    tl.store(out_ptr + at, out, mask=queries[:, None] < S)


class Attention(KernelSpec[AttentionProblem, AttentionConfig]):
    """Self-attention, forward. Inputs are (q, k, v)."""

    name = "attention"
    aliases = ("flash attention", "flashattention", "sdpa")
    problem_type = AttentionProblem
    config_type = AttentionConfig

    def default_config(self, problem: AttentionProblem, hardware: Hardware) -> AttentionConfig:
        return space.default_config(problem, hardware)

    def candidates(self, problem: AttentionProblem, hardware: Hardware) -> space.Configs:
        return space.candidates(problem, hardware)

    def constraint(self, problem: AttentionProblem, config: AttentionConfig, hardware: Hardware) -> str | None:
        return space.constraint(problem, config, hardware)

    def interpretable(self, config: AttentionConfig) -> str | None:
        if config.family == "warp_specialized":
            return "family warp_specialized is written in Gluon, which Triton's interpreter does not run"
        return None

    def inputs(self, problem: AttentionProblem, generator: torch.Generator | None, device: str) -> Inputs:
        """q (B, H, S, D) normal with standard deviation 3, k and v (B, H / GROUP, S, D) standard normal."""
        p = problem
        heads = (p.B, p.H, p.S, p.D), (p.B, p.H // p.GROUP, p.S, p.D)
        return (
            normal(heads[0], p.torch_dtype, generator, device, scale=SHARPNESS),
            normal(heads[1], p.torch_dtype, generator, device),
            normal(heads[1], p.torch_dtype, generator, device),
        )

    def output(self, problem: AttentionProblem, device: str) -> torch.Tensor:
        p = problem
        return torch.empty((p.B, p.H, p.S, p.D), dtype=p.torch_dtype, device=device)

    def launch(
        self,
        problem: AttentionProblem,
        config: AttentionConfig,
        inputs: Inputs,
        out: torch.Tensor,
        hardware: Hardware,
    ) -> None:
        p, c = problem, config
        if c.family == "warp_specialized":
            from kernels.attention import gluon  # not every Triton has Gluon

            q, k, v = inputs
            assert q is not None
            assert k is not None
            assert v is not None
            gluon.launch(p, c, q, k, v, out, hardware)
            return
        sources: list[torch.Tensor | TensorDescriptor | None] = list(inputs)
        if c.family == "tma":
            rows = [t.view(-1, p.D) for t in inputs if t is not None]
            heights = (c.BLOCK_M, c.BLOCK_N, c.BLOCK_N)
            sources = [TensorDescriptor.from_tensor(t, [h, p.D]) for t, h in zip(rows, heights, strict=True)]
        attention_forward[(triton.cdiv(p.S, c.BLOCK_M) * p.B * p.H,)](
            *sources,
            out,
            p.H,
            p.S,
            math.log2(math.e) / math.sqrt(p.D),
            GROUP=p.GROUP,
            CAUSAL=p.causal,
            TMA=c.family == "tma",
            D=p.D,
            BLOCK_M=c.BLOCK_M,
            BLOCK_N=c.BLOCK_N,
            num_warps=c.num_warps,
            num_stages=c.num_stages,
        )

    def reference(self, problem: AttentionProblem, inputs: Inputs) -> torch.Tensor:
        """Head by head, so that one (S, S) matrix of float64 is in memory at a time."""
        q, k, v = inputs
        assert q is not None
        assert k is not None
        assert v is not None
        p = problem
        out = torch.empty(q.shape, dtype=torch.float64, device=q.device)
        future = torch.ones(p.S, p.S, dtype=torch.bool, device=q.device).triu(1) if p.causal else None
        for b in range(p.B):
            for h in range(p.H):
                scores = q[b, h].double() @ k[b, h // p.GROUP].double().T / math.sqrt(p.D)
                if future is not None:
                    scores.masked_fill_(future, -math.inf)
                out[b, h] = torch.softmax(scores, -1) @ v[b, h // p.GROUP].double()
        return out

    def tolerance(self, problem: AttentionProblem) -> float:
        """The sum of: two roundings of u = 2^-11 (fp16) or 2^-8 (bf16), of the weights (which the second product
        averages) and of the result; the error of the exponential, about 20 * 2^-23 + sqrt(D) * 2^-24, because the
        scores are sums of D exact products in fp32 and reach about 20 in units of log2; sqrt(S) * 2^-24 for the sums
        over the keys (Higham and Mary 2019, lambda = 1); and a sixteenth of u."""
        unit = UNIT[problem.dtype]
        return unit * (2 + 1 / 16) + (40 + math.sqrt(problem.D) + math.sqrt(problem.S)) * 2.0**-24

    def flops(self, problem: AttentionProblem) -> int:
        """2 D for each score and 2 D for each weight's share of the result, over all pairs of a query and a key that it
        attends to. The softmax is not counted."""
        p = problem
        pairs = p.S * (p.S + 1) // 2 if p.causal else p.S * p.S
        return 4 * p.B * p.H * p.D * pairs

    def bytes(self, problem: AttentionProblem) -> int:
        """q, k and v read once, the result written once."""
        p = problem
        return 2 * ELEMENT_BYTES * p.B * p.S * p.D * (p.H + p.H // p.GROUP)

    def eager(self, problem: AttentionProblem, inputs: Inputs) -> torch.Tensor:
        q, k, v = inputs
        assert q is not None
        assert k is not None
        assert v is not None
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=problem.causal, enable_gqa=problem.GROUP > 1
        )

    def baselines(self, problem: AttentionProblem) -> list[Baseline[AttentionProblem]]:
        return space.baselines(self)

    def reduced(self, problem: AttentionProblem, config: AttentionConfig) -> AttentionProblem:
        """A smaller problem: two batches, two heads of keys, and up to three of the larger block along S, with the true
        shape's remainder."""
        p, block = problem, max(config.BLOCK_M, config.BLOCK_N)
        heads = min(p.H, 2 * p.GROUP)
        return p.model_copy(update={"B": min(p.B, 2), "H": heads, "S": shrunk(p.S, block, 3)})
