"""The fence around device code that somebody else has written, a language model or a file from elsewhere.

Triton's front end is an evaluator of Python: it calls whatever a name reaches while it parses, and its interpreter
executes the function. So the source is judged before either sees it, on its syntax tree, and closed by construction:

    1. Only listed syntax (:mod:`kernels.editing.fencing.source_limits`), bounded in size and depth.
    2. Every name is an argument, a local that is bound, a device function before this one, a constant or device
       function of the owner, or one of the listed functions of the language by identity
       (:mod:`kernels.editing.fencing.device_names`). What a value can be asked depends on its kind
       (:mod:`kernels.editing.fencing.fence_walk`).
    3. Pointers come from arguments alone, claims from the owner alone, loops unroll within bounds.
    4. The signature is the owner's. New parameters are constants at its end, the owner's grid among them if asked for.

What passes is written anew from the tree. The bytes that were given are never compiled, interpreted or stored as code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from .fencing.abstract_values import Value, specialised, whole
from .fencing.device_calls import Body, DeviceCalls
from .fencing.device_names import BUILTIN_NAMES
from .fencing.name_scope import NameScope, is_decorator_of_triton
from .fencing.source_limits import MOST_CHARACTERS, parse
from .fencing.wait_rules import PAST_CACHES
from .grid_expression import FUNCTIONS, MOST_PROGRAMS
from .launch_arguments import launch_words
from .owner_function import UNKNOWN_CONSTANT, Json, OwnerFunction, choice_value, digest_of
from .refused_edit import RefusedEdit

MetaValue = int | str
MOST_META_PARAMETERS = 8
MOST_META_VALUES = 16
LONGEST_META = 40
"""Characters of a meta-parameter's name, and of a value that is a text."""
GRID_NAMES = ("GRID_0", "GRID_1", "GRID_2")
"""New arguments of these names are the numbers of the owner's grid, whatever the variant's own grid is."""


TEXT = re.compile(rf"(?![+-]?[\d_]+\Z)[\w.+-]{{0,{LONGEST_META}}}", re.ASCII)
"""A text in the config of a variant: ``NAME=text``."""


@dataclass(frozen=True)
class FencedEdit:
    """Device code that passed the fence."""

    owner: str
    """Digest of the owner's function."""
    source: str
    """All functions, written anew; the last one is the kernel."""
    digest: str
    """Of the edited kernel, in `parts`."""
    parts: dict[str, Json]
    """Its functions as parts of a capture, from which :mod:`kernels.capture.reading.rebuilt_functions` defines them;
    the owner's parts among them."""
    meta: dict[str, tuple[MetaValue, ...]]
    """New meta-parameters and their values, the first of them the default."""
    grid_names: tuple[str, ...] = ()
    """Those of GRID_NAMES that the kernel takes."""
    unsure: frozenset[tuple[str, str]] = frozenset()
    """Locals that are read where they may be unbound, each with its function: nothing outside may have their name."""


def fence(owner: OwnerFunction, source: str, meta: Mapping[str, Any] | None = None) -> FencedEdit:
    """`source` as device code that may be compiled and interpreted. `meta`: new meta-parameters and their values.

    Raises RefusedEdit with one sentence that names what is refused, and its line."""
    values = _meta(meta or {}, owner)
    functions = parse(source)
    names = [f.name for f in functions]
    twice = next((f for f in functions if names.count(f.name) > 1), None)
    if twice is not None:
        raise RefusedEdit(f"{twice.name} is defined twice", twice)
    if owner.name not in names:
        raise RefusedEdit(f"there is no {owner.name} in the source: send the whole function under its own name")
    kernel = functions[names.index(owner.name)]
    if functions[-1] is not kernel:
        last = functions[-1]
        raise RefusedEdit(f"{owner.name} must stand last, behind the device functions that it calls: {last.name}", last)
    bodies = _bodies(owner, functions)
    arguments = _kernel_arguments(owner, kernel, values, bodies[owner.name].scope)
    _check_cache_modifiers(owner, functions, values)
    for function in functions[:-1]:
        _check_device_function(function, owner, bodies[function.name].scope)
    devices = DeviceCalls(owner, bodies)
    try:
        devices.kernel(bodies[owner.name], arguments)
    except RecursionError as e:
        raise RefusedEdit("calls and expressions are nested too deeply to be followed") from e
    _check_waiting(owner, devices, arguments)
    unused = next((f for f in functions[:-1] if f.name not in devices.followed), None)
    if unused is not None:
        raise RefusedEdit(_why_unused(owner, unused, functions), unused)
    return _written(owner, functions, bodies, values)


