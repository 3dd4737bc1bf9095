"""Arguments of a launch as plain data, by name.

Each is an object with a ``type``:

- ``tensor``: shape, stride, dtype, offset, alignment in bytes and the number of its *storage*: equal numbers share
  memory. ``unwrapped`` names the class of an object that points to the tensor's memory, and ``passed_as`` the dtype
  under which ``triton.reinterpret`` passes it; ``dtype`` is what the kernel sees;
- ``reinterpreted``: a tensor under a dtype that PyTorch lacks, or of another size;
- ``descriptor``, ``tuple`` (with ``fields`` if it is a named one), ``int``, ``float``, ``bool``, ``str``, ``none``;
- ``dtype`` (Triton's), ``torch_dtype``, ``member`` of an enumeration and ``record``, a dataclass
  (:mod:`kernels.capture.describing.plain_classes`);
- ``function``: a part of the capture;
- ``unknown``: none of these, by its class, with a ``name`` if it has one; a whole number of over 64 bits is one.

Compile-time constants have ``constexpr``.
"""

from __future__ import annotations

import enum
import itertools
import sys
from collections.abc import Callable
from typing import Any

from .memory_behind import tensor_behind
from .plain_classes import describe_member, describe_record, is_record

Json = dict[str, Any]

MOST_ALIGNMENT = 16
"""Bytes; what Triton specialises on. More is a matter of the allocator."""
ITEM_BYTES = {
    **dict.fromkeys(("bool", "uint8", "int8", "float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    **dict.fromkeys(("float8_e8m0fnu", "float4_e2m1fn_x2"), 1),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32", "complex32"), 4),
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
        number = self._numbers.setdefault(start, len(self.described))
        if number == len(self.described):
            self.described.append({"bytes": storage.nbytes(), "device": tensor.device.type})
        # Memory of another library may have several storages that begin at one address, one for each view.
        self.described[number]["bytes"] = max(self.described[number]["bytes"], storage.nbytes())
        return number


def describe_argument(path: str, value: Any, storages: Storages, function: Callable[[Any], str]) -> Json:
    """One argument. `function` keeps a Triton function and returns the digest of its part."""
    value = plain_scalar(value)
    kind = type(value)
    if value is None:
        return {"type": "none"}
    if is_plain(value):
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
    if kind.__name__ == "dtype" and kind.__module__ == "torch":
        return {"type": "torch_dtype", "name": str(value)}
    if isinstance(value, enum.Enum) and (member := describe_member(value)) is not None:
        return member
    if is_record(value):
        places = itertools.count()  # as in a tuple: what reads a capture knows items by their places
        return describe_record(value, lambda _, v: describe_argument(f"{path}.{next(places)}", v, storages, function))
    unknown: Json = {"type": "unknown", "class": f"{kind.__module__}.{kind.__qualname__}"}
    has_name = isinstance(value, enum.Enum | int) or kind.__module__ == "torch"
    return {**unknown, "name": str(value)} if has_name else unknown


def is_plain(value: Any) -> bool:
    """Whether a capture holds it as it is: a text, a truth value or a number, whole ones of at most 64 bits."""
    return type(value) in PLAIN and (type(value) is not int or -(2**63) <= value < 2**64)


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


def _tensor(path: str, value: Any, storages: Storages) -> Json:
    seen = tensor_behind(value)
    kind = type(value)
    if seen is None:
        base = getattr(value, "base", None)
        if hasattr(base, "untyped_storage"):
            return {"type": "reinterpreted", "dtype": str(value.dtype), "base": _tensor(path, base, storages)}
        return {"type": "unknown", "class": f"{kind.__module__}.{kind.__qualname__}"}
    storages.tensors.append((path, seen))
    address = seen.data_ptr()
    described = {
        "type": "tensor",
        "shape": list(seen.shape),
        "stride": list(seen.stride()),
        "dtype": str(seen.dtype).removeprefix("torch."),
        "offset": seen.storage_offset(),
        "alignment": min(address & -address, MOST_ALIGNMENT) if address else MOST_ALIGNMENT,
        "storage": storages.number(seen),
    }
    if kind.__module__.startswith("triton."):
        described["passed_as"] = str(value.dtype)
    elif seen is not value:
        described["unwrapped"] = kind.__qualname__
    return described
