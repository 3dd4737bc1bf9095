"""How soon a search finds what an exhaustive one would: ``python -m tests.bench.bench_planner [FILE…] [--seeds 20]``.

Every FILE is a landscape, ours or somebody's T4 or Kernel Tuner file (without one: all that come with the project),
and the oracle: nothing is compiled or run. What the compiler said comes from the file and costs nothing; a reading
costs one evaluation. ``--view`` says what is hidden (:mod:`tests.bench.planner_spaces`), ``--agent`` who searches
(:mod:`tests.bench.planner_rivals`). A seed draws its own readings, breaks ties, and is every agent's seed.

``--leave-one-out`` scores the planner on each landscape with the constants that did best on all *others*, beside the
constants it ships with, from an empty memory and (``warm``) with what searches of the others would have left in it.

P is the score of the auto-tuning methodology (:mod:`evals.scoring.methodology`): random search 0, the optimum at
once 1.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import click

from agent.models.embedded import BATCH, FIRST_BATCH
from memory.queries import distance
from tests.bench.contest_rivals import CONTEST, play
from tests.bench.planner_rivals import NEEDS_OPTUNA, RIVALS, Ledger
from tests.bench.planner_spaces import PLAIN, VIEWS, Space, load
from tools.harness.landscapes.files import SUFFIXES
from tools.harness.landscapes.named import folder
from tools.planner import surrogate
from tools.planner.evidence import Evidence
from tools.planner.propose import Planner
from tools.planner.transfer import NearProblem
from tools.session.task import Task

NEVER = 10**6
"""Evaluations of a search that did not get there."""
SETTINGS: dict[str, dict[str, float]] = {
    "as shipped": {},
    "trust the cost model": {"PRIOR_SPREAD": 0.1},
    "doubt the cost model": {"PRIOR_SPREAD": 0.25},
    "trust its scale": {"SLOPE_SPREAD": 0.1},
    "doubt its scale": {"SLOPE_SPREAD": 1.0},
    "longer lengths": {"LENGTH": 1.4},
}
"""Constants of the surrogate that were chosen by looking at a landscape, and others that could have been."""
CHOOSING_SEEDS = 3
NEAR_PROBLEMS = 5
"""Nearest other landscapes that a warm search remembers, as many as ``tools.session.recall`` takes."""


@dataclass
class Found:
    """One search: per evaluation the judged time of what it held for best."""

    curve: list[float]
    slowest_s: float = 0.0
    stop: int = NEVER
    """Evaluations when it advised to stop."""

    def until(self, share: float, optimum: float) -> int:
        return next((i + 1 for i, ms in enumerate(self.curve) if ms <= optimum / share), NEVER)

    def at(self, count: int) -> float:
        return self.curve[min(count, len(self.curve)) - 1]


def plan_search(
    space: Space, ledger: Ledger, seed: int, near: Sequence[NearProblem] = (), patient: bool = True
) -> Found:
    """The planner as the embedded model asks it, to the end of the evaluations, whatever it advises."""
    task = Task(space.task.spec, space.task.problem, space.task.hardware, seed=seed)
    mind = Planner(task, space.configs, near)
    slowest, stop = 0.0, NEVER
    while not ledger.spent:
        count = BATCH if ledger.curve else FIRST_BATCH
        began = time.perf_counter()
        plan = mind.propose(Evidence(ledger.compiled, {}, ledger.measured), count, patient=patient)
        slowest = max(slowest, time.perf_counter() - began if ledger.curve else 0.0)
        if plan.stop and stop == NEVER:
            stop = len(ledger.curve)
        if not plan.proposals:
            break
        for p in plan.proposals[: plan.try_first]:
            if not ledger.spent:
                ledger.evaluate(p.config)
    return Found(ledger.curve, slowest, stop)


def search(agent: str, space: Space, seed: int, most: int, near: Sequence[NearProblem] = ()) -> Found:
    ledger = Ledger(space, seed, most)
    if agent in PLANNERS:
        return plan_search(space, ledger, seed, near, **PLANNERS[agent])
    if agent in CONTEST:
        play(agent, space, ledger, seed)
    else:
        RIVALS[agent](space, ledger, seed)
    return Found(ledger.curve)


PLANNERS: dict[str, dict[str, Any]] = {
    "planner": {},
    "planner_batches": {"patient": False},
}
"""As where compiler's figures are recorded, and as with a compile pool."""
AGENTS = (*PLANNERS, *RIVALS, *CONTEST)


