"""Operations that Triton's interpreter computes otherwise than compiled code: each is made to give the GPU's bits.

Held against an H200 function by function (docs/TL.md). What the compiler leaves open, or refuses for every GPU, raises
:class:`NotEmulated`.

1. ``tl.dot`` of fp32: by default the tensor cores take the first 19 bits of an element (tf32); with ``ieee`` products
   are added one after another, each fused with its sum.
2. ``tl.fma`` rounds once. The interpreter of Triton 3.6 rounds twice.
3. ``tl.umulhi`` multiplies bits without a sign. The interpreter of Triton 3.6 multiplies signed numbers.
4. ``tl.histogram`` of numbers that have no bin: Triton 3.6 and 3.7 look at the last bits of a number, as many as count
   bins, at least as many as count the lanes of a warp. From 3.8 on such numbers are left out.
5. Atomic and, or, xor and exchange of floats work on their bits.
6. ``tl.view`` and whatever else is given ``can_reorder`` may change the order of elements.
7. A comparison gives bits. The interpreter gives them the type of what is compared, so that a comparison of scalars
   that is broadcast to a block is no mask any more: ``(row < rows) & (columns < n)`` cannot be loaded through.
8. 8-bit floats are converted, moved and multiplied by ``tl.dot``: no compiler computes with them otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle, _ir

from kernels.triton.interpreter_functions import patch_functions
from kernels.triton.interpreter_libdevice import NotEmulated
from kernels.triton.rounding import (
    FLOAT8,
    fuse,
    fuse_to_fp32,
    round_once_to_bf16,
    round_to_bf16,
    widen,
    widen_float8,
)
from kernels.triton.stub_driver import StubDriver

Array = np.ndarray[Any, Any]
WRAPS_BINS = tuple(int(n) for n in triton.__version__.split(".")[:2]) < (3, 8)
"""Whether ``tl.histogram`` counts numbers that have no bin by their last bits."""
BITWISE = ("AND", "OR", "XOR", "XCHG")
COMPARISONS = tuple(n for n in vars(InterpreterBuilder) if n.startswith(("create_icmp", "create_fcmp")))
H200 = GPUTarget("cuda", 90, 32)


def patch_operations() -> None:
    """Patch the interpreter in this process. A second call has no effect."""
    if hasattr(InterpreterBuilder.create_dot, "__wrapped__"):
        return
    builder: Any = InterpreterBuilder
    builder.create_dot = _dot(builder.create_dot)
    builder.create_fma = _fma(builder.create_fma)
    builder.create_umulhi = _umulhi
    builder.create_histogram = _histogram
    builder.create_atomic_rmw = _atomic_on_bits(builder.create_atomic_rmw)
    for name in COMPARISONS:
        setattr(builder, name, compare_to_bits(getattr(builder, name)))
    refuse_reordering(NotEmulated)
    patch_functions(lambda: target().backend == "cuda")
    if not hasattr(builder, "get_bf16"):  # Triton 3.6: a constant of bf16
        builder.get_bf16 = lambda self, value: TensorHandle(round_to_bf16(np.array([value], np.float32)), tl.bfloat16)


def refuse_float8(*dtypes: Any) -> None:
    """Raises NotEmulated if one of the types is an 8-bit float."""
    for dtype in dtypes:
        if dtype.scalar in FLOAT8:
            raise NotEmulated(f"it computes with {dtype.scalar} outside of tl.dot, which is compiled for no GPU")


def numbers(x: Any) -> Array:
    """The values of a handle; those of bf16 and 8-bit floats as fp32."""
    data, dtype = np.asarray(x.data), x.dtype.scalar
    return widen(data) if dtype == tl.bfloat16 else widen_float8(data, dtype) if dtype in FLOAT8 else data


def target() -> GPUTarget:
    """What the kernel is checked for; an H200 where nobody said."""
    config: Any = driver
    return config._active.get_current_target() if isinstance(config._active, StubDriver) else H200


def _dot(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_dot(self: Any, a: Any, b: Any, d: Any, precision: Any, *rest: Any) -> Any:
        kinds = {a.dtype.scalar, b.dtype.scalar}
        x, y = numbers(a), numbers(b)
        if kinds == {tl.float32} and d.data.dtype == np.float32 and target().backend == "cuda":
            if precision == _ir.INPUT_PRECISION.IEEE:
                return TensorHandle(fused_dot(x, y, d.data), tl.float32)
            if precision == _ir.INPUT_PRECISION.TF32 and target().arch >= 80:
                x, y = _tf32(x), _tf32(y)
        if kinds & {tl.bfloat16, tl.float32, *FLOAT8}:
            return TensorHandle(np.matmul(x, y, dtype=d.data.dtype) + d.data, d.dtype.scalar)
        return original(self, a, b, d, precision, *rest)

    return create_dot


def fused_dot(x: Array, y: Array, total: Array) -> Array:
    """The product of two matrices of fp32 and a sum, as compiled code without tensor cores adds it up."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    for k in range(x.shape[-1]):
        total = fuse_to_fp32(x[..., :, k, None], y[..., k, None, :], total)
    return total


