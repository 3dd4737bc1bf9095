"""How large and how deep a source may be, and which syntax it may use at all.

This is checked before anything looks at what the names mean.
"""

from __future__ import annotations

import ast
import warnings

from ..refused_edit import RefusedEdit

MOST_CHARACTERS = 20_000
MOST_NODES = 12_000
DEEPEST_EXPRESSION = 60
DEEPEST_BLOCK = 10
MOST_CHAINED = 100
"""Branches of an ``if`` with ``elif``."""
MOST_FUNCTIONS = 16
MOST_PARAMETERS = 96
MOST_ITEMS = 16
"""Members of a tuple."""
LONGEST_TEXT = 64
"""Characters of a string, which names a mode (``evict_last``) and is no message."""
LONGEST_MESSAGE = 200
LONGEST_NAME = 100
LARGEST_NUMBER = 2**64
OF_INTERPRETER = frozenset({"interpreter_semantic", "_InterpreterComparison"})
"""Names that Triton's interpreter writes into the functions that it executes."""

STATEMENTS: dict[type[ast.AST], str] = {
    ast.Import: "an import", ast.ImportFrom: "an import", ast.ClassDef: "a class", ast.AsyncFunctionDef: "async",
    ast.Global: "global", ast.Nonlocal: "nonlocal", ast.Delete: "del", ast.Raise: "raise", ast.Try: "try",
    ast.TryStar: "try", ast.With: "with", ast.AsyncWith: "async", ast.AsyncFor: "async", ast.Match: "match",
    ast.Assert: "assert", ast.Break: "break", ast.Continue: "continue",
}  # fmt: skip
EXPRESSIONS: dict[type[ast.AST], str] = {
    ast.Lambda: "a lambda", ast.ListComp: "a comprehension", ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension", ast.GeneratorExp: "a comprehension", ast.JoinedStr: "an f-string",
    ast.FormattedValue: "an f-string", ast.NamedExpr: "an assignment inside an expression", ast.Await: "await",
    ast.Yield: "yield", ast.YieldFrom: "yield", ast.Starred: "a star argument", ast.Dict: "a dict", ast.Set: "a set",
}  # fmt: skip
ALLOWED = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For,
    ast.While, ast.If, ast.Expr, ast.Pass, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call,
    ast.keyword, ast.Constant, ast.Attribute, ast.Subscript, ast.Name, ast.List, ast.Tuple, ast.Slice, ast.Load,
    ast.Store, ast.And, ast.Or, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift,
    ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor, ast.UAdd, ast.USub, ast.Not, ast.Invert, ast.Eq, ast.NotEq, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot,
)  # fmt: skip
OPERATORS: dict[type[ast.AST], str] = {ast.MatMult: "@", ast.In: "in", ast.NotIn: "not in"}
BLOCKS = (ast.FunctionDef, ast.If, ast.For, ast.While)


