"""What memory saves: ``python -m tests.bench.bench_warm_start agent|same|neighbour [FILE…] [--seeds N] [--json PATH]``.

agent: the whole agent twice on the recorded device with one memory file; evaluations and result of both runs.
same, neighbour: without compiling anything, on landscapes (without FILE: all that come with the project), through the
real memory, the real warm start and the real tools, in the batches of the embedded model. ``same`` searches a landscape
twice; ``neighbour`` searches one cold, and once more after every other landscape of the kernel was searched with the
same memory. A seed draws the readings anew, from the recorded samples. ``--made-up`` takes three shapes of each of five
made-up cards instead, which depart from the planner's cost model by fixed factors, 2 % of each config's own on every
shape, and 2 % on this one: no measurement, but shapes.

Counted are the evaluations that a search takes until it stops, and those until it held a config as fast as what the
cold search ended with, within 0.3 %: that much apart are two sittings of one config in a landscape. What it held is
judged by the set of readings that no search sees.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, cast

import click
import numpy as np

from agent.models.embedded import BATCH, FIRST_BATCH
from kernels.hardware import hardware_named
from kernels.registry import get
from kernels.spec import Config, KernelSpec, Problem
from memory.shared_models import DeviceInfo
from memory.store import Memory
from memory.terms import Regime
from tests.bench.bench_planner import NEVER
from tests.bench.planner_spaces import PLAIN, load
from tools import suggest_configs
from tools.harness.device import NO_LIMIT, CompileLimit
from tools.harness.landscapes.files import SUFFIXES
from tools.harness.landscapes.named import folder
from tools.harness.results import CompileResult, Measurement
from tools.planner.cost.launch_geometry import read_launch, read_tiles
from tools.planner.cost.matmul_cost import estimate
from tools.session.budget import Budget
from tools.session.recall import warm_up
from tools.session.session import Ids, Session
from tools.session.task import Task

MADE_UP = ((4096, 4096, 4096), (2048, 4096, 4096), (4096, 8192, 2048))
MADE_UP_CARDS = 5
MOST = 60
SAME = 1.003
GOAL = "maximise fused TFLOPS"


@dataclass
class Card:
    """A device and a compiler that answer from tables."""

    task: Task
    info: DeviceInfo
    compiled: dict[Config, CompileResult]
    times: dict[Config, float]
    """Judged ms of the configs that work."""
    read: Callable[[Config], Measurement]
    parallel: bool = True

    def configs(self) -> Container[Config]:
        return self.compiled

    def compile(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], limit: CompileLimit = NO_LIMIT
    ) -> list[CompileResult]:
        return [self.compiled[c] for c in configs]

    def measure(self, configs: Sequence[Config], regime: Regime = "burst") -> list[Measurement]:
        return [self.read(c).model_copy(update={"regime": regime}) for c in configs]


def recorded(path: Path, seed: int) -> Card:
    space, dice = load(path, PLAIN), np.random.default_rng(seed)
    compiled = {c: r for c in space.entries if (r := space.free(c)) is not None}
    task = replace(space.task, seed=seed)
    return Card(task, space.landscape.device, compiled, space.times, lambda c: space.answer(c, dice))


def made_up(shape: tuple[int, int, int], number: int) -> Card:
    """Flattened loops lose 6 %, stages and groups differ by some per cent, and the cost model's scale is off."""
    spec, hardware = get("fused_matmul"), hardware_named("H200")
    problem = spec.parse_problem(shape, {})
    space = spec.space(problem, hardware)
    tiles = read_tiles(problem, space)
    assert tiles is not None
    launch = read_launch(tiles, hardware, {})
    cost = estimate(tiles, launch, hardware, problem.dtype)
    assert cost is not None
    times: dict[Config, float] = {}
    compiled: dict[Config, CompileResult] = {}
    for i, c in enumerate(space):
        v = c.model_dump()
        factor = (1.06 if v["FLATTEN"] else 1.0) * {2: 1.1, 3: 1.0, 4: 1.04}.get(v["num_stages"], 1.08)
        factor *= {4: 1.02, 8: 1.01}.get(v["GROUP_M"], 1.0) * (
            1 + 0.02 * (own(f"{number}{c.key()}") + own(f"{number}{shape}{c.key()}"))
        )
        fits = bool(launch.fits[i])
        compiled[c] = CompileResult(config=c.model_dump(mode="json"), status="correct" if fits else "compile")
        if fits:
            times[c] = float(cost.ms[i]) ** 1.1 * factor
    info = DeviceInfo(kind="recorded", name=f"made up {number}", hardware="H200", landscape=problem.label())

    def read(c: Config) -> Measurement:
        values = c.model_dump(mode="json")
        return Measurement(config=values, status="correct" if c in times else "runtime", ms=times.get(c))

    return Card(Task(spec, problem, hardware), info, compiled, times, read)