def _tf32(x: Array) -> Array:
    """The last 13 bits are left out, not rounded."""
    return (np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def compare_to_bits(original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, a comparison of the interpreter's, with a result of bits."""

    @wraps(original)
    def compare(self: Any, x: Any, y: Any) -> Any:
        return TensorHandle(np.asarray(original(self, x, y).data, bool), tl.int1)

    return compare


def _fma(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_fma(self: Any, x: Any, y: Any, z: Any) -> Any:
        dtype = z.dtype.scalar
        refuse_float8(dtype)
        if not dtype.is_floating():
            raise NotEmulated("it uses tl.fma of integers, which is compiled for no GPU")
        if dtype == tl.float64:
            return original(self, x, y, z)
        given = [numbers(t) for t in (x, y, z)]
        if dtype == tl.float32:
            return TensorHandle(fuse_to_fp32(*given), dtype)
        with np.errstate(over="ignore"):
            fused = fuse(*given)
            return TensorHandle(round_once_to_bf16(fused) if dtype == tl.bfloat16 else fused.astype(np.float16), dtype)

    return create_fma


def _umulhi(self: Any, a: Any, b: Any) -> Any:
    """The upper half of the product of two integers of equal size, whose bits are taken as numbers without a sign."""
    bits = 8 * a.data.dtype.itemsize
    x, y = (t.data.astype(f"uint{bits}").astype(np.uint64) for t in (a, b))
    upper = x * y >> np.uint64(bits) if bits < 64 else upper_half(x, y)
    return TensorHandle(upper.astype(a.data.dtype), a.dtype.scalar)


def upper_half(x: Array, y: Array) -> Array:
    """The upper 64 of the 128 bits of a product, from the four products of halves."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    carried = (x >> half) * (y & low) + ((x & low) * (y & low) >> half)
    middle = (x & low) * (y >> half) + (carried & low)
    return (x >> half) * (y >> half) + (carried >> half) + (middle >> half)


def _histogram(self: Any, x: Any, bins: int, mask: Any) -> Any:
    values = np.asarray(x.data).astype(np.int64).reshape(-1)
    if mask is not None:
        values = values[np.broadcast_to(mask.data, x.data.shape).reshape(-1)]
    if WRAPS_BINS:
        values = values & (max(bins, target().warp_size) - 1)
    values = values[(values >= 0) & (values < bins)]
    return TensorHandle(np.bincount(values, minlength=bins).astype(np.int32), tl.int32)


def _atomic_on_bits(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_atomic_rmw(self: Any, operation: Any, ptr: Any, value: Any, *rest: Any) -> Any:
        dtype = value.dtype.scalar
        if not dtype.is_floating() or not str(operation).endswith(tuple(f".{name}" for name in BITWISE)):
            return original(self, operation, ptr, value, *rest)
        unsigned = f"uint{dtype.primitive_bitwidth}"
        bits = TensorHandle(value.data.view(unsigned), getattr(tl, unsigned))
        before = original(self, operation, ptr, bits, *rest)
        return TensorHandle(before.data.view(value.data.dtype), dtype)

    return create_atomic_rmw


def refuse_reordering(refusal: type[NotEmulated]) -> None:
    """Have the interpreter raise `refusal` where a kernel leaves the order of elements to the compiler."""
    builder: Any = InterpreterBuilder
    original = builder.create_reshape

    def refuse(*given: Any) -> None:
        raise refusal("it leaves the order of elements to the compiler (tl.view, can_reorder=True)")

    @wraps(original)
    def create_reshape(self: Any, x: Any, shape: Any, allow_reorder: bool) -> Any:
        return refuse() if allow_reorder else original(self, x, shape, allow_reorder)

    builder.create_reshape, builder.create_cat = create_reshape, refuse