def parse(source: str) -> list[ast.FunctionDef]:
    """The functions of `source`, the last one the kernel. Nothing of it is evaluated. Raises RefusedEdit."""
    if len(source) > MOST_CHARACTERS:
        raise RefusedEdit(f"the source has {len(source):,} characters, and at most {MOST_CHARACTERS:,} are read")
    source = source.replace("\r\n", "\n")
    odd = next((c for c in source if c not in "\n\t" and not c.isprintable()), None)
    if odd is not None:
        raise RefusedEdit(
            f"the source holds the control character {odd!a}", source[: source.index(odd)].count("\n") + 1
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as e:
        raise RefusedEdit(f"this is no Python: {e.msg}", e.lineno or 1) from e
    except (RecursionError, MemoryError, ValueError) as e:
        raise RefusedEdit(f"the source is nested too deeply to be read ({type(e).__name__})") from e
    _check_tree(tree)
    functions: list[ast.FunctionDef] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            functions.append(node)
        elif not _is_text(node):
            raise RefusedEdit("only functions may stand in the source: write it without anything beside them", node)
    if not functions:
        raise RefusedEdit("there is no function in the source")
    if len(functions) > MOST_FUNCTIONS:
        raise RefusedEdit(
            f"there are {len(functions)} functions, and at most {MOST_FUNCTIONS} are taken", functions[MOST_FUNCTIONS]
        )
    for function in functions:
        remove_texts(function)
    return functions


def _check_tree(tree: ast.Module) -> None:
    """Walks with a list of its own: a deep tree must not end our recursion."""
    todo: list[tuple[ast.AST, int, int, int, int]] = [(tree, 0, 0, 0, 1)]
    count = 0
    while todo:
        node, depth, block, chain, line = todo.pop()
        count += 1
        if count > MOST_NODES:
            raise RefusedEdit(f"the source has more than {MOST_NODES:,} parts", line)
        line = getattr(node, "lineno", line)
        _check_node(node, line)
        if isinstance(node, ast.FunctionDef) and block:
            raise RefusedEdit(f"{node.name[:40]} is a nested function: put it beside the kernel", node)
        inside = block + isinstance(node, BLOCKS)
        if inside > DEEPEST_BLOCK + 1:
            raise RefusedEdit(f"blocks are nested more than {DEEPEST_BLOCK} deep", node)
        for child in ast.iter_child_nodes(node):
            below = 0 if isinstance(child, ast.stmt) else depth + 1
            if below > DEEPEST_EXPRESSION:
                raise RefusedEdit(f"an expression is nested more than {DEEPEST_EXPRESSION} deep", node)
            # `elif` is an `if` in the other branch: it is no deeper for a reader.
            chained = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
            if chained and chain == MOST_CHAINED:
                raise RefusedEdit(f"an if has more than {MOST_CHAINED} branches", child)
            todo.append((child, below, block if chained else inside, chain + 1 if chained else 0, line))


def _check_node(node: ast.AST, line: int) -> None:
    named = STATEMENTS.get(type(node)) or EXPRESSIONS.get(type(node))
    if named is not None:
        raise RefusedEdit(f"{named} is not allowed in device code", node)
    match node:
        case ast.In() | ast.NotIn() | ast.MatMult():
            raise RefusedEdit(f"the operator {OPERATORS[type(node)]} is not allowed in device code", line)
        case ast.Constant():
            _check_constant(node)
        case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
            _check_name(name, node)
        case ast.Attribute(attr=name):
            if name.startswith("_"):
                raise RefusedEdit(f"the attribute {name[:40]} begins with an underscore", node)
            _check_name(name, node)
        case ast.keyword(arg=None):
            raise RefusedEdit("a star argument is not allowed in device code", node)
        case ast.keyword(arg=str(name)) if name.startswith("_"):
            raise RefusedEdit(f"the argument {name[:40]} begins with an underscore", node)
        case ast.keyword(arg=str(name)):
            _check_name(name, node)
        case ast.Call(keywords=keywords) if (twice := _first_twice([k.arg for k in keywords])) is not None:
            raise RefusedEdit(f"the argument {twice[:40]} is given twice", node)
        case ast.arguments():
            if (twice := _first_twice([a.arg for a in node.args])) is not None:
                raise RefusedEdit(f"two parameters are called {twice[:40]}", line)
            if node.vararg or node.kwarg or node.posonlyargs or node.kwonlyargs:
                raise RefusedEdit("star arguments, and arguments by place or by name alone, are not allowed", line)
            if len(node.args) > MOST_PARAMETERS:
                raise RefusedEdit(f"a function has more than {MOST_PARAMETERS} parameters", line)
        case ast.Tuple() | ast.List():
            if len(node.elts) > MOST_ITEMS:
                raise RefusedEdit(f"a tuple has more than {MOST_ITEMS} members", node)
        case ast.Pow():
            pass
    if not isinstance(node, ALLOWED):
        raise RefusedEdit(f"{type(node).__name__} is not allowed in device code", line)


def _first_twice(names: list[str | None]) -> str | None:
    return next((n for i, n in enumerate(names) if n is not None and n in names[:i]), None)


def _check_constant(node: ast.Constant) -> None:
    value = node.value
    if not isinstance(value, bool | int | float | str | None):
        raise RefusedEdit(f"the constant {ascii(value)[:40]} is not allowed in device code", node)
    if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
        raise RefusedEdit("a number has more than 64 bits", node)


def _check_name(name: str, node: ast.AST) -> None:
    if len(name) > LONGEST_NAME:
        raise RefusedEdit(f"the name {name[:40]!a}… has more than {LONGEST_NAME} characters", node)
    if not name.isascii():
        raise RefusedEdit(f"the name {name!a} is not written in ASCII", node)
    if name.startswith("__") or name.endswith("__"):
        raise RefusedEdit(f"the name {name} has two underscores", node)
    if name in OF_INTERPRETER:
        raise RefusedEdit(f"the name {name} is one of Triton's interpreter: use another name", node)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def remove_texts(function: ast.FunctionDef) -> None:
    """Take docstrings and texts that stand alone out of `function`: nobody executes them."""
    todo: list[ast.AST] = [function]
    while todo:
        node = todo.pop()
        for field in ("body", "orelse"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                kept = [s for s in block if not _is_text(s)]
                if block and not kept and field == "body":
                    kept = [ast.copy_location(ast.Pass(), block[0])]
                setattr(node, field, kept)
                todo += kept
