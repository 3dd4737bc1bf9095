"""Baselines whose preparation chooses by measuring, as torch.compile chooses between a library and its own kernels.

Such a choice is a coin: near equals swap places from process to process, and what they fuse with differs. So each way
that can be forced is prepared once, as a baseline of its own, and the fastest of them in the sitting is the baseline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kernels.spec import Baseline, Problem
from tools.harness.measuring.rounds import worse
from tools.harness.results import Comparison, Figure, Measurement

MARK = ":"
"""Between a baseline's name and that of a choice: ``compiled:ATen``."""
OWN_CHOICE = "its own choice"
ROUNDS_BEFORE_DROPPING = 8


def choices_of(baseline: Baseline[Any], problem: Problem) -> list[Baseline[Any]]:
    """The baseline as it prepares itself, and each choice that can be forced, as baselines."""
    forced = [
        replace(baseline, name=f"{baseline.name}{MARK}{name}", prepare=prepare)
        for name, prepare in baseline.choices(problem).items()
    ]
    return [baseline, *forced]


def expand(baselines: Iterable[Baseline[Any]], problem: Problem) -> list[Baseline[Any]]:
    """Every choice of every baseline."""
    return [choice for baseline in baselines for choice in choices_of(baseline, problem)]


def split_name(name: str) -> tuple[str, str]:
    """``compiled:ATen`` as the baseline's name and the choice's."""
    base, mark, choice = name.partition(MARK)
    return base, choice if mark else OWN_CHOICE


def drop_slower(
    theirs: Mapping[str, Sequence[Measurement]], racing: Iterable[str], rounds: int, figure: Figure
) -> set[str]:
    """Names of the choices among `racing` that are certainly slower than another choice of the same baseline: they need
    no more rounds. A choice whose rounds ended earlier is compared no more."""
    if rounds < ROUNDS_BEFORE_DROPPING:
        return set()
    groups: dict[str, list[str]] = {}
    for name in racing:
        groups.setdefault(split_name(name)[0], []).append(name)
    dropped: set[str] = set()
    for group in groups.values():
        if len(group) > 1:
            leader = min(group, key=lambda name: median_of(theirs[name], figure))
            dropped |= {n for n in group if n != leader and worse([*theirs[n]], [*theirs[leader]], figure)}
    return dropped


def median_of(rounds: Sequence[Measurement], figure: Figure) -> float:
    found = sorted(value for m in rounds if (value := getattr(m, figure)) is not None)
    return found[len(found) // 2] if found else float("inf")


def merge_choices(
    comparisons: Iterable[Comparison], by_joules: bool = False, chosen_by_measuring: Iterable[str] = ()
) -> list[Comparison]:
    """One comparison for each baseline: that of its strongest choice, with the times of all of them.

    `chosen_by_measuring`: names of baselines that choose, so that one preparation alone is said to be one."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault(split_name(comparison.name)[0], []).append(comparison)
    return [merge(name, group, by_joules, name in chosen_by_measuring) for name, group in groups.items()]


def merge(name: str, group: Sequence[Comparison], by_joules: bool, chooses: bool) -> Comparison:
    timed = [c for c in group if c.speedup is not None]
    if not timed:
        spoilt = any(c.spoilt for c in group)
        return group[0].model_copy(update={"name": name, "spoilt": spoilt})
    best = min(timed, key=lambda c: (c.saving if by_joules else c.speedup) or float("inf"))
    update: dict[str, Any] = {"name": name}
    if chooses or len(group) > 1:
        update["choice"] = split_name(best.name)[1]
        update["choices"] = {split_name(c.name)[1]: c.ms for c in timed if c.ms is not None}
    return best.model_copy(update=update)
