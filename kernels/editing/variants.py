"""Variants: device code that passed the fence, kept by its content, and launched in the owner's place.

A variant is a file ``HASH.json`` in a folder. Whoever loads one sends it through the fence again, because a file is
somebody's code: what is launched is always what this process has fenced itself. HASH covers the owner's function, the
source as the fence writes it, the new meta-parameters and the grid.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..capture.describing.device_closure import python_function
from ..capture.reading.rebuilt_functions import CannotRebuild, rebuild_function
from ..triton.scratch_memory import scratch_memory
from .fence import FencedEdit, MetaValue, fence
from .grid_expression import GridExpression
from .launch_arguments import LAUNCH_OPTIONS, grid_of, launch_words, named_arguments
from .owner_function import OwnerFunction
from .refused_edit import RefusedEdit

VERSION = 1
LONGEST_FILE = 200_000


@dataclass(frozen=True)
class Variant:
    """A fenced edit with its grid."""

    hash: str
    owner: OwnerFunction
    edit: FencedEdit
    grid: GridExpression | None
    """``None``: the owner's."""

    @property
    def name(self) -> str:
        return self.owner.name

    def recorded(self) -> dict[str, Any]:
        """As it is kept."""
        meta = {n: list(v) for n, v in self.edit.meta.items()}
        grid = self.grid.text if self.grid else ""
        return {
            "version": VERSION, "kernel": self.name, "owner": self.owner.part["identity"], "source": self.edit.source,
            "meta": meta, "grid": grid,
        }  # fmt: skip


def make_variant(owner: OwnerFunction, source: str, meta: Mapping[str, Any] | None = None, grid: str = "") -> Variant:
    """`source` as a variant of the owner's function. Raises RefusedEdit."""
    edit = fence(owner, source, meta)
    names = {p["name"] for p in owner.part["parameters"]} | set(edit.meta) | {"grid_0", "grid_1", "grid_2"}
    expression = GridExpression(grid, frozenset(names)) if grid.strip() else None
    unnamed = Variant("", owner, edit, expression)
    text = json.dumps(unnamed.recorded(), sort_keys=True)
    return Variant(hashlib.sha256(text.encode()).hexdigest()[:12], owner, edit, expression)


def keep(variant: Variant, folder: Path) -> Path:
    """Write the variant into `folder`, once."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{variant.hash}.json"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="utf-8") as f:
            json.dump(variant.recorded(), f, indent=1)
        os.replace(f.name, path)
    return path


def load(path: Path, owner: Callable[[str], OwnerFunction]) -> Variant:
    """The variant in a file, fenced anew. `owner` gives the function of a name. Raises RefusedEdit if the file is
    damaged or says something else than its name, or if the owner's function is another by now."""
    try:
        if path.stat().st_size > LONGEST_FILE:
            raise RefusedEdit(f"{path} is too large for a variant")
        found = json.loads(path.read_text(encoding="utf-8"))
        kernel, identity, source = str(found["kernel"]), found["owner"], str(found["source"])
        meta, grid, version = found["meta"], str(found["grid"]), found["version"]
        if not isinstance(meta, dict):
            raise TypeError("its meta-parameters are no object")
    except FileNotFoundError as e:
        raise RefusedEdit(f"there is no variant {path.stem}: make it with edit_kernel") from e
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
        raise RefusedEdit(f"{path} holds no variant ({type(e).__name__})") from e
    if version != VERSION:
        raise RefusedEdit(f"{path} was written by another version of this program")
    function = owner(kernel)
    if function.part["identity"] != identity:
        raise RefusedEdit(f"{kernel} has changed since the variant {path.stem} was made of it")
    variant = make_variant(function, source, meta, grid)
    if variant.hash != path.stem:
        raise RefusedEdit(f"{path} does not hold what its name says")
    return variant


def chosen(text: str) -> tuple[str, dict[str, MetaValue]]:
    """Hash and meta-parameters of the text in a config: ``HASH NAME=VALUE …``. Raises RefusedEdit."""
    first, *rest = text.split() or [""]
    found: dict[str, MetaValue] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals or name in found:
            raise RefusedEdit(f"{part!a} is no NAME=VALUE")
        with suppress(ValueError):
            found[name] = int(value)
            continue
        found[name] = value
    return first, found


def text_of(variant: Variant, values: Mapping[str, MetaValue]) -> str:
    """The text of a config that chooses the variant with these values."""
    return " ".join([variant.hash, *(f"{n}={int(v) if isinstance(v, bool) else v}" for n, v in values.items())])


def complete(variant: Variant, given: Mapping[str, MetaValue]) -> dict[str, MetaValue]:
    """A value for each meta-parameter of the variant, the first where none is given. Raises RefusedEdit."""
    unknown = [n for n in given if n not in variant.edit.meta]
    if unknown:
        raise RefusedEdit(f"the variant {variant.hash} has no meta-parameter {unknown[0]}")
    for name, value in given.items():
        if value not in variant.edit.meta[name]:
            shown = ", ".join(map(str, variant.edit.meta[name]))
            raise RefusedEdit(f"{name} of the variant {variant.hash} is one of {shown}")
    stated = {n: {v: v for v in values} for n, values in variant.edit.meta.items()}  # True is given as 1
    return {n: values[given[n]] if n in given else next(iter(values)) for n, values in stated.items()}


def launch_instead(
    variant: Variant,
    values: Mapping[str, MetaValue],
    prepare: Callable[[Any, str, Mapping[str, Any], Path], None] | None = None,
) -> Any:
    """What launches the variant where its owner's function would be launched, for
    :func:`kernels.editing.owner_launches.instead_of_launches`. Raises RefusedEdit if it cannot be defined. `prepare` is
    given the Triton function, the digest and the parts from which it was rebuilt, and their folder."""
    try:
        function = rebuild_function(variant.edit.digest, variant.edit.parts, _folder())
    except CannotRebuild as e:
        raise RefusedEdit(str(e)) from e
    if prepare is not None:
        prepare(function, variant.edit.digest, variant.edit.parts, _folder())

    def instead(owner: Any, args: tuple[Any, ...], grid: Any, kwargs: dict[str, Any], go_on: Any) -> Any:
        if str(python_function(owner).__name__) != variant.name:
            return go_on(owner, *args, grid=grid, **kwargs)
        arguments = named_arguments(owner, args, kwargs)
        new: dict[str, Any] = dict(values)
        if variant.grid is not None or variant.edit.grid_names:
            numbers = dict(zip(("grid_0", "grid_1", "grid_2"), grid_of(grid, arguments), strict=True))
            new |= {n: numbers[n.lower()] for n in variant.edit.grid_names}
        if variant.grid is not None and 0 not in numbers.values():  # where its owner starts no program, it starts none
            grid = variant.grid.programs({**arguments, **values, **numbers})
        options = {n: v for n, v in kwargs.items() if n in LAUNCH_OPTIONS or n not in arguments}
        # A parameter that is named as an option would set it if it were passed by name.
        placed = owner.arg_names[: len(args)] if launch_words() & {*owner.arg_names[: len(args)]} else []
        named = {n: v for n, v in {**arguments, **new, **options}.items() if n not in placed}
        with scratch_memory():
            return go_on(function, *args[: len(placed)], grid=grid, **named)

    return instead


@cache
def _folder() -> Path:
    """Where the functions' source lies in this process: Triton reads it from files."""
    folder, process = tempfile.mkdtemp(prefix="autokernel-variants-"), os.getpid()

    @atexit.register
    def remove() -> None:
        if os.getpid() == process:  # a fork of it ends, too
            shutil.rmtree(folder, ignore_errors=True)

    return Path(folder)
