"""A syntax tree as text that two trees share if they mean the same to whoever runs them.

Left out are comments, docstrings, ``pass``, line numbers, imports and, in host code, annotations. Device code keeps
its annotations: ``tl.constexpr`` and typed parameters decide what Triton compiles. A name that the code does not bind
itself is replaced by what the caller says it stands for, so neither the module it comes from nor an alias counts.

The text is made here and not by ``ast.dump``, whose output differs between versions of Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
UNWRITTEN = ("ctx", "kind", "type_comment", "lineno", "col_offset", "end_lineno", "end_col_offset")


@dataclass(frozen=True)
class Imported:
    """A name bound by an import: ``from module import attribute``, or ``import module`` with `attribute` None."""

    module: str
    """As written; leading dots of a relative import included."""
    attribute: str | None = None

    @property
    def path(self) -> str:
        return self.module if self.attribute is None else f"{self.module.rstrip('.')}.{self.attribute}"


Resolve = Callable[[str, tuple[str, ...], Imported | None], tuple[str, int]]
"""What a free name stands for, and how many of the attributes read from it that text takes in. The import is given if
the code itself imports the name."""


@dataclass
class Scope:
    """Names that one function, class or comprehension binds."""

    names: set[str] = field(default_factory=set)
    imports: dict[str, Imported] = field(default_factory=dict)
    outer: set[str] = field(default_factory=set)
    """Declared ``global`` or ``nonlocal``: bound elsewhere."""
    is_class: bool = False


def unquoted(annotation: ast.expr) -> ast.expr:
    """What an annotation's text stands for, if it is Python: Triton's ``"*fp32"`` is none."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        with suppress(SyntaxError):
            return ast.parse(annotation.value, mode="eval").body
    return annotation


def scope_of(nodes: Iterable[ast.AST]) -> Scope:
    """What `nodes`, the statements of one scope, bind in it."""
    scope, todo = Scope(), list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope.names.add(node.name)
        elif isinstance(node, COMPREHENSIONS):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.NamedExpr)]
            scope.names |= {n.target.id for n in inner}
        elif isinstance(node, ast.Import):
            for a in node.names:
                top = a.name.partition(".")[0]
                scope.imports[a.asname or top] = Imported(a.name if a.asname else top)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            scope.imports.update({a.asname or a.name: Imported(module, a.name) for a in node.names})
        elif isinstance(node, ast.Global | ast.Nonlocal):
            scope.outer.update(node.names)
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                scope.names.add(node.id)
            elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                scope.names.add(node.name)
            elif isinstance(node, ast.MatchMapping) and node.rest:
                scope.names.add(node.rest)
            todo += ast.iter_child_nodes(node)
    return scope