def _why_unused(owner: OwnerFunction, unused: ast.FunctionDef, functions: list[ast.FunctionDef]) -> str:
    """Why a device function is never called, and what to do."""
    name = unused.name
    digest = owner.device_functions.get(name)
    if digest is None:
        return f"{name} is never called: leave it out"
    before = functions[: functions.index(unused)]
    early = next((f.name for f in before if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(f))), None)
    if early is not None:
        return f"{name} stands behind {early}, which therefore calls the owner's {name}: put {name} before {early}"
    calling = {"function": digest}
    callers = sorted(n for n, d in owner.device_functions.items() if calling in owner.parts[d]["bindings"].values())
    only, send = "", ""
    if callers:
        only = f", only the owner's {' and '.join(callers)}"
        send = f", or send {' and '.join(callers)} too, behind {name}"
    return f"{name} is the owner's, and no function of this source calls it{only}: leave {name} out{send}"


def _if_unchanged(owner: OwnerFunction, name: str) -> str:
    """What else can be done about a device function that is refused, if the owner has one of its name."""
    if name not in owner.device_functions:
        return ""
    return f", or leave out all of {name} if it is unchanged, because the owner's {name} is called then"


def _meta(meta: Mapping[str, Any], owner: OwnerFunction) -> dict[str, tuple[MetaValue, ...]]:
    if len(meta) > MOST_META_PARAMETERS:
        raise RefusedEdit(f"there are {len(meta)} new meta-parameters, and at most {MOST_META_PARAMETERS} are taken")
    own = {p["name"] for p in owner.part["parameters"]}
    of_grids = {*GRID_NAMES, *(n.lower() for n in GRID_NAMES), *FUNCTIONS}
    taken = {*launch_words(), *own, *BUILTIN_NAMES, *of_grids, *_LANGUAGE, owner.name}
    found = {}
    for name, values in meta.items():
        plain = name.isascii() and name.isidentifier() and not name.startswith("_")
        if not plain or len(name) > LONGEST_META or name in taken:
            raise RefusedEdit(f"a new meta-parameter cannot be named {name[:40]!a}")
        given = tuple(values) if isinstance(values, list | tuple) else ()
        kinds = {type(v) for v in given}
        if not given or len(given) > MOST_META_VALUES or not (kinds <= {int, bool} or kinds == {str}):
            raise RefusedEdit(f"{name} takes a list of 1 to {MOST_META_VALUES} values, all whole numbers or all texts")
        if any(isinstance(v, int) and abs(v) >= 2**31 for v in given):
            raise RefusedEdit(f"a value of {name} is too large")
        if any(isinstance(v, str) and not TEXT.fullmatch(v) for v in given):
            raise RefusedEdit(
                f"a value of {name} is a text of up to {LONGEST_META} letters, digits and . _ + -, and no number"
            )
        found[name] = tuple(dict.fromkeys(given))
    return found


def _bodies(owner: OwnerFunction, functions: list[ast.FunctionDef]) -> dict[str, Body]:
    found: dict[str, Body] = {}
    outside = {n.id for d in _outside(owner.tree) for n in ast.walk(d) if isinstance(n, ast.Name)}
    for function in functions:
        scope = NameScope(owner.bindings, tuple(found))
        if function is not functions[-1] and (function.name in BUILTIN_NAMES | _LANGUAGE | outside):
            raise RefusedEdit(f"a device function cannot be named {function.name}", function)
        if function.returns is not None:
            why = f"{function.name} has an annotation of what it returns: leave the annotation out"
            raise RefusedEdit(why + _if_unchanged(owner, function.name), function)
        for decorator in function.decorator_list:
            if not is_decorator_of_triton(decorator, scope):
                instead = "leave it out" if function is functions[-1] else "write @triton.jit"
                what = f"the decorator @{ast.unparse(decorator)[:60]} of {function.name}"
                why = f"{what} is the owner's to choose: {instead}{_if_unchanged(owner, function.name)}"
                raise RefusedEdit(why, decorator)
        function.decorator_list = []
        found[function.name] = Body(function, scope, False)
    return found


_LANGUAGE = frozenset({"tl", "triton", "libdevice"})


