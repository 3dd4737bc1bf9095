"""Computes the key of a launch in a few microseconds. Launches of one function that have equal keys count as the same.

A tensor counts by shape, stride, dtype, offset, 16-byte alignment and by which other argument shares its storage, never
by its values. A whole number counts by its value, because sizes and strides are numbers; a number that changes with
every launch (a seed, a step) is noticed by the recorder and then counts by what Triton specialises on. A float counts
by its type, unless it is a compile-time constant.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections.abc import Hashable, Sequence
from typing import Any

from .describing.captured_arguments import PLAIN, plain_scalar
from .describing.memory_behind import tensor_behind

FREE = "a number that varies"
PLAIN_TENSORS: set[type] = set()
"""Classes of tensors that hold their own memory; filled once PyTorch is there."""


class KeyMaker:
    """Makes the keys of the launches of one function.

    `names` are its parameters in order, and `constexprs` are those that are compile-time constants."""

    def __init__(self, names: Sequence[str], constexprs: frozenset[str]) -> None:
        self.names = tuple(names)
        self.constexprs = constexprs
        self.free: set[str] = set()
        """Names of whole numbers that vary from launch to launch."""

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Hashable, ...]:
        storages: dict[int, int] = {}
        parts: list[Hashable] = []
        add = parts.append
        fixed, free = self.constexprs, self.free
        names, plain = self.names, PLAIN_TENSORS or _plain_tensors()
        for i, value in enumerate(args):
            kind = type(value)
            if kind is int:
                add(value if names[i] not in free else (FREE, value == 1, value % 16 == 0, _width(value)))
            elif value is None:
                add(None)
            elif kind in plain:  # the common case, spelled out: a call costs as much as what it would do
                offset, address = value.storage_offset(), value.data_ptr()
                start = address - offset * value.element_size() if offset else address
                place = storages.setdefault(start, len(storages))
                add((value.shape, value.stride(), value.dtype, offset, address % 16, place))
            elif kind is float and names[i] not in fixed:
                add(float)
            elif kind in PLAIN:
                add(_part(value, kind, storages))
            else:
                add(self._other(names[i], value, storages))
        for name, value in kwargs.items():
            kind = type(value)
            if kind is int and name in free:
                add((name, FREE, value == 1, value % 16 == 0, _width(value)))
            elif kind is float and name not in fixed:
                add((name, float))
            elif value is None or kind in PLAIN:
                add((name, _part(value, kind, storages)))
            else:
                add((name, self._other(name, value, storages)))
        return tuple(parts)

    def _other(self, name: str, value: Any, storages: dict[int, int]) -> Hashable:
        """The part of an argument that is no plain number or tensor."""
        plain = plain_scalar(value)
        if type(plain) is float and name not in self.constexprs:
            return float
        return _part(plain, type(plain), storages)

    def numbers(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, int]:
        """The whole numbers that may turn out to vary: not those that are compiled in."""
        given = [*zip(self.names, args, strict=False), *kwargs.items()]
        return {n: v for n, v in given if type(v) is int and n not in self.constexprs and n in self.names}


def _plain_tensors() -> set[type]:
    torch = sys.modules.get("torch")
    if torch is not None:
        PLAIN_TENSORS.update((torch.Tensor, torch.nn.Parameter))
    return PLAIN_TENSORS


def _width(value: int) -> int:
    return 32 if -(2**31) <= value < 2**31 else 64


def _part(value: Any, kind: type, storages: dict[int, int]) -> Hashable:
    if kind is int or kind is str or value is None:
        return value
    if kind is bool or kind is float or kind is complex:
        return (kind, value)
    pointer = getattr(value, "data_ptr", None)
    if pointer is not None:
        return _tensor(value, pointer, storages)
    if kind is tuple or kind is list or isinstance(value, tuple):
        return (kind, *(_part(v, type(v), storages) for v in value))
    base = getattr(value, "base", None)
    if base is not None and hasattr(value, "block_shape"):
        block, shape, strides = tuple(value.block_shape), tuple(value.shape), tuple(value.strides)
        return ("descriptor", block, shape, strides, _part(base, type(base), storages))
    inner = getattr(value, "value", None)
    if inner is not None and kind.__name__ == "constexpr":
        return ("constexpr", _part(inner, type(inner), storages))
    plain = plain_scalar(value)
    if plain is not value:
        return _part(plain, type(plain), storages)
    if isinstance(value, enum.Enum):
        return (kind.__qualname__, value.name)
    if dataclasses.is_dataclass(kind):
        fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return (kind.__qualname__, *((n, _part(v, type(v), storages)) for n, v in fields))
    # A Triton function hashes its source when asked for its hash; its identity is enough and costs nothing.
    return (kind.__qualname__, id(value)) if hasattr(value, "fn") else (kind.__qualname__, str(value))


def _tensor(t: Any, pointer: Any, storages: dict[int, int]) -> Hashable:
    inner = getattr(t, "_local_tensor", None)
    if inner is not None:
        t, pointer = inner, inner.data_ptr
    if not hasattr(t, "storage_offset"):
        behind = tensor_behind(t)
        if behind is not None:
            return (type(t).__qualname__, str(t.dtype), _tensor(behind, behind.data_ptr, storages))
        return (type(t).__qualname__, str(getattr(t, "dtype", "")), pointer() % 16)
    shape: Any = t.shape
    address, offset = pointer(), t.storage_offset()
    start = address - offset * t.element_size() if offset else address
    return (shape, t.stride(), t.dtype, offset, address % 16, storages.setdefault(start, len(storages)))
