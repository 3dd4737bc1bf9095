"""Sums and scans of 16-bit floats in Triton's interpreter, as compiled code computes them.

The GPU adds fp16 and bf16 in their own type and rounds after each addition; the interpreter adds fp16 in fp32, and the
bits of bf16 as if they were numbers. In which order the GPU adds depends on the layout; here it is a tree. Functions of
a kernel's own (``tl.reduce``, ``tl.associative_scan``) need no change: the interpreter calls them for each element.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import ReduceOps, ScanOps

from kernels.triton.interpreter_operations import refuse_float8
from kernels.triton.rounding import round_to_bf16, widen

Array = np.ndarray[Any, Any]
NARROW = (tl.float16, tl.bfloat16)


def patch_reductions() -> None:
    """Patch the interpreter in this process. A second call has no effect."""
    if hasattr(ReduceOps.sum, "__wrapped__"):
        return
    ReduceOps.sum = _narrow_sum(ReduceOps.sum)
    ReduceOps.min_max = _compared_as_numbers(ReduceOps.min_max)
    ScanOps.cumsum = _narrow_scan(ScanOps.cumsum, np.add)
    ScanOps.cumprod = _narrow_scan(ScanOps.cumprod, np.multiply)


def tree_sum(x: Array, axis: int, dtype: Any) -> Array:
    """The sum of `x` (fp32, values that `dtype` holds) along `axis`, rounded to `dtype` after each addition."""
    x = np.moveaxis(x, axis, 0)
    while len(x) > 1:
        half = len(x) // 2
        rest = x[2 * half :]
        x = np.concatenate([_rounded(x[:half] + x[half : 2 * half], dtype), rest])
    return np.asarray(x[0])


def doubling_scan(x: Array, axis: int, dtype: Any, combine: Any) -> Array:
    """All prefixes of `x` along `axis`, combined in log2(n) steps that are rounded to `dtype`."""
    x, step = np.moveaxis(x, axis, 0).copy(), 1
    while step < len(x):
        x[step:] = _rounded(combine(x[:-step], x[step:]), dtype)
        step *= 2
    return np.moveaxis(x, 0, axis)


def _numbers(data: Array, dtype: Any) -> Array:
    return widen(data) if dtype == tl.bfloat16 else data.astype(np.float32)


def _stored(x: Array, dtype: Any) -> Array:
    return np.asarray(round_to_bf16(x) if dtype == tl.bfloat16 else x.astype(np.float16))


def _rounded(x: Array, dtype: Any) -> Array:
    return _numbers(_stored(x, dtype), dtype)


def _narrow_sum(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def summed(self: Any, input: Any) -> Any:
        dtype = input.dtype.scalar
        refuse_float8(dtype)
        if dtype not in NARROW:
            return original(self, input)
        x = _numbers(np.asarray(input.handle.data), dtype)
        shape = tuple(1 if self.axis in (None, i) else n for i, n in enumerate(x.shape))
        with np.errstate(over="ignore", invalid="ignore"):
            found = tree_sum(x.reshape(-1) if self.axis is None else x, self.axis or 0, dtype)
        return self.to_tensor(_stored(found.reshape(shape) if self.keep_dims else found, dtype), dtype)

    return summed


def _compared_as_numbers(original: Callable[..., Any]) -> Callable[..., Any]:
    """Largest and smallest elements and their places, of bf16 by its numbers."""

    @wraps(original)
    def found(self: Any, input: Any, *operations: Any, **named: Any) -> Any:
        first = input[0] if isinstance(input, tuple) else input
        refuse_float8(first.dtype)
        if first.dtype.scalar != tl.bfloat16:
            return original(self, input, *operations, **named)
        wide = self.to_tensor(widen(np.atleast_1d(first.handle.data)), tl.float32)
        result = original(self, wide, *operations, **named)
        several = result if isinstance(result, tuple) else (result,)
        narrow = [
            self.to_tensor(round_to_bf16(np.asarray(t.handle.data)), tl.bfloat16) if t.dtype.is_floating() else t
            for t in several
        ]
        return tuple(narrow) if isinstance(result, tuple) else narrow[0]

    return found


def _narrow_scan(original: Callable[..., Any], combine: Any) -> Callable[..., Any]:
    @wraps(original)
    def scanned(self: Any, input: Any) -> Any:
        dtype = input.dtype.scalar
        refuse_float8(dtype)
        if dtype not in NARROW:
            return original(self, input)
        with np.errstate(over="ignore", invalid="ignore"):
            found = doubling_scan(_numbers(input.handle.data, dtype), self.axis, dtype, combine)
        return [self.to_tensor(_stored(found, dtype), dtype)]

    return scanned
