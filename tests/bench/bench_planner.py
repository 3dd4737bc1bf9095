"""How soon a search finds what an exhaustive one would: ``python -m tests.bench.bench_planner [FILE…] [--seeds 20]``.

Every FILE is a landscape (without one: all that come with the project) and the oracle: nothing is compiled or run. What
the compiler said comes from the file and costs nothing; a reading costs one evaluation. Agents: the planner in the
batches of the embedded model, random search, and Optuna's TPE where Optuna is installed.

A seed draws its own readings (a bootstrap of set A's samples), breaks ties, and is the other agents' seed. What was
found is judged by set A whole. ``--raw`` hides the kernel and the compiler from everybody, as in a stranger's T4 file;
failures cost an evaluation there.

P is the score of the auto-tuning methodology (:mod:`evals.methodology`): random search 0, the optimum at once 1.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from pydantic import ValidationError, create_model

from agent.models.embedded import BATCH, FIRST_BATCH
from evals.methodology import Scale
from kernels.hardware import hardware_named
from kernels.registry import get
from kernels.spec import Config, Problem
from tools.harness.landscape import folder, read_landscape
from tools.harness.readings import Entry, Landscape
from tools.harness.results import CompileResult, Measurement
from tools.harness.t4 import SUFFIXES
from tools.planner.evidence import Evidence
from tools.planner.propose import Plan, Planner
from tools.task import Task

NEVER = 10**6
"""Evaluations of a search that did not get there."""


class Unknown(Problem):
    """The problem of a file that does not say its own."""

    dims = ()


@dataclass
class Space:
    """A landscape as the oracle of a search."""

    name: str
    task: Task
    entries: dict[Config, Entry]
    times: dict[Config, float]
    """Judged ms of the correct configs."""
    raw: bool

    @property
    def optimum(self) -> float:
        return min(self.times.values())

    def free(self, config: Config) -> CompileResult | None:
        """What compilation says at no cost; ``None`` where nobody can ask it."""
        return None if self.raw else self.entries[config].compiled

    def answer(self, config: Config, landscape: Landscape, dice: np.random.Generator) -> Measurement:
        entry = self.entries[config]
        found = Measurement(config=entry.config, status=entry.status, reason=entry.reason)
        readings = entry.sets.get("A")
        if entry.status != "correct":
            return found
        if readings is None:
            return found.model_copy(update={"ms": self.times[config]})
        drawn = float(np.median(dice.choice(readings.samples_ms, len(readings.samples_ms))))
        return found.model_copy(update={"ms": drawn * landscape.drift(readings)})


def load(path: Path, raw: bool) -> tuple[Space, Landscape]:
    """The file as a space of its kernel's configs, or, raw or of an unknown kernel, of made-up ones."""
    landscape = read_landscape(path)
    spec = get("fused_matmul")
    hardware = hardware_named(landscape.device.hardware or "H200")
    problem: Problem = Unknown()
    kind: type[Config] | None = None
    if not raw and landscape.problem is not None:
        try:
            spec = get(landscape.kernel)
            problem, kind = spec.problem_type.model_validate(landscape.problem), spec.config_type
        except (KeyError, ValueError, ValidationError):
            kind = None
    entries = list(landscape.entries.values())
    if kind is None:
        kind = create_model("Foreign", __base__=Config, **dict.fromkeys(entries[0].config, (Any, ...)))
    by_config = {kind.model_validate(e.config): e for e in entries}
    times = {c: ms for c, e in by_config.items() if (ms := landscape.ms(e)) is not None}
    known = not isinstance(problem, Unknown)
    return Space(landscape.name, Task(spec, problem, hardware), by_config, times, raw or not known), landscape


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


class Ledger:
    """Counts evaluations and keeps the judged time of the incumbent."""

    def __init__(self, space: Space, landscape: Landscape, seed: int, most: int) -> None:
        self.space, self.landscape, self.most = space, landscape, most
        self.dice = np.random.default_rng(seed)
        self.compiled: dict[Config, CompileResult] = {}
        self.measured: dict[Config, Measurement] = {}
        self.curve: list[float] = []
        self._best = (np.inf, max(space.times.values()))

    @property
    def spent(self) -> bool:
        return len(self.curve) >= self.most or len(self.measured) + self._failed() >= len(self.space.entries)

    def _failed(self) -> int:
        return sum(r.status != "correct" for r in self.compiled.values())

    def evaluate(self, config: Config) -> float | None:
        """Compile for nothing where that is possible, then measure once; ms, or ``None`` for a failure."""
        if config in self.measured:
            return self.measured[config].ms
        compiled = self.space.free(config)
        if compiled is not None:
            self.compiled[config] = compiled
            if compiled.status != "correct":
                return None
        m = self.measured[config] = self.space.answer(config, self.landscape, self.dice)
        if m.ms is not None:
            self._best = min(self._best, (m.ms, self.space.times[config]))
        self.curve.append(self._best[1])
        return m.ms


