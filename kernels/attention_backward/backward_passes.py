"""The forward pass that ``attention_backward`` starts from, its formula, and PyTorch's own backward passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import cast

import torch

from kernels.attention.space import AttentionProblem
from kernels.spec import Baseline, Inputs

Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Call = Callable[[], torch.Tensor]


def forward(
    problem: AttentionProblem, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The result of attention, in the dtype of `q`, and the natural logarithms of the softmax's sums in fp32."""
    p = problem
    if q.is_cuda:
        out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, p.causal, False)
        return out.contiguous(), lse[..., : p.S].float().contiguous()
    out = torch.empty_like(q)
    lse = torch.empty((p.B, p.H, p.S), dtype=torch.float32, device=q.device)
    if q.is_meta:
        return out, lse
    for b, h in _heads(p):
        scores = _scores(p, q[b, h], k[b, h // p.GROUP], torch.float32)
        lse[b, h] = torch.logsumexp(scores, -1)
        out[b, h] = (torch.softmax(scores, -1) @ v[b, h // p.GROUP].float()).to(q.dtype)
    return out, lse


def _heads(problem: AttentionProblem) -> list[tuple[int, int]]:
    return [(b, h) for b in range(problem.B) for h in range(problem.H)]


def _scores(problem: AttentionProblem, q: torch.Tensor, k: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Scores of one head; those that causality hides are -inf."""
    scores = q.to(dtype) @ k.to(dtype).T / math.sqrt(problem.D)
    if problem.causal:
        future = torch.ones(problem.S, problem.S, dtype=torch.bool, device=q.device).triu(1)
        scores.masked_fill_(future, -math.inf)
    return scores


def by_formula(problem: AttentionProblem, inputs: Inputs, dtype: torch.dtype) -> Gradients:
    """The gradients in `dtype`, head by head, so that a few (S, S) matrices are in memory at a time."""
    q, k, v, out, lse, dout = (cast(torch.Tensor, t) for t in inputs)
    p = problem
    dq = torch.empty(q.shape, dtype=dtype, device=q.device)
    dk = torch.zeros(k.shape, dtype=dtype, device=q.device)
    dv = torch.zeros(v.shape, dtype=dtype, device=q.device)
    for b, h in [] if q.is_meta else _heads(p):
        shared = b, h // p.GROUP
        weights = torch.exp(_scores(p, q[b, h], k[shared], dtype) - lse[b, h].to(dtype)[:, None])
        upstream = dout[b, h].to(dtype)
        delta = (upstream * out[b, h].to(dtype)).sum(-1, keepdim=True)
        dscores = weights * (upstream @ v[shared].to(dtype).T - delta) / math.sqrt(p.D)
        dq[b, h] = dscores @ k[shared].to(dtype)
        dk[shared] += dscores.T @ q[b, h].to(dtype)
        dv[shared] += weights.T @ upstream
    return dq, dk, dv


@cache
def _no_dropout(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """States of the random generator that FlashAttention-2 and cuDNN want even if nothing is dropped."""
    state = torch.zeros(2, dtype=torch.int64, device=device)
    return state.view(torch.uint64), state[0].clone()


def by_library(problem: AttentionProblem, inputs: Inputs) -> Gradients:
    """FlashAttention-2's backward pass, as autograd calls it for scaled_dot_product_attention."""
    q, k, v, out, lse, dout = inputs
    none, (seed, _) = None, _no_dropout(cast(torch.Tensor, q).device)
    found: Gradients = torch.ops.aten._scaled_dot_product_flash_attention_backward(
        dout, q, k, v, out, lse, none, none, problem.S, problem.S, 0.0, problem.causal, seed, seed
    )
    return found


def by_cudnn(problem: AttentionProblem, inputs: Inputs) -> Gradients:
    """cuDNN's backward pass, as autograd calls it for scaled_dot_product_attention."""
    q, k, v, out, lse, dout = inputs
    none, (_, seed) = None, _no_dropout(cast(torch.Tensor, q).device)
    sums = cast(torch.Tensor, lse).unsqueeze(-1)
    found: Gradients = torch.ops.aten._scaled_dot_product_cudnn_attention_backward(
        dout, q, k, v, out, sums, seed, seed, none, none, none, problem.S, problem.S, 0.0, problem.causal
    )
    return found


def backward_baselines(
    eager: Callable[[AttentionProblem, Inputs], torch.Tensor],
) -> list[Baseline[AttentionProblem]]:
    """The backward passes that scaled_dot_product_attention has for fp16 and bf16, by backend; `eager` is the first."""
    call = "backward of scaled_dot_product_attention"
    return [
        Baseline("flash", f"{call}, FlashAttention-2", lambda p, given: lambda: eager(p, given)),
        Baseline(
            "cudnn",
            f"{call}, cuDNN",
            lambda p, given: lambda: cast(torch.Tensor, by_cudnn(p, given)),
            missing=_no_cudnn,
        ),
    ]


def _no_cudnn(problem: AttentionProblem) -> str | None:
    if torch.version.hip is not None or not torch.backends.cudnn.is_available():
        return "this PyTorch has no cuDNN"
    if problem.S < 128:
        return f"cuDNN's attention is not asked for {problem.S} positions, 128 is the least"
    return None
