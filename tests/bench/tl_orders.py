"""In which order an H200 adds up, for the kernels of ``tests.bench.table_of_tl``: why results differ by rounding.

The interpreter cannot know these orders: they follow from layouts, which the compiler chooses for a launch, and from
the tensor cores of one generation. That they give the recorded bits says that nothing else differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.bench.tl_entries import M

LANES = 8
"""Threads that hold a row of the block: 4 warps of 32 for 16 rows."""


def summed(x: torch.Tensor) -> torch.Tensor:
    """Sums of the rows: each thread adds its neighbouring elements one after another, then threads add to each other's,
    those farthest apart first."""
    own = x.reshape(M, LANES, -1)
    total = own[..., 0]
    for k in range(1, own.shape[-1]):
        total = total + own[..., k]
    while total.shape[-1] > 1:
        half = total.shape[-1] // 2
        total = total[..., :half] + total[..., half:]
    return total[..., 0]


def scanned(x: torch.Tensor, combine: Any) -> torch.Tensor:
    """Prefixes of the rows: each thread's own, then those of the threads before it, doubling the distance."""
    own = x.reshape(M, LANES, -1).clone()
    for k in range(1, own.shape[-1]):
        own[..., k] = combine(own[..., k - 1], own[..., k])
    all_before, step = own[..., -1].clone(), 1
    while step < LANES:
        all_before[:, step:] = combine(all_before[:, :-step].clone(), all_before[:, step:])
        step *= 2
    own[:, 1:] = combine(all_before[:, :-1, None], own[:, 1:])
    own[..., -1] = all_before
    return own.reshape(M, -1)


def multiplied(x: Any, y: Any, at_once: int) -> Any:
    """x · yᵀ of numbers in float64 that the tensor cores take (fp16, bf16, tf32): `at_once` products and the sum so far
    are cut 25 bits below the largest exponent of them, added, and the sum is cut to fp32."""
    total = np.zeros((len(x), len(y)))
    for k in range(0, x.shape[1], at_once):
        a, b = x[:, None, k : k + at_once], y[None, :, k : k + at_once]
        terms = np.concatenate([a * b, total[..., None]], -1)
        exponents = np.concatenate([_exponent(a) + _exponent(b), _exponent(total)[..., None]], -1)
        unit = 2.0 ** (exponents.max(-1, keepdims=True) - 25)
        total = _cut(np.trunc(terms / unit).sum(-1) * unit[..., 0])
    return total


def _exponent(x: Any) -> Any:
    return np.where(x == 0, -999.0, np.floor(np.log2(np.abs(np.where(x == 0, 1.0, x)))))


def _cut(x: Any) -> Any:
    near = x.astype(np.float32)
    return np.where(np.abs(near) > np.abs(x), np.nextafter(near, np.float32(0)), near).astype(np.float64)
