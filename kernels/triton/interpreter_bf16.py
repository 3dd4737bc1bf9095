"""Makes Triton's interpreter treat bf16 as the GPU does.

The interpreter (3.6 to 3.9) keeps bf16 as 16-bit integers: it truncates where the GPU rounds to nearest, and computes
on the bits as if they were numbers. A correct kernel then fails its check, and a tolerance that accepted it would
also accept wrong ones. Call :func:`patch_bf16` once, in the process that interprets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

BINARY = ("fadd", "fsub", "fmul", "fdiv", "frem", "minimumf", "maximumf", "minnumf", "maxnumf")
COMPARED = ("LT", "LE", "GT", "GE", "EQ", "NE")


def patch_bf16() -> None:
    """Patch the interpreter in this process. A second call has no effect."""
    if hasattr(InterpreterBuilder.cast_impl, "__wrapped__"):
        return
    InterpreterBuilder.cast_impl = _rounding(InterpreterBuilder.cast_impl)
    InterpreterBuilder.create_dot = _widening(InterpreterBuilder.create_dot, operands=2, narrow=False)
    InterpreterBuilder.create_fp_to_fp = _to_nearest(InterpreterBuilder.create_fp_to_fp)
    operations = [("fneg", 1, True), *((n, 2, True) for n in BINARY)]
    operations += [(f"fcmp{order}{how}", 2, False) for order in "OU" for how in COMPARED]
    for name, operands, narrow in operations:
        original = getattr(InterpreterBuilder, f"create_{name}", None)  # Triton 3.6 subtracts from zero to negate
        if original is not None:
            setattr(InterpreterBuilder, f"create_{name}", _widening(original, operands, narrow))


def round_to_bf16(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """fp32 to bf16 as bits, to nearest, ties to even; NaN stays NaN."""
    bits = x.astype(np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def widen(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """bf16 bits to fp32."""
    return (x.astype(np.uint32) << 16).view(np.float32)


def _rounding(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def cast_impl(self: Any, source: Any, dst_type: Any) -> Any:
        if dst_type.scalar == tl.bfloat16 and source.dtype.scalar != tl.bfloat16:
            return TensorHandle(round_to_bf16(np.asarray(source.data)), tl.bfloat16)
        if source.dtype.scalar == tl.bfloat16 and dst_type.scalar != tl.bfloat16:
            wide = TensorHandle(widen(np.asarray(source.data)), tl.float32)
            return wide if dst_type.scalar == tl.float32 else original(self, wide, dst_type)
        return original(self, source, dst_type)

    return cast_impl


def _to_nearest(original: Callable[..., Any]) -> Callable[..., Any]:
    """Conversions with a rounding mode. The interpreter itself rounds toward zero."""

    @wraps(original)
    def create_fp_to_fp(self: Any, source: Any, dst_type: Any, rounding_mode: Any) -> Any:
        between = {source.dtype.scalar, dst_type.scalar}
        if tl.bfloat16 in between and "RTZ" not in str(rounding_mode):
            return self.cast_impl(source, dst_type)
        return original(self, source, dst_type, rounding_mode)

    return create_fp_to_fp


def _widening(original: Callable[..., Any], operands: int, narrow: bool) -> Callable[..., Any]:
    """`original` on fp32 copies of its bf16 operands. With `narrow`, its result is rounded to bf16."""

    @wraps(original)
    def computed(self: Any, *arguments: Any, **named: Any) -> Any:
        if all(a.dtype.scalar != tl.bfloat16 for a in arguments[:operands]):
            return original(self, *arguments, **named)
        wide = [self.cast_impl(a, tl.float32) for a in arguments[:operands]]
        result = original(self, *wide, *arguments[operands:], **named)
        return self.cast_impl(result, tl.bfloat16) if narrow else result

    return computed