class NormalForm:
    """Writes trees of one piece of code. `attributes` collects the attributes that it reads of values it does not know
    by name."""

    def __init__(self, resolve: Resolve, device: bool = False) -> None:
        self.attributes: set[str] = set()
        self._resolve, self._device = resolve, device
        self._scopes: list[Scope] = []

    def function(self, node: ast.AST) -> str:
        """Parameters and body. Its name is left out, being known by what refers to it, and so are defaults and
        decorators, which were evaluated when it was defined."""
        assert isinstance(node, FUNCTIONS)
        arguments = node.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        starred = [a for a in (arguments.vararg, arguments.kwarg) if a]
        body = node.body if isinstance(node.body, list) else [node.body]
        kinds = (len(arguments.posonlyargs), len(arguments.args), bool(arguments.vararg), bool(arguments.kwarg))
        before = [self._annotated(a) for a in [*parameters, *starred]]
        self._scopes.append(_function_scope(node))
        try:
            return f"{type(node).__name__} {kinds} ({' '.join(before)}) {self._block(body)}"
        finally:
            self._scopes.pop()

    def class_body(self, node: ast.ClassDef) -> str:
        """What its body assigns; methods are left out."""
        rest = [s for s in node.body if not isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef)]
        self._scopes.append(Scope(names=scope_of(node.body).names, is_class=True))
        try:
            return self._block(rest, fields=True)
        finally:
            self._scopes.pop()

    def write(self, node: ast.AST) -> str:
        """A statement or an expression."""
        match node:
            case ast.Name() | ast.Attribute():
                return self._chain(node)
            case ast.Constant():
                return f"{type(node.value).__name__}:{node.value!a}"
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                decorators = " ".join(self.write(d) for d in node.decorator_list)
                return f"(def {node.name} @[{decorators}] {self._defaults(node.args)} {self.function(node)})"
            case ast.Lambda():
                return f"({self._defaults(node.args)} {self.function(node)})"
            case ast.ClassDef():
                outside = [*node.decorator_list, *node.bases, *node.keywords]
                self._scopes.append(Scope(names=scope_of(node.body).names, is_class=True))
                try:
                    body = self._block(node.body, fields=True)
                finally:
                    self._scopes.pop()
                return f"(class {node.name} {' '.join(map(self.write, outside))} {body})"
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return self._comprehension(node)
            case ast.AnnAssign() if not self._device:
                assert node.value is not None
                return f"(Assign targets=[{self.write(node.target)}] value={self.write(node.value)})"
        return self._fields(node)

    def _fields(self, node: ast.AST) -> str:
        parts = [type(node).__name__]
        for name, value in ast.iter_fields(node):
            if name in UNWRITTEN or value is None or value == []:
                continue
            if isinstance(value, ast.AST):
                parts.append(f"{name}={self.write(value)}")
            elif isinstance(value, list) and all(isinstance(v, ast.stmt) for v in value):
                parts.append(f"{name}={self._block(value)}")
            elif isinstance(value, list):
                parts.append(f"{name}=[{' '.join(self._item(v) for v in value)}]")
            else:
                parts.append(f"{name}={value!a}")
        return parts[0] if len(parts) == 1 else f"({' '.join(parts)})"

    def _item(self, value: object) -> str:
        return self.write(value) if isinstance(value, ast.AST) else ascii(value)

    def _block(self, body: Iterable[ast.AST], fields: bool = False) -> str:
        """Statements that do something; with `fields`, those that declare a field of a class too."""
        written = []
        for s in body:
            if isinstance(s, ast.AnnAssign) and s.value is None and not self._device:
                written += [f"(field {ast.unparse(s.target)!a})"] if fields else []
            elif not (isinstance(s, ast.Import | ast.ImportFrom | ast.Pass) or _is_text(s)):
                written.append(self.write(s))
        return f"{{{' '.join(written)}}}"

    def _annotated(self, a: ast.arg) -> str:
        if not self._device or a.annotation is None:
            return a.arg
        return f"{a.arg}:{self.write(unquoted(a.annotation))}"

    def _defaults(self, arguments: ast.arguments) -> str:
        given = [*arguments.defaults, *arguments.kw_defaults]
        return f"[{' '.join('-' if d is None else self.write(d) for d in given)}]"

    def _comprehension(self, node: ast.AST) -> str:
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        first = self.write(generators[0].iter)  # the only part that is evaluated outside
        targets = [n for g in generators for n in ast.walk(g.target) if isinstance(n, ast.Name)]
        self._scopes.append(Scope(names={n.id for n in targets}))
        try:
            return f"({type(node).__name__} over={first} {self._fields(node)})"
        finally:
            self._scopes.pop()

    def _chain(self, node: ast.AST) -> str:
        """``name.attribute.attribute``: as much of it as the name's meaning takes in, then the attributes left."""
        attributes: list[str] = []
        base = node
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = base.value
        used = 0
        if not isinstance(base, ast.Name):
            text = self.write(base)
        elif (found := self._lookup(base.id)) is None:
            text = base.id
        else:
            text, used = self._resolve(base.id, tuple(attributes), found if isinstance(found, Imported) else None)
        self.attributes.update(attributes[used:])
        return ".".join([text, *attributes[used:]])

    def _lookup(self, name: str) -> Imported | bool | None:
        """The import that binds `name` here; True if the code does not bind it; None if it is a local name."""
        for depth, scope in enumerate(reversed(self._scopes)):
            if scope.is_class and depth > 0:
                continue  # methods do not see the names of their class
            if name in scope.outer:
                return True
            if name in scope.imports:
                return scope.imports[name]
            if name in scope.names:
                return None
        return True


@lru_cache(maxsize=4096)
def _function_scope(node: ast.AST) -> Scope:
    """Trees do not change, and are kept as long as their files are."""
    assert isinstance(node, FUNCTIONS)
    a = node.args
    scope = scope_of(node.body if isinstance(node.body, list) else [node.body])
    starred = [x for x in (a.vararg, a.kwarg) if x]
    scope.names |= {x.arg for x in [*a.posonlyargs, *a.args, *a.kwonlyargs, *starred]}
    return scope


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
