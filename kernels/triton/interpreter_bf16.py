"""Makes Triton's interpreter treat bf16 and fp8 as the GPU does.

The interpreter (3.6 to 3.9) keeps bf16 as 16-bit and fp8 as 8-bit integers. It truncates where the GPU rounds to
nearest, or rounds and loses the carry (1.99 becomes 1 as float8e5), and it computes on the bits as if they were
numbers. A correct kernel then fails its check, and a tolerance that accepted it would also accept wrong ones. Call
:func:`patch_bf16` once, in the process that interprets; it also patches sums and scans of fp16
(``interpreter_reductions.py``) and single operations (``interpreter_operations.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from kernels.triton.interpreter_libdevice import NotEmulated
from kernels.triton.interpreter_operations import numbers, patch_operations, refuse_float8
from kernels.triton.interpreter_reductions import patch_reductions
from kernels.triton.rounding import FLOAT8, round_to_bf16, round_to_float8, widen

BINARY = ("fadd", "fsub", "fmul", "fdiv", "frem", "minimumf", "maximumf", "minnumf", "maxnumf")
COMPARED = ("LT", "LE", "GT", "GE", "EQ", "NE")


def patch_bf16() -> None:
    """Patch the interpreter in this process. A second call has no effect."""
    if hasattr(InterpreterBuilder.cast_impl, "__wrapped__"):
        return
    patch_reductions()
    patch_operations()
    InterpreterBuilder.cast_impl = _rounding(InterpreterBuilder.cast_impl)
    InterpreterBuilder.create_fp_to_fp = _to_nearest(InterpreterBuilder.create_fp_to_fp)
    InterpreterBuilder.create_clampf = _widening(InterpreterBuilder.create_clampf, operands=3, narrow=True)
    InterpreterBuilder.create_atomic_rmw = _one_by_one(InterpreterBuilder.create_atomic_rmw)
    operations = [("fneg", 1, True), *((n, 2, True) for n in BINARY)]
    operations += [(f"fcmp{order}{how}", 2, False) for order in "OU" for how in COMPARED]
    for name, operands, narrow in operations:
        original = getattr(InterpreterBuilder, f"create_{name}", None)  # Triton 3.6 subtracts from zero to negate
        if original is not None:
            setattr(InterpreterBuilder, f"create_{name}", _widening(original, operands, narrow))


def _rounding(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def cast_impl(self: Any, source: Any, dst_type: Any) -> Any:
        old, new = source.dtype.scalar, dst_type.scalar
        if old == new or not {old, new} & {tl.bfloat16, *FLOAT8}:
            return original(self, source, dst_type)
        if old in FLOAT8 and new in FLOAT8:
            raise NotEmulated(f"it converts {old} to {new}, which is compiled for no GPU")
        if new in FLOAT8:
            return TensorHandle(round_to_float8(numbers(source), new), new)
        if new == tl.bfloat16:
            return TensorHandle(round_to_bf16(numbers(source)), new)
        wide = TensorHandle(numbers(source), tl.float32)
        return wide if new == tl.float32 else original(self, wide, dst_type)

    return cast_impl


def _to_nearest(original: Callable[..., Any]) -> Callable[..., Any]:
    """Conversions with a rounding mode. The interpreter itself rounds bf16 toward zero, and fp8 without carrying."""

    @wraps(original)
    def create_fp_to_fp(self: Any, source: Any, dst_type: Any, rounding_mode: Any) -> Any:
        old, new = source.dtype.scalar, dst_type.scalar
        toward_zero = "RTZ" in str(rounding_mode)
        if toward_zero and new in FLOAT8 and old not in FLOAT8:
            return TensorHandle(round_to_float8(numbers(source), new, toward_zero), new)
        if {old, new} & set(FLOAT8) or (tl.bfloat16 in (old, new) and not toward_zero):
            return self.cast_impl(source, dst_type)
        return original(self, source, dst_type, rounding_mode)

    return create_fp_to_fp


def _widening(original: Callable[..., Any], operands: int, narrow: bool) -> Callable[..., Any]:
    """`original` on fp32 copies of its bf16 operands. With `narrow`, its result is rounded to bf16. Raises NotEmulated
    for operands of fp8."""

    @wraps(original)
    def computed(self: Any, *arguments: Any, **named: Any) -> Any:
        refuse_float8(*(a.dtype for a in arguments[:operands]))
        if all(a.dtype.scalar != tl.bfloat16 for a in arguments[:operands]):
            return original(self, *arguments, **named)
        wide = [self.cast_impl(a, tl.float32) for a in arguments[:operands]]
        result = original(self, *wide, *arguments[operands:], **named)
        return self.cast_impl(result, tl.bfloat16) if narrow else result

    return computed


def _one_by_one(original: Callable[..., Any]) -> Callable[..., Any]:
    """Atomic additions, each read, added to and stored before the next one: several may be to one address."""

    @wraps(original)
    def create_atomic_rmw(self: Any, operation: Any, ptr: Any, value: Any, mask: Any, sem: Any, scope: Any) -> Any:
        if value.dtype.scalar != tl.bfloat16 or "FADD" not in str(operation):
            return original(self, operation, ptr, value, mask, sem, scope)
        arrays = np.broadcast_arrays(ptr.data, value.data, mask.data)
        before = np.zeros(arrays[0].shape, dtype=np.uint16)
        for i, (at, added, there) in enumerate(zip(*(a.reshape(-1) for a in arrays), strict=True)):
            if there:
                place, on = np.array([at], dtype=np.uint64), np.ones(1, dtype=bool)
                old = interpreter._interpreter.load(place, on, np.zeros(1, dtype=np.uint16), np.dtype(np.uint16))
                new = round_to_bf16(widen(old) + widen(np.array([added])))
                interpreter._interpreter.store(place, new, on)
                before.reshape(-1)[i] = old[0]
        return TensorHandle(before, tl.bfloat16)

    return create_atomic_rmw
