"""bf16 as NumPy has it, which is as 16 bits: rounding to it, and its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def round_to_bf16(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """fp32 to bf16 as bits, to nearest, ties to even; NaN stays NaN."""
    bits = x.astype(np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def round_once_to_bf16(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """fp64 to bf16 as bits with one rounding: on the way through fp32, what is not exact is made odd."""
    with np.errstate(invalid="ignore", over="ignore"):
        near = x.astype(np.float32)
        difference = np.abs(near.astype(np.float64)) - np.abs(x)
    bits = near.view(np.uint32) - ((difference > 0) & np.isfinite(x))  # toward zero
    odd = (difference != 0) & np.isfinite(x)
    return round_to_bf16(np.where(odd, bits | 1, near.view(np.uint32)).astype(np.uint32).view(np.float32))


def widen(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """bf16 bits to fp32."""
    return (x.astype(np.uint32) << 16).view(np.float32)
