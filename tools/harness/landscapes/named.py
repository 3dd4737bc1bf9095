"""Landscapes by name: those that come with the project, a file of your own, the one for a problem."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from memory.terms import Regime
from tools.harness.landscapes.files import SUFFIXES, read_landscape, stem, write_landscape
from tools.harness.landscapes.readings import Entry, Landscape, LandscapeError

if TYPE_CHECKING:
    from kernels.spec import Problem

__all__ = [
    "Entry", "Landscape", "LandscapeError", "find_landscape", "list_landscapes", "read_landscape", "write_landscape"
]  # fmt: skip

INSTEAD = "run on a GPU with --device cuda:0, or record it there with `python -m evals record`"


def folder() -> Path:
    """Where the landscapes of this installation lie."""
    return Path(str(resources.files("evals") / "landscapes"))


def list_landscapes(where: Path | None = None, heads_only: bool = False) -> list[Landscape]:
    """All of them, by name; with `heads_only` without their entries. Raises LandscapeError where one is damaged."""
    found = sorted((p for p in (where or folder()).glob("*") if p.name.endswith(SUFFIXES)), key=stem)
    return [read_landscape(p, heads_only) for p in found]


def find_landscape(
    name: str | None,
    kernel: str,
    problem: Problem,
    regime: Regime = "burst",
    where: Path | None = None,
) -> Landscape:
    """The landscape called `name`, or the file at that path, or without a name the first that fits.

    Raises LandscapeError with one sentence where there is none, or where it was recorded for something else."""
    if name is not None:
        landscape = named_landscape(name, where)
        require_fit(landscape, kernel, problem, regime)
        return landscape
    there = list_landscapes(where, heads_only=True)
    for head in there:
        if misfit(head, kernel, problem, regime) is None:
            return named_landscape(head.name, where)
    raise LandscapeError(
        f"no recorded device knows {kernel} {problem.label()} ({regime}); recorded are {_problems(there)}: {INSTEAD}"
    )


def require_fit(landscape: Landscape, kernel: str, problem: Problem, regime: Regime = "burst") -> None:
    """Raises LandscapeError where `landscape` was recorded for something else."""
    why = misfit(landscape, kernel, problem, regime)
    if why is not None:
        raise LandscapeError(f"{why}; recorded are {_problems(list_landscapes(heads_only=True))}: {INSTEAD}")


def misfit(landscape: Landscape, kernel: str, problem: Problem, regime: Regime) -> str | None:
    """Why `landscape` cannot stand in for a GPU here; ``None`` where it can."""
    asked = f"{kernel} {problem.label()}"
    if landscape.problem is None:
        return (
            f"the landscape {landscape.name} does not say its problem, so {asked} cannot be looked up in it: "
            f"`python -m memory import FILE --kernel {kernel} --problem … --device …` takes its times in as what is "
            "known, and `python -m evals run --landscape FILE` lets agents search it"
        )
    try:
        recorded = type(problem).model_validate(landscape.problem) if landscape.kernel == kernel else None
    except ValidationError:
        recorded = None
    if recorded != problem:
        return f"the landscape {landscape.name} was recorded for {landscape.kernel} {landscape.label}, not for {asked}"
    if landscape.regime != regime:
        return f"the landscape {landscape.name} was recorded in the {landscape.regime} regime, not {regime}"
    return None


def named_landscape(name: str, where: Path | None = None) -> Landscape:
    """The landscape called `name`, or the file at that path. Raises LandscapeError in one sentence."""
    where, path = where or folder(), Path(name).expanduser()
    if path.name.endswith(SUFFIXES) or len(path.parts) > 1:
        return read_landscape(path)
    for suffix in SUFFIXES:
        if (where / (name + suffix)).is_file():
            return read_landscape(where / (name + suffix))
    names = ", ".join(sorted(stem(p) for p in where.glob("*") if p.name.endswith(SUFFIXES))) or "none"
    raise LandscapeError(
        f"there is no landscape {name}; there are {names} (or give the path of a .json or .json.gz file)"
    )


def _problems(landscapes: list[Landscape]) -> str:
    """``attention (4x32x4096x128 fp16), fused_matmul (1024x1024x1024 fp16 leaky_relu, …)``: each problem once, though
    it may be recorded under several versions of Triton."""
    found: dict[str, dict[str, None]] = {}
    for x in landscapes:
        found.setdefault(x.kernel or x.name, {})[x.label or "of an unknown problem"] = None
    return ", ".join(f"{kernel} ({', '.join(labels)})" for kernel, labels in found.items()) or "none"
