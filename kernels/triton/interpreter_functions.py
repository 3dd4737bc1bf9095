"""``tl.log``, ``log2``, ``sin``, ``cos`` and ``erf`` of fp32 in Triton's interpreter, step by step as NVIDIA GPUs do.

They are compiled to polynomials of libdevice, whose steps are fused products and sums: written down here from the PTX
that Triton makes of them (the same from 3.6 to 3.9), they give the GPU's bits. ``erf`` of numbers beyond one is left to
an approximation of the GPU at the end, here rounded to nearest. Other functions are one instruction that approximates
(``ex2.approx``, ``sqrt.approx``, ``rsqrt.approx``): NumPy's results are near those.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from kernels.triton.rounding import fuse_to_fp32

Array = np.ndarray[Any, Any]
ONE = np.float32(1)
SMALLEST = np.float32(2.0**-126)
"""The smallest number of fp32 that is not denormal: the GPU takes smaller ones for zero in these functions."""


def patch_functions(is_nvidia: Callable[[], bool]) -> None:
    """Patch the interpreter in this process, for kernels that are checked for a GPU of NVIDIA."""
    for name, function in {"log": log, "log2": log2, "sin": sin, "cos": cos, "erf": erf}.items():
        method = f"create_{name}"
        setattr(InterpreterBuilder, method, _of_fp32(getattr(InterpreterBuilder, method), function, is_nvidia))


def _of_fp32(original: Callable[..., Any], function: Any, is_nvidia: Callable[[], bool]) -> Callable[..., Any]:
    @wraps(original)
    def create(self: Any, x: Any) -> Any:
        if x.dtype.scalar != tl.float32 or not is_nvidia():
            return original(self, x)
        with np.errstate(all="ignore"):
            return TensorHandle(function(x.data).astype(np.float32), x.dtype.scalar)

    return create


def log(x: Array) -> Array:
    exponent, m = _taken_apart(x, 0x3F2AAAAB)
    y = _polynomial("BE055027 3E1039F6 BDF8CDCC 3E0F2955 BE2AD8B9 3E4CED0B BE7FFF22 3EAAAA78 BF000000", m)
    found = fuse_to_fp32(exponent, _bits("3F317218"), fuse_to_fp32(m * y, m, m))
    return np.where((x > 0) & np.isfinite(x), found, np.log(x))


def log2(x: Array) -> Array:
    exponent, m = _taken_apart(x, 0x3F35_04F3)
    y = _polynomial("3DC6B27F BE2C7F30 3E2FCF2A BE374E43 3E520BF4 BE763C8B 3E93BF99 BEB8AA49 3EF6384A BF38AA3B", m)
    found = exponent + fuse_to_fp32(m, _bits("3FB8AA3B"), m * (m * y))
    return np.where((x > 0) & np.isfinite(x), found, np.log2(x))


def sin(x: Array) -> Array:
    return _periodic(x, 0, np.sin)


def cos(x: Array) -> Array:
    return _periodic(x, 1, np.cos)


def erf(x: Array) -> Array:
    size = np.abs(x)
    far = size >= _bits("3F8060FE")
    t = np.where(far, size, x * x)
    y = np.where(
        far,
        _polynomial("3789CA3C B9F560B9 3BAC840B BD0C8162 3E1CF906 3F6A937E 3F20D842", t),
        _polynomial("38B1E96A BA574D20 3BAAD5EA BCDC1BE7 3DE718AF BEC093AC 3E0375D3", t),
    )
    s = np.where(far, -t, _flushed(x))
    y = fuse_to_fp32(y, s, s)
    return np.where(far, np.copysign(ONE - np.exp2(y.astype(np.float64)).astype(np.float32), x), y)


def _taken_apart(x: Array, least: int) -> tuple[Array, Array]:
    """The exponent of two of each number and what is left of it, less one; `least`: the bits of the smallest rest."""
    denormal = x < SMALLEST
    x = np.where(denormal, x * np.float32(2.0**23), x).astype(np.float32)
    exponent = (x.view(np.int32) - np.int32(least)) & np.int32(-(2**23))
    rest = (x.view(np.int32) - exponent).view(np.float32)
    offset = np.where(denormal, np.float32(-23), np.float32(0))
    return fuse_to_fp32(exponent.astype(np.float32), _bits("34000000"), offset), rest - ONE


def _periodic(x: Array, shift: int, far_away: Any) -> Array:
    """sin(x + `shift`·π/2). Numbers from 105,615 on are reduced otherwise on the GPU: they are `far_away`'s."""
    x = _flushed(x)
    near = np.abs(x) < _bits("47CE4780")
    given = np.where(near, x, np.float32(0)).astype(np.float32)
    quarter = np.rint(given * _bits("3F22F983"))
    r = given
    for part in ("BFC90FDA", "B3A22168", "A7C234C5"):  # π/2 in three parts
        r = fuse_to_fp32(quarter, _bits(part), r)
    turn = quarter.astype(np.int32) + shift
    square, odd = r * r, (turn & 1) != 0
    first = np.where(odd, ONE, r)
    y = np.where(
        odd,
        _polynomial("37CBAC00 BAB607ED 3D2AAABB BEFFFFFF", square),
        _polynomial("B94D4153 3C0885E4 BE2AAAA8", square),
    )
    y = fuse_to_fp32(y, square * first, first)
    return np.where(near, np.where(turn & 2, np.float32(0) - y, y), far_away(x.astype(np.float64)))


def _polynomial(coefficients: str, x: Array) -> Array:
    """Horner's scheme; `coefficients` are the bits of numbers of fp32, in hexadecimal."""
    first, *others = (_bits(c) for c in coefficients.split())
    y = np.asarray(first)
    for coefficient in others:
        y = fuse_to_fp32(y, x, coefficient)
    return y


def _bits(hexadecimal: str) -> Any:
    return np.uint32(int(hexadecimal, 16)).view(np.float32)


def _flushed(x: Array) -> Array:
    return np.where(np.abs(x) < SMALLEST, np.copysign(np.float32(0), x), x).astype(np.float32)
