"""What may be given to each function of the list, and what comes back."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

from ..refused_edit import RefusedEdit
from .abstract_values import NUMBER, Span, Value, is_too_large, joined, of, tuple_of
from .device_names import DeviceName, names_in
from .source_limits import LONGEST_MESSAGE
from .wait_rules import Loop, Waits


class Caller(Protocol):
    """The function that makes a call."""

    function: ast.FunctionDef
    loops: tuple[Loop, ...]
    unused: set[int]
    sizes: dict[int, int]


class Claims(Protocol):
    def check(self, walk: Caller, node: ast.Call, name: str, used: Iterable[Any]) -> None: ...


class Devices(Protocol):
    """Follows functions of the edit and of the owner."""

    claims: Claims
    waits: Waits

    def follow(
        self,
        found: Any,
        given: Sequence[Value],
        named: Mapping[str, Value],
        node: ast.AST,
        loops: tuple[Loop, ...] = (),
    ) -> tuple[Value, int]: ...

    def combine(self, found: Any, node: ast.AST) -> int: ...


MOST_LOOKED_AT = 400_000
"""Expressions that are followed, each once for every kind of arguments and every pass over a loop around it."""
MOST_ROUNDS = 32
"""Of a random number: the compiler writes out each."""
WRITTEN_OUT = {
    **dict.fromkeys(("sort", "topk"), 2_000), "bitonic_merge": 300, "flip": 100,
    **dict.fromkeys(names_in("philox philox_impl rand rand4x randint randint4x randn randn4x"), 300),
}  # fmt: skip
"""Parts that the compiler writes out for one call of a listed function that is itself made of many steps."""
APPLICATIONS = 16
"""Of the function of a reduction or scan: the compiler writes it out for elements of a thread, and for steps between
threads."""
TARGETS = frozenset({"pointer", "block pointer", "descriptor"})
"""What can be loaded from."""
PLAIN = frozenset({"number", "none", "string", "dtype", "tuple", "choice"})
"""What a function of numbers takes."""
MODES = (
    "cache_modifier",
    "eviction_policy",
    "padding_option",
    "sem",
    "scope",
    "input_precision",
    "fp_downcast_rounding",
)
"""Parameters that name a mode."""
INFINITIES = ("inf", "+inf", "-inf", "nan")
TOGETHER = {"broadcast": (0, 2), "cat": (0, 2), "interleave": (0, 2), "join": (0, 2), "where": (1, 3)}
"""From which of its arguments to which a function puts elements together; others take those of the first."""
COMBINED = {"reduce": "combine_fn", "associative_scan": "combine_fn"}


@dataclass(frozen=True)
class Arguments:
    """A call's values by parameter; `rest` are those of a star parameter."""

    values: dict[str, Value]
    rest: tuple[Value, ...]

    def all(self) -> list[Value]:
        return [*self.values.values(), *self.rest]


@cache
def _parameters(value: Any) -> tuple[tuple[str, ...], bool]:
    """The public parameters of a function of Triton's, and whether it takes more by a star."""
    function = value
    while not inspect.isclass(function) and hasattr(function, "fn"):
        function = function.fn
    if inspect.isclass(function):
        given = list(inspect.signature(function.__init__).parameters.values())[1:]
    else:
        given = list(inspect.signature(function).parameters.values())
    names, star = [], False
    for p in given:
        if p.name.startswith("_"):
            break
        if p.kind is inspect.Parameter.VAR_POSITIONAL:
            star = True
        elif p.kind is not inspect.Parameter.VAR_KEYWORD:
            names.append(p.name)
    return tuple(names), star


BY_PLACE = {"min": (), "max": (), "advance": ("base", "offsets"), "range": ("arg1", "arg2", "step")}
"""Parameters of Python's own, and of a method that is no function."""


