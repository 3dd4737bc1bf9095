"""The source of a Triton function with all that it reaches, and what its names stand for.

A kernel may live in ``__main__``, a notebook or a closure, where nothing can be imported again; and a program is never
run a second time to get it. So the source itself is kept: each Triton function is one part, with its options and its
*bindings*, what each name that it reads stands for:

    {"function": DIGEST}       another Triton function, a part of its own
    {"constant": VALUE}        a number, string, bool or None; {"constexpr": BINDING} one wrapped by Triton
    {"dtype": NAME}            a type of triton.language
    {"module": NAME}           a module of Triton or the standard library
    {"import": [MODULE, NAME]} something of Triton's or PyTorch's own
    {"namespace": {…}}         a module of the program, or a holder of constants, with the attributes that are read
    {"annotation": true}       what stands in annotations alone, of which Triton makes nothing
    {"list": [BINDING, …]}, {"dict": [[BINDING, BINDING], …]}
    {"python": {…}}            a Python function that reads nothing but such: its source, bindings and defaults
    {"tuple": [BINDING, …]}    several; with "fields" a named one, and {"tuple class": …} is the class of one
    {"torch_dtype": NAME}      a dtype of PyTorch
    {"enumeration": …}, {"member": …}, {"record": …}   classes that hold only data (``plain_classes.py``)
    {"unknown": TYPE}          none of these: the function can then only be imported, not rebuilt

``identity`` is a hash of the normalised source and the meaning of its names. Comments, docstrings, place and module do
not change it. It is the same for a compiled and an interpreted function.
"""

from __future__ import annotations

import ast
import builtins
import enum
import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from ...source.locate import definition
from ...source.normal_form import FUNCTIONS, Imported, NormalForm, scope_of, unquoted
from .plain_classes import describe_enumeration, describe_member, describe_record, describe_tuple_class, is_record

Json = dict[str, Any]
Keep = Callable[[str, Json], str]
"""Stores a part and returns its digest."""

OPTIONS = ("do_not_specialize", "do_not_specialize_on_alignment", "noinline", "debug")
TRITONS = ("triton", "math", "builtins", "typing")
"""Packages whose modules and functions are named, not kept."""
CONSTANTS = (bool, int, float, str, type(None))
KEPT_AS = "autokernel_kept_as"
"""Attribute of a Python function that was made from a capture: what the capture holds of it."""
NAMED = ("namespace", "bindings", "defaults")
"""What holds bindings by names of the program's own."""
MOST_ITEMS = 256
"""Of a list or a dictionary that is kept."""


def describe_function(function: Any, keep: Keep) -> str:
    """Keep the Triton function and what it reaches; the digest of its part. Raises OSError if its source is nowhere."""
    return _Walk(keep).function(function)


def triton_function(function: Any) -> Any:
    """What ``@triton.jit`` made, without the autotuner and the heuristics around it."""
    while not inspect.isfunction(function.fn):
        function = function.fn
    return function


def python_function(function: Any) -> Any:
    """What ``@triton.jit`` was applied to."""
    return function if inspect.isfunction(function) else triton_function(function).fn


def source_of(function: Any) -> str:
    """Its source from ``def`` on, without indent."""
    kept = getattr(function, "_src", None)
    if isinstance(kept, str):
        return kept
    text = textwrap.dedent(inspect.getsource(python_function(function)))
    start = re.search(r"^def\s+\w+\s*\(", text, re.MULTILINE)
    if start is None:
        raise OSError(f"no def in the source of {function}")
    return text[start.start() :]


def names_read(node: ast.AST) -> list[str]:
    """Names that a function's definition reads and does not bind."""
    return list(_reads(node))


def describe_python(function: FunctionType) -> Json | None:
    """``source``, ``bindings`` and the values of the defaults of a Python function; None if one of them is no constant,
    nothing of Triton's, PyTorch's or the standard library's, and no function of the same kind."""
    return _Walk(lambda kind, body: "").python(function)


def identity_of_source(node: ast.AST, bindings: Json, about: list[Any]) -> str:
    """The identity of a function that is known by its source alone. `about`: kind, language and options. `bindings`
    name no other function."""
    return _Walk(lambda kind, body: "")._identity(node, bindings, about)


