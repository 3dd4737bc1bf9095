"""Enumerations and dataclasses as constants of a launch, as data.

A ``member`` of an enumeration is kept by its name, with the names and values of all members; a ``record``, an instance
of a dataclass, by its fields. Both are made anew without the program if their classes hold nothing but data: what a
class computes by functions of its own is not kept. Classes that are kept alike are made once, so that a kernel may
compare an argument with what its own names stand for.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import json
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

Json = dict[str, Any]

MOST_MEMBERS = 256
"""Of an enumeration."""
PLAIN = (bool, int, float, str, type(None))
"""Types of what JSON holds."""
GENERATORS = ("enum", "collections", "dataclasses", "typing")
"""Modules of the standard library that put functions into a class."""


def describe_member(value: enum.Enum) -> Json | None:
    """A member of an enumeration whose members all stand for plain values; None for any other."""
    kind = type(value)
    described = describe_enumeration(kind)
    if described is None:
        return None
    return {"type": "member", "name": value.name, "of": described, "class": f"{kind.__module__}.{kind.__qualname__}"}


def describe_enumeration(kind: type[enum.Enum]) -> Json | None:
    """Name and members of the class itself; None if a value is not plain, or the class has functions of its own."""
    members = {name: member.value for name, member in kind.__members__.items()}
    plain = all(type(v) in PLAIN for v in members.values())
    if not plain or len(members) > MOST_MEMBERS or issubclass(kind, enum.Flag) or has_functions(kind):
        return None
    base = enum.IntEnum if issubclass(kind, enum.IntEnum) else enum.Enum
    mixed = next((t.__name__ for t in (int, str, float) if base is enum.Enum and issubclass(kind, t)), None)
    return {"name": kind.__qualname__, "base": base.__name__, "mixed": mixed, "members": members}


def describe_tuple_class(kind: type) -> Json | None:
    """Fields and defaults of a class of named tuples; None if it is none, a default is not plain, or the class has
    functions of its own."""
    fields, defaults = getattr(kind, "_fields", None), getattr(kind, "_field_defaults", {})
    if fields is None or has_functions(kind) or any(type(v) not in PLAIN for v in defaults.values()):
        return None
    return {"name": kind.__name__, "fields": list(fields), "defaults": list(defaults.values())}


def is_record(value: Any) -> bool:
    """Whether this is an instance of a dataclass that holds nothing but data."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and not has_functions(type(value))


def describe_record(value: Any, describe: Callable[[str, Any], Json]) -> Json:
    """The instance of a dataclass. `describe` describes a field by its name and value."""
    names = [f.name for f in dataclasses.fields(value)]
    kind = type(value)
    items = [describe(n, getattr(value, n)) for n in names]
    return {"type": "record", "fields": names, "items": items, "class": f"{kind.__module__}.{kind.__qualname__}"}


def has_functions(kind: type) -> bool:
    """Whether somebody wrote a function, a property or the like into the class or one of its bases."""
    return any(map(_is_written, (v for base in kind.__mro__ for v in vars(base).values())))


def _is_written(attribute: Any) -> bool:
    function = getattr(attribute, "fget", None) or getattr(attribute, "__func__", attribute)
    if not isinstance(function, FunctionType):
        return False
    generated = function.__code__.co_filename == "<string>"
    return not generated and function.__globals__.get("__name__") not in GENERATORS


def make_tuple_class(described: Mapping[str, Any]) -> Any:
    """The class that :func:`describe_tuple_class` described."""
    return collections.namedtuple(described["name"], described["fields"], defaults=described["defaults"])


def make_member(described: Mapping[str, Any]) -> Any:
    """The member that :func:`describe_member` described."""
    return make_enumeration(described["of"])[described["name"]]


def make_enumeration(described: Mapping[str, Any]) -> Any:
    """The enumeration that :func:`describe_enumeration` described; the same class for equal descriptions."""
    return _enumeration(json.dumps(described))


@functools.cache
def _enumeration(described: str) -> Any:
    about = json.loads(described)
    mixed = {"int": int, "str": str, "float": float}.get(about["mixed"])
    name = about["name"].rpartition(".")[2]
    make: Any = getattr(enum, about["base"])
    return make(name, list(about["members"].items()), **({"type": mixed} if mixed else {}))


def make_record(described: Mapping[str, Any], values: list[Any]) -> Any:
    """An instance with these values of what :func:`describe_record` described."""
    return _dataclass(described["class"].rpartition(".")[2], tuple(described["fields"]))(*values)


@functools.cache
def _dataclass(name: str, fields: tuple[str, ...]) -> Any:
    return dataclasses.make_dataclass(name, fields, frozen=True)
