"""libdevice's functions in Triton's interpreter, which does not know them: numpy's and scipy's, in float64.

A result is rounded to the type of the first argument. Call :func:`replace_libdevice` before a kernel is imported: a
kernel may have imported a function by its name.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter
from scipy import special
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

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
NARROW = ("fp16", "bf16", "fp8e4nv", "fp8e5", "fp8e4b8", "fp8e5b16", "fp8e4b15")
"""Types that no function of this table takes; a compiler refuses them."""


MACHINE_CODE = {
    "create_inline_asm": "inline assembly",
    "create_extern_elementwise": "a function of an external library",
}
"""Operations that are given as machine code."""


class NotEmulated(Exception):
    """The interpreter cannot compute something; the message says what."""


def patch_libdevice() -> None:
    """Patch the interpreter of this process: libdevice is computed, what is made of machine code cannot be."""
    refuse_operations(MACHINE_CODE, NotEmulated)
    replace_libdevice(NotEmulated, NARROW)


def refuse_operations(operations: Mapping[str, str], refusal: type[NotEmulated]) -> None:
    """Have the interpreter raise `refusal` for `operations`: what each is, by the name of the builder's method."""
    for name, what in operations.items():
        setattr(InterpreterBuilder, name, _refusing(what, refusal))


def replace_libdevice(refusal: type[NotEmulated], narrow: tuple[str, ...] = ()) -> None:
    """Replace the functions of every libdevice that this Triton has. One without a numpy function raises `refusal`;
    an argument of a type in `narrow` is a TypeError."""
    for name in LIBDEVICES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # a backend that this Triton lacks
        for function, original in inspect.getmembers(module, inspect.isfunction):
            if not function.startswith("_") and original.__module__ == name:
                setattr(module, function, functools.wraps(original)(_emulated(function, refusal, narrow)))


def _emulated(name: str, refusal: type[NotEmulated], narrow: tuple[str, ...]) -> Callable[..., Any]:
    function = FUNCTIONS.get(name)

    def emulated(*args: Any, **kwargs: Any) -> Any:
        if function is None:
            raise refusal(f"it uses libdevice.{name}")
        tensors = [interpreter.interpreter_semantic.to_tensor(a) for a in args]
        for t in tensors:
            if str(t.dtype.scalar) in narrow:
                raise TypeError(f"libdevice.{name} takes no {t.dtype.scalar}: convert it to fp32")
        with np.errstate(all="ignore"):
            data = np.asarray(function(*[t.handle.data.astype(np.float64) for t in tensors]))
        dtype = tl.int1 if name in PREDICATES else tensors[0].dtype.scalar
        block = any(t.type.is_block() for t in tensors)
        kind = tl.block_type(dtype, list(data.shape)) if block else dtype
        return tl.tensor(TensorHandle(data.astype(interpreter._get_np_dtype(dtype)), dtype), kind)

    return emulated


def _refusing(what: str, refusal: type[NotEmulated]) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise refusal(f"it uses {what}")

    return refuse