def own(text: str) -> float:
    """A number of `text`'s own, -0.5 to 0.5."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32 - 0.5


@dataclass
class Search:
    """ms of the incumbent after each evaluation, and of the one at the end."""

    curve: list[float]
    best: float

    def reached(self, ms: float) -> int:
        """Evaluations until a time as good as `ms`; 0 where memory knew such a config."""
        ms *= SAME
        if not self.curve:
            return 0 if self.best <= ms else NEVER
        return next((i + 1 for i, held in enumerate(self.curve) if held <= ms), NEVER)


def search(card: Card, memory: Memory, run: str, warm: bool) -> Search:
    """As the embedded model goes: propose, compile, measure what compiled, until the planner says stop."""
    task = card.task
    kernel = memory.kernel(task.spec.name, task.spec.source_hash())
    ids = Ids(
        environment=memory.environment(card.info.model_dump()),
        kernel=kernel,
        problem=memory.problem(kernel, task.problem.model_dump(mode="json"), task.problem.label()),
    )
    session = Session(task, cast(Any, card), cast(Any, card), memory, ids, run, Budget(max_evals=MOST))
    memory.start_run(run, GOAL, {}, "embedded", ids.environment, ids.problem, {})
    if warm:
        warm_up(session)
    curve: list[float] = []
    held = min((card.times[c] for c in session.known if c in card.times), default=np.inf)
    while session.budget.evals_left():
        wanted = BATCH if curve else FIRST_BATCH
        count = min(wanted, session.budget.evals_left())
        answer = suggest_configs.run(session, suggest_configs.SuggestConfigs(count=count), "suggest")
        if answer["stop"] or not answer["proposals"]:
            break
        proposed = [session.config(p["config"]) for p in answer["proposals"]]
        ready = [c for c, r in zip(proposed, session.compile(proposed, "c"), strict=True) if r.status == "correct"]
        session.measure(ready, "m")
        for c in ready:
            held = min(held, card.times.get(c, np.inf))
            curve.append(held)
    memory.finish_run(run, "proven", {"evaluations": len(curve)})
    return Search(curve, held)


def compare(what: str, cold: Search, warm: Search) -> dict[str, Any]:
    """Evaluations to the cold search's result, and what was saved of them."""
    before, after = cold.reached(cold.best), warm.reached(cold.best)
    return {
        "what": what,
        "cold": {"evaluations": len(cold.curve), "to_its_best": before, "ms": round(cold.best, 5)},
        "warm": {"evaluations": len(warm.curve), "to_the_same": after, "ms": round(warm.best, 5)},
        "fewer_to_the_same": f"{1 - after / before:.0%}" if after < NEVER else "never got there",
        "fewer_in_all": f"{1 - len(warm.curve) / len(cold.curve):.0%}",
    }


def same(cards: Sequence[Card], where: Path) -> list[dict[str, Any]]:
    found = []
    for i, card in enumerate(cards):
        memory = Memory.open(where / f"same-{i}.db")
        first, second = search(card, memory, "first", True), search(card, memory, "second", True)
        found.append(compare(card.task.problem.label(), first, second))
    return found