def planner(space: Space, ledger: Ledger, seed: int) -> Found:
    task = Task(space.task.spec, space.task.problem, space.task.hardware, seed=seed)
    mind = Planner(task, list(space.entries))
    slowest, stop = 0.0, NEVER
    while not ledger.spent:
        count = BATCH if ledger.curve else FIRST_BATCH
        began = time.perf_counter()
        plan: Plan = mind.propose(Evidence(ledger.compiled, {}, ledger.measured), min(count, ledger.most))
        slowest = max(slowest, time.perf_counter() - began if ledger.curve else 0.0)
        if plan.stop and stop == NEVER:
            stop = len(ledger.curve)
        if not plan.proposals:
            break
        for p in plan.proposals:
            if not ledger.spent:
                ledger.evaluate(p.config)
    return Found(ledger.curve, slowest, stop)


def randomly(space: Space, ledger: Ledger, seed: int) -> Found:
    configs = list(space.entries)
    for i in np.random.default_rng(seed).permutation(len(configs)):
        if ledger.spent:
            break
        ledger.evaluate(configs[i])
    return Found(ledger.curve)


def tpe(space: Space, ledger: Ledger, seed: int) -> Found:
    """Optuna's multivariate TPE by ask and tell; configs outside the space and repeats cost it nothing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, warn_independent_sampling=False)
    study = optuna.create_study(sampler=sampler)
    configs = list(space.entries)
    kind = type(configs[0])
    levels = {n: sorted({getattr(c, n) for c in configs}, key=lambda v: (str(type(v)), v)) for n in kind.model_fields}
    numbers = {n for n, vs in levels.items() if all(isinstance(v, int | float) for v in vs)}
    misses = 0
    while not ledger.spent and misses < 500:
        trial = study.ask()
        values = {
            n: vs[trial.suggest_int(n, 0, len(vs) - 1)] if n in numbers else trial.suggest_categorical(n, vs)
            for n, vs in levels.items()
        }
        config = kind.model_construct(**values)
        fresh = config in space.entries and config not in ledger.measured and config not in ledger.compiled
        misses = 0 if fresh else misses + 1
        ms = ledger.evaluate(config) if config in space.entries else None
        if ms is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, float(np.log(ms)))
    return Found(ledger.curve)


AGENTS = {"planner": planner, "random": randomly, "tpe": tpe}


def rows(path: Path, agents: list[str], seeds: int, most: int, raw: bool) -> Iterator[dict[str, Any]]:
    space, landscape = load(path, raw)
    scale = Scale.of(space.times.values())
    for name in agents:
        runs = [AGENTS[name](space, Ledger(space, landscape, seed, most), seed) for seed in range(seeds)]
        near = {share: [r.until(share, space.optimum) for r in runs] for share in (0.95, 0.99)}
        yield {
            "landscape": space.name,
            "raw": space.raw,
            "agent": name,
            "to_95": median(near[0.95]),
            "to_95_worst": max(near[0.95]),
            "to_99": median(near[0.99]),
            "to_99_worst": max(near[0.99]),
            "P_1_50": round(median(scale.score(r.curve, scale.short_span()) or 0.0 for r in runs), 3),
            "P": round(median(scale.score(r.curve, scale.span()) or 0.0 for r in runs), 3),
            "P_up_to": scale.span()[-1],
            "stop": median(r.stop for r in runs),
            "lost_at_stop": round(median(r.at(r.stop) for r in runs) / space.optimum - 1, 4),
            "best_at_20": round(median(r.at(20) for r in runs) / space.optimum - 1, 4),
            "decision_s": round(max(r.slowest_s for r in runs), 3),
        }


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seeds", default=20, help="Searches per agent and landscape.")
@click.option("--most", default=60, help="Evaluations of one search.")
@click.option("--agent", "agents", multiple=True, type=click.Choice(list(AGENTS)), help="Only these.")
@click.option("--raw", is_flag=True, help="Hide the kernel and the compiler.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
def main(files: tuple[Path, ...], seeds: int, most: int, agents: tuple[str, ...], raw: bool, out: Path | None) -> None:
    paths = list(files) or sorted(p for p in folder().glob("*") if p.name.endswith(SUFFIXES))
    wanted = list(agents or AGENTS)
    if "tpe" in wanted and importlib.util.find_spec("optuna") is None:
        click.echo("TPE is left out: pip install optuna", err=True)
        wanted.remove("tpe")
    figures = []
    for path in paths:
        for row in rows(path, wanted, seeds, most, raw):
            figures.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    if out:
        out.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
