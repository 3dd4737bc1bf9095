"""The PyTorch tensor behind an argument that points to memory.

Triton takes any object with a ``data_ptr`` and a ``dtype``. Most are tensors. A DTensor is launched on what this rank
holds, and ``triton.reinterpret`` passes a tensor under another dtype. Other wrappers hold a tensor, or an array of
another library that DLPack exports. Only an object whose address is that of such a tensor says how far its memory
reaches.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

DTYPES = {
    **{name: name for name in ("float16", "bfloat16", "float32", "float64", "bool")},
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{name: name for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")},
    **{"fp16": "float16", "bf16": "bfloat16", "fp32": "float32", "fp64": "float64", "int1": "bool"},
    **{"fp8e4nv": "float8_e4m3fn", "fp8e5": "float8_e5m2", "fp8e4b8": "float8_e4m3fnuz", "fp8e5b16": "float8_e5m2fnuz"},
}
"""PyTorch's name of a dtype by its own, Triton's and numpy's."""


def tensor_behind(value: Any) -> Any:
    """The tensor of the memory that `value` points to, under the dtype that a kernel sees. None if there is none, or if
    PyTorch has no dtype of this name and size."""
    inner = getattr(value, "_local_tensor", value)
    if hasattr(inner, "untyped_storage"):
        return inner
    torch = sys.modules["torch"]
    dtype = getattr(torch, DTYPES.get(str(getattr(value, "dtype", "")).rpartition(".")[2], ""), None)
    address = value.data_ptr()
    for tensor in _tensors_held(torch, value):
        if tensor.data_ptr() == address and dtype is not None and dtype.itemsize == tensor.element_size():
            return tensor if tensor.dtype == dtype else tensor.view(dtype)
    return None


def _tensors_held(torch: Any, value: Any) -> Iterator[Any]:
    for held in (value, *getattr(value, "__dict__", {}).values()):
        if isinstance(held, torch.Tensor):
            yield held
        elif hasattr(held, "__dlpack__"):
            with suppress(TypeError, ValueError, RuntimeError, BufferError):  # a device or a dtype that torch lacks
                yield torch.from_dlpack(held)
