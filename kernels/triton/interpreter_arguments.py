"""Hands numbers to interpreted kernels, and takes them back, as a compiled launch does.

1. A Python float is an fp32 scalar of Triton. Triton's interpreter (3.6 to 3.9) converts integers and leaves floats
   as they are, so that ``eps.to(tl.float32)`` raises there, and a bf16 value times ``eps`` stays bf16 where a
   compiled kernel computes in fp32.
2. A scalar that bounds a loop is a Python number. Triton 3.6 asks NumPy for it in a way that NumPy refuses from 2.4
   on: ``only 0-dimensional arrays can be converted``.
3. The variable of a loop over ``range`` is a scalar of Triton, too. The interpreter leaves it a Python number, so
   that ``i.to(tl.int64)`` raises there.
4. Whole numbers are computed once. Triton computes them in 64 bits too, for an assertion that the interpreter never
   makes, because its option ``debug`` is off.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter


def patch_scalars(precision: type[np.floating[Any]] = np.float32) -> None:
    """Patch the interpreter of this process. `precision`: how many bits of a float are kept; its type for Triton is
    fp32 whatever that is."""
    interpreter._implicit_cvt = _with_floats(interpreter._implicit_cvt, precision)
    interpreter._patch_lang_tensor = _with_numbers(interpreter._patch_lang_tensor)
    transformer: Any = interpreter.ASTTransformer
    transformer.visit_For = _with_scalar_variable
    options = interpreter.interpreter_builder.options
    interpreter.interpreter_builder.options = replace(options, sanitize_overflow=options.debug)


def _with_floats(convert: Callable[[Any], Any], precision: type[np.floating[Any]]) -> Callable[[Any], Any]:
    def converted(argument: Any) -> Any:
        if isinstance(argument, float):
            return tl.tensor(interpreter.TensorHandle(np.array([argument], dtype=precision), tl.float32), tl.float32)
        return convert(argument)

    return converted


def _with_numbers(patch: Callable[..., None]) -> Callable[..., None]:
    def patched(tensor: Any, *scope: Any) -> None:
        patch(tensor, *scope)
        # What the interpreter has set it takes back after the launch, whatever stands there then.
        tensor.__index__ = lambda self: int(self.handle.data.item())

    return patched


def _with_scalar_variable(self: ast.NodeTransformer, node: ast.For) -> ast.For:
    """``for i in range(…)`` with ``i = interpreter_semantic.to_tensor(i, False)`` before the body, as the interpreter
    does with what is assigned. ``tl.static_range`` gives constants, and is left alone."""
    self.generic_visit(node)
    call = node.iter.func if isinstance(node.iter, ast.Call) else None
    named = call.id if isinstance(call, ast.Name) else call.attr if isinstance(call, ast.Attribute) else None
    if named == "range" and isinstance(node.target, ast.Name):
        name = node.target.id
        scalar = ast.parse(f"{name} = interpreter_semantic.to_tensor({name}, False)").body[0]
        for part in ast.walk(scalar):  # lines of an error are counted from the loop's
            ast.copy_location(part, node)
        node.body.insert(0, scalar)
    return node


def numpy_advice(message: str) -> str:
    """What to do where numpy 2.4's stricter scalars stop the interpreter (seen with Triton 3.6); empty otherwise."""
    import numpy
    import triton

    if "only 0-dimensional arrays can be converted" not in message:
        return ""
    return (
        f"the interpreter of Triton {triton.__version__} does not work with numpy {numpy.__version__}: "
        "pip install 'numpy<2.4'"
    )
