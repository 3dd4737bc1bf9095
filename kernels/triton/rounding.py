"""Numbers that NumPy has as bits alone, bf16 and fp8: rounding to them, and their values. A fused product and sum."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import triton.language as tl

FLOAT8 = {
    tl.float8e5: torch.float8_e5m2,
    tl.float8e4nv: torch.float8_e4m3fn,
    tl.float8e5b16: torch.float8_e5m2fnuz,
    tl.float8e4b8: torch.float8_e4m3fnuz,
}
"""Triton's 8-bit floats that GPUs have, and PyTorch's."""


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


@functools.cache
def float8_values(dtype: Any) -> np.ndarray[Any, Any]:
    """What each of the 256 codes of `dtype` stands for, as fp32."""
    return np.asarray(torch.arange(256).to(torch.uint8).view(FLOAT8[dtype]).float().numpy())


def widen_float8(codes: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
    """Codes of `dtype` to fp32."""
    return np.asarray(float8_values(dtype)[codes])


def round_to_float8(x: np.ndarray[Any, Any], dtype: Any, toward_zero: bool = False) -> np.ndarray[Any, Any]:
    """Numbers that fp32 holds to codes of `dtype`, to nearest, ties to even. What is too large becomes the largest
    finite number, infinities too, as the conversions of NVIDIA's GPUs from sm_89 on have it (``cvt.rn.satfinite``); NaN
    stays NaN."""
    kind = FLOAT8[dtype]
    largest = torch.finfo(kind).max
    wide = np.clip(x.astype(np.float32), -largest, largest)
    codes = torch.from_numpy(wide).to(kind).view(torch.uint8).numpy()
    if toward_zero:
        # one below the smallest negative number is NaN where zero has no sign
        larger = np.abs(widen_float8(codes, dtype)) > np.abs(wide)
        codes = np.where(larger, np.where((codes == 0x81) & (float8_values(dtype)[0x80] != 0), 0, codes - 1), codes)
    return np.asarray(codes.astype(np.uint8))


def fuse(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """x·y + z of numbers that fp32 holds, in float64. If it is not exact, its last bit is odd: rounded to fp32, fp16 or
    bf16 it is rounded once."""
    with np.errstate(invalid="ignore"):
        product = x.astype(np.float64) * y.astype(np.float64)  # exact: 24 bits times 24 bits
        total = np.asarray(product + z)
        part = total - product
        left_out = (product - (total - part)) + (z - part)  # Knuth's error of a sum, which is exact
    inexact = (left_out != 0) & np.isfinite(total)
    too_large = inexact & ((left_out < 0) == (total > 0))
    bits = total.view(np.uint64) - too_large
    return np.asarray(np.where(inexact, bits | 1, bits).view(np.float64))


def fuse_to_fp32(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """x·y + z of numbers that fp32 holds, with one rounding."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.asarray(x.astype(np.float64) * y.astype(np.float64) + z)
        # Rounded in float64 first, it can come to lie between two numbers of fp32, and there alone that matters.
        between = (total.view(np.uint64) & 0x1FFFFFFF) == 0x10000000
        if bool((between | (np.abs(total) < 2.0**-126)).any()):
            total = fuse(x, y, z)
        return np.asarray(total.astype(np.float32))
