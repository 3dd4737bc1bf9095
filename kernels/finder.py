"""Finds what a user names by ``module:NAME`` or ``path.py:NAME``: a kernel, an agent of the evals, a chat model.

The module is imported as it is, with what it prints sent to stderr. Every mistake raises NotFound with one
sentence. Importing this module imports no torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from kernels.quiet import output_to_stderr
from memory.terms import printable


class NotFound(ValueError):
    """The reference names nothing that can be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class Found:
    """An object that a reference names."""

    value: Any
    module: ModuleType
    reference: str
    """``module:NAME`` or ``/absolute/path.py:NAME``: it finds the object from any folder and in any process."""


class SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles the file every time. Python's bytecode of it is dated to the second: a file that is edited twice in one
    second, at the same length, would run as it was before."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def split_reference(text: str) -> tuple[str, str] | None:
    """(module or path, NAME); ``None`` if `text` has not the form of a reference."""
    source, _, name = text.rpartition(":")
    return (source, name) if source and name else None


def absolute(reference: str) -> str:
    """The reference with the path of its file, if it names one, made absolute."""
    parts = split_reference(reference)
    if parts is None or not parts[0].endswith(".py"):
        return reference
    return f"{Path(parts[0]).resolve()}:{parts[1]}"


def find(reference: str, kind: str, candidates: Callable[[ModuleType], str]) -> Found:
    """The object that `reference` names.

    `kind` is the word for it in error messages, such as ``kernel``; `candidates` says of a module what it offers, for
    the message that it lacks NAME. Raises NotFound."""
    parts = split_reference(reference)
    if parts is None:
        raise NotFound(f"{reference!r} names no {kind}: write path.py:NAME or module:NAME")
    source, name = parts
    module = load_file(Path(source), kind) if source.endswith(".py") else load_module(source, kind)
    if not hasattr(module, name):
        raise NotFound(f"{source} has no {name}; {candidates(module)}")
    return Found(getattr(module, name), module, absolute(reference))


def instance(found: Any, reference: str) -> Any:
    """`found`, or, if it is a class, an object of it made without arguments. Raises NotFound."""
    if not isinstance(found, type):
        return found
    try:
        with output_to_stderr():
            return found()
    except Exception as e:  # a user's __init__ may raise anything
        raise NotFound(f"{reference} cannot be made without arguments ({one_line(e)}): give an instance instead") from e


def load_file(path: Path, kind: str) -> ModuleType:
    """The file at `path` as a module, one module per file and content, so that an edited file is read again. Raises
    NotFound."""
    if not path.is_file():
        raise NotFound(f"no {kind} file at {path}: check the path")
    path = path.resolve()
    # The module has a name of its own in sys.modules, so that Triton and pydantic find its source.
    content = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    root, package = _package_of(path)
    name = ".".join([*package, f"autokernel_{path.stem}_{content}".replace(".", "_")])
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise NotFound(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Appended, so that a file beside this one hides no installed package; kept, because functions may import later.
    sys.path += [folder for folder in dict.fromkeys(map(str, (path.parent, root))) if folder not in sys.path]
    try:
        with output_to_stderr():  # what a file prints is no answer of ours
            spec.loader.exec_module(module)
    except (Exception, SystemExit, GeneratorExit) as e:  # a user's file may raise anything
        del sys.modules[name]
        raise NotFound(f"{where_raised(e, path)} cannot be imported: {one_line(e)}") from e
    return module


def load_module(name: str, kind: str) -> ModuleType:
    """The module `name`, imported. Raises NotFound."""
    try:
        with output_to_stderr():
            return importlib.import_module(name)
    except (Exception, SystemExit, GeneratorExit) as e:  # a user's module may raise anything
        raise NotFound(f"{kind} module {name} cannot be imported: {one_line(e)}") from e


def source_file(reference: str) -> Path | None:
    """The file that `reference` would be loaded from, found without running any of it; ``None`` if there is none."""
    source, _ = split_reference(reference) or (reference, "")
    if source.endswith(".py"):
        return Path(source).resolve() if Path(source).is_file() else None
    places: Any = None
    parts = source.split(".")
    for i in range(len(parts)):
        spec = _spec_of(".".join(parts[: i + 1]), places)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        if i + 1 < len(parts) and places is None:
            return None
    return Path(spec.origin) if spec.has_location and spec.origin else None


def _spec_of(name: str, places: Any) -> Any:
    """``importlib.util.find_spec`` without importing the packages that hold `name`."""
    if name in sys.modules and getattr(sys.modules[name], "__spec__", None) is not None:
        return sys.modules[name].__spec__
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec = find_spec(name, places) if find_spec is not None else None
        if spec is not None:
            return spec
    return None


def _package_of(path: Path) -> tuple[Path, list[str]]:
    """The folder that the package of the file at `path` is imported from, and the package's name, part by part."""
    folder = path.parent
    parts: list[str] = []
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, parts


def where_raised(error: BaseException, path: Path) -> str:
    """``path:line`` of the line in the file at `path` that raised `error`, as deep in the calls as the file is."""
    if isinstance(error, SyntaxError) and error.lineno is not None and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def one_line(error: BaseException) -> str:
    """Type and first line of an error that a user's code raised, without control characters."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 -- a user's __str__ may fail too
        lines = []
    text = printable(lines[0], "?") if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
