"""Follows a fenced function statement by statement and refuses what is not on the list.

Nothing is run. Every expression gets a :class:`Value`, all that it may be; a branch is followed both ways, and a loop
until nothing changes. A function is followed again for each call with other kinds of arguments, so that a pointer is
known as one inside it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..owner_function import OwnersDevice, PassedFunction
from ..refused_edit import RefusedEdit
from . import device_names
from .abstract_values import (
    DTYPE,
    NONE,
    NUMBER,
    SIZE,
    STRING,
    TRUTH,
    Value,
    joined,
    of,
    settled,
    whole,
)
from .call_rules import TARGETS, WRITTEN_OUT, Arguments, CallRules, bound_arguments
from .device_names import DeviceName
from .loop_rules import turns_of
from .name_scope import Enumeration, FencedFunction, Found, Module, NameScope
from .operator_rules import CONDITIONS, binary, comparison, power, tuple_value, unary
from .source_limits import LONGEST_TEXT
from .wait_rules import Loop

MOST_PASSES = 12
"""Over a loop: kinds only grow, and there are eleven."""
LOCALS_AT_ONCE = 16
"""Locals that are copied in the time in which an expression is followed."""


@dataclass
class Frame:
    """What is known of the locals at one place in a function."""

    values: dict[str, Value] = field(default_factory=dict)
    certain: set[str] = field(default_factory=set)
    """Locals that are bound whichever way the place was reached."""

    def copy(self) -> Frame:
        return Frame(dict(self.values), set(self.certain))

    def merged(self, other: Frame | None) -> Frame:
        if other is None:
            return self
        values = dict(self.values)
        for name, value in other.values.items():
            if values.setdefault(name, value) is not value:
                values[name] = joined([values[name], value])
        return Frame(values, self.certain & other.certain)

    @property
    def parts(self) -> int:
        """As how many expressions it counts to copy it and to merge it with another."""
        return 1 + len(self.values) // LOCALS_AT_ONCE

    def bind(self, name: str, value: Value) -> None:
        self.values[name] = value
        self.certain.add(name)


class _ReadHere:
    """What the parts of an expression depend on and point into, gathered while it is followed."""

    def __init__(self) -> None:
        self._origins: frozenset[str] = frozenset()
        self._depends: frozenset[int | str] = frozenset()

    def add(self, part: Value) -> None:
        self._origins |= part.origins
        self._depends |= part.depends

    def added_to(self, whole: Value) -> Value:
        """`whole`, which was made of the parts."""
        origins = self._origins | whole.origins if whole.leaf_kinds & TARGETS else frozenset()
        return replace(whole, origins=origins, depends=self._depends | whole.depends)


def names_stored(node: ast.AST) -> set[str]:
    """Names that statements of `node` bind."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _unused(function: ast.FunctionDef) -> set[int]:
    read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    found = set()
    for node in ast.walk(function):
        match node:
            case ast.Expr(value=call):
                found.add(id(call))
            case ast.Assign(targets=[ast.Name(id=name)], value=call) if name not in read:
                found.add(id(call))
    return found


