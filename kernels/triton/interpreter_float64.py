"""Makes Triton's interpreter compute every float in float64.

A kernel's own code then says what it would compute without rounding: explicit casts to fp16, bf16, fp8 or fp32 keep
their type for the code that asks about it, and change no number. Tensors of floats are float64 in memory, handed over
as ``TensorWrapper(tensor, dtype)`` with the dtype that the kernel expects. Functions of libdevice, which the
interpreter does not know, are numpy's and scipy's. What depends on bits or cannot be computed so raises
:class:`NotPromotable`. Call :func:`promote` once, in a process of its own: it cannot be undone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from kernels.triton.interpreter_arguments import patch_scalars
from kernels.triton.interpreter_libdevice import MACHINE_CODE, NotEmulated, refuse_operations, replace_libdevice
from kernels.triton.interpreter_operations import refuse_reordering

Array = np.ndarray[Any, Any]


class NotPromotable(NotEmulated):
    """The kernel cannot be computed in float64; the message says what of it cannot."""


def promote() -> None:
    """Patch the interpreter in this process; a second call changes nothing."""
    if getattr(InterpreterBuilder, "promoted", False):
        return
    numpy_dtype, fits = interpreter._get_np_dtype, interpreter._validate_np_data_size
    interpreter._get_np_dtype = lambda t: np.dtype(np.float64) if _is_float(t) else numpy_dtype(t)
    interpreter._validate_np_data_size = lambda data, t: _is_float(t) or fits(data, t)
    patch_scalars(np.float64)
    for name in ("fp16", "bf16", "fp32", "fp64"):
        setattr(InterpreterBuilder, f"get_{name}", _constant(getattr(tl, _LANGUAGE[name])))
    interpreter.TensorDescHandle.validate = lambda self: None  # made for elements of another size
    interpreter.TensorDescHandle.materialize_pointers = _materialize
    builder: Any = InterpreterBuilder
    builder.cast_impl = _cast
    builder.create_fp_to_fp = lambda self, source, to, rounding: _cast(self, source, to)
    for name in ("si_to_fp", "ui_to_fp", "fp_to_si", "fp_to_ui", "fp_ext", "fp_trunc"):
        setattr(builder, f"create_{name}", lambda self, source, to: _cast(self, source, to))
    builder.create_int_cast = lambda self, source, to, signed: _cast(self, source, to)
    builder.create_bitcast = builder.create_int_to_ptr = builder.create_ptr_to_int = _bitcast
    builder.create_fabs = lambda self, x: TensorHandle(np.abs(x.data), x.dtype.scalar)
    builder.create_fma = lambda self, x, y, z: TensorHandle(x.data * y.data + z.data, z.dtype.scalar)
    builder.create_dot = _dot
    builder.create_addptr = _addptr
    refuse_reordering(NotPromotable)
    refuse_operations({"create_dot_scaled": "tl.dot_scaled", **MACHINE_CODE}, NotPromotable)
    replace_libdevice(NotPromotable)
    builder.promoted = True


_LANGUAGE = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32", "fp64": "float64"}


def _is_float(t: Any) -> bool:
    scalar = getattr(t, "scalar", t)
    return not isinstance(scalar, tl.pointer_type) and isinstance(scalar, tl.dtype) and scalar.is_floating()


def element_bytes(t: tl.dtype) -> int:
    """Of an element in memory: every float takes eight."""
    return 8 if t.is_floating() else max(1, t.primitive_bitwidth // 8)


def _constant(dtype: tl.dtype) -> Callable[..., Any]:
    return lambda self, value: TensorHandle(np.array([value], dtype=np.float64), dtype)


def _cast(self: Any, source: Any, to: Any) -> Any:
    if _is_float(source.dtype) and _is_float(to):
        return TensorHandle(source.data, to.scalar)
    data = source.data
    if _is_float(source.dtype):
        data = np.where(np.isfinite(data), data, 0.0)
    return TensorHandle(data.astype(interpreter._get_np_dtype(to)), to.scalar)


def _bitcast(self: Any, source: Any, to: Any) -> Any:
    old, new = source.dtype.scalar, to.scalar
    pointers = [t for t in (old, new) if isinstance(t, tl.pointer_type)]
    if len(pointers) == 2:
        if old.element_ty.is_floating() != new.element_ty.is_floating():
            raise NotPromotable(f"it reads the bits of {old.element_ty} as {new.element_ty}")
        return TensorHandle(source.data, new)
    if not pointers and old != new and (_is_float(old) or _is_float(new)):
        raise NotPromotable(f"it reads the bits of {old} as {new}")
    return TensorHandle(source.data.view(interpreter._get_np_dtype(to)), new)


def _dot(self: Any, a: Any, b: Any, d: Any, *precision: Any) -> Any:
    kind = np.float64 if _is_float(d.dtype) else d.data.dtype
    return TensorHandle(np.matmul(a.data, b.data, dtype=kind) + d.data, d.dtype.scalar)


def _addptr(self: Any, pointer: Any, offset: Any) -> Any:
    size = element_bytes(pointer.get_element_ty())
    return TensorHandle(pointer.data + size * offset.data.astype(np.uint64), pointer.dtype)


def _materialize(self: Any, offsets: Any) -> tuple[Any, Any]:
    """Pointers and mask of a descriptor's block at `offsets`."""
    size = element_bytes(self.base.dtype.element_ty)
    pointers = np.broadcast_to(self.base.data, self.block_shape)
    mask = np.ones(self.block_shape, dtype=bool)
    for axis, length in enumerate(self.block_shape):
        along = [1] * len(self.block_shape)
        along[axis] = length
        at = (offsets[axis].data + np.arange(length)).reshape(along)
        pointers = pointers + (size * at * self.strides[axis].data).astype(np.uint64)
        mask = mask & (at >= 0) & (at < self.shape[axis].data)
    return TensorHandle(pointers, self.base.dtype.scalar), TensorHandle(mask, tl.int1)