def scored(space: Space, runs: Sequence[Found], **labels: Any) -> dict[str, Any]:
    """Medians over `runs`; of P also the mean, as bad luck is part of a method, and what each run had."""
    near = {share: [r.until(share, space.optimum) for r in runs] for share in (0.95, 0.99)}
    score = {n: [_score(space, r, n) for r in runs] for n in ("P", "P_1_50")}
    return {
        "landscape": space.name,
        "view": space.view,
        **labels,
        "to_95": median(near[0.95]),
        "to_99": median(near[0.99]),
        **{n: round(median(values), 3) for n, values in score.items()},
        **{f"{n}_mean": round(fmean(values), 3) for n, values in score.items()},
        "P_up_to": space.scale.span()[-1],
        "stop": median(r.stop for r in runs),
        "lost_at_stop": round(median(r.at(r.stop) for r in runs) / space.optimum - 1, 4),
        "P_1_50_each": [round(v, 3) for v in score["P_1_50"]],
        "lost_at_end_each": [round(r.curve[-1] / space.optimum - 1, 4) for r in runs],
        "decision_s": round(max(r.slowest_s for r in runs), 3),
    }


def _score(space: Space, run: Found, name: str) -> float:
    span = space.scale.span() if name == "P" else space.scale.short_span()
    return space.scale.score(run.curve, span) or 0.0


def rows(paths: Sequence[Path], views: Sequence[str], agents: Sequence[str], seeds: int, most: int) -> Iterator[Any]:
    for path in paths:
        for space in {s.view: s for s in (load(path, view) for view in views)}.values():
            for agent in agents:
                runs = [search(agent, space, seed, most) for seed in range(seeds)]
                yield scored(space, runs, agent=agent)


def leave_one_out(paths: Sequence[Path], seeds: int, most: int) -> Iterator[dict[str, Any]]:
    """For each landscape of a kernel of ours: shipped constants, those that did best on the others, and warm."""
    spaces = [s for s in (load(path, PLAIN) for path in paths) if s.view == PLAIN]
    if len(spaces) < 2:
        raise click.UsageError("--leave-one-out needs two landscapes of kernels of this project, or more")
    table = {name: [_mean_score(s, name, most) for s in spaces] for name in SETTINGS}
    for i, space in enumerate(spaces):
        others = {name: fmean(v for j, v in enumerate(values) if j != i) for name, values in table.items()}
        chosen = max(others, key=lambda name: others[name])
        for label, setting in (("as shipped", "as shipped"), ("chosen on the others", chosen)):
            with constants(setting):
                runs = [search("planner", space, seed, most) for seed in range(seeds)]
            yield scored(space, runs, agent="planner", how=label, setting=setting)
        if near := near_problems_of(space, [s for s in spaces if s is not space], most):
            runs = [search("planner", space, seed, most, near) for seed in range(seeds)]
            yield scored(space, runs, agent="planner", how="warm", setting="as shipped")


def _mean_score(space: Space, setting: str, most: int) -> float:
    with constants(setting):
        return fmean(_score(space, search("planner", space, seed, most), "P_1_50") for seed in range(CHOOSING_SEEDS))


def near_problems_of(space: Space, others: Sequence[Space], most: int) -> list[NearProblem]:
    """What searches of the other landscapes of this kernel would have left in memory, the nearest first."""
    here = space.task.problem.model_dump(mode="json")
    found = []
    for other in others:
        if other.task.spec.name == space.task.spec.name:
            ledger = Ledger(other, 0, most)
            plan_search(other, ledger, 0)
            times = {c: m.ms for c, m in ledger.measured.items() if m.status == "correct" and m.ms is not None}
            far = distance(here, other.task.problem.model_dump(mode="json"))
            found.append(NearProblem(other.task.problem, other.task.hardware, times, far))
    return sorted(found, key=lambda k: k.distance)[:NEAR_PROBLEMS]


@contextmanager
def constants(setting: str) -> Iterator[None]:
    """The surrogate with other constants."""
    shipped = {name: getattr(surrogate, name) for name in SETTINGS[setting]}
    try:
        for name, value in SETTINGS[setting].items():
            setattr(surrogate, name, value)
        yield
    finally:
        for name, value in shipped.items():
            setattr(surrogate, name, value)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seeds", default=20, help="Searches per agent and space.")
@click.option("--most", default=60, help="Evaluations of one search.")
@click.option("--agent", "agents", multiple=True, type=click.Choice(AGENTS), help="Only these.")
@click.option("--view", "views", multiple=True, type=click.Choice(VIEWS), help="What is hidden (plain: nothing).")
@click.option("--leave-one-out", "left_out", is_flag=True, help="Score on each what was chosen on the others.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
def main(
    files: tuple[Path, ...],
    seeds: int,
    most: int,
    agents: tuple[str, ...],
    views: tuple[str, ...],
    left_out: bool,
    out: Path | None,
) -> None:
    paths = list(files) or sorted(p for p in folder().glob("*") if p.name.endswith(SUFFIXES))
    wanted = list(agents or ("planner", "random", "tpe", "tpe_multivariate"))
    if not left_out and importlib.util.find_spec("optuna") is None and set(wanted) & set(NEEDS_OPTUNA):
        click.echo("TPE is left out: pip install optuna", err=True)
        wanted = [a for a in wanted if a not in NEEDS_OPTUNA]
    found = leave_one_out(paths, seeds, most) if left_out else rows(paths, views or (PLAIN,), wanted, seeds, most)
    figures = []
    for row in found:
        figures.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    if out:
        out.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
