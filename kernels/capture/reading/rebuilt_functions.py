"""Makes a captured Triton function anew from its source, without the program.

Each function becomes a module of its own, in which its names stand for what they stood for in the program: two
functions may use one name for two things. Triton reads source from files, so the modules are files in a folder of the
caller.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernels.capture.describing.device_closure import KEPT_AS
from kernels.capture.describing.plain_classes import make_enumeration, make_member, make_record, make_tuple_class

Json = dict[str, Any]

PACKAGE = "autokernel_captured"
QUOTED = re.compile(r"(\w+\.)*constexpr")
"""The text of an annotation that Triton's compiler takes for the name."""


class Annotation:
    """In place of what an annotation names, such as a class of tensors: no Triton takes it for a type of its own."""

    def __getattr__(self, name: str) -> Annotation:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, index: Any) -> Annotation:
        return self

    def __or__(self, other: Any) -> Annotation:
        return self

    __ror__ = __or__


class CannotRebuild(ValueError):
    """A part of the capture cannot be rebuilt. The message is one sentence that names the part and the reason."""


def rebuild_function(digest: str, functions: Mapping[str, Json], folder: Path) -> Any:
    """The Triton function of this part. Raises CannotRebuild.

    Under ``TRITON_INTERPRET=1`` it is an interpreted one, as with any function that is defined then."""
    name = f"{PACKAGE}_{digest}_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    part = functions[digest]
    if name in sys.modules:
        return getattr(sys.modules[name], part["name"])
    lines = ["import triton", "import triton.language as tl", "from triton.experimental import gluon"]
    lines = lines[:2] if part["language"] == "triton" else lines
    path = folder / f"{name}.py"
    decorator = {"gluon": "gluon.jit", "triton": "triton.jit"}[part["language"]]
    if part["kind"] == "constexpr_function":
        decorator = "triton.constexpr_function"
    options = ", ".join(f"{n}={v!r}" for n, v in part["options"].items())
    # Triton cuts the source from the first `def` on: the decorator stands on a line of its own.
    body = f"@{decorator}({options})\n" if options else f"@{decorator}\n"
    write_whole(path, "\n".join(["# Made from a capture.", *lines]) + f"\n\n{body}{unquoted(part['source'])}")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    for bound, binding in part["bindings"].items():
        if "self" not in binding:
            setattr(module, bound, _value(bound, binding, functions, folder))
    before = dict(vars(module))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        del sys.modules[name]
        raise CannotRebuild(f"{part['name']} cannot be defined from its source ({type(e).__name__}: {e})") from e
    made = vars(module).get(part["name"])
    if made is None:
        del sys.modules[name]
        raise CannotRebuild(f"the source of {part['name']} defines no function of this name")
    # The two imports above must not hide what the program calls by these names.
    vars(module).update({n: v for n, v in before.items() if n in part["bindings"]})
    return made


def rebuild_host_function(kept: Json) -> Any:
    """The Python function, a hook or a heuristic, of this source and these bindings. Raises CannotRebuild."""
    try:
        (node,) = ast.parse(kept["source"]).body
    except (SyntaxError, ValueError) as e:
        raise CannotRebuild(f"a function around the kernel cannot be read from the capture ({e})") from e
    held = [*node.args.defaults, *filter(None, node.args.kw_defaults)] if isinstance(node, ast.FunctionDef) else []
    named = all(isinstance(d, ast.Constant) and d.value is None for d in held)
    if not isinstance(node, ast.FunctionDef) or node.decorator_list or not named:
        raise CannotRebuild("what the capture holds of a function around the kernel is no function")
    scope = {n: _value(n, b, {}, Path()) for n, b in kept["bindings"].items()}
    exec(compile(kept["source"], f"<{node.name} of a capture>", "exec"), scope)
    made = scope[node.name]
    setattr(made, KEPT_AS, kept)  # its source is in no file
    defaults = {n: _value(n, b, {}, Path()) for n, b in kept.get("defaults", {}).items()}
    by_place = [a.arg for a in [*node.args.posonlyargs, *node.args.args] if a.arg in defaults]
    made.__defaults__ = tuple(defaults[n] for n in by_place) or None
    made.__kwdefaults__ = {n: v for n, v in defaults.items() if n not in by_place} or None
    return made


def unquoted(source: str) -> str:
    """A function's source without the quotes of an annotation ``"tl.constexpr"``: Triton's compiler takes the text, its
    interpreter does not. What is no function is left for Python to refuse."""
    try:
        (function,) = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):
        return source
    if not isinstance(function, ast.FunctionDef):
        return source
    lines = source.encode().splitlines(keepends=True)
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    for parameter in reversed(every):  # what stands behind is replaced first, so that places stay
        note = parameter.annotation
        if isinstance(note, ast.Constant) and QUOTED.fullmatch(str(note.value)) and note.lineno == note.end_lineno:
            line = lines[note.lineno - 1]
            bare = str(note.value).encode()
            lines[note.lineno - 1] = line[: note.col_offset] + bare + line[note.end_col_offset :]
    return b"".join(lines).decode()


def write_whole(path: Path, text: str) -> None:
    """Write a file that other processes may be reading, or writing in the same words."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as f:
        f.write(text)
    os.replace(f.name, path)


def _value(name: str, binding: Json, functions: Mapping[str, Json], folder: Path) -> Any:
    import triton.language as tl

    if "function" in binding:
        return rebuild_function(binding["function"], functions, folder)
    if "constant" in binding:
        return float(binding["constant"]) if binding.get("type") == "float" else binding["constant"]
    if "constexpr" in binding:
        return tl.constexpr(_value(name, binding["constexpr"], functions, folder))
    if "dtype" in binding:
        return tl.dtype(binding["dtype"])
    if "module" in binding:
        return _imported(name, binding["module"], None)
    if "import" in binding:
        return _imported(name, *binding["import"])
    if "tuple" in binding:
        values = [_value(name, b, functions, folder) for b in binding["tuple"]]
        return namedtuple("captured", binding["fields"])(*values) if "fields" in binding else tuple(values)
    if "list" in binding:
        return [_value(name, b, functions, folder) for b in binding["list"]]
    if "dict" in binding:
        return {_value(name, k, functions, folder): _value(name, v, functions, folder) for k, v in binding["dict"]}
    if "python" in binding:
        return rebuild_host_function(binding["python"])
    if "annotation" in binding:
        return Annotation()
    if "torch_dtype" in binding:
        return _imported(name, "torch", binding["torch_dtype"].removeprefix("torch."))
    if "enumeration" in binding:
        return make_enumeration(binding["enumeration"])
    if "member" in binding:
        return make_member(binding["member"])
    if "tuple class" in binding:
        return make_tuple_class(binding["tuple class"])
    if "record" in binding:
        values = [_value(name, b, functions, folder) for b in binding["record"]["items"]]
        return make_record(binding["record"], values)
    if "namespace" in binding:
        from types import ModuleType

        made = ModuleType(binding["name"])
        for attribute, inner in binding["namespace"].items():
            setattr(made, attribute, _value(attribute, inner, functions, folder))
        return made
    raise CannotRebuild(f"{name} is a {binding.get('unknown')}, which a capture does not hold")


def _imported(name: str, module: str, attribute: str | None) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
    except (ImportError, AttributeError) as e:
        where = f"{module}.{attribute}" if attribute else module
        raise CannotRebuild(f"{name} was {where}, which this version of Triton does not have") from e
    return found
