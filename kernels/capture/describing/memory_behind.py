"""The PyTorch tensor behind an argument that points to memory.

Triton takes any object with a ``data_ptr`` and a ``dtype``. Most are tensors. A DTensor is launched on what this rank
holds, and ``triton.reinterpret`` passes a tensor under another dtype. Other wrappers hold a tensor, or an array of
another library that DLPack exports. Only an object whose address lies in the memory of such a tensor says how far its
memory reaches.
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
    PyTorch has no dtype of this name and size. An object may point into the memory of the tensor that it holds."""
    torch = sys.modules["torch"]
    inner = getattr(value, "_local_tensor", value)
    if hasattr(inner, "untyped_storage") and hasattr(inner, "storage_offset"):  # which buffers of libraries have not
        return inner
    dtype = getattr(torch, DTYPES.get(str(getattr(value, "dtype", "")).rpartition(".")[2], ""), None)
    address = value.data_ptr()
    if dtype is None or type(address) is not int:
        return None
    held = [t for t in _tensors_held(torch, value) if t.element_size() == dtype.itemsize]
    for tensor in held:
        if tensor.data_ptr() == address:
            return tensor if tensor.dtype == dtype else tensor.view(dtype)
    return next((view for t in held if (view := _view_at(torch, t, address, dtype, value)) is not None), None)


def _view_at(torch: Any, held: Any, address: int, dtype: Any, value: Any) -> Any:
    """What lies at this address in the memory of `held`: under shape and strides of `value`, if it has such, else to
    the end. None if that is no view of PyTorch's, as one from back to front."""
    storage = held.untyped_storage()
    offset, apart = divmod(address - storage.data_ptr(), dtype.itemsize)
    behind = storage.nbytes() // dtype.itemsize - offset
    stride = getattr(value, "stride", None)
    shape, strides = getattr(value, "shape", None), stride() if callable(stride) else None
    if shape is None or strides is None:
        shape, strides = (behind,), (1,)
    if offset < 0 or behind < 1 or apart or len(shape) != len(strides) or min((*shape, *strides), default=0) < 0:
        return None
    if sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) >= behind:
        return None
    return torch.empty(0, dtype=dtype, device=held.device).set_(storage, offset, tuple(shape), tuple(strides))


def _tensors_held(torch: Any, value: Any) -> Iterator[Any]:
    for held in (value, *getattr(value, "__dict__", {}).values()):
        if isinstance(held, torch.Tensor):
            yield held
        elif hasattr(held, "__dlpack__"):
            with suppress(TypeError, ValueError, RuntimeError, BufferError):  # a device or a dtype that torch lacks
                yield torch.from_dlpack(held)