class _Walk:
    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._done: dict[int, str] = {}
        self._identities: dict[str, str] = {}
        self._open: set[int] = set()

    def function(self, function: Any) -> str:
        plain = python_function(function)
        if id(plain) in self._done:
            return self._done[id(plain)]
        self._open.add(id(plain))
        # An autotuner or heuristics around it hold none of its options.
        function = function if function is plain else triton_function(function)
        text = source_of(function)
        node = ast.parse(text).body[0]
        assert isinstance(node, FUNCTIONS)
        bindings = self._bindings(node, plain)
        kind = "constexpr_function" if "Constexpr" in type(function).__name__ else "jit"
        language = "gluon" if _is_gluon(function) else "triton"
        given = getattr(function, "kwargs", None) or {n: getattr(function, n, None) for n in OPTIONS}
        options = {n: _plain(given[n]) for n in OPTIONS if given.get(n)}
        identity = self._identity(node, bindings, [kind, language, options])
        module = getattr(plain, "__module__", "") or ""
        digest = self._keep(
            "function",
            {
                "name": plain.__name__,
                "qualname": plain.__qualname__,
                "module": module,
                "file": plain.__code__.co_filename,
                "line": plain.__code__.co_firstlineno,
                "importable": module not in ("", "__main__") and "<locals>" not in plain.__qualname__,
                "kind": kind,
                "language": language,
                "options": options,
                "source": text,
                "parameters": [
                    {"name": p.name, "constexpr": "constexpr" in str(p.annotation)}
                    for p in inspect.signature(plain).parameters.values()
                ],
                "bindings": bindings,
                "identity": identity,
            },
        )
        self._done[id(plain)] = digest
        self._identities[digest] = identity
        return digest

    def _bindings(self, node: ast.AST, plain: Any) -> Json:
        cells = zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True)
        scope = {**plain.__globals__, **{n: c.cell_contents for n, c in cells if _filled(c)}}
        found = {n: self._binding(scope[n], chains) for n, chains in _reads(node).items() if n in scope}
        needed = _reads(node, annotations=False)
        return {n: b if n in needed or not _holds(b, "unknown") else {"annotation": True} for n, b in found.items()}

    def _binding(self, value: Any, chains: set[tuple[str, ...]]) -> Json:
        if isinstance(value, CONSTANTS):
            return {"constant": value} if not isinstance(value, float) else {"constant": repr(value), "type": "float"}
        if isinstance(value, ModuleType):
            if value.__name__.partition(".")[0] in TRITONS:
                return {"module": value.__name__}
            return {"namespace": self._read_from(value, chains), "name": value.__name__}
        kind = type(value)
        if kind.__name__ == "constexpr" and _is_tritons(kind):
            return {"constexpr": self._binding(value.value, set())}
        if kind.__name__ == "dtype" and _is_tritons(kind):
            return {"dtype": value.name}
        if hasattr(value, "fn") and _is_tritons(kind):
            plain = python_function(value)
            if _is_tritons(plain):
                return {"import": [plain.__module__, plain.__qualname__]}
            return (
                {"self": plain.__name__}
                if id(plain) in self._open - set(self._done)
                else {"function": self.function(value)}
            )
        if kind in (list, dict) and len(value) <= MOST_ITEMS and id(value) not in self._open:
            return self._container(value)
        if isinstance(value, tuple):
            fields = {"fields": list(value._fields)} if hasattr(value, "_fields") else {}
            return {"tuple": [self._binding(v, set()) for v in value], **fields}
        if kind.__name__ == "dtype" and kind.__module__ == "torch":
            return {"torch_dtype": str(value)}
        if (plain := self._plain_class(value)) is not None:
            return plain
        if callable(value) and _is_from(value, "triton", "torch") and "<" not in getattr(value, "__qualname__", "<"):
            return {"import": [value.__module__, value.__qualname__]}
        name = str(getattr(value, "__name__", ""))
        if name and getattr(builtins, name, None) is value:
            return {"import": ["builtins", name]}
        if isinstance(value, FunctionType) and (python := self.python(value)) is not None:
            return {"python": python}
        if chains and all(chains):
            read = self._read_from(value, chains)
            if not _holds(list(read.values()), "unknown"):
                return {"namespace": read, "name": kind.__name__}
        return {"unknown": f"{kind.__module__}.{kind.__qualname__}"}

    def _container(self, value: list[Any] | dict[Any, Any]) -> Json:
        self._open.add(id(value))
        items = value if isinstance(value, list) else [x for pair in value.items() for x in pair]
        found = [self._binding(v, set()) for v in items]
        self._open.discard(id(value))
        if isinstance(value, list):
            return {"list": found}
        return {"dict": [list(pair) for pair in zip(found[::2], found[1::2], strict=True)]}

    def python(self, function: FunctionType) -> Json | None:
        if hasattr(function, KEPT_AS):
            kept: Json = getattr(function, KEPT_AS)
            return kept
        # Triton's compiler calls one that it is to call itself by a mark that no source tells.
        refused = id(function) in self._open or hasattr(function, "__triton_builtin__")
        node = None if refused else definition(function.__code__)
        if node is None:
            return None
        self._open.add(id(function))  # one that calls itself is not kept
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        names = [a.arg for a in [*node.args.posonlyargs, *node.args.args]]
        named = names[len(names) - len(function.__defaults__ or ()) :] + list(function.__kwdefaults__ or {})
        values = {n: self._binding(v, set()) for n, v in zip(named, defaults, strict=True)}
        bindings = self._bindings(node, function)
        self._open.discard(id(function))
        if _holds([*bindings.values(), *values.values()], "unknown", "function", "self"):
            return None
        return {"source": ast.unparse(node), "bindings": bindings, **({"defaults": values} if values else {})}

    def _read_from(self, value: Any, chains: set[tuple[str, ...]]) -> Json:
        """What the attributes stand for that are read from a module, a class of constants, ``torch.finfo(…)``."""
        inner: dict[str, set[tuple[str, ...]]] = {}
        for chain in filter(None, chains):
            inner.setdefault(chain[0], set()).add(chain[1:])
        return {n: self._binding(getattr(value, n), rest) for n, rest in sorted(inner.items()) if hasattr(value, n)}

    def _plain_class(self, value: Any) -> Json | None:
        """What holds only data, or a class of such."""
        if isinstance(value, enum.Enum):
            member = describe_member(value)
            return None if member is None else {"member": member}
        if isinstance(value, type) and issubclass(value, enum.Enum):
            described = describe_enumeration(value)
            return None if described is None else {"enumeration": described}
        if isinstance(value, type) and issubclass(value, tuple) and not _is_tritons(value):
            described = describe_tuple_class(value)
            return None if described is None else {"tuple class": described}
        if is_record(value):
            return {"record": describe_record(value, lambda name, v: self._binding(v, set()))}
        return None

    def _identity(self, node: ast.AST, bindings: Json, about: list[Any]) -> str:
        def resolve(name: str, attributes: tuple[str, ...], imported: Imported | None) -> tuple[str, int]:
            binding, used = bindings.get(name), 0
            while binding is not None and "namespace" in binding and used < len(attributes):
                binding = binding["namespace"].get(attributes[used])
                used += 1
            if binding is None:
                return (imported.path if imported else name), 0
            return self._meaning(binding), used

        return _digest(f"{about!a} {NormalForm(resolve, device=True).function(node)} {_defaults(node)}")

    def _meaning(self, binding: Json) -> str:
        (kind, value), *_ = binding.items()
        if kind == "function":
            return f"#{self._identities[value]}"
        if kind == "self":
            return "#self"
        if kind == "import":
            return ".".join(value)
        if kind == "constexpr":
            return f"constexpr({self._meaning(value)})"
        if kind == "tuple":
            return f"({' '.join(map(self._meaning, value))})"
        if kind == "list":
            return f"[{' '.join(map(self._meaning, value))}]"
        if kind == "dict":
            return f"{{{' '.join(f'{self._meaning(k)}:{self._meaning(v)}' for k, v in value)}}}"
        if kind == "member":
            return f"{value['of']!a}.{value['name']}"
        if kind == "record":
            return f"record {value['fields']!a} {' '.join(map(self._meaning, value['items']))}"
        return f"{kind}:{value!a}"


