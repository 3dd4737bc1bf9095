"""How a kernel, a problem and a config travel to a child process: by reference and as JSON, rebuilt there."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kernels.finder import one_line
from kernels.spec import Config, KernelSpec, Problem, sentence
from tools.harness.process.own_packages import current_folder
from tools.harness.process.refusal import Refusal


def describe(spec: KernelSpec[Any, Any], problem: Problem) -> dict[str, Any]:
    """What a child needs to rebuild `spec` and `problem`."""
    kind = type(spec)
    if spec.found_as is not None:
        where = spec.found_as
    elif kind.__module__.startswith("kernels."):
        where = spec.name
    elif kind.__module__ == "__main__":
        where = f"{inspect.getfile(kind)}:{kind.__name__}"
    else:
        where = f"{kind.__module__}:{kind.__name__}"
    described = {"kernel": where, "problem": problem.model_dump(mode="json")}
    return described if where == spec.name else described | {"paths": import_folders(spec)}


def import_folders(spec: KernelSpec[Any, Any]) -> list[str]:
    """Where another process has to look for what a user's kernel imports: the folder that its module's package lies in,
    and the current folder. A child process searches neither by itself."""
    module = sys.modules.get(type(spec).__module__)
    file = getattr(module, "__file__", None)
    folders = current_folder()
    if file is not None:
        depth = (module.__name__ if module else "").count(".") + (Path(file).name == "__init__.py")
        folders.insert(0, str(Path(file).resolve().parents[depth]))
    return list(dict.fromkeys(folders))


def rebuild(description: dict[str, Any]) -> tuple[KernelSpec[Any, Any], Any]:
    """The reverse of :func:`describe`, in the child. Raises Refusal."""
    from kernels.registry import get

    sys.path += [folder for folder in description.get("paths", ()) if folder not in sys.path]
    try:
        spec = get(description["kernel"])
        return spec, spec.problem_type.model_validate(description["problem"])
    except ValidationError as e:
        raise Refusal(f"in {this_process()}, {description['kernel']} refuses the problem: {sentence(e)}") from e
    except ValueError as e:
        raise Refusal(f"in {this_process()}: {sentence(e)}") from e
    except Exception as e:  # a user's class may raise anything
        raise Refusal(f"in {this_process()}, {description['kernel']} cannot be made: {one_line(e)}") from e


def rebuild_config(spec: KernelSpec[Any, Any], values: dict[str, Any]) -> Config:
    """The config of these values. Raises Refusal if the kernel, as this process imported it, has no such config."""
    try:
        config: Config = spec.config_type.model_validate(values)
    except ValidationError as e:
        shown = " ".join(f"{name}={value}" for name, value in values.items())
        raise Refusal(
            f"in {this_process()} the kernel has no config {shown} ({sentence(e)}): let the file define the same "
            "configs in every process"
        ) from e
    return config


def this_process() -> str:
    """What kind of process this is, for a sentence."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "Triton's interpreter (TRITON_INTERPRET=1)"
    return "a process that compiles or measures"