def _kernel_arguments(
    owner: OwnerFunction, kernel: ast.FunctionDef, meta: Mapping[str, tuple[MetaValue, ...]], scope: NameScope
) -> dict[str, Value]:
    """The kernel's arguments, if its signature is the owner's with new constants behind."""
    owners, given = owner.tree.args, kernel.args
    if [a.arg for a in given.args[: len(owners.args)]] != [a.arg for a in owners.args]:
        raise RefusedEdit(
            f"the arguments of {owner.name} are the owner's: {', '.join(a.arg for a in owners.args)}", kernel
        )
    constants = {p["name"]: p["constexpr"] for p in owner.part["parameters"]}
    for ours, theirs in zip(given.args, owners.args, strict=False):
        same = _text(ours.annotation) == _text(theirs.annotation)
        if not same and not (constants[theirs.arg] and is_constexpr(ours.annotation, scope)):
            raise RefusedEdit(f"the annotation of {ours.arg} is not the owner's", ours)
        ours.annotation = theirs.annotation
    added = given.args[len(owners.args) :]
    grid_numbers = {a.arg for a in added} & set(GRID_NAMES)
    if {a.arg for a in added} - grid_numbers != set(meta):
        missing = sorted(set(meta) ^ ({a.arg for a in added} - grid_numbers))
        raise RefusedEdit(f"{missing[0]} must be a new argument and a stated meta-parameter, both", kernel)
    for a in added:
        if not is_constexpr(a.annotation, scope):
            raise RefusedEdit(f"the new argument {a.arg} must be annotated tl.constexpr", a)
    _check_defaults(kernel, owners, added, {**meta, **dict.fromkeys(grid_numbers, (1,))})
    known = dict(owner.arguments) | {n: choice_value(list(v)) for n, v in meta.items()}
    known |= {n: whole(1, MOST_PROGRAMS[GRID_NAMES.index(n)]) for n in grid_numbers}
    found = {a.arg: known.get(a.arg, UNKNOWN_CONSTANT) for a in given.args}
    found = {n: replace(v, origins=frozenset({n})) for n, v in found.items()}
    return {n: v if constants.get(n, True) else specialised(v) for n, v in found.items()}


def _check_cache_modifiers(
    owner: OwnerFunction, functions: list[ast.FunctionDef], meta: Mapping[str, tuple[MetaValue, ...]]
) -> None:
    if any(PAST_CACHES in part["source"] for part in owner.parts.values()):
        return
    constants = (n for f in functions for n in ast.walk(f) if isinstance(n, ast.Constant))
    written = next((n for n in constants if n.value == PAST_CACHES), None)
    if written is not None or any(PAST_CACHES in given for given in meta.values()):
        raise RefusedEdit(
            f"{PAST_CACHES} reads what other programs write: programs must not wait for one another", written
        )


def _check_waiting(owner: OwnerFunction, devices: DeviceCalls, arguments: dict[str, Value]) -> None:
    """Refuse a loop that waits for other programs where no loop of the owner's does the same."""
    waits = list(devices.waits.found())
    if not waits:
        return
    owners = DeviceCalls(owner, {})
    body = Body(owner.tree, NameScope(owner.bindings, ()), True)
    with suppress(RefusedEdit):  # what was followed until then is the owner's
        owners.kernel(body, {a.arg: arguments[a.arg] for a in owner.tree.args.args})
    known = {ast.unparse(node) for node in owners.waits.found()}
    for node in waits:
        if (text := ast.unparse(node)) not in known:
            raise RefusedEdit(f"a loop reads {text[:60]} again and again: programs must not wait for one another", node)


def _check_defaults(
    kernel: ast.FunctionDef, owners: ast.arguments, added: list[ast.arg], meta: Mapping[str, tuple[MetaValue, ...]]
) -> None:
    """The owner's defaults, and for each new argument its first value, whatever default was written."""
    names = [a.arg for a in kernel.args.args]
    given = dict(zip(names[::-1], kernel.args.defaults[::-1], strict=False))
    own_names = [a.arg for a in owners.args]
    own = dict(zip(own_names[::-1], owners.defaults[::-1], strict=False))
    for name in own_names:
        if _text(given.get(name)) != _text(own.get(name)):
            raise RefusedEdit(f"the default of {name} is not the owner's", kernel)
    for a in added:
        default = given.get(a.arg)
        if default is not None and not any(_text(default) == _text(_constant(v)) for v in meta[a.arg]):
            raise RefusedEdit(f"the default of {a.arg} is none of its stated values", a)
    if own or added:
        kernel.args.defaults = [own[n] for n in own_names if n in own]
    for a in added:
        kernel.args.defaults.append(_constant(meta[a.arg][0]))