def _reads(node: ast.AST, annotations: bool = True) -> dict[str, set[tuple[str, ...]]]:
    """Names that the function reads and does not bind, and the chains of attributes read from each. Defaults and
    `annotations` are read too: they stand in the source that is defined again."""
    assert isinstance(node, ast.FunctionDef)
    a = node.args
    bound = {x.arg for x in [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg, a.kwarg])]}
    bound |= scope_of(node.body).names
    found: dict[str, set[tuple[str, ...]]] = {}

    def visit(n: ast.AST, hidden: set[str]) -> None:
        chain: list[str] = []
        base = n
        while isinstance(base, ast.Attribute):
            chain.insert(0, base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            if base.id not in hidden:
                found.setdefault(base.id, set()).add(tuple(chain))
            return
        for child in ast.iter_child_nodes(base):
            visit(child, hidden)

    for statement in node.body:
        visit(statement, bound)
    outside = [*a.defaults, *filter(None, a.kw_defaults)]
    outside += [unquoted(x.annotation) for x in [*a.args, *a.kwonlyargs] if annotations and x.annotation is not None]
    for expression in outside:
        visit(expression, set())
    return found


def _defaults(node: ast.AST) -> str:
    assert isinstance(node, ast.FunctionDef)
    return " ".join(ast.unparse(d) for d in [*node.args.defaults, *filter(None, node.args.kw_defaults)])


def _is_gluon(function: Any) -> bool:
    asked = getattr(function, "is_gluon", None)
    return bool(asked()) if callable(asked) else "Gluon" in type(function).__name__


def _holds(binding: Any, *kinds: str) -> bool:
    """Whether a binding, or one inside it, is of one of these kinds. A name of the program's may read like a kind."""
    if isinstance(binding, list):
        return any(_holds(b, *kinds) for b in binding)
    if not isinstance(binding, dict):
        return False
    inner = (list(b.values()) if kind in NAMED and isinstance(b, dict) else b for kind, b in binding.items())
    return any(kind in binding for kind in kinds) or any(_holds(b, *kinds) for b in inner)


def _is_tritons(thing: Any) -> bool:
    return _is_from(thing, "triton")


def _is_from(thing: Any, *packages: str) -> bool:
    return (getattr(thing, "__module__", "") or "").partition(".")[0] in packages


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 -- an empty cell raises
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple | set) else value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
