"""Activations: the Triton form for an epilogue, and the PyTorch form for baselines and the reference."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

Activation = Literal["none", "relu", "leaky_relu", "gelu", "silu"]
"""``leaky_relu`` has slope 0.01; ``gelu`` is the tanh form."""

LEAKY_SLOPE = 0.01


@triton.jit
def activate(x, ACTIVATION: tl.constexpr):
    """`x` in fp32, any shape. NaN stays NaN, as in PyTorch."""
    if ACTIVATION == "relu":
        x = tl.where(x < 0, 0.0, x)
    elif ACTIVATION == "leaky_relu":
        x = tl.where(x < 0, 0.01 * x, x)
    elif ACTIVATION == "gelu":
        # 0.5 (1 + tanh u) = sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): one exponential, and no cancellation for
        # large negative x.
        x = x * tl.sigmoid(1.5957691216057308 * x * (1.0 + 0.044715 * x * x))
    elif ACTIVATION == "silu":
        x = x * tl.sigmoid(x)
    else:
        tl.static_assert(ACTIVATION == "none", "unknown activation")
    return x


def activate_torch(x: torch.Tensor, activation: Activation) -> torch.Tensor:
    """The same function in PyTorch operations and the precision of `x`, for the baselines and the reference."""
    match activation:
        case "none":
            return x
        case "relu":
            return F.relu(x)
        case "leaky_relu":
            return F.leaky_relu(x, LEAKY_SLOPE)
        case "gelu":
            return F.gelu(x, approximate="tanh")
        case "silu":
            return F.silu(x)