def _constant(value: MetaValue) -> ast.expr:
    """The value as it is written in a source."""
    return ast.parse(repr(value), mode="eval").body


def is_constexpr(annotation: ast.expr | None, scope: NameScope) -> bool:
    """Whether an annotation is Triton's constexpr, written or as the text of it."""
    from .fencing.device_names import DeviceName

    if isinstance(annotation, ast.Name):
        found = scope.use(annotation.id)
    elif isinstance(annotation, ast.Attribute) and isinstance(annotation.value, ast.Name):
        base = scope.use(annotation.value.id)
        found = scope.attribute(base, annotation.attr) if base is not None and not isinstance(base, Value) else None
    else:
        return False
    return isinstance(found, DeviceName) and found.group == "constexpr"


def _check_device_function(function: ast.FunctionDef, owner: OwnerFunction, scope: NameScope) -> None:
    for a in function.args.args:
        if a.annotation is not None and not is_constexpr(a.annotation, scope):
            why = f"the annotation of {a.arg} of {function.name} is not tl.constexpr: leave the annotation out"
            raise RefusedEdit(why + _if_unchanged(owner, function.name), a)
    for default in function.args.defaults:
        if not (isinstance(default, ast.Constant) or _is_signed_number(default)):
            why = f"a default of {function.name} is computed: write a constant"
            raise RefusedEdit(why + _if_unchanged(owner, function.name), default)


def _is_signed_number(node: ast.expr) -> bool:
    """Whether an operator stands before a number that it takes. Python computes it when the function is defined."""
    if not isinstance(node, ast.UnaryOp) or not isinstance(node.operand, ast.Constant):
        return False
    kind = type(node.operand.value)
    return kind in (bool, int) or (kind is float and not isinstance(node.op, ast.Invert))


def _text(node: ast.AST | None) -> str:
    return "" if node is None else ast.dump(node)


def _written(
    owner: OwnerFunction,
    functions: list[ast.FunctionDef],
    bodies: Mapping[str, Body],
    meta: dict[str, tuple[MetaValue, ...]],
) -> FencedEdit:
    parts = dict(owner.parts)
    digests: dict[str, str] = {}
    texts = []
    for function in functions:
        text = ast.unparse(ast.fix_missing_locations(function)) + "\n"
        if ast.dump(ast.parse(text).body[0]) != ast.dump(function):
            raise RefusedEdit(f"{function.name} cannot be written anew as the same code", function)
        try:
            compile(text, function.name, "exec")  # and not run: what is left of the rules of Python
        except (SyntaxError, RecursionError, ValueError) as e:
            raise RefusedEdit(f"{function.name} is no Python ({e})", function) from e
        scope = bodies[function.name].scope
        bindings = scope.used | {n: {"function": digests[n]} for n in sorted(scope.called)}
        if function is functions[-1]:  # what the owner's annotations and defaults read
            outside = {n.id for d in _outside(function) for n in ast.walk(d) if isinstance(n, ast.Name)}
            bindings |= {n: owner.bindings[n] for n in sorted(outside) if n in owner.bindings}
        part = {
            **{k: owner.part[k] for k in ("module", "file", "line", "kind", "language")},
            "name": function.name,
            "qualname": function.name,
            "importable": False,
            "options": owner.part["options"] if function is functions[-1] else {},
            "source": text,
            "parameters": [
                {"name": a.arg, "constexpr": a.annotation is not None and "constexpr" in ast.unparse(a.annotation)}
                for a in function.args.args
            ],
            "bindings": bindings,
        }
        digests[function.name] = digest_of(part)
        parts[digests[function.name]] = part
        texts.append(text)
    whole_text = "\n\n".join(texts)
    if len(whole_text) > MOST_CHARACTERS:  # no other process would take it
        raise RefusedEdit(
            f"the source has {len(whole_text):,} characters once it is written anew, and at most {MOST_CHARACTERS:,} "
            "are taken"
        )
    own = {p["name"] for p in owner.part["parameters"]}
    taken = tuple(a.arg for a in functions[-1].args.args if a.arg in GRID_NAMES and a.arg not in own)
    unsure = frozenset((name, local) for name, body in bodies.items() for local in body.scope.unsure)
    return FencedEdit(owner.digest, whole_text, digests[functions[-1].name], parts, meta, taken, unsure)


def _outside(function: ast.FunctionDef) -> list[ast.expr]:
    given = function.args
    return [*given.defaults, *(a.annotation for a in given.args if a.annotation is not None)]