def bound_arguments(
    callee: DeviceName, positional: Sequence[Value], named: dict[str, Value], node: ast.AST
) -> Arguments:
    """The arguments of a call by parameter. Raises RefusedEdit for one that the function does not have."""
    if callee.module == "builtins" or callee.value is None:
        names, star = BY_PLACE[callee.attribute], callee.attribute in ("min", "max")
    else:
        names, star = _parameters(callee.value)
    if len(positional) > len(names) and not star:
        raise RefusedEdit(f"{callee.name} takes {len(names)} arguments, and is given {len(positional)}", node)
    # Behind a star parameter, parameters are given by name alone.
    places = names[:1] if star else names
    values = dict(zip(places, positional, strict=False))
    for name, value in named.items():
        if name not in names or name in values:
            raise RefusedEdit(f"{callee.name} has no argument {name} that could be given here", node)
        values[name] = value
    values = {name: values[name] for name in names if name in values}
    return Arguments(values, tuple(positional[len(places) :]))


class CallRules:
    """The rules of the list. `devices` follows functions of the edit and of the owner."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._looked_at = 0

    def look(self, node: ast.AST, parts: int = 1) -> None:
        """Count an expression that is followed, or `parts` of it. Raises RefusedEdit if too many were."""
        self._looked_at += parts
        if self._looked_at > MOST_LOOKED_AT:
            raise RefusedEdit("the loops and calls of this source are too entangled to be followed", node)

    def language(self, walk: Caller, node: ast.Call, callee: DeviceName, given: Arguments) -> Value:
        """What `callee` gives. Raises RefusedEdit."""
        for name, value in given.values.items():
            if name in MODES and not value.kinds <= {"string", "none"}:
                raise RefusedEdit(f"{name} of {callee.name} is a text or None", node)
            if name == "n_rounds" and (value.known is None or value.known[1] > MOST_ROUNDS):
                raise RefusedEdit(f"{callee.name} makes {MOST_ROUNDS} rounds at most", node)
        match callee.group:
            case "numbers":
                self.no_pointers(callee.name, given.all(), node)
                if callee.module == "builtins":  # these give what they are given, whatever it is
                    self._all_numbers(callee, given, node)
                return _number_of(callee, given, node)
            case "shapes":
                return self._shaped(callee, given, node)
            case "memory" | "atomics":
                return self._accessed(walk, callee, given, node)
            case "combine":
                return self._combined(walk, callee, given, node)
            case "claims":
                self._devices.claims.check(walk, node, callee.name, [callee])
                self._rest_plain(callee, given, node)
                return next(iter(given.values.values()), NUMBER)
            case "cast":
                self._plain_type(callee, given.values.get("dtype"), node)
                self.no_pointers(callee.name, given.all(), node)
                return NUMBER
            case "filled":
                self._plain_type(callee, given.values.get("dtype"), node)
                self.no_pointers(callee.name, given.all(), node)
                return NUMBER
            case "like":
                self.no_pointers(callee.name, given.all(), node)
                return NUMBER
            case "block_pointer" | "descriptor":
                self._base(callee, given, node)
                return of("block pointer" if callee.group == "block_pointer" else "descriptor")
            case "constexpr":
                self.no_pointers(callee.name, given.all(), node)
                return next(iter(given.values.values()), NUMBER)
            case "program":
                if not all(v.known and v.known[0] >= 0 and v.known[1] <= 2 for v in given.all()):
                    raise RefusedEdit(f"the axis of {callee.name} is 0, 1 or 2", node)
                return NUMBER
        raise RefusedEdit(f"{callee.name} is no function that may be called here", node)

    def device_function(
        self, walk: Caller, found: Any, given: Sequence[Value], named: dict[str, Value], node: ast.Call
    ) -> tuple[Value, int]:
        """What a function of the edit or of the owner gives, and its size when it is expanded."""
        functions = [f for value in (*given, *named.values()) for f in value.functions]
        self._devices.claims.check(walk, node, ast.unparse(node.func)[:60], [found, *functions])
        return self._devices.follow(found, given, named, node, walk.loops)

    def floating(self, node: ast.Call, value: Callable[[ast.expr], Value]) -> Value:
        """``float("inf")``, or the float of a number."""
        match node:
            case ast.Call(args=[ast.Constant(value=str(text))], keywords=[]) if text.strip().lower() in INFINITIES:
                return NUMBER
            case ast.Call(args=[argument], keywords=[]) if value(argument).kinds == {"number"}:
                return NUMBER
        raise RefusedEdit(f"{ast.unparse(node)[:60]}: float takes 'inf', '-inf', 'nan' or a number", node)

    def assertion(self, node: ast.Call, value: Callable[[ast.expr], Value]) -> None:
        """A condition, and a text that is written out. Triton takes both by place alone."""
        texts = node.args[1:]
        plain = all(
            isinstance(t, ast.Constant) and isinstance(t.value, str) and len(t.value) <= LONGEST_MESSAGE for t in texts
        )
        if not node.args or len(texts) > 1 or not plain or node.keywords:
            raise RefusedEdit("tl.static_assert takes a condition and a text that is written out, without names", node)
        if not value(node.args[0]).kinds <= {"number", "none"}:
            raise RefusedEdit("the condition of tl.static_assert is no condition", node)

    def no_pointers(self, name: str, given: Iterable[Value], node: ast.AST) -> None:
        """Refuse what is no number, text, type or tuple of them."""
        for value in given:
            if not value.leaf_kinds <= PLAIN:
                raise RefusedEdit(f"{name} takes no {_other(value)}", node)

    def _all_numbers(self, callee: DeviceName, given: Arguments, node: ast.AST) -> None:
        for value in given.all():
            if value.may_be("tuple") or not value.may_be("number") or "string" in value.leaf_kinds:
                raise RefusedEdit(f"{callee.name} is given a {value.described()}, and takes numbers", node)

    def _plain_type(self, callee: DeviceName, dtype: Value | None, node: ast.AST) -> None:
        if dtype is None or not dtype.may_be("dtype") or dtype.may_be("pointer type", "pointer"):
            kind = dtype.described() if dtype is not None else "nothing"
            raise RefusedEdit(f"the type for {callee.name} must be a type of numbers, and is {kind}", node)

    def _shaped(self, callee: DeviceName, given: Arguments, node: ast.AST) -> Value:
        """Elements keep their kind. Only functions of `TOGETHER` take more than one value of elements."""
        inside = given.all()
        for value in inside:
            if not value.leaf_kinds <= PLAIN | {"pointer", "block pointer"}:
                raise RefusedEdit(f"{callee.name} takes no {_other(value)}", node)
        first, end = TOGETHER.get(callee.attribute, (0, 1))
        elements = inside[first:end]
        if any(not v.leaf_kinds <= PLAIN for v in (*inside[:first], *inside[end:])):
            raise RefusedEdit(f"{callee.name} takes a pointer in the place of a number", node)
        kinds = [v.leaf_kinds - PLAIN for v in elements]
        if callee.attribute == "broadcast":
            return tuple_of(_elements(v) for v in elements)
        if any(kinds) and not all(kinds):
            raise RefusedEdit(f"{callee.name} mixes a pointer with what is none", node)
        return joined(map(_elements, elements)) if any(kinds) else NUMBER

    def _accessed(self, walk: Caller, callee: DeviceName, given: Arguments, node: ast.Call) -> Value:
        target, *others = given.all() or [NUMBER]
        if not target.may_be(*TARGETS) or not target.kinds <= TARGETS | {"none"}:  # type: ignore[arg-type]
            raise RefusedEdit(f"{callee.name} goes through a pointer, and is given a {target.described()}", node)
        self.no_pointers(f"{callee.name}, beside its pointer,", others, node)
        self.access(walk, node, callee.attribute, given.all(), given.values.get("volatile"))
        return NUMBER

    def access(
        self, walk: Caller, node: ast.Call, name: str, given: Sequence[Value], volatile: Value | None = None
    ) -> None:
        """Note what the call `name` does to memory. `given`: where, then the rest. Raises RefusedEdit."""
        target, *others = given
        atomic = name.startswith("atomic_")
        if atomic and any(loop.is_while for loop in walk.loops):
            raise RefusedEdit(f"{name} inside a while: programs must not wait for one another", node)
        if atomic or "store" in name or name == "scatter":
            self._devices.waits.wrote(walk.loops, target)
        if name in ("atomic_store", "scatter") or "store" in name or (atomic and id(node) in walk.unused):
            return
        if target.may_be("descriptor"):  # its coordinates are the address
            target = replace(target, depends=target.depends.union(*(o.depends for o in others)))
        watching = name == "atomic_load" or (volatile is not None and volatile.known != (0, 0))
        adds_nothing = atomic and (_is_given_zero(node) or any(o.known == (0, 0) for o in others[:1]))
        self._devices.waits.read(walk.loops, target, node, watching or adds_nothing, atomic)

    def _base(self, callee: DeviceName, given: Arguments, node: ast.AST) -> None:
        base, *others = given.all() or [NUMBER]
        if not base.may_be("pointer") or not base.kinds <= {"pointer", "none"}:
            raise RefusedEdit(f"the base of {callee.name} is a {base.described()}, and no pointer", node)
        self.no_pointers(f"{callee.name}, beside its base,", others, node)

    def _rest_plain(self, callee: DeviceName, given: Arguments, node: ast.AST) -> None:
        self.no_pointers(f"{callee.name}, beside its value,", given.all()[1:], node)

    def _combined(self, walk: Caller, callee: DeviceName, given: Arguments, node: ast.Call) -> Value:
        values = dict(given.values)
        function = values.pop(COMBINED[callee.attribute], None)
        if function is None or function.kinds != {"function"}:
            raise RefusedEdit(f"{callee.name} combines by a device function of this source", node)
        self.no_pointers(callee.name, [*values.values(), *given.rest], node)
        self._devices.claims.check(walk, node, callee.name, function.functions)
        size = self._devices.combine(function.function, node)
        walk.sizes[id(node)] = walk.sizes.get(id(node), 0) + APPLICATIONS * size
        return NUMBER


PASSING = frozenset({"abs", "cdiv", "max", "maximum", "min", "minimum", "next_power_of_2", "swizzle2d"})
"""Functions that the compiler computes if it knows all arguments. Others make numbers of the GPU."""
CHOOSING = frozenset({"max", "maximum", "min", "minimum"})
"""Those that give one of their arguments."""


def _number_of(callee: DeviceName, given: Arguments, node: ast.AST) -> Value:
    spans: list[Span] = [v.span for v in given.all() if v.span is not None]
    if callee.attribute not in PASSING or not spans:
        return NUMBER
    if len(spans) != len(given.all()):  # of a whole number and another number, one is chosen
        span = min(s[0] for s in spans), max(s[1] for s in spans)
        return Value(frozenset({"number"}), span) if callee.attribute in CHOOSING else NUMBER
    most = max(abs(n) for s in spans for n in s)
    span = -most, most
    fixed = all(v.fixed for v in given.all())
    match callee.attribute, spans:
        case "min" | "minimum", _:
            span = min(s[0] for s in spans), min(s[1] for s in spans)
        case "max" | "maximum", _:
            span = max(s[0] for s in spans), max(s[1] for s in spans)
        case "abs", _:
            span = 0, most
        case "next_power_of_2", [(low, high)]:
            smallest = 0 if low < 1 else 1 << (low - 1).bit_length()
            span = (smallest, 0 if high < 1 else 1 << (high - 1).bit_length())
        case "cdiv", [(low, high), (by_low, by_high)] if low >= 0 and by_low > 0:
            span = -(-low // by_high), -(-high // by_low)
        case "cdiv", _:  # (x + y - 1) // y, of numbers of either sign
            span = -(most + 3), most + 3
            fixed = False
        case "swizzle2d", _:
            span = -((most + 1) ** 3), (most + 1) ** 3
            fixed = False
        case _:
            fixed = False
    if is_too_large(span):
        raise RefusedEdit("a constant has more than 63 bits", node)
    return Value(frozenset({"number"}), span, fixed=fixed)


def _is_given_zero(node: ast.Call) -> bool:
    """Whether a fraction that is written as zero is among the arguments."""
    given = [*node.args, *(k.value for k in node.keywords)]
    written = (a.operand if isinstance(a, ast.UnaryOp) else a for a in given)
    return any(isinstance(w, ast.Constant) and isinstance(w.value, float) and w.value == 0 for w in written)


def _elements(value: Value) -> Value:
    """What lies in a value whose shape is changed."""
    kinds = value.leaf_kinds & {"number", "pointer", "block pointer"}
    return Value(kinds, origins=value.origins, depends=value.depends) if kinds - {"number"} else NUMBER


def _other(value: Value) -> str:
    return " or ".join(sorted(value.leaf_kinds - PLAIN)) or value.described()
