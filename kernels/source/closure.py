"""The code that a kernel really runs, as one text, and its hash.

    1. A spec's verdicts and times are decided by five of its methods (``DECISIVE``). The walk begins there.
    2. Every name that a piece of code reads is replaced by what it stands for: a constant by its value, a function or
       class of ours by a number, something of PyTorch's or Triton's by its dotted name. What got a number is walked
       too: called functions, captured variables, defaults, kernels with their autotuner's configs and heuristics.
    3. An attribute of a value (``config.tiles``) is looked up by its name among the classes that the code can have met:
       those of spec, problem, config and hardware, and those it names.
    4. The texts, in the order of discovery, are hashed.

No module path enters the text, so a file can move. *Ours* is what does not come from the standard library or an
installed package; of an installed package, Triton kernels are walked, and functions in files that import Triton, so
that a newer version of a kernel library is noticed. Versions of Triton, PyTorch and Python are no part of it.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any, Protocol

from kernels.hardware import Hardware
from kernels.quiet import output_to_stderr
from kernels.source.locate import SourceFile, source_file
from kernels.source.normal_form import FUNCTIONS, Imported, NormalForm

DECISIVE = ("launch", "inputs", "output", "reference", "tolerance")
"""Methods of a spec that decide what a config's time and verdict are."""
NEVER_WALKED = {*sys.stdlib_module_names, "torch", "triton", "numpy", "pydantic"}
"""Packages of which a name is recorded and nothing else."""
FACTS = "kernels.hardware"
"""The module that looks facts about GPUs up: a launch is given its GPU's, and a table that grows changes no kernel."""
JIT_OPTIONS = ("do_not_specialize", "do_not_specialize_on_alignment", "noinline", "debug", "version")
TUNER_OPTIONS = ("keys", "reset_to_zero", "restore_value", "perf_model", "early_config_prune")
CONFIG_OPTIONS = ("kwargs", "num_warps", "num_stages", "num_ctas", "maxnreg", "pre_hook", "ir_override")
LITERALS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented))
ABSENT = object()

Found = tuple[str, int]
"""What a name stands for, and how many attributes behind it that takes in."""


class Spec(Protocol):
    """What the hash asks of a :class:`kernels.spec.KernelSpec`, which imports this file."""

    @property
    def problem_type(self) -> type: ...
    @property
    def config_type(self) -> type: ...


def source_hash(spec: Spec) -> str:
    """16 hex digits that change if the code which decides the kernel's times and verdicts does, and not if it is moved,
    commented or annotated. Raises SourceMissing if some of that code is in no file."""
    return _digest(source_text(spec))


def function_hash(function: Any) -> str:
    """The same of one Triton, Gluon or Python function and all that it reaches."""
    closure = Closure(_tops([inspect.unwrap(getattr(function, "fn", function))]))
    root = closure.value(function)
    return _digest(f"{root}\n{closure.text()}")


def source_text(spec: Spec) -> str:
    """What :func:`source_hash` hashes; two of them compared show what changed."""
    return _closure_of(spec).text()


def reached_functions(spec: Spec) -> tuple[list[FunctionType], list[FunctionType]]:
    """The functions of device code, and those of Python, that :func:`source_hash` covers."""
    closure = _closure_of(spec)
    closure.text()
    return closure.functions(device=True), closure.functions(device=False)


def _closure_of(spec: Spec) -> Closure:
    kind = type(spec)
    closure = Closure(_tops(kind.__mro__))
    closure.meet("spec", kind, vars(spec))
    closure.meet("problem", spec.problem_type)
    closure.meet("config", spec.config_type)
    closure.meet("hardware", Hardware)
    closure.attributes.update(DECISIVE)
    return closure


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tops(things: Iterable[Any]) -> set[str]:
    return {t.__module__.partition(".")[0] for t in things} - NEVER_WALKED


