"""What the free names of edited code stand for, and which of them it uses."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from ..owner_function import STANDARD, Json, OwnersDevice, meaning
from . import device_names
from .abstract_values import Value, of
from .device_names import DeviceName

SIMILAR = 3


@dataclass(frozen=True)
class FencedFunction:
    """A device function that the edit itself brings."""

    name: str


@dataclass(frozen=True)
class Module:
    """A module of the list, by its dotted name."""

    name: str


@dataclass(frozen=True)
class Enumeration:
    name: str


Found = Value | DeviceName | FencedFunction | Module | Enumeration | OwnersDevice | Json


class NameScope:
    """The names that one function sees: device functions before it, the owner's names, the language, Python's few.

    `bindings`: what the owner's names stand for. `earlier`: functions of the edit that stand before this one."""

    def __init__(self, bindings: dict[str, Json], earlier: tuple[str, ...]) -> None:
        self._bindings, self._earlier = bindings, earlier
        self.used: dict[str, Json] = {}
        """The bindings that the rebuilt function needs, by name."""
        self.called: set[str] = set()
        """Functions of the edit that it uses."""
        self.unsure: set[str] = set()
        """Locals that are read where they may be unbound. Triton then looks for them outside."""

    def free(self, name: str) -> Found | None:
        """What `name` stands for outside the function; None if nothing, or nothing that may be used."""
        if name in self._earlier:
            return FencedFunction(name)
        binding = self._bindings.get(name) or STANDARD.get(name)
        if binding is not None:
            return _found(meaning(binding))
        if name in device_names.BUILTINS:
            import builtins

            return _found(device_names.look_up(getattr(builtins, name)))
        return None

    def is_bound(self, name: str) -> bool:
        """Whether `name` stands for anything outside the function, even for what may not be used: Triton would find the
        owner's module behind an unbound local."""
        return name in self._bindings or self.free(name) is not None

    def use(self, name: str) -> Found | None:
        """The same, noted as used."""
        found = self.free(name)
        if name in self._earlier:
            self.called.add(name)
        elif found is not None and (binding := self._bindings.get(name) or STANDARD.get(name)) is not None:
            self.used[name] = binding
        return found

    def holds_code(self, name: str) -> bool:
        """Whether `name` stands for a function or a module outside, which no local may hide."""
        if name in device_names.BUILTINS and name not in self._bindings:
            return False  # reading it is refused unless it is bound
        return isinstance(self.free(name), DeviceName | FencedFunction | Module | Enumeration | OwnersDevice | dict)

    def attribute(self, base: Any, name: str) -> Found | None:
        """What the attribute of a module or enumeration stands for; None if the list does not hold it."""
        if isinstance(base, dict):
            return _found(meaning(base[name])) if name in base else None
        if isinstance(base, Enumeration):
            return of("choice") if name in device_names.CHOICES[base.name] else None
        value = device_names.attribute_of(base.name, name)
        if value is None:
            return None
        module = device_names.modules().get(id(value))
        return Module(module) if module is not None else _found(device_names.look_up(value))

    def unknown(self, name: str) -> str:
        """Why `name` may not be used."""
        if name in self._bindings:
            return f"{name} stands for something that is not on the list of device functions"
        if name in device_names.BUILTIN_NAMES:
            return f"{name} is Python's own and not on the list of device functions"
        return f"{name} stands for nothing: it is no argument, no local and no device function before this one"


def _found(thing: Any) -> Found | None:
    if isinstance(thing, str):
        return Module(thing)
    if isinstance(thing, DeviceName) and thing.group == "choice":
        return Enumeration(thing.attribute)
    found: Found | None = thing
    return found


def is_decorator_of_triton(node: ast.expr, scope: NameScope) -> bool:
    """Whether a decorator is ``triton.jit`` without options, which every device function has."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr == "jit":
        found = scope.free(node.value.id)
        return isinstance(found, Module) and found.name == "triton"
    return False
