"""How a kernel and a problem travel to a child process: by reference and as JSON, rebuilt there."""

from __future__ import annotations

import inspect
from typing import Any

from kernels.spec import KernelSpec, Problem


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
    return {"kernel": where, "problem": problem.model_dump(mode="json")}


def rebuild(description: dict[str, Any]) -> tuple[KernelSpec[Any, Any], Any]:
    """The reverse of :func:`describe`, in the child."""
    from kernels.registry import get

    spec = get(description["kernel"])
    return spec, spec.problem_type.model_validate(description["problem"])
