"""Makes Triton's interpreter compute every float in float64.

A kernel's own code then says what it would compute without rounding: explicit casts to fp16, bf16, fp8 or fp32 keep
their type for the code that asks about it, and change no number. Tensors of floats are float64 in memory, handed over
as ``TensorWrapper(tensor, dtype)`` with the dtype that the kernel expects. Functions of libdevice, which the
interpreter does not know, are numpy's and scipy's. What depends on bits or cannot be computed so raises
:class:`NotPromotable`. Call :func:`promote` once, in a process of its own: it cannot be undone.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter
from scipy import special
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from kernels.triton.interpreter_arguments import patch_float_arguments

Array = np.ndarray[Any, Any]

LIBDEVICES = (
    "triton.language.extra.libdevice",
    "triton.language.extra.cuda.libdevice",
    "triton.language.extra.hip.libdevice",
)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{n: getattr(np, n) for n in ("tanh", "sinh", "cosh", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p")},
    **{n: getattr(np, n) for n in ("sqrt", "cbrt", "sin", "cos", "tan", "floor", "ceil", "trunc", "rint", "hypot")},
    **{n: getattr(np, n) for n in ("fmod", "copysign", "isnan", "ldexp")},
    **{n: getattr(special, n) for n in ("erf", "erfc", "erfinv", "erfcinv", "erfcx", "j0", "j1", "y0", "y1")},
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "acosh": np.arccosh,
    "asinh": np.arcsinh,
    "atanh": np.arctanh,
    "atan2": np.arctan2,
    "pow": np.power,
    "exp10": lambda x: np.power(10.0, x),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "lgamma": special.gammaln,
    "tgamma": special.gamma,
    "abs": np.abs,
    "fabs": np.abs,
    "fma": lambda x, y, z: x * y + z,
    "isinf": np.isinf,
    "isfinited": np.isfinite,
    "finitef": np.isfinite,
    "nearbyint": np.rint,
    "round": lambda x: np.trunc(x + np.copysign(0.5, x)),
    "fdim": lambda x, y: np.maximum(x - y, 0.0),
    "normcdf": special.ndtr,
    "normcdfinv": special.ndtri,
    "sinpi": lambda x: np.sin(np.pi * x),
    "cospi": lambda x: np.cos(np.pi * x),
    "saturatef": lambda x: np.clip(x, 0.0, 1.0),
    "fast_expf": np.exp,
    "fast_exp10f": lambda x: np.power(10.0, x),
    "fast_logf": np.log,
    "fast_log2f": np.log2,
    "fast_log10f": np.log10,
    "fast_powf": np.power,
    "fast_sinf": np.sin,
    "fast_cosf": np.cos,
    "fast_tanf": np.tan,
    "fast_tanhf": np.tanh,
    "fast_dividef": np.divide,
    "div_rn": np.divide,
    "mul_rn": np.multiply,
    "add_rn": np.add,
    "sub_rn": np.subtract,
    "rcp_rn": lambda x: 1 / x,
    "sqrt_rn": np.sqrt,
}
"""libdevice's functions on arrays of float64, by their names in Triton."""
PREDICATES = ("isnan", "isinf", "isfinited", "finitef")


class NotPromotable(Exception):
    """The kernel cannot be computed in float64; the message says what of it cannot."""


def promote() -> None:
    """Patch the interpreter in this process; a second call changes nothing."""
    if getattr(InterpreterBuilder, "promoted", False):
        return
    numpy_dtype, fits = interpreter._get_np_dtype, interpreter._validate_np_data_size
    interpreter._get_np_dtype = lambda t: np.dtype(np.float64) if _is_float(t) else numpy_dtype(t)
    interpreter._validate_np_data_size = lambda data, t: _is_float(t) or fits(data, t)
    patch_float_arguments(np.float64)
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
    for name, what in {
        "create_dot_scaled": "tl.dot_scaled",
        "create_inline_asm": "inline assembly",
        "create_extern_elementwise": "a function of an external library",
    }.items():
        setattr(builder, name, _refusing(what))
    for module in LIBDEVICES:
        _replace_libdevice(module)
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


def _refusing(what: str) -> Callable[..., Any]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotPromotable(f"it uses {what}")

    return refuse


def _replace_libdevice(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError:
        return  # a backend that this Triton lacks
    for function, original in inspect.getmembers(module, inspect.isfunction):
        if not function.startswith("_") and original.__module__ == name:
            setattr(module, function, functools.wraps(original)(_emulated(function)))


def _emulated(name: str) -> Callable[..., Any]:
    function = FUNCTIONS.get(name)

    def emulated(*args: Any, **kwargs: Any) -> Any:
        if function is None:
            raise NotPromotable(f"it uses libdevice.{name}")
        tensors = [interpreter.interpreter_semantic.to_tensor(a) for a in args]
        with np.errstate(all="ignore"):
            data = np.asarray(function(*[t.handle.data.astype(np.float64) for t in tensors]))
        dtype = tl.int1 if name in PREDICATES else tensors[0].dtype.scalar
        block = any(t.type.is_block() for t in tensors)
        kind = tl.block_type(dtype, list(data.shape)) if block else dtype
        return tl.tensor(TensorHandle(data.astype(interpreter._get_np_dtype(dtype)), dtype), kind)

    return emulated
