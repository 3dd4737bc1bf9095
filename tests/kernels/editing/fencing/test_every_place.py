"""Whatever stands at any place of a function is judged: a stranger put there is refused."""

import ast
import re
from contextlib import suppress

import pytest

from kernels.editing.fence import fence
from kernels.editing.fencing.abstract_values import NUMBER
from kernels.editing.fencing.fence_walk import FunctionWalk
from kernels.editing.fencing.source_limits import ALLOWED, _check_node
from kernels.editing.refused_edit import RefusedEdit
from tests.kernels.editing.owners import SCALE

EVERYTHING = '''
@triton.jit
def add(a, b):
    return a + b

@triton.jit
def helper(p, k, m: tl.constexpr = 2, e=-1):
    if k > 3 and not m == 2:
        return tl.load(p + k)
    elif m is None:
        return tl.load(p) * e
    else:
        pass
    return tl.load(p, other=0.0)

def scale(x_ptr, y_ptr, n, factor, BLOCK: tl.constexpr):
    """A text."""
    tl.static_assert(BLOCK > 0, "a message")
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n, other=float("-inf"))
    limit: tl.constexpr = 2**3
    for i in range(0, n, 2):
        x += helper(x_ptr, i, m=limit)
    for j in tl.static_range(2):
        x -= j // 2 % 3 << 1 >> 1 | 5 & 3 ^ 1
    count = 0
    while count < n:
        count = count + 1
    a, (b, c) = (x, [x / 2, ~count])
    pair = a, b
    x = pair[0].to(tl.float32) if n != 2 else -tl.exp(b)[:, None].reshape(BLOCK)
    if x.dtype.is_fp32() or x.dtype == tl.float16:
        x = x.to(x_ptr.dtype.element_ty)
    d = tl.make_tensor_descriptor(y_ptr, [n, n], [n, 1], [1, BLOCK])
    d.store([0, c], d.load([0, 0]))
    x += tl.reduce(x, 0, add) + float(limit)
    tl.store(y_ptr + offsets, x * factor, mask=offsets < n)
    return
'''
KNOWN_FIELDS = """
    Module(body, type_ignores) FunctionDef(name, args, body, decorator_list, returns, type_comment, type_params)
    arguments(posonlyargs, args, vararg, kwonlyargs, kw_defaults, kwarg, defaults) arg(arg, annotation, type_comment)
    Return(value) Assign(targets, value, type_comment) AugAssign(target, op, value)
    AnnAssign(target, annotation, value, simple) For(target, iter, body, orelse, type_comment) While(test, body, orelse)
    If(test, body, orelse) Expr(value) BoolOp(op, values) BinOp(left, op, right) UnaryOp(op, operand)
    IfExp(test, body, orelse) Compare(left, ops, comparators) Call(func, args, keywords) keyword(arg, value)
    Constant(value, kind) Attribute(value, attr, ctx) Subscript(value, slice, ctx) Name(id, ctx) List(elts, ctx)
    Tuple(elts, ctx) Slice(lower, upper, step)
"""
EXPRESSIONS = """
    stranger|stranger()|stranger.x|stranger[0]|x[stranger]|x[stranger:]|stranger + 1|-stranger|stranger and x|
    stranger < 1|stranger if x else x|x if stranger else x|(stranger, 1)|[stranger]|{stranger: 1}|{stranger}|
    lambda: stranger|[stranger for x in x]|{stranger for x in x}|{x: stranger for x in x}|(stranger for x in x)|
    (await stranger)|(yield stranger)|(yield from stranger)|(s := stranger)|f"{stranger}"|(*stranger, 1)|
    tl.exp(x=stranger)|x.dtype.is_fp32(a=stranger)
"""
STATEMENTS = """
    stranger|x = stranger|x += stranger|x: stranger = 1|x: tl.constexpr = stranger|x.y = stranger|x[stranger] = 1|
    y = x = stranger|del stranger|return stranger|for i in stranger: pass|for stranger.x in range(2): pass|
    for i in range(stranger): pass|while stranger: pass|if stranger: pass|with stranger: pass|raise stranger|
    assert stranger|import stranger|from stranger import x|global stranger|nonlocal stranger|break|continue|
    def stranger(): pass|class stranger: pass|async def stranger(): pass|async for i in stranger: pass|
    async with stranger: pass|match stranger:\\n  case 1: pass|try: stranger\\nexcept stranger: pass|
    try: stranger\\nexcept* stranger: pass|tl.debug_barrier(a=stranger)
"""


def written(text, mode):
    """Each member of a list, as trees."""
    parts = [p.strip().replace("\\n", "\n") for p in text.split("|") if p.strip()]
    return [ast.parse(f"({p})", mode=mode).body if mode == "eval" else ast.parse(p).body[0] for p in parts]


def fields_of(node):
    """(name, type, "" or "?" or "*") of each field of a node's class, as Python's own grammar has it."""
    inside = re.fullmatch(r"\w+\((.*)\)", (type(node).__doc__ or "").replace("\n", " ").strip())
    for part in re.sub(r"\s+", " ", inside[1]).split(", ") if inside else ():
        kind, name = part.split(" ")
        yield name, kind.rstrip("?*"), kind[-1] if kind[-1] in "?*" else ""


