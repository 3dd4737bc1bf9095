"""Reads what a command line asks to be judged."""

from __future__ import annotations

from pathlib import Path

from evals.errors import EvalsError
from evals.judge.definitions import definition_pairs
from evals.judge.pair import Pair, module_pair


def pairs(reference: Path, candidate: Path, workload: Path | None) -> list[Pair]:
    """What two files and a workload ask to be judged. Raises EvalsError."""
    kinds = {reference.suffix, candidate.suffix}
    if kinds == {".json"}:
        return definition_pairs(reference, candidate, workload)
    if ".json" in kinds:
        raise EvalsError("give two .py files (Model and ModelNew) or two .json files (a definition and a solution)")
    if workload is not None:
        raise EvalsError("--workload belongs to a definition: a .py problem has its own get_inputs")
    return [module_pair(reference, candidate)]