class FunctionWalk:
    """One function with one kind of arguments."""

    def __init__(
        self,
        rules: CallRules,
        scope: NameScope,
        function: ast.FunctionDef,
        is_kernel: bool,
        loops: tuple[Loop, ...] = (),
    ) -> None:
        self._rules, self._scope, self.function, self._is_kernel = rules, scope, function, is_kernel
        self._returned: list[Value] = []
        self.loops = loops
        """In which it runs, those of its callers among them."""
        self._stored = names_stored(function)
        self._locals = self._stored | {a.arg for a in function.args.args}
        self.trips: dict[int, int] = {}
        """Turns of the loops that the compiler writes out, by the identity of their node."""
        self.sizes: dict[int, int] = {}
        """Size of what is called at a node, expanded."""
        self.unused = _unused(function)
        """Calls whose result nothing reads, by the identity of their node."""
        self._read_here = _ReadHere()
        self._seen: set[int] = set()
        """Statements, expressions and keywords that were judged, by the identity of their node."""

    def follow(self, arguments: dict[str, Value]) -> Value:
        """What the function gives. Raises RefusedEdit."""
        frame = Frame()
        for name, value in arguments.items():
            frame.bind(name, value)
        after = self._block(self.function.body, frame)
        if after is not None or not self._returned:
            self._returned.append(NONE)
        self._check_everything_was_seen()
        return joined(self._returned)

    def _check_everything_was_seen(self) -> None:
        """Triton evaluates every part of the function. So one that no rule above has looked at is refused."""
        for node in (n for statement in self.function.body for n in ast.walk(statement)):
            if isinstance(node, ast.stmt | ast.expr | ast.keyword) and id(node) not in self._seen:
                raise RefusedEdit(f"{ast.unparse(node)[:60]} is not allowed here", node)

    def _saw(self, *nodes: ast.AST) -> None:
        """Note what a rule has judged: these nodes, and not what is in them."""
        self._seen.update(map(id, nodes))

    def _block(self, body: Sequence[ast.stmt], frame: Frame) -> Frame | None:
        """The frame behind `body`; None if every way through it returns."""
        current: Frame | None = frame
        for statement in body:
            if current is None:
                raise RefusedEdit("this is never reached: leave it out", statement)
            current = self._statement(statement, current)
        return current

    def _statement(self, node: ast.stmt, frame: Frame) -> Frame | None:
        self._saw(node)
        match node:
            case ast.Pass():
                return frame
            case ast.Expr(value=ast.Call() as call):
                self._saw(call)
                self._call(call, frame)
                return frame
            case ast.Assign(targets=[target], value=value):
                self._assign(target, self.value(value, frame), frame)
                return frame
            case ast.AugAssign(target=ast.Name(id=name) as target, op=operator, value=value):
                before = ast.copy_location(ast.Name(name, ast.Load()), target)
                self._assign(
                    target, self.value(ast.copy_location(ast.BinOp(before, operator, value), node), frame), frame
                )
                return frame
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value, annotation=annotation):
                if not self.is_constexpr(annotation):
                    raise RefusedEdit(f"the annotation {ast.unparse(annotation)} is not tl.constexpr", node)
                self._assign(target, self.value(value, frame), frame, constant=True)
                return frame
            case ast.If(test=test, body=body, orelse=orelse):
                self._rules.look(node, frame.parts)
                self._test(test, frame)
                first = self._block(body, frame.copy())
                second = self._block(orelse, frame.copy()) if orelse else frame
                return second if first is None else first.merged(second)
            case ast.For(target=ast.Name() as target, orelse=[]):
                return self._for(node, target, frame)
            case ast.While(test=test, orelse=[]):
                return self._loop(frame, lambda inside: self._turn(test, node.body, inside), node)
            case ast.Return(value=value):
                if self._is_kernel and value is not None and ast.unparse(value) != "None":
                    raise RefusedEdit("a kernel returns nothing", node)
                self._returned.append(NONE if value is None else self.value(value, frame))
                return None
        raise RefusedEdit(
            f"this {type(node).__name__} is not allowed in device code: {ast.unparse(node).splitlines()[0][:60]}", node
        )

    def _turn(self, test: ast.expr, body: Sequence[ast.stmt], frame: Frame) -> Frame | None:
        self._test(test, frame)
        return self._block(body, frame)

    def _for(self, node: ast.For, target: ast.Name, frame: Frame) -> Frame:
        turns = node.iter
        found = self._callee(turns, frame) if isinstance(turns, ast.Call) else None
        if not isinstance(found, DeviceName) or found.group not in ("loop", "unrolled"):
            raise RefusedEdit("a loop runs over range, tl.range or tl.static_range alone", node)
        assert isinstance(turns, ast.Call)
        self._saw(turns)
        of_loop = turns_of(node, found, self._arguments(turns, frame, found))
        self.trips[id(node)] = max(of_loop.written, self.trips.get(id(node), 0))

        def body(inside: Frame) -> Frame | None:
            self._assign(target, replace(of_loop.index, depends=frozenset({id(node)})), inside)
            return self._block(node.body, inside)

        return self._loop(frame, body, node)

    def _loop(self, frame: Frame, body: Any, node: ast.stmt) -> Frame:
        """The frame behind a loop that makes any number of turns, none included."""
        outer, self.loops = self.loops, (*self.loops, Loop(id(node), isinstance(node, ast.While)))
        before = frame.copy()
        for name in names_stored(node) & set(before.values):
            before.values[name] = replace(before.values[name], depends=before.values[name].depends | {id(node)})
        for _ in range(MOST_PASSES):
            self._rules.look(node, before.parts)
            after = body(before.copy())
            joint = before.merged(after)
            for name, value in joint.values.items():
                if name in before.values:
                    joint.values[name] = settled(before.values[name], value)
            if joint.values == before.values and joint.certain == before.certain:
                self.loops = outer
                return joint
            before = joint
        raise RefusedEdit("a loop changes what its names are in every turn", node)

    def _assign(self, target: ast.expr, value: Value, frame: Frame, constant: bool = False) -> None:
        self._saw(target)
        match target:
            case ast.Name(id=name):
                if value.may_be("function", "choice") or (value.may_be("string") and not constant):
                    raise RefusedEdit(f"{name} would be a {value.described()}: write it where it is used", target)
                if self._scope.holds_code(name):
                    raise RefusedEdit(f"{name} already stands for a function or module: use another name", target)
                frame.bind(name, value)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                items = value.items
                if items is not None and len(items) != len(parts):
                    raise RefusedEdit(f"{len(items)} values are assigned to {len(parts)} names", target)
                for i, part in enumerate(parts):
                    self._assign(part, value.member() if items is None else items[i], frame)
            case _:
                raise RefusedEdit(f"nothing can be assigned to {ast.unparse(target)[:60]}", target)

    def _test(self, node: ast.expr, frame: Frame) -> Value:
        found = self.value(node, frame)
        if not found.kinds <= CONDITIONS:
            raise RefusedEdit(f"a condition is a {found.described()}: compare it with something", node)
        return found

    def value(self, node: ast.expr, frame: Frame) -> Value:
        """All that an expression may be. Raises RefusedEdit."""
        self._rules.look(node)
        self._saw(node)
        around, self._read_here = self._read_here, _ReadHere()
        found = self._read_here.added_to(self._value(node, frame))
        if found.items is not None:
            self._rules.look(node, found.leaves)
        self._read_here = around
        around.add(found)
        return found

    def _value(self, node: ast.expr, frame: Frame) -> Value:
        match node:
            case ast.Constant(value=constant):
                return self._constant(node, constant)
            case ast.Name():
                return self._read(node, frame)
            case ast.Attribute():
                return self._attribute(node, frame)
            case ast.Call():
                return self._call(node, frame)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple_value(node, [self.value(p, frame) for p in parts])
            case ast.BinOp(left=left, op=operator, right=right):
                if isinstance(operator, ast.Pow):
                    made = power(node)
                    self._saw(*ast.walk(node))  # numbers that are written out
                    return made
                return binary(node, operator, self.value(left, frame), self.value(right, frame))
            case ast.UnaryOp(operand=operand):
                return unary(node, self.value(operand, frame))
            case ast.BoolOp(values=parts):
                return joined([*(self._test(part, frame) for part in parts), TRUTH])
            case ast.Compare(left=left, comparators=others):
                return comparison(node, [self.value(side, frame) for side in (left, *others)])
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._test(test, frame)
                return joined([self.value(body, frame), self.value(orelse, frame)])
            case ast.Subscript():
                return self._subscript(node, frame)
        raise RefusedEdit(f"{ast.unparse(node)[:60]} is not allowed here", node)

    def _constant(self, node: ast.expr, constant: object) -> Value:
        if constant is None:
            return NONE
        if isinstance(constant, int):
            return whole(int(constant))
        if isinstance(constant, str):
            if len(constant) > LONGEST_TEXT:
                raise RefusedEdit(f"a text has more than {LONGEST_TEXT} characters", node)
            return STRING
        return NUMBER

    def _read(self, node: ast.Name, frame: Frame) -> Value:
        name = node.id
        if name in self._locals:
            if name not in frame.values:
                raise RefusedEdit(f"{name} is read before it is bound", node)
            outside = name in (*device_names.BUILTIN_NAMES, self.function.name) or self._scope.is_bound(name)
            if outside and name not in frame.certain:
                raise RefusedEdit(
                    f"{name} is not bound on every way here, and {name} means something else: rename it", node
                )
            if name not in frame.certain:
                self._scope.unsure.add(name)
            return frame.values[name]
        return self._as_value(self._free(node), node)

    def _free(self, node: ast.Name) -> Found:
        self._saw(node)
        found = self._scope.use(node.id)
        if found is None:
            raise RefusedEdit(self._scope.unknown(node.id), node)
        return found

    def _as_value(self, found: Found, node: ast.expr) -> Value:
        match found:
            case Value():
                return found
            case DeviceName(group="dtype"):
                return DTYPE
            case DeviceName() | FencedFunction() | OwnersDevice():
                return Value(frozenset({"function"}), function=found)
        raise RefusedEdit(f"{ast.unparse(node)} is a module or an enumeration, and no value", node)

    def _resolved(self, node: ast.expr) -> Found | None:
        """What ``name.attribute.attribute`` stands for if it begins outside the function; None if it does not."""
        if isinstance(node, ast.Name):
            return None if node.id in self._locals else self._free(node)
        if not isinstance(node, ast.Attribute):
            return None
        base = self._resolved(node.value)
        if not isinstance(base, Module | Enumeration | dict):
            return None
        found = self._scope.attribute(base, node.attr)
        if found is None:
            raise RefusedEdit(f"{ast.unparse(node)} is not on the list of device functions", node)
        self._saw(node)
        return found

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        outside = self._resolved(node)
        if outside is not None:
            return self._as_value(outside, node)
        base, name = self.value(node.value, frame), node.attr
        found = [self._attribute_of(node, kind, base) for kind in sorted(base.kinds - {"none"})]
        if not found:
            raise RefusedEdit(f"None has no {name}", node)
        return joined(found)

    def _attribute_of(self, node: ast.Attribute, kind: str, base: Value) -> Value:
        name = node.attr
        match kind, name:
            case ("number" | "pointer" | "block pointer", "shape"):
                return Value(frozenset({"tuple", "number"}), SIZE.span)
            case ("number", "dtype" | "type"):
                return DTYPE
            case ("pointer" | "block pointer", "dtype"):
                return of("pointer type")
            case ("pointer", "type") if isinstance(node.value, ast.Name) and self._is_parameter(node.value.id):
                return of("pointer type")
            case ("number" | "pointer", "T"):
                return Value(frozenset({kind}))
            case ("number", "value"):
                return base
            case ("number", "numel"):
                return SIZE
            case ("descriptor", "block_shape"):
                return Value(frozenset({"tuple", "number"}), SIZE.span)
            case ("descriptor", "shape" | "strides"):
                return of("tuple", "number")
            case ("descriptor", "dtype"):
                return DTYPE
            case ("dtype", "element_ty" | "scalar") | ("pointer type", "element_ty"):
                return DTYPE
            case ("pointer type", "scalar"):
                return of("pointer type")
            case ("dtype" | "pointer type", _) if name in device_names.DTYPE_FACTS:
                return whole(0, 64).not_fixed()
        raise RefusedEdit(f"the attribute {name} of a {kind} is not on the list", node)

    def _is_parameter(self, name: str) -> bool:
        return name in {a.arg for a in self.function.args.args} - self._stored

    def _subscript(self, node: ast.Subscript, frame: Frame) -> Value:
        base = self.value(node.value, frame)
        index = node.slice
        parts = index.elts if isinstance(index, ast.Tuple) else [index]
        shaping = [isinstance(p, ast.Slice) or (isinstance(p, ast.Constant) and p.value is None) for p in parts]
        self._saw(index, *(p for p, shapes in zip(parts, shaping, strict=True) if shapes))
        if any(isinstance(p, ast.Slice) and (p.lower or p.upper or p.step) for p in parts):
            raise RefusedEdit("a slice with ends: a tensor takes `:` and None alone", node)
        if all(shaping) and base.kinds <= {"number", "pointer", "none"}:
            return base
        if len(parts) == 1 and not any(shaping) and base.kinds <= {"tuple", "number", "pointer"}:
            at = self.value(parts[0], frame)
            if at.kinds == {"number"} and base.items is None:
                return base.member()
            if at.kinds == {"number"} and base.items is not None and at.known is not None:
                if not -len(base.items) <= at.known[0] <= at.known[1] < len(base.items):
                    raise RefusedEdit(f"{ast.unparse(node)[:60]} lies outside the tuple", node)
                return joined(base.items[i] for i in range(at.known[0], at.known[1] + 1))
        raise RefusedEdit(f"a {base.described()} is not subscripted by {ast.unparse(index)[:60]}", node)

    def _callee(self, node: ast.Call, frame: Frame) -> Found | None:
        outside = self._resolved(node.func)
        if outside is not None:
            return outside
        if isinstance(node.func, ast.Name):
            found = self.value(node.func, frame)
            if found.kinds == {"function"}:
                return found.function
            raise RefusedEdit(f"{node.func.id} is a {found.described()} and is called", node)
        return None

    def _given(self, node: ast.Call, frame: Frame) -> tuple[list[Value], dict[str, Value]]:
        """A call's arguments by place, and by name."""
        self._saw(*node.keywords)
        return [self.value(a, frame) for a in node.args], {
            str(k.arg): self.value(k.value, frame) for k in node.keywords
        }

    def _arguments(self, node: ast.Call, frame: Frame, callee: DeviceName, first: Value | None = None) -> Arguments:
        given, named = self._given(node, frame)
        return bound_arguments(callee, [first, *given] if first is not None else given, named, node)

    def _call(self, node: ast.Call, frame: Frame) -> Value:
        found = self._callee(node, frame)
        if found is None:
            return self._method(node, frame)
        match found:
            case DeviceName(group="loop" | "unrolled"):
                raise RefusedEdit(f"{found.name} stands outside a for", node)
            case DeviceName(group="dtype"):
                raise RefusedEdit(f"{found.name} is a type, and no function: write tl.cast or .to", node)
            case DeviceName(group="float"):
                made = self._rules.floating(node, lambda n: self.value(n, frame))
                self._saw(*(a for a in node.args if isinstance(a, ast.Constant)))
                return made
            case DeviceName(group="assertion"):
                self._rules.assertion(node, lambda n: self.value(n, frame))
                self._saw(*node.args[1:])  # a text that is written out
                return NONE
            case DeviceName():
                self.sizes[id(node)] = WRITTEN_OUT.get(found.attribute, 0)
                return self._rules.language(self, node, found, self._arguments(node, frame, found))
            case FencedFunction() | OwnersDevice() | PassedFunction():
                given, named = self._given(node, frame)
                value, size = self._rules.device_function(self, found, given, named, node)
                self.sizes[id(node)] = max(size, self.sizes.get(id(node), 0))
                return value
        raise RefusedEdit(f"{ast.unparse(node.func)[:60]} is no function that may be called", node)

    def _method(self, node: ast.Call, frame: Frame) -> Value:
        if not isinstance(node.func, ast.Attribute):
            raise RefusedEdit(f"{ast.unparse(node.func)[:60]} is no function that may be called", node)
        self._saw(node.func)
        base, name = self.value(node.func.value, frame), node.func.attr
        kinds = base.kinds - {"none"}
        if kinds == {"descriptor"} and (method := device_names.method_of_descriptor(name)) is not None:
            given = self._arguments(node, frame, method, base).all()
            self._rules.no_pointers(name, given[1:], node)
            self._rules.access(self, node, name, given)
            return NUMBER
        if kinds and kinds <= {"dtype", "pointer type"} and name in device_names.DTYPE_QUESTIONS:
            if node.args or node.keywords:
                raise RefusedEdit(f"{name} takes no arguments", node)
            return TRUTH
        listed = device_names.method_of_list(name)
        if listed is None or not kinds or not kinds <= {"number", "pointer", "block pointer", "tuple"}:
            raise RefusedEdit(f"the method {name} of a {base.described()} is not on the list", node)
        self.sizes[id(node)] = WRITTEN_OUT.get(listed.attribute, 0)
        return self._rules.language(self, node, listed, self._arguments(node, frame, listed, base))

    def is_constexpr(self, annotation: ast.expr) -> bool:
        """Whether an annotation is Triton's constexpr."""
        if not isinstance(annotation, ast.Name | ast.Attribute):
            return False
        if isinstance(annotation, ast.Name) and annotation.id in self._locals:
            return False
        try:
            found = self._resolved(annotation) if isinstance(annotation, ast.Attribute) else self._free(annotation)
        except RefusedEdit:
            return False
        return isinstance(found, DeviceName) and found.group == "constexpr"