def changed(strangers):
    """Sources in which one of `strangers`, by the type of a field, stands in a field of a node, and which field it is.
    Each field of each class of nodes is taken where it comes first."""
    tree, done = ast.parse(EVERYTHING), set()
    for node in ast.walk(tree):
        for name, kind, many in fields_of(node):
            field, before = f"{type(node).__name__}.{name}", getattr(node, name)
            if kind not in strangers or (field in done and not many):
                continue
            for stranger in strangers[kind]:
                values = [stranger]
                if many == "*":
                    values = [[*before[:i], stranger, *before[i + 1 :]] for i in range(len(before))]
                    values.append([*before, stranger])
                for value in values if field not in done else ():
                    setattr(node, name, value)
                    with suppress(TypeError, ValueError, AttributeError, IndexError):  # no source says it
                        yield field, stranger, ast.unparse(ast.fix_missing_locations(tree))
                    setattr(node, name, before)
            if not many or before:
                done.add(field)


def passing(strangers):
    """(field, text) of the strangers that pass, and the fields that were tried."""
    found, tried = set(), set()
    for field, stranger, source in changed(strangers):
        tried.add(field)
        with suppress(RefusedEdit):
            fence(SCALE, source)
            if "stranger" in source:
                found.add((field, ast.unparse(stranger)))
    return found, tried


def every_class(of=ast.AST):
    """The classes of this Python's nodes."""
    return {of, *(c for inner in of.__subclasses__() for c in every_class(inner) if c.__module__ in ("ast", "_ast"))}


def test_the_source_with_everything_passes():
    assert fence(SCALE, EVERYTHING).source
    used = {type(n) for n in ast.walk(ast.parse(EVERYTHING))}
    assert set(ALLOWED) - used <= {
        ast.Load,
        ast.Store,
        ast.IsNot,
        ast.Lt,
        ast.LtE,
        ast.GtE,
        ast.NotEq,
        ast.Div,
        ast.UAdd,
    }


def test_fields_of_allowed_nodes_are_known():
    """A new Python may give a node more to evaluate."""
    known = dict(re.findall(r"(\w+)\((.*?)\)", KNOWN_FIELDS))
    for kind in ALLOWED:
        assert {*kind._fields} <= {*known.get(kind.__name__, "").split(", ")}, kind.__name__


def test_nodes_that_are_not_allowed_are_refused():
    others = {kind for kind in every_class() - {*ALLOWED} - every_class(ast.Constant) if not kind.__subclasses__()}
    others = {kind for kind in others if "__new__" not in vars(kind)}  # older names of other classes
    assert len(others) > 40
    for kind in others:
        with pytest.raises(RefusedEdit):
            _check_node(kind(), 1)


def test_a_stranger_is_refused_in_every_field():
    stranger = ast.Name("stranger", ast.Load())
    strangers = {
        "expr": [ast.Call(stranger, [], [])],
        "stmt": [ast.Expr(stranger)],
        "keyword": [ast.keyword("stranger", stranger)],
    }
    found, tried = passing(strangers)
    assert found == set()
    assert len(tried) > 35


def test_descriptors_take_only_arguments_that_they_have():
    source = EVERYTHING.replace("d.load([0, 0])", "d.load([0, 0], stranger=n)")
    with pytest.raises(RefusedEdit, match="load has no argument stranger"):
        fence(SCALE, source)


@pytest.mark.long
def test_all_strangers_are_refused_in_every_field():
    strangers = {"expr": written(EXPRESSIONS, "eval"), "stmt": written(STATEMENTS, "exec")}
    found, _ = passing(strangers)
    # A name that is bound, and never read.
    assert {field for field, _ in found} <= {"Assign.targets"}
    assert {text for _, text in found} <= {"stranger", "[stranger]"}


@pytest.mark.parametrize(
    "forgotten",
    [
        "1 + 2",
        "-(1)",
        "1 and 2",
        "1 < 2",
        "1 if 2 else 3",
        "(1, 2)[0]",
        "(1, 2)",
        "[1, 2]",
        "tl.exp(1.0)",
        "x.dtype",
        "x",
    ],
)
def test_what_a_rule_forgets_is_refused(forgotten, monkeypatch):
    """Also if nothing in it has a name: the compiler computes it."""
    followed = FunctionWalk._value
    source = EVERYTHING.replace("return\n", f"tl.static_assert(({forgotten}) == 3)\n")
    node = ast.parse(forgotten, mode="eval").body

    def value(self, n, frame):
        if isinstance(n, ast.Compare) and ast.dump(n.left) == ast.dump(node):
            return NUMBER
        return followed(self, n, frame)

    monkeypatch.setattr(FunctionWalk, "_value", value)
    with pytest.raises(RefusedEdit, match="is not allowed here"):
        fence(SCALE, source)
