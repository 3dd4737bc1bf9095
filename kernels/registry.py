"""Finds kernels by name. Importing this module imports no torch: a kernel's file is imported when it is first
needed."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kernels import finder

if TYPE_CHECKING:
    from kernels.spec import KernelSpec

_BUILTIN = {
    "matmul": "kernels.matmul:Matmul",
    "fused_matmul": "kernels.fused_matmul:FusedMatmul",
    "softmax": "kernels.rows.softmax:Softmax",
    "rms_norm": "kernels.rows.rms_norm:RmsNorm",
    "layer_norm": "kernels.rows.layer_norm:LayerNorm",
    "rms_norm_backward": "kernels.rows.rms_norm_backward:RmsNormBackward",
    "layer_norm_backward": "kernels.rows.layer_norm_backward:LayerNormBackward",
    "swiglu": "kernels.swiglu:Swiglu",
    "attention": "kernels.attention.spec:Attention",
    "conv2d": "kernels.conv2d.spec:Conv2d",
    "fused_linear_cross_entropy": "kernels.cross_entropy.spec:FusedLinearCrossEntropy",
    "grouped_matmul": "kernels.grouped.spec:GroupedMatmul",
    "attention_backward": "kernels.attention_backward.spec:AttentionBackward",
}


ENTRY_POINTS = "autokernel.kernels"
"""The group in which an installed package may offer kernels: ``my_kernel = "my_package.module:MyKernel"``."""


NO_DRIVER = "active drivers"
"""In Triton's message to a file that asks for the driver where there is no GPU. Such a file is imported with a stub."""


def names() -> list[str]:
    """The names of the built-in kernels, in the order in which they are listed."""
    return list(_BUILTIN)


@cache
def aliases() -> dict[str, tuple[str, ...]]:
    """The words that a goal may use for each built-in kernel beside its name. They are read from the source, because
    importing a kernel imports PyTorch."""
    found = {}
    for name, reference in _BUILTIN.items():
        module, _, kind = reference.partition(":")
        path = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        [spec] = [
            node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef) and node.name == kind
        ]
        values = [
            ast.literal_eval(node.value)
            for node in spec.body
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["aliases"]
        ]
        found[name] = tuple(values[0]) if values else ()
    return found


def offered() -> dict[str, str]:
    """Kernels that other installed packages offer: name to ``module:NAME``. Built-in names take precedence."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {e.name: e.value for e in found if e.name not in _BUILTIN}


def get(name: str) -> KernelSpec[Any, Any]:
    """The kernel `name`: a built-in one, one that an installed package offers, ``path/to/file.py:NAME`` or
    ``package.module:NAME``, NAME being a subclass or an instance of KernelSpec; also ``CAPTURE#LAUNCH``, a launch of a
    capture, and ``edited:FOLDER|NAME``, the kernel NAME with the variants in FOLDER.

    Raises ValueError with one sentence that says what to do."""
    if name in _BUILTIN:
        source, attribute = _BUILTIN[name].split(":")
        builtin: KernelSpec[Any, Any] = getattr(importlib.import_module(source), attribute)()
        return builtin
    if name.startswith("edited:"):
        from kernels.editing.editable import found_again

        return found_again(name, get)
    if "#" in name:
        from kernels.captured.captured_kernels import captured_kernel

        return captured_kernel(name)
    reference = name if ":" in name else offered().get(name, name)
    if finder.split_reference(reference) is None:
        if os.path.exists(name):
            raise ValueError(f"{name} is no kernel by itself: name the kernel in it, as {name}:NAME")
        if "/" in name or os.sep in name:
            raise ValueError(f"there is no file or folder {name}: name a kernel, or your own as path.py:NAME")
        choices = ", ".join([*names(), *offered()])
        raise ValueError(
            f"no kernel named {name!r}: choose one of {choices}, or name your own as path.py:NAME or module:NAME"
        )
    try:
        found = finder.find(reference, "kernel", _candidates)
    except finder.NotFound as e:
        if NO_DRIVER not in str(e):
            raise
        from kernels.triton.stub_driver import stub_driver

        with stub_driver():
            found = finder.find(reference, "kernel", _candidates)
    spec = _spec(found.value, name, found.module)
    taken = _BUILTIN.get(str(spec.name))
    if taken is not None and not _is_or_extends(spec, taken):
        raise ValueError(f"{name} calls itself {spec.name!r}, which is a built-in kernel: give it another name")
    # Past a spec's own __setattr__: it may be a frozen dataclass.
    object.__setattr__(spec, "found_as", found.reference)
    return spec


def is_builtin(spec: KernelSpec[Any, Any]) -> bool:
    """Whether `spec` is one of the built-in kernels, and no subclass of one."""
    return f"{type(spec).__module__}:{type(spec).__name__}" in _BUILTIN.values()


def _is_or_extends(spec: KernelSpec[Any, Any], builtin: str) -> bool:
    source, attribute = builtin.split(":")
    return any((c.__module__, c.__name__) == (source, attribute) for c in type(spec).__mro__)


def _spec(found: Any, where: str, module: ModuleType) -> KernelSpec[Any, Any]:
    from kernels.spec import KernelSpec

    kind = type(found) if isinstance(found, KernelSpec) else found
    if _is_triton_function(found):
        raise ValueError(
            f"{where} is a Triton kernel without a description of its launch: capture a program that launches it "
            f"(`python -m agent capture -o run.capture -- python PROGRAM.py`) and tune what was captured "
            f"(`python -m agent improve run.capture --kernel {where.rpartition(':')[2]}`), or describe the launch in a "
            "KernelSpec (docs/KERNELS.md)"
        )
    if not (isinstance(kind, type) and issubclass(kind, KernelSpec)):
        raise ValueError(f"{where} is no KernelSpec; {_candidates(module)}")
    lacking = [a for a in ("name", "problem_type", "config_type") if not (hasattr(kind, a) or a in vars(found))]
    lacking += sorted(getattr(kind, "__abstractmethods__", ()))
    if kind.eager is KernelSpec.eager and KernelSpec.reference is kind.reference:
        lacking.append("eager (what it computes, by PyTorch operations)")
    if lacking:
        raise ValueError(f"{where} is an unfinished KernelSpec: define {', '.join(lacking)}")
    spec: KernelSpec[Any, Any] = finder.instance(found, where)
    return spec


def _is_triton_function(found: Any) -> bool:
    """Whether it is what ``@triton.jit`` or a decorator around it made, interpreted or not."""
    while hasattr(found, "fn") and type(found).__module__.partition(".")[0] == "triton":
        found = found.fn
        if inspect.isfunction(found):
            return True
    return False


def _candidates(module: ModuleType) -> str:
    """What `module` offers, for an error message."""
    from kernels.spec import KernelSpec

    found = [
        n
        for n, v in vars(module).items()
        if isinstance(v, KernelSpec)
        or (isinstance(v, type) and issubclass(v, KernelSpec) and hasattr(v, "name") and not inspect.isabstract(v))
    ]
    return f"it has {', '.join(found)}" if found else "it defines no KernelSpec"