class Closure:
    """The pieces of code that were reached, by number. `own`: top-level packages that are walked wherever they are."""

    def __init__(self, own: set[str]) -> None:
        self.attributes: set[str] = set()
        self._own = own | {__name__.partition(".")[0]}
        self._numbers: dict[Any, str] = {}
        self._records: list[str] = []
        self._waiting: deque[tuple[int, Callable[[], str]]] = deque()
        self._alive: list[Any] = []
        """What is known by its id must not make room for something else."""
        self._classes: list[tuple[str, type, dict[str, Any]]] = []
        self._members: dict[tuple[str, str], str] = {}

    def text(self) -> str:
        """All that can be reached, each piece once."""
        while True:
            while self._waiting:
                number, record = self._waiting.popleft()
                self._records[number] = record()
            new = [
                (role, name, cls, own)
                for role, cls, own in self._classes
                for name in sorted(self.attributes)
                if (role, name) not in self._members
            ]
            for role, name, cls, own in new:
                self._members[role, name] = self._member(cls, own, name)
            if not self._waiting and not new:
                members = [f"{role}.{name} = {text}" for (role, name), text in sorted(self._members.items()) if text]
                return "\n".join([*members, *(f"#{i} {r}" for i, r in enumerate(self._records))]) + "\n"

    def functions(self, device: bool) -> list[FunctionType]:
        """Those that were reached by the time of :meth:`text`, of Triton's and Gluon's languages or of Python."""
        kept = zip(self._numbers, self._alive, strict=True)
        return [f for key, f in kept if isinstance(f, FunctionType) and (key[0] != "function") == device]

    def meet(self, role: str, cls: type, own: dict[str, Any] | None = None) -> None:
        """Attributes that code reads may be those of `cls`, or the `own` ones of its instance."""
        self._classes.append((role, cls, own or {}))

    def value(self, v: Any, as_written: Callable[[], str] | None = None) -> str:
        """What a live value is. One that may change, or is somebody else's, is as the source writes it, if it does."""
        plain = self._plain(v)
        if plain is not None:
            return plain
        reached = self._reached(v)
        if reached is not None:
            return reached
        if as_written is not None:
            return as_written()
        if isinstance(v, dict):
            return f"{{{' '.join(f'{self.value(k)}={self.value(x)}' for k, x in v.items())}}}"
        if isinstance(v, list):
            return f"[{' '.join(map(self.value, v))}]"
        if isinstance(v, set):
            return f"set({' '.join(sorted(map(self.value, v)))})"
        kind = type(v)
        if callable(v) and hasattr(v, "__name__"):
            return _name_of(v)
        if kind.__module__.partition(".")[0] in NEVER_WALKED or not self._walks_module(kind.__module__):
            return f"{_name_of(kind)} {getattr(v, 'name', '')}".strip()  # a dtype of Triton or PyTorch, say
        return self._number(("object", id(v)), v, lambda: f"{self.value(kind)} of {self.value(_state(v))}")

    def _plain(self, v: Any) -> str | None:
        """A value that cannot change; None for others."""
        if type(v) in LITERALS:
            return f"{type(v).__name__}:{v!a}"
        if isinstance(v, tuple | frozenset):
            parts = [self._plain(x) or self._reached(x) for x in v]
            if any(p is None for p in parts):
                return None
            texts = sorted(map(str, parts)) if isinstance(v, frozenset) else list(map(str, parts))
            return f"{type(v).__name__}({' '.join(texts)})"
        if type(v).__module__ == "torch" and type(v).__name__ in ("dtype", "device", "layout", "memory_format"):
            return str(v)
        if _is_triton(v) and type(v).__name__ == "constexpr":
            return f"constexpr({self.value(v.value)})"
        return None

    def _reached(self, v: Any) -> str | None:
        """The number of code that is walked; None for what is no code, or somebody else's."""
        if isinstance(v, property):
            return self._reached(v.fget)
        if isinstance(v, staticmethod | classmethod):
            return f"{type(v).__name__} {self._reached(v.__func__)}"
        if isinstance(v, functools.cached_property):
            return self._reached(v.func)
        if isinstance(v, functools.partial):
            return f"partial({self.value(v.func)} {self.value(v.args)} {self.value(v.keywords)})"
        if isinstance(v, MethodType):
            return f"bound({self.value(v.__func__)} {self.value(v.__self__)})"
        if isinstance(v, type):
            walked = self._walks_module(v.__module__)
            return self._number(("class", id(v)), v, lambda: self._class(v)) if walked else None
        if _is_triton(v) and hasattr(v, "fn"):
            return self._kernel(v)
        function = inspect.unwrap(v) if callable(v) else v
        if isinstance(function, FunctionType) and self._walks_function(function):
            return self._number(("function", id(function)), function, lambda: self._function(function, device=False))
        return None

    def _number(self, key: Any, keep: Any, record: Callable[[], str]) -> str:
        if key not in self._numbers:
            self._numbers[key] = f"#{len(self._records)}"
            self._alive.append(keep)
            self._waiting.append((len(self._records), record))
            self._records.append("")
        return self._numbers[key]

    # What is walked

    def _walks_function(self, function: FunctionType) -> bool:
        return self._walks(function.__module__ or "", function.__code__.co_filename)

    def _walks_module(self, name: str) -> bool:
        return self._walks(name, getattr(sys.modules.get(name), "__file__", None) or "")

    def _walks(self, module: str, path: str) -> bool:
        top = module.partition(".")[0]
        if module == FACTS:
            return False
        if top in NEVER_WALKED or not path.endswith(".py"):
            return top in self._own
        if top in self._own or not _installed(path):
            return True
        return source_file(path, module).uses_triton

    # Records: what one piece of code says

    def _kernel(self, v: Any) -> str | None:
        """A Triton or Gluon function, or what ``@triton.autotune`` or ``@triton.heuristics`` made of one."""
        if hasattr(v, "configs"):
            return self._number(("tuned", id(v)), v, lambda: self._tuned(v))
        if isinstance(getattr(v, "values", None), dict):
            return self._number(
                ("heuristics", id(v)), v, lambda: f"heuristics {self.value(v.values)} {self.value(v.fn)}"
            )
        function = inspect.unwrap(v.fn)
        if not isinstance(function, FunctionType) or function.__module__.partition(".")[0] in NEVER_WALKED:
            return None
        language = "gluon" if "Gluon" in type(v).__name__ else "triton"
        options = getattr(v, "kwargs", None) or {n: getattr(v, n, None) for n in JIT_OPTIONS}
        given = {n: options[n] for n in JIT_OPTIONS if options.get(n)}
        about = f"{language} {self.value(given)}"
        return self._number((about, id(function)), function, lambda: f"{about} {self._function(function, device=True)}")

    def _tuned(self, v: Any) -> str:
        configs = [{n: x for n in CONFIG_OPTIONS if (x := getattr(c, n, None)) is not None} for c in v.configs]
        options = {n: x for n in TUNER_OPTIONS if (x := getattr(v, n, None))}
        hooks = {n: getattr(v, n) for n in ("pre_hook", "post_hook") if getattr(v, f"user_defined_{n}", False)}
        return f"autotune {self.value(configs)} {self.value({**options, **hooks})} {self.value(v.fn)}"

    def _function(self, function: FunctionType, device: bool) -> str:
        code = function.__code__
        file = source_file(code.co_filename, function.__qualname__)
        node = file.function(code)
        assert isinstance(node, FUNCTIONS)
        cells = {n: _contents(c) for n, c in zip(code.co_freevars, function.__closure__ or (), strict=True)}
        form = self._form(file, function.__globals__, cells, device)
        parts = [form.function(node), self._defaults(function, node, form)]
        if not device and not isinstance(node, ast.Lambda):
            parts += [f"@{form.write(d)}" for d in node.decorator_list]
        return " ".join(parts) if device else self._with_attributes(form, " ".join(parts))

    def _defaults(self, function: FunctionType, node: ast.AST, form: NormalForm) -> str:
        assert isinstance(node, FUNCTIONS)
        trees = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
        keywords = [a.arg for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d is not None]
        values = [*(function.__defaults__ or ()), *((function.__kwdefaults__ or {}).get(k) for k in keywords)]
        if len(trees) != len(values):  # somebody gave the function other defaults afterwards
            return f"[{' '.join(map(self.value, values))}]"
        texts = [self.value(v, functools.partial(form.write, t)) for v, t in zip(values, trees, strict=True)]
        return f"[{' '.join([*texts, *keywords])}]"

    def _class(self, cls: type) -> str:
        """What a class of ours that code names is made of, methods aside: those are met by the names that are read."""
        role = self._numbers["class", id(cls)]
        self.meet(role, cls)
        path = getattr(sys.modules.get(cls.__module__), "__file__", None) or "nowhere"
        bases = [self.value(b) for b in cls.__bases__]
        device = getattr(cls, "__triton_aggregate__", False)
        file = source_file(path, cls.__qualname__)
        node = file.classes.get(cls.__qualname__)
        if node is None:  # made by a call, such as pydantic's create_model
            return f"class {cls.__name__} {' '.join(bases)}"
        form = self._form(file, vars(sys.modules[cls.__module__]), {}, device)
        decorators = [form.write(d) for d in node.decorator_list]
        text = f"class {' '.join([*bases, *decorators])} {form.class_body(node)}"
        methods = [s.name for s in node.body if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef)]
        called = [m for m in sorted(methods) if device or (m.startswith("__") and m.endswith("__"))]
        self.attributes.update(called)
        return text if device else self._with_attributes(form, text)

    def _member(self, cls: type, own: dict[str, Any], name: str) -> str:
        """An attribute that is defined by our code; "" for others. Where a method calls ``super()``, the next too."""
        if name in own:
            return self.value(own[name])
        texts = []
        for base in cls.__mro__:
            v = vars(base).get(name, ABSENT)
            if v is ABSENT or not self._walks_module(base.__module__):
                continue
            function = inspect.unwrap(getattr(v, "fget", None) or getattr(v, "__func__", None) or v)
            code = getattr(function, "__code__", None)
            if code is not None and not code.co_filename.endswith(".py"):
                break  # made by a dataclass: its fields say it all
            if not (inspect.ismemberdescriptor(v) or inspect.isgetsetdescriptor(v)):
                texts.append(self.value(v))
            if code is None or "super" not in code.co_names:
                break
        return " ".join(texts)

    def _module(self, module: ModuleType) -> str:
        """A module of ours that is handed around as a value: all of it counts."""
        file = source_file(module.__file__ or "nowhere", module.__name__)
        form = self._form(file, vars(module), {}, device=True)
        return f"module {' '.join(form.write(s) for s in file.statements if not _binds_by_import(s))}"

    def _with_attributes(self, form: NormalForm, text: str) -> str:
        self.attributes |= form.attributes
        return text

    # What names stand for

    def _form(self, file: SourceFile, module: dict[str, Any], cells: dict[str, Any], device: bool) -> NormalForm:
        def resolve(name: str, attributes: tuple[str, ...], imported: Imported | None) -> Found:
            if imported is not None:
                return self._imported(imported, module, attributes)
            if name in cells:
                v = cells[name]
                return self._in_module(v, attributes) if isinstance(v, ModuleType) else (self.value(v), 0)
            return self._global(file, module, name, attributes)

        return NormalForm(resolve, device)

    def _global(self, file: SourceFile, module: dict[str, Any], name: str, attributes: tuple[str, ...]) -> Found:
        if name not in module:
            return (f"builtins.{name}" if hasattr(builtins, name) else f"unbound {name}"), 0
        v = module[name]
        if isinstance(v, ModuleType) and self._walks_module(v.__name__):
            return self._in_module(v, attributes)
        reached = self._reached(v)
        if reached is not None:
            return reached, 0
        imported = file.imports.get(name)
        if imported is not None and name not in file.bindings:
            return self._imported(imported, module, attributes, v)
        if isinstance(v, ModuleType):
            return self._in_module(v, attributes)
        if name in file.changing:
            return self._bound(file, module, name, v), 0
        return self.value(v, (lambda: self._bound(file, module, name, v)) if name in file.bindings else None), 0

    def _imported(
        self, imported: Imported, module: dict[str, Any], attributes: tuple[str, ...], live: Any = ABSENT
    ) -> Found:
        """A name as the import that binds it says it, or, if it is of ours, what it stands for where it is defined.
        `live`: what it stands for here."""
        path = imported.module
        if path.startswith("."):
            path = importlib.util.resolve_name(path, module.get("__package__") or "")
        external = (".".join([imported.path, *attributes]), len(attributes))
        if path.partition(".")[0] in NEVER_WALKED:
            return external
        try:
            with output_to_stderr():
                source = importlib.import_module(path)
                if imported.attribute is not None and not hasattr(source, imported.attribute):
                    importlib.import_module(f"{path}.{imported.attribute}")
        except (Exception, SystemExit):  # noqa: BLE001 -- a family that this Triton does not know, or a package that is not there
            return (".".join(["missing", imported.attribute or "", *attributes]), len(attributes))
        if imported.attribute is None:
            return self._in_module(source, attributes) if self._walks_module(path) else external
        v = getattr(source, imported.attribute)
        if live is not ABSENT and live is not v:  # bound anew since it was imported
            return self.value(live), 0
        if isinstance(v, ModuleType):
            return self._in_module(v, attributes) if self._walks_module(v.__name__) else external
        if self._reached(v) is None and not self._walks_module(path):
            return external
        return self._in_module(source, (imported.attribute, *attributes), taken=-1)

    def _in_module(self, source: ModuleType, attributes: tuple[str, ...], taken: int = 0) -> Found:
        """What ``source.attribute…`` stands for. `taken`: attributes that do not count as read."""
        if not attributes:
            known = self._walks_module(source.__name__)
            return (
                self._number(("module", source.__name__), source, lambda: self._module(source))
                if known
                else source.__name__
            ), 0
        if not self._walks_module(source.__name__):
            return ".".join([source.__name__, *attributes]), len(attributes) + taken
        name, rest = attributes[0], attributes[1:]
        if not hasattr(source, name):
            return f"unbound {name}", 1 + taken
        file = source_file(source.__file__ or "nowhere", source.__name__)
        text, used = self._global(file, vars(source), name, rest)
        return text, used + 1 + taken

    def _bound(self, file: SourceFile, module: dict[str, Any], name: str, live: Any) -> str:
        """A name as the statements of its module bind it. An alias of a dotted name that stands for something else
        meanwhile is what it stands for now."""
        statements = file.bindings[name]
        form = self._form(file, module, {}, device=False)
        if len(statements) > 1 or not isinstance(statements[0], ast.Assign | ast.AnnAssign):
            key = ("binding", file.path, name)
            return self._number(key, file, lambda: " ".join(map(form.write, statements)))
        tree = statements[0].value
        assert tree is not None
        path = ast.unparse(tree)
        if all(part.isidentifier() for part in path.split(".")) and _look_up(path, module) is not live:
            return self.value(live)
        return self._number(("binding", file.path, name), file, lambda: self._with_attributes(form, form.write(tree)))


