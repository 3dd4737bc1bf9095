"""A variant as a unified diff against the file of its owner's function, for a person to read and apply.

The function's decorators, and everything beside it, stay. The function itself is written as the fence writes it, so its
comments go. Device functions that the variant brings stand before it, under a name that the file does not have.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import io
import sys
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels.capture.describing.device_closure import python_function
from kernels.editing.owner_function import STANDARD
from kernels.editing.refused_edit import RefusedEdit
from kernels.editing.variants import Variant

IMPORTS = {
    "tl": "import triton.language as tl",
    "triton": "import triton",
    "libdevice": "from triton.language.extra import libdevice",
}


@dataclass(frozen=True)
class Patch:
    """A difference, and what a person has to do beside applying it."""

    path: Path
    diff: str
    new_text: str
    notes: tuple[str, ...]


def patch_of(variant: Variant, function: Any, root: Path | None = None) -> Patch:
    """The variant as a patch of the file that holds `function`, its owner's. Paths in the diff are relative to `root`,
    by default the file's folder. Raises RefusedEdit if the function stands in no file, or inside another function."""
    plain = python_function(function)
    try:
        path = Path(inspect.getsourcefile(plain) or "")
        with path.open(encoding="utf-8", newline="") as f:  # its ends of lines as they are
            text = f.read()
        node = _node(ast.parse(text), plain)
    except (OSError, TypeError, SyntaxError) as e:
        raise RefusedEdit(f"the source of {variant.name} is in no file that can be patched ({e})") from e
    if node is None:
        raise RefusedEdit(f"{variant.name} is not defined at the outermost level of {path}: it cannot be patched there")
    functions = [n for n in ast.parse(variant.edit.source).body if isinstance(n, ast.FunctionDef)]
    module = sys.modules[plain.__module__]
    _rename(functions, module, variant.edit.unsure)
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    lines = _lines(text)
    before = [f"{line}\n" for line in _imports(variant, module)]
    before += ["\n\n"] if before else []
    for helper in functions[:-1]:
        before += ["@triton.jit\n", f"{ast.unparse(helper)}\n", "\n", "\n"]
    after = [f"{ast.unparse(functions[-1])}\n"]
    if "\r\n" in text:
        before, after = ([part.replace("\n", "\r\n") for part in added] for added in (before, after))
    new = [*lines[:first], *before, *lines[first : node.lineno - 1], *after, *lines[node.end_lineno :]]
    new_text = "".join(new)
    name = path.relative_to(root) if root else path.name
    diff = difflib.unified_diff(lines, _lines(new_text), f"a/{name}", f"b/{name}")
    shown = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in diff)
    return Patch(path, "".join(shown), new_text, tuple(_notes(variant)))


def _lines(text: str) -> list[str]:
    """The lines as Python's parser and a diff count them: str.splitlines ends one at a form feed, too."""
    return io.StringIO(text, newline="\n").readlines()


def _node(tree: ast.Module, plain: Any) -> ast.FunctionDef | None:
    """The function's own definition: a file may define a name twice."""
    line = plain.__code__.co_firstlineno
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == plain.__name__:
            places = {node.lineno, *(d.lineno for d in node.decorator_list)}
            if line in places:
                return node
    return None


def _rename(functions: list[ast.FunctionDef], module: Any, unsure: Set[tuple[str, str]]) -> None:
    """Give device functions whose name the file has already one that neither it nor the variant has. The same for
    locals that are read where they may be unbound (`unsure`, each with its function): Triton looks in the file then."""
    named = [f.name for f in functions]
    nodes = [n for f in functions for n in ast.walk(f)]
    own = {f.name for f in functions} | {n.arg for n in nodes if isinstance(n, ast.arg)}
    own |= {n.id for n in nodes if isinstance(n, ast.Name)}
    for place, helper in enumerate(functions[:-1]):
        old, new = helper.name, helper.name
        while hasattr(module, new) or (new != old and new in own):
            new += "_edited"
        helper.name = new
        own.add(new)
        # In a function before it, and in itself, the name is the owner's. Behind it no local may have the name of a
        # device function, but a parameter may.
        readers = [f for f in functions[place + 1 :] if old not in {a.arg for a in f.args.args}]
        for name in (n for f in readers for n in ast.walk(f) if isinstance(n, ast.Name) and n.id == old):
            name.id = new
    brought = {f.name for f in functions}
    for function, called in zip(functions, named, strict=True):
        for old in sorted(local for name, local in unsure if name == called):
            new = old
            while new in brought or hasattr(module, new) or (new != old and new in own):
                new += "_edited"
            own.add(new)
            for name in (n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == old):
                name.id = new


def _imports(variant: Variant, module: Any) -> list[str]:
    """Imports that the variant's names need and the file lacks."""
    used = {n.id for n in ast.walk(ast.parse(variant.edit.source)) if isinstance(n, ast.Name)}
    wanted = [n for n in STANDARD if n in used or (n == "triton" and len(ast.parse(variant.edit.source).body) > 1)]
    found = []
    for name in wanted:
        if not hasattr(module, name):
            found.append(IMPORTS[name])
        elif name in variant.owner.bindings:
            continue  # the owner's own meaning of the name, which the fence has seen
        elif getattr(module, name) is not importlib.import_module(STANDARD[name]["module"]):
            raise RefusedEdit(f"{name} is not {STANDARD[name]['module']} in the owner's file")
    return found


def _notes(variant: Variant) -> list[str]:
    found = []
    for name, values in variant.edit.meta.items():
        shown = ", ".join(map(str, values))
        found.append(f"{name} is a new constant of {variant.name}, {values[0]!r} by default; it was made for {shown}")
    if variant.grid is not None:
        found.append(
            f"launch {variant.name} with the grid ({variant.grid.text}), where grid_0, grid_1 and grid_2 are the "
            "numbers of the grid that it has now"
        )
    if "make_tensor_descriptor" in variant.edit.source:
        found.append(
            "Triton asks for memory for descriptors at each launch: the program has to call triton.set_allocator; the "
            "matrices and their rows have to begin at multiples of 16 bytes"
        )
    return found
