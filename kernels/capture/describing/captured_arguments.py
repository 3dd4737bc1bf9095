"""Arguments of a launch as plain data, by name.

Each is an object with a ``type``: ``tensor`` (shape, stride, dtype, offset, alignment in bytes and the number of its
*storage*: equal numbers share memory), ``reinterpreted``, ``descriptor``, ``tuple``, ``int``, ``float``, ``bool``,
``str``, ``none``, ``dtype``, ``function`` (a part of the capture) or ``unknown``, with a ``name`` if it is a member of
an enumeration or PyTorch's own. Compile-time constants have ``constexpr``.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

MOST_ALIGNMENT = 16
"""Bytes; what Triton specialises on. More is a matter of the allocator."""
ITEM_BYTES = {
    **dict.fromkeys(("bool", "uint8", "int8", "float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    "complex128": 16,
}
"""Bytes of an element, by dtype."""
PLAIN = {int: "int", float: "float", bool: "bool", str: "str"}


class Storages:
    """The memory that a launch's tensors lie in, numbered in the order of the arguments."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self.described: list[Json] = []
        self.tensors: list[tuple[str, Any]] = []
        """(path, tensor) of every tensor, the parts of tuples and descriptors included."""

    def number(self, tensor: Any) -> int:
        storage = tensor.untyped_storage()
        start = storage.data_ptr()
        if start not in self._numbers:
            self._numbers[start] = len(self.described)
            self.described.append({"bytes": storage.nbytes(), "device": tensor.device.type})
        return self._numbers[start]


def describe_argument(path: str, value: Any, storages: Storages, function: Callable[[Any], str]) -> Json:
    """One argument. `function` keeps a Triton function and returns the digest of its part."""
    value = plain_scalar(value)
    kind = type(value)
    if value is None:
        return {"type": "none"}
    if kind in PLAIN:
        return {"type": PLAIN[kind], "value": value if kind is not float else repr(value)}
    if kind.__name__ == "constexpr":
        return {**describe_argument(path, value.value, storages, function), "constexpr": True}
    if kind.__name__ == "dtype" and kind.__module__.startswith("triton"):
        return {"type": "dtype", "name": value.name}
    if hasattr(value, "fn") and kind.__module__.startswith("triton"):
        return {"type": "function", "function": function(value)}
    if isinstance(value, tuple | list):
        items = [describe_argument(f"{path}.{i}", v, storages, function) for i, v in enumerate(value)]
        named = {"fields": list(value._fields)} if hasattr(value, "_fields") else {}
        return {"type": "tuple", "items": items, **named}
    if hasattr(value, "block_shape") and hasattr(value, "base"):
        base = describe_argument(f"{path}.base", value.base, storages, function)
        return {
            "type": "descriptor",
            "base": base,
            "shape": [int(n) for n in value.shape],
            "strides": [int(n) for n in value.strides],
            "block_shape": [int(n) for n in value.block_shape],
            "padding": str(getattr(value, "padding", "zero")),
            "round_f32_to_tf32": bool(getattr(value, "round_f32_to_tf32", False)),
        }
    if hasattr(value, "data_ptr"):
        return _tensor(path, value, storages)
    member = isinstance(value, enum.Enum) or kind.__module__ == "torch"
    unknown: Json = {"type": "unknown", "class": f"{kind.__module__}.{kind.__qualname__}"}
    return {**unknown, "name": str(value)} if member else unknown


def plain_scalar(value: Any) -> Any:
    """A number or text of a subclass (``numpy.float64``, an ``IntEnum``) as the plain one that Triton takes it for, and
    a scalar of numpy likewise. Anything else as it is."""
    if type(value) in PLAIN or value is None:
        return value
    for plain in (int, float):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, str):
        return str.__str__(value)  # str() of an Enum is its name
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def is_reinterpreted(value: Any) -> bool:
    """Whether this is ``triton.reinterpret`` of a tensor. It has the tensor's shape and strides, and no memory of its
    own."""
    return hasattr(value, "base") and not hasattr(value, "untyped_storage")


def _tensor(path: str, value: Any, storages: Storages) -> Json:
    if is_reinterpreted(value):
        return {"type": "reinterpreted", "dtype": str(value.dtype), "base": _tensor(path, value.base, storages)}
    if not hasattr(value, "untyped_storage"):
        return {"type": "unknown", "class": f"{type(value).__module__}.{type(value).__qualname__}"}
    inner = getattr(value, "_local_tensor", value)  # a DTensor launches on what this rank holds
    storages.tensors.append((path, inner))
    address = inner.data_ptr()
    described = {
        "type": "tensor",
        "shape": list(inner.shape),
        "stride": list(inner.stride()),
        "dtype": str(inner.dtype).removeprefix("torch."),
        "offset": inner.storage_offset(),
        "alignment": min(address & -address, MOST_ALIGNMENT) if address else MOST_ALIGNMENT,
        "storage": storages.number(inner),
    }
    if inner is not value:
        described["unwrapped"] = type(value).__qualname__
    return described
