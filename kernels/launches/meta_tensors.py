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

DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


class MetaElementwise(TorchFunctionMode):
    """Within it the `FUNCTIONS` of plain meta tensors give an empty meta tensor as the references do, if it is obvious:
    contiguous floating-point tensors without a gradient. Every other call is PyTorch's own. From the first block on no
    reference imports PyTorch's compiler."""

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
        found = None
        if func in FUNCTIONS:
            with suppress(TypeError):  # a wrong call, about which PyTorch has the better words
                found = FUNCTIONS[func](*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is None else found


def _copysign(input: Any, other: Any) -> torch.Tensor | None:
    tensors = [x for x in (input, other) if type(x) not in (int, float)]
    mixed = len({t.dtype for t in tensors if _is_plain(t)}) > 1
    if not all(map(_is_plain, (input, *tensors))) or (mixed and not all(t.dim() for t in tensors)):
        return None  # the dtype of a tensor without dimensions does not count beside that of one that has some
    shape = torch.broadcast_tensors(*tensors)[0].shape  # ``broadcast_shapes`` imports SymPy
    dtype = functools.reduce(torch.promote_types, (t.dtype for t in tensors))
    return torch.empty(shape, dtype=dtype, device="meta")


def _leaky_relu(input: Any, negative_slope: Any = 0.01, inplace: Any = False) -> torch.Tensor | None:
    if type(negative_slope) not in (int, float) or inplace is not False or not _is_plain(input):
        return None
    return torch.empty(input.shape, dtype=input.dtype, device="meta")


def _rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> torch.Tensor | None:
    """If `weight` scales the last dimension of an `input` of its dtype."""
    if not (_is_plain(input) and _is_plain(weight) and input.dtype == weight.dtype and input.dim() > 0):
        return None
    if not tuple(normalized_shape) == tuple(weight.shape) == tuple(input.shape[-1:]):
        return None
    if type(eps) not in (int, float, type(None)):
        return None
    return torch.empty(input.shape, dtype=input.dtype, device="meta")


FUNCTIONS: Mapping[Callable[..., Any], Callable[..., torch.Tensor | None]] = {
    torch.copysign: _copysign,
    torch.nn.functional.leaky_relu: _leaky_relu,
    torch.nn.functional.rms_norm: _rms_norm,
}
"""Those that inputs and references of matmul, fused_matmul, conv2d, grouped_matmul and rms_norm call, each with what
gives its result, or None if that is left to PyTorch."""


def _is_plain(value: Any) -> bool:
    """Whether it is a meta tensor, of no subclass, whose elementwise results are contiguous and have no gradient."""
    return (
        type(value) is torch.Tensor
        and value.device.type == "meta"
        and value.dtype in DTYPES
        and value.is_contiguous()
        and not (value.requires_grad and torch.is_grad_enabled())
    )


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
