"""Hands Python floats to interpreted kernels as a compiled launch does: as fp32 scalars of Triton.

Triton's interpreter (3.6 to 3.9) converts integers and leaves floats as they are, so that ``eps.to(tl.float32)`` raises
there, and a bf16 value times ``eps`` stays bf16 where a compiled kernel computes in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter


def patch_float_arguments(precision: type[np.floating[Any]] = np.float32) -> None:
    """Patch the interpreter of this process. `precision`: how many bits of a float are kept; its type for Triton is
    fp32 whatever that is."""
    interpreter._implicit_cvt = _with_floats(interpreter._implicit_cvt, precision)


def _with_floats(convert: Callable[[Any], Any], precision: type[np.floating[Any]]) -> Callable[[Any], Any]:
    def converted(argument: Any) -> Any:
        if isinstance(argument, float):
            return tl.tensor(interpreter.TensorHandle(np.array([argument], dtype=precision), tl.float32), tl.float32)
        return convert(argument)

    return converted
