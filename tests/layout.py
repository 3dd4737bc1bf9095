"""The rules of the house, as functions over a source tree: each returns what breaks it, one line a violation.

``python -m tests.layout [FOLDER]`` prints the counts and the violations."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RANK = {"memory": 0, "kernels": 0, "tools": 1, "agent": 2, "evals": 3}
"""Rooms from the ground up. A room imports rooms of a lower rank only."""
SHARED = ("memory.terms", "memory.shared_models")
"""The shared words, plain and as pydantic models, which every room may import."""
MOST_MODULES = 12
MOST_DOOR_LINES = 30
TWINS = {
    "commands": "each room's command line",
    "registry": "each room's list of what is found by name",
    "device": "one device protocol and many GPUs that answer it together",
    "errors": "each room's errors that end a command with one sentence",
    "config": "a kernel family's config",
    "space": "a kernel family's space",
    "spec": "the contract of a kernel, and each kernel family's own",
    "gluon": "a kernel family's Gluon source",
    "gluon_space": "constraints and candidates of a family's Gluon source",
}
"""Base names that several modules share on purpose, with the reason."""
TORCH_ROOMS = (
    "kernels/",
    "tools/harness/measuring/",
    "tools/harness/checking/",
    "tools/harness/compiling/",
    "tools/harness/judging/",
)
"""Folders whose modules may import torch when they are imported themselves: they define kernels, measure or check."""
TORCHLESS = ("kernels/spec.py", "kernels/defaults.py", "kernels/registry.py", "kernels/hardware/")
"""Modules and folders of these that do without, because every command imports them."""


@dataclass(frozen=True)
class Import:
    """One imported module."""

    by: str
    target: str
    line: int
    at_import: bool
    """Whether the statement runs when the importing module is imported."""


def modules(root: Path) -> dict[str, Path]:
    """Dotted name to file, for every module of the five rooms."""
    found = {}
    for room in RANK:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> list[Import]:
    """Every import of every module, at any depth, those for type checkers included."""
    known = modules(root)
    return [found for name, path in known.items() for found in _imports(name, path, known)]


def _imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    running = set(_running(tree.body))
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno, node in running)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield Import(name, inner if inner in known else module, node.lineno, node in running)


def _running(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import: not those inside functions, nor those for type checkers."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from _running(statement.orelse)
        elif isinstance(statement, ast.ClassDef | ast.If | ast.Try | ast.With | ast.For | ast.While):
            for field in ("body", "orelse", "finalbody"):
                yield from _running(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _running(handler.body)


def upward(root: Path) -> list[str]:
    """Rule 1: a room imports lower rooms only, function bodies included; a door (`__main__.py`) may look up."""
    known, found = modules(root), []
    for one in imports(root):
        room, other = one.by.split(".")[0], one.target.split(".")[0]
        if other not in RANK or room == other or RANK[other] < RANK[room] or one.target in SHARED:
            continue
        path = known[one.by]
        if path.name != "__main__.py":
            found.append(f"{path.relative_to(root)}:{one.line} imports {one.target}, which is not below {room}")
        elif len(path.read_text(encoding="utf-8").splitlines()) > MOST_DOOR_LINES:
            found.append(f"{path.relative_to(root)} looks up and has over {MOST_DOOR_LINES} lines")
    return sorted(set(found))


def crowded(root: Path) -> list[str]:
    """Rule 2: a folder holds at most 12 modules, ``__init__.py`` and ``__main__.py`` not counted."""
    held: dict[Path, int] = defaultdict(int)
    for path in modules(root).values():
        if path.name not in ("__init__.py", "__main__.py"):
            held[path.parent] += 1
    return [f"{folder.relative_to(root)} holds {n} modules" for folder, n in sorted(held.items()) if n > MOST_MODULES]


def homonyms(root: Path) -> list[str]:
    """Rule 3: a base name means one thing, but for the twins."""
    named = defaultdict(list)
    for name, path in modules(root).items():
        if path.name not in ("__init__.py", "__main__.py"):
            named[path.stem].append(name)
    return [
        f"{stem} names {', '.join(sorted(names))}"
        for stem, names in sorted(named.items())
        if len(names) > 1 and stem not in TWINS
    ]


def torch_at_import(root: Path) -> list[str]:
    """Rule 4: only files that define kernels, measure or check import torch when they are imported."""
    known, found = modules(root), []
    for one in imports(root):
        where = known[one.by].relative_to(root).as_posix()
        allowed = where.startswith(TORCH_ROOMS) and not where.startswith(TORCHLESS)
        if one.target.split(".")[0] == "torch" and one.at_import and not allowed:
            found.append(f"{where}:{one.line} imports torch when it is imported")
    return found


def circles(root: Path) -> list[str]:
    """Rule 5: no module reaches itself by imports, those for type checkers included."""
    known = modules(root)
    below: dict[str, set[str]] = defaultdict(set)
    for one in imports(root):
        if one.target in known and one.target != one.by:
            below[one.by].add(one.target)
    return [" → ".join([*circle, circle[0]]) for circle in _components(below)]


def _components(below: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan, 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in sorted(below.get(name, ())):
            if other not in number:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], number[other])
        if low[name] == number[name]:
            at = stack.index(name)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(below):
        if name not in number:
            visit(name)
    return found


RULES = {
    "upward imports": upward,
    "crowded folders": crowded,
    "homonyms": homonyms,
    "torch at import": torch_at_import,
    "import circles": circles,
}

if __name__ == "__main__":
    tree = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for rule, check in RULES.items():
        broken = check(tree)
        print(f"{rule}: {len(broken)}", *broken, sep="\n  ")
