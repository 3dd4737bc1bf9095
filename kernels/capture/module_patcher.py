"""Replaces functions of modules, now if they are loaded and otherwise when the program imports them."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class ModulePatcher(importlib.abc.MetaPathFinder):
    """Calls a function for each module of `patches` once it is loaded, and takes back what these replaced."""

    def __init__(self, patches: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self._patches = patches
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._looking: set[str] = set()

    def install(self) -> None:
        sys.meta_path.insert(0, self)
        for name, patch in self._patches.items():
            if name in sys.modules:
                patch(sys.modules[name])

    def uninstall(self) -> None:
        sys.meta_path.remove(self)
        while self._undo:
            owner, name, original, made = self._undo.pop()
            now = owner.__dict__.get(name) if isinstance(owner, type) else getattr(owner, name, None)
            if now is made:  # somebody who patched it later calls what we made, which then passes on
                setattr(owner, name, original)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as the other finders find it, patched once it is loaded."""
        patch = self._patches.get(name)
        if patch is None or name in self._looking:
            return None
        self._looking.add(name)  # another patcher that looks for this module asks us in turn
        try:
            found = (f.find_spec(name, path, target) for f in list(sys.meta_path) if f is not self)
            spec = next(filter(None, found), None)
        finally:
            self._looking.discard(name)
        if spec is None:
            return None
        loader: Any = spec.loader
        execute = getattr(loader, "exec_module", None)
        if execute is not None:

            def exec_module(module: ModuleType) -> None:
                execute(module)
                if self in sys.meta_path:
                    patch(module)

            loader.exec_module = exec_module
        return spec

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = owner.__dict__.get(name) if isinstance(owner, type) else getattr(owner, name, None)
        if original is not None:
            made = make(original)
            self._undo.append((owner, name, original, made))
            setattr(owner, name, made)
