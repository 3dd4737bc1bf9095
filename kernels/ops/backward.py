"""Gradients of the public ops, by PyTorch's own operations.

Intermediate values that a gradient needs (a product before its activation, a row's mean) are computed again.
"""

from __future__ import annotations

import torch

from kernels.triton.activations import LEAKY_SLOPE

Tensor = torch.Tensor


def fused_matmul(
    grad: Tensor, x: Tensor, w: Tensor, bias: Tensor | None, activation: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of act(x @ w + bias) for x (M, K), w (K, N), bias (N) or None."""
    if activation != "none":
        product = x @ w if bias is None else torch.addmm(bias, x, w)
        grad = _activation(grad, product, activation)
    return grad @ w.t(), x.t() @ grad, None if bias is None else grad.sum(0)


def _activation(grad: Tensor, product: Tensor, activation: str) -> Tensor:
    aten = torch.ops.aten
    if activation == "relu":
        found: Tensor = aten.threshold_backward(grad, product, 0.0)
    elif activation == "leaky_relu":
        found = aten.leaky_relu_backward(grad, product, LEAKY_SLOPE, False)
    elif activation == "gelu":
        found = aten.gelu_backward(grad, product, approximate="tanh")
    elif activation == "silu":
        found = aten.silu_backward(grad, product)
    else:
        raise ValueError(f"no gradient is known for the activation {activation!r}")
    return found


def grouped_matmul(grad: Tensor, x: Tensor, w: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients for x (M, K) and w (E, K, N) of the products of groups of rows; waits for the groups' `ends` (E)."""
    dx, dw = torch.zeros_like(x), torch.zeros_like(w)
    start = 0
    for group, end in enumerate(ends.tolist()):
        rows = slice(start, end)
        dx[rows] = grad[rows] @ w[group].t()
        dw[group] = x[rows].t() @ grad[rows]
        start = end
    return dx, dw


def conv2d(
    grad: Tensor, x: Tensor, w: Tensor, bias: bool, stride: int, padding: int, dilation: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients for x (N, H, W, C), w (K, R, S, C) and, if there is one, the bias (K)."""
    nchw = [t.permute(0, 3, 1, 2) for t in (grad, x, w)]
    sizes = [w.shape[0]] if bias else None
    twice = [stride] * 2, [padding] * 2, [dilation] * 2
    wanted = [True, True, bias]
    dx, dw, dbias = torch.ops.aten.convolution_backward(*nchw, sizes, *twice, False, [0, 0], 1, wanted)
    return dx.permute(0, 2, 3, 1), dw.permute(0, 2, 3, 1), dbias


def softmax(grad: Tensor, out: Tensor) -> Tensor:
    """Gradient for the input of a softmax over the last dimension, from its result."""
    found: Tensor = torch.ops.aten._softmax_backward_data(grad, out, -1, out.dtype)
    return found


def rms_norm(grad: Tensor, x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Gradients for x (M, N) and weight (N): with r = 1/sqrt(mean(x^2) + eps) and g = grad * weight,
    dx = r g - x r^3 mean(g x)."""
    wide = x.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    scaled = grad.float() * weight.float()
    dx = scale * scaled - wide * scale**3 * (scaled * wide).mean(-1, keepdim=True)
    return dx.to(x.dtype), (grad.float() * wide * scale).sum(0).to(weight.dtype)


def layer_norm(grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for x (M, N), weight (N) and bias (N)."""
    wide = x.float()
    variance, mean = torch.var_mean(wide, -1, correction=0, keepdim=True)
    scale = torch.rsqrt(variance + eps)
    normed = (wide - mean) * scale
    scaled = grad.float() * weight.float()
    inner = scaled - scaled.mean(-1, keepdim=True) - normed * (scaled * normed).mean(-1, keepdim=True)
    dweight = (grad.float() * normed).sum(0)
    return (inner * scale).to(x.dtype), dweight.to(weight.dtype), grad.float().sum(0).to(bias.dtype)


def swiglu(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients for gate and up of silu(gate) * up."""
    return torch.ops.aten.silu_backward(grad * up, gate), grad * torch.nn.functional.silu(gate)


def attention(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for q (B, H, S, D), k and v (B, H / GROUP, S, D). The weights are computed again one sequence at a
    time, so that at most three fp32 tensors of (H, S, S) are in memory."""
    group = q.shape[1] // k.shape[1]
    found = [_attention(*one, causal, group) for one in zip(grad, q, k, v, out, strict=True)]
    dq, dk, dv = (torch.stack(parts) for parts in zip(*found, strict=True))
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def _attention(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, causal: bool, group: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One sequence: with P the weights, dV = P^T dO, dS = P (dO V^T - rowsum(dO O)), dQ = dS K, dK = dS^T Q."""
    heads, positions, size = k.shape
    scale = size**-0.5
    shared = (heads, group * positions, size)  # the queries of a group share their keys, so they form one tall matrix
    wide_q, wide_grad, wide_out = (t.float().reshape(shared) for t in (q, grad, out))
    scores = wide_q @ k.float().mT * scale
    if causal:
        future = torch.ones(positions, positions, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(future.repeat(group, 1), -torch.inf)
    weights = torch.softmax(scores, -1)
    inner = (wide_grad * wide_out).sum(-1, keepdim=True)
    dscores = weights * (wide_grad @ v.float().mT - inner) * scale
    return (dscores @ k.float()).reshape(q.shape), dscores.mT @ wide_q, weights.mT @ wide_grad
