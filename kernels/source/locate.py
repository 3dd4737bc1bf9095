"""Finds the syntax tree of a live function or class in the file that it was loaded from."""

from __future__ import annotations

import ast
import copy
import os
from dataclasses import dataclass, field
from functools import cache, lru_cache
from types import CodeType

from .normal_form import FUNCTIONS, Imported, scope_of


class SourceMissing(ValueError):
    """Code whose source cannot be read, and which therefore cannot be told from other versions of it."""

    def __init__(self, what: str, path: str) -> None:
        super().__init__(
            f"the source of {what} is not in {path}, so this kernel cannot be told from other versions of it: keep its "
            "code in a .py file, and start anew if that file has changed since it was loaded"
        )


@dataclass(frozen=True)
class SourceFile:
    """A parsed file."""

    path: str
    functions: dict[tuple[int, str], list[ast.AST]] = field(default_factory=dict)
    """By first line, decorators included, and name; lambdas on one line share a place."""
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    """By qualified name."""
    imports: dict[str, Imported] = field(default_factory=dict)
    """What the module imports; of several imports of one name, the first."""
    bindings: dict[str, list[ast.stmt]] = field(default_factory=dict)
    """The statements of the module that bind a name in other ways than by an import, a ``def`` or a ``class``."""
    changing: set[str] = field(default_factory=set)
    """Names that a function declares ``global``: what they stand for may change while the program runs."""
    statements: list[ast.stmt] = field(default_factory=list)

    @property
    def uses_triton(self) -> bool:
        return any(i.module.partition(".")[0] == "triton" for i in self.imports.values())

    def function(self, code: CodeType) -> ast.AST:
        """The tree of the function that was compiled to `code`. Raises SourceMissing if there is none."""
        found = self.functions.get((code.co_firstlineno, code.co_name), [])
        if len(found) > 1:  # several lambdas on a line
            found = _lambda_of(code, found)
        if len(found) != 1:
            raise SourceMissing(code.co_qualname, self.path)
        return found[0]


def _lambda_of(code: CodeType, several: list[ast.AST]) -> list[ast.AST]:
    """The lambda among `several` in whose body the instructions of `code` stand, the innermost of those."""
    places = [p for p in code.co_positions() if p[2] is not None and p[0::2] != p[1::2]]

    def holds(body: ast.expr) -> bool:
        first, last = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
        return all(first <= p[0::2] and p[1::2] <= last for p in places)

    bodies: list[ast.AST] = [f for f in several if isinstance(f, ast.Lambda) and holds(f.body)]
    return sorted(bodies, key=lambda f: len(ast.unparse(f)))[:1] if places else []


@cache
def definition(code: CodeType) -> ast.FunctionDef | None:
    """The function that was compiled to `code`, as a definition without decorators: what they made of it has other
    code. None if its source cannot be read. Each default is None: the source does not tell its value."""
    try:
        node = source_file(code.co_filename, code.co_qualname).function(code)
    except SourceMissing:
        return None
    if isinstance(node, ast.Lambda):
        body: list[ast.stmt] = [ast.Return(node.body)]
        node = ast.FunctionDef("held", node.args, body, [], lineno=1, col_offset=0)
    if not isinstance(node, ast.FunctionDef):
        return None
    node = copy.deepcopy(node)
    node.decorator_list = []
    node.args.defaults = [ast.Constant(None) for _ in node.args.defaults]
    node.args.kw_defaults = [d and ast.Constant(None) for d in node.args.kw_defaults]
    return ast.fix_missing_locations(node)


def source_file(path: str, what: str) -> SourceFile:
    """The parsed file at `path`, read again if it has changed. Raises SourceMissing, naming `what`, if it cannot be."""
    try:
        status = os.stat(path)
        return _parsed(path, status.st_mtime_ns, status.st_size)
    except (OSError, SyntaxError, ValueError) as e:
        raise SourceMissing(what, path) from e


@lru_cache(maxsize=512)
def _parsed(path: str, changed_ns: int, size: int) -> SourceFile:
    with open(path, "rb") as f:
        tree = ast.parse(f.read())
    found = SourceFile(path, statements=tree.body)
    _index(found, tree, ())
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        scope = scope_of([statement])
        for name, imported in scope.imports.items():
            found.imports.setdefault(name, imported)
        for name in scope.names:
            found.bindings.setdefault(name, []).append(statement)
    found.changing.update(n for node in ast.walk(tree) if isinstance(node, ast.Global) for n in node.names)
    return found


def _index(found: SourceFile, node: ast.AST, inside: tuple[str, ...]) -> None:
    for child in ast.iter_child_nodes(node):
        within = inside
        if isinstance(child, FUNCTIONS):
            name = "<lambda>" if isinstance(child, ast.Lambda) else child.name
            decorators = [] if isinstance(child, ast.Lambda) else child.decorator_list
            line = min([child.lineno, *(d.lineno for d in decorators)])
            found.functions.setdefault((line, name), []).append(child)
            within = (*inside, name, "<locals>")
        elif isinstance(child, ast.ClassDef):
            within = (*inside, child.name)
            found.classes[".".join(within)] = child
        _index(found, child, within)