def _state(v: Any) -> dict[str, Any]:
    """What an instance holds, in its ``__dict__`` and in slots."""
    slots = [n for c in type(v).__mro__ for n, x in vars(c).items() if inspect.ismemberdescriptor(x)]
    return {n: getattr(v, n) for n in slots if hasattr(v, n)} | dict(getattr(v, "__dict__", {}))


def _look_up(path: str, module: dict[str, Any]) -> Any:
    first, *rest = path.split(".")
    v = module.get(first, getattr(builtins, first, ABSENT))
    for name in rest:
        v = getattr(v, name, ABSENT)
    return v


def _is_triton(v: Any) -> bool:
    return any(c.__module__.partition(".")[0] == "triton" for c in type(v).__mro__)


def _name_of(v: Any) -> str:
    """Package and name: what lies between moves from version to version."""
    return f"{(v.__module__ or '').partition('.')[0]}:{getattr(v, '__qualname__', v.__name__)}"


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet set
        return None


def _binds_by_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import | ast.ImportFrom)


@functools.cache
def _installed(path: str) -> bool:
    """Whether the file at `path` belongs to Python or to an installed package."""
    library = sysconfig.get_paths()["stdlib"]
    return path.startswith(library) or bool({"site-packages", "dist-packages"} & set(PurePath(path).parts))
