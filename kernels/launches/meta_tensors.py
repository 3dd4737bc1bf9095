"""Shapes on meta tensors, without the import of PyTorch's compiler and of SymPy.

If an operator has no meta kernel, a Python reference computes its shape. PyTorch hides many references from its
compiler, and imports ``torch._dynamo`` to do so at the first call: 2 s of the processor in every process that looks at
a kernel's shapes. A process that has not imported the compiler compiles nothing, so there is nothing to hide from.
Many references import SymPy besides, 0.5 s; for the functions that the inputs of most built-in kernels call, no
reference is asked.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import FunctionType
from typing import Any

import torch
import torch._compile
from torch.overrides import TorchFunctionMode

FUNCTIONS = frozenset({torch.copysign, torch.nn.functional.leaky_relu})
"""Those that inputs and references of matmul, fused_matmul, conv2d and grouped_matmul call. rms_norm's calls one more,
whose first argument alone decides the shape."""


class MetaElementwise(TorchFunctionMode):
    """Within it the `FUNCTIONS` of floating-point meta tensors give an empty meta tensor of the broadcast shape and the
    promoted dtype, as the references do; ``rms_norm`` gives one of its input's shape. Every other call, in place or
    with ``out`` too, is PyTorch's own. From the first block on no reference imports PyTorch's compiler."""

    def __init__(self) -> None:
        super().__init__()
        import_no_compiler()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.nn.functional.rms_norm:
            x, normalized_shape, weight = _rms_norm_arguments(*args, **(kwargs or {}))
            if _is_row_norm(x, normalized_shape, weight):
                return torch.empty(x.shape, dtype=x.dtype, device="meta")
        given = [a for a in args if not isinstance(a, int | float)]
        if (
            func in FUNCTIONS
            and not {name for name, value in (kwargs or {}).items() if value} - {"negative_slope"}
            and all(map(_floating_meta, given))
        ):
            shape = torch.broadcast_tensors(*given)[0].shape  # ``broadcast_shapes`` imports SymPy
            dtype = functools.reduce(torch.promote_types, (t.dtype for t in given))
            return torch.empty(shape, dtype=dtype, device="meta")
        return func(*args, **(kwargs or {}))


def _rms_norm_arguments(input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> tuple[Any, Any, Any]:
    """Those that decide what comes out, however they were passed."""
    return input, normalized_shape, weight


def _is_row_norm(x: Any, normalized_shape: Any, weight: Any) -> bool:
    """Whether `weight` scales the last dimension of a contiguous `x` of its dtype. All else is left to PyTorch."""
    return (
        _floating_meta(x)
        and _floating_meta(weight)
        and x.dtype == weight.dtype
        and x.is_contiguous()
        and tuple(normalized_shape) == tuple(weight.shape) == tuple(x.shape[-1:])
        and x.dim() > 0
    )


def _floating_meta(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == "meta" and value.is_floating_point()


HOMES = ("torch._refs", "torch._decomp")
"""The modules of the references."""
KEPT = "__dynamo_disable"
"""PyTorch keeps under this name of a function what it calls in the function's place."""


@functools.cache
def import_no_compiler() -> None:
    """From now on no reference imports PyTorch's compiler. If a PyTorch hides them in another way, nothing changes."""
    for hidden in _hidden_functions():
        function = _closure(hidden)["fn"]
        if not hasattr(function, KEPT):
            setattr(function, KEPT, _until_imported(function, hidden))


def _until_imported(function: Callable[..., Any], hidden: Callable[..., Any]) -> Callable[..., Any]:
    """`function` itself until the process imports PyTorch's compiler. Then `hidden` decides again what is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        vars(function).pop(KEPT, None)
        return hidden(*args, **kwargs)

    return call


def _hidden_functions() -> Iterator[FunctionType]:
    """Those that ``torch._compile`` has wrapped: references, and functions inside their decorators."""
    waiting = [v for name, module in [*sys.modules.items()] if name.startswith(HOMES) for v in vars(module).values()]
    seen: set[FunctionType] = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        enclosed = _closure(function)
        if function.__code__.co_filename == torch._compile.__file__ and "fn" in enclosed:
            yield function
        waiting += enclosed.values()


def _closure(function: FunctionType) -> dict[str, Any]:
    """The values of the outer functions' variables that `function` uses."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # an empty cell
            found[name] = cell.cell_contents
    return found
