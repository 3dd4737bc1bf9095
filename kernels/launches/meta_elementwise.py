"""Elementwise functions and RMSNorm of meta tensors without PyTorch's Python references.

For some functions PyTorch has no meta kernel. Its Python references import SymPy: 0.5 s of the processor in every
process that looks at a kernel's shapes. The built-in kernels need no more than these."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

FUNCTIONS = frozenset({torch.copysign, torch.nn.functional.leaky_relu})
"""Those that inputs and references of matmul, fused_matmul, conv2d and grouped_matmul call. rms_norm's calls one more,
whose first argument alone decides the shape."""


class MetaElementwise(TorchFunctionMode):
    """Within it the `FUNCTIONS` of floating-point meta tensors give an empty meta tensor of the broadcast shape and the
    promoted dtype, as the references do; ``rms_norm`` gives one of its input's shape. Every other call, in place or
    with ``out`` too, is PyTorch's own."""

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
