"""Kernels by name. Importing this module imports no torch: a kernel's file is loaded when it is asked for."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kernels.quiet import apart

if TYPE_CHECKING:
    from kernels.spec import KernelSpec

_BUILTIN = {
    "matmul": "kernels.matmul:Matmul",
    "fused_matmul": "kernels.fused_matmul:FusedMatmul",
    "softmax": "kernels.rows.softmax:Softmax",
    "rms_norm": "kernels.rows.rms_norm:RmsNorm",
    "layer_norm": "kernels.rows.layer_norm:LayerNorm",
    "swiglu": "kernels.swiglu:Swiglu",
    "attention": "kernels.attention.spec:Attention",
    "conv2d": "kernels.conv2d.spec:Conv2d",
}


ENTRY_POINTS = "autokernel.kernels"
"""The group in which an installed package may offer kernels: ``my_kernel = "my_package.module:MyKernel"``."""


def names() -> list[str]:
    """The built-in kernels, in the order in which they are shown."""
    return list(_BUILTIN)


def offered() -> dict[str, str]:
    """Kernels of other installed packages, name to ``module:NAME``; a built-in name cannot be taken."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {e.name: e.value for e in found if e.name not in _BUILTIN}


def get(name: str) -> KernelSpec[Any, Any]:
    """The kernel `name`: a built-in one, one that an installed package offers, ``path/to/file.py:NAME`` or
    ``package.module:NAME``, NAME being a subclass or an instance of KernelSpec.

    Raises ValueError with one sentence that names the mend."""
    if name in _BUILTIN:
        source, attribute = _BUILTIN[name].split(":")
        builtin: KernelSpec[Any, Any] = getattr(importlib.import_module(source), attribute)()
        return builtin
    source, _, attribute = (name if ":" in name else offered().get(name, name)).rpartition(":")
    if not source or not attribute:
        choices = ", ".join([*names(), *offered()])
        raise ValueError(
            f"no kernel named {name!r}: choose one of {choices}, or name your own as path.py:NAME or module:NAME"
        )
    module = _load_file(Path(source)) if source.endswith(".py") else _load_module(source)
    if not hasattr(module, attribute):
        raise ValueError(f"{source} has no {attribute}; {_offer(module)}")
    spec = _instance(getattr(module, attribute), name, module)
    taken = _BUILTIN.get(str(spec.name))
    if taken is not None and not _is_or_extends(spec, taken):
        raise ValueError(f"{name} calls itself {spec.name!r}, which is a built-in kernel: give it another name")
    # Past a spec's own __setattr__: it may be a frozen dataclass.
    object.__setattr__(spec, "found_as", f"{Path(source).resolve() if source.endswith('.py') else source}:{attribute}")
    return spec


def _is_or_extends(spec: KernelSpec[Any, Any], builtin: str) -> bool:
    source, attribute = builtin.split(":")
    return any((c.__module__, c.__name__) == (source, attribute) for c in type(spec).__mro__)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"no kernel file at {path}: check the path")
    path = path.resolve()
    # One module per file and content, so that Triton and pydantic find its source, and an edited file is read again.
    content = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    root, package = _package_of(path)
    name = ".".join([*package, f"autokernel_{path.stem}_{content}".replace(".", "_")])
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Last, so that a neighbour hides nothing that is installed; also while methods run, which may import.
    sys.path += [folder for folder in dict.fromkeys(map(str, (path.parent, root))) if folder not in sys.path]
    try:
        with apart():  # what a file prints is no answer of ours
            spec.loader.exec_module(module)
    except (Exception, SystemExit, GeneratorExit) as e:  # a foreign file may raise anything at all
        del sys.modules[name]
        raise ValueError(f"{where_raised(e, path)} cannot be imported: {one_line(e)}") from e
    return module


def _package_of(path: Path) -> tuple[Path, list[str]]:
    """The folder that the package of the file at `path` is imported from, and the package's name, part by part."""
    folder = path.parent
    parts: list[str] = []
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, parts


def _load_module(name: str) -> ModuleType:
    try:
        with apart():
            return importlib.import_module(name)
    except (Exception, SystemExit, GeneratorExit) as e:  # a foreign module may raise anything at all
        raise ValueError(f"kernel module {name} cannot be imported: {one_line(e)}") from e


def _instance(found: Any, where: str, module: ModuleType) -> KernelSpec[Any, Any]:
    from kernels.spec import KernelSpec

    kind = type(found) if isinstance(found, KernelSpec) else found
    if not (isinstance(kind, type) and issubclass(kind, KernelSpec)):
        raise ValueError(f"{where} is no KernelSpec; {_offer(module)}")
    lacking = [a for a in ("name", "problem_type", "config_type") if not (hasattr(kind, a) or a in vars(found))]
    lacking += sorted(getattr(kind, "__abstractmethods__", ()))
    if kind.eager is KernelSpec.eager and KernelSpec.reference is kind.reference:
        lacking.append("eager (what it computes, by PyTorch operations)")
    if lacking:
        raise ValueError(f"{where} is an unfinished KernelSpec: define {', '.join(lacking)}")
    if isinstance(found, KernelSpec):
        return found
    try:
        return found()
    except Exception as e:  # a user's __init__ may raise anything at all
        raise ValueError(f"{where} cannot be made without arguments ({one_line(e)}): give an instance instead") from e


def _offer(module: ModuleType) -> str:
    from kernels.spec import KernelSpec

    found = [
        n
        for n, v in vars(module).items()
        if isinstance(v, KernelSpec)
        or (isinstance(v, type) and issubclass(v, KernelSpec) and hasattr(v, "name") and not inspect.isabstract(v))
    ]
    return f"it has {', '.join(found)}" if found else "it defines no KernelSpec"


def where_raised(error: BaseException, path: Path) -> str:
    """``path:line`` of the line in the file at `path` that raised `error`, as deep in the calls as the file is."""
    if isinstance(error, SyntaxError) and error.lineno is not None and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def one_line(error: BaseException) -> str:
    """Type and first line of an error that somebody else's code raised, as safe to print as our own words."""
    try:
        text = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 -- a foreign __str__ may fail too
        text = []
    said = "".join(c if c.isprintable() else "?" for c in text[0]) if text else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