def neighbour(cards: Sequence[Card], where: Path) -> list[dict[str, Any]]:
    found = []
    for i, card in enumerate(cards):
        others = [c for c in cards if c.task.spec.name == card.task.spec.name and c is not card]
        if not others:
            click.echo(f"{card.task.problem.label()}: no other landscape of {card.task.spec.name}", err=True)
            continue
        cold = search(card, Memory.open(where / f"cold-{i}.db"), "cold", True)
        memory = Memory.open(where / f"warm-{i}.db")
        for n, other in enumerate(others):
            search(other, memory, f"before-{n}", True)
        warm = search(card, memory, "warm", True)
        found.append(compare(f"{card.task.problem.label()} after {len(others)} other", cold, warm))
    return found


def of_files(
    files: Sequence[Path], seeds: int, measure: Callable[[Sequence[Card], Path], list[dict[str, Any]]], where: Path
) -> list[dict[str, Any]]:
    """All searches of all seeds, each seed with memory files of its own."""
    found = []
    for seed in range(seeds):
        cards = [recorded(path, seed) for path in files]
        found += [{"seed": seed} | row for row in measure(cards, fresh(where / f"seed-{seed}"))]
    return found


def of_made_up(measure: Callable[[Sequence[Card], Path], list[dict[str, Any]]], where: Path) -> list[dict[str, Any]]:
    cards = [[made_up(shape, number) for shape in MADE_UP] for number in range(MADE_UP_CARDS)]
    return [row for n, group in enumerate(cards) for row in measure(group, fresh(where / f"card-{n}"))]


def fresh(folder_: Path) -> Path:
    folder_.mkdir()
    return folder_


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The medians over the seeds of every problem, and over all searches."""
    problems = list(dict.fromkeys(row["what"] for row in rows))
    return [medians(what, [row for row in rows if row["what"] == what]) for what in problems] + [medians("all", rows)]


def medians(what: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    saved = [1 - row["warm"]["to_the_same"] / row["cold"]["to_its_best"] for row in rows]
    in_all = [1 - row["warm"]["evaluations"] / row["cold"]["evaluations"] for row in rows]
    return {
        "what": what,
        "searches": len(rows),
        "cold_evaluations": median(row["cold"]["evaluations"] for row in rows),
        "warm_evaluations": median(row["warm"]["evaluations"] for row in rows),
        "median_fewer_in_all": f"{median(in_all):.0%}",
        "cold_to_its_best": median(row["cold"]["to_its_best"] for row in rows),
        "warm_to_the_same": median(row["warm"]["to_the_same"] for row in rows),
        "median_fewer_to_the_same": f"{median(saved):.0%}",
        "never_got_there": sum(row["warm"]["to_the_same"] >= NEVER for row in rows),
    }


def agent(where: Path) -> list[dict[str, Any]]:
    """Two runs of the command a person types."""
    runs = []
    for _ in range(2):
        command = [sys.executable, "-m", "agent", GOAL, "--device", "recorded", "--json"]
        environment = {**os.environ, "XDG_DATA_HOME": str(where)}
        done = subprocess.run(
            [*command, "--memory", str(where / "agent.db")], env=environment, check=True, capture_output=True, text=True
        )
        out = json.loads(done.stdout)
        runs.append({name: out[name] for name in ("evaluations", "seconds", "proven")} | {"ms": out["best"]["ms"]})
    first, second = runs
    return [{"first": first, "second": second, "fewer": f"{1 - second['evaluations'] / first['evaluations']:.0%}"}]


@click.command()
@click.argument("what", type=click.Choice(["agent", "same", "neighbour"]))
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seeds", type=click.IntRange(1), default=1, help="How often, with readings drawn anew.")
@click.option("--made-up", "invented", is_flag=True, help="Three shapes of a made-up card instead of landscapes.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Where to put the figures too.")
def main(what: str, files: tuple[Path, ...], seeds: int, invented: bool, path: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="autokernel-warm-") as name:
        where = Path(name)
        if what == "agent":
            figures: dict[str, Any] = {"searches": agent(where)}
        else:
            measure = same if what == "same" else neighbour
            paths = list(files) or sorted(p for p in folder().glob("*") if p.name.endswith(SUFFIXES))
            rows = of_made_up(measure, where) if invented else of_files(paths, seeds, measure, where)
            figures = {"searches": rows, "medians": summary(rows) if rows else []}
    if path is not None:
        kept = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(kept | {what: figures}, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
