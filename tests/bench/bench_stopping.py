"""How often a stop keeps what it promises: ``python -m tests.bench.bench_stopping --json FILE [FILE…] [--seeds 6]``.

The planner searches recorded landscapes (:mod:`tests.bench.planner_spaces`) until it advises a stop. A stop says that
the best config measured is within so many per cent of the best there is, with 95 % probability. The planner reads one
set of readings, a bootstrap of it for each seed; the other set, which it does not see, judges. Each set reads in turn.
Files with one set are searched once for each seed and judged by it.

FILE keeps a line per search. The same command goes on where it stood; once all are there it prints the table only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import click

from agent.models.embedded import BATCH, FIRST_BATCH
from kernels.spec import Config
from tests.bench.planner_rivals import Ledger
from tests.bench.planner_spaces import PLAIN, VIEWS, Space, load
from tools.harness.landscapes.files import SUFFIXES
from tools.harness.landscapes.named import folder, read_landscape
from tools.harness.landscapes.readings import SetName
from tools.planner.evidence import Evidence
from tools.planner.propose import Plan, Planner
from tools.planner.stopping import TOLERANCE
from tools.session.task import Task

OTHER: dict[SetName, SetName] = {"A": "B", "B": "A"}


def reading(space: Space, which: SetName) -> tuple[Space, dict[Config, float]]:
    """The space with set `which` as the readings that a search sees, and the judge's times of the other set, ms. Files
    with one set are judged by it."""
    judged = {
        c: space.landscape.ms(e, OTHER[which]) or space.times[c] for c, e in space.entries.items() if c in space.times
    }
    for config, entry in space.entries.items():
        if which == "B" and "B" in entry.sets:
            swapped = {"A": entry.sets["B"], "B": entry.sets["A"]}
            space.entries[config] = entry.model_copy(update={"sets": swapped})
    return space, judged


def search(space: Space, judged: dict[Config, float], seed: int, most: int) -> dict[str, Any]:
    """One search: where the expected gain alone would have stopped, where the planner stopped, and what it said."""
    ledger = Ledger(space, seed, most)
    task = Task(space.task.spec, space.task.problem, space.task.hardware, seed=seed)
    mind, row, began = Planner(task, space.configs), dict[str, Any](), time.perf_counter()
    while not ledger.spent:
        count = BATCH if ledger.curve else FIRST_BATCH
        plan = mind.propose(Evidence(ledger.compiled, {}, ledger.measured), count, patient=True)
        if plan.regret is not None and "gain_stop" not in row:
            row |= {"gain_stop": len(ledger.curve), "gain_regret": regret(ledger, judged)}
        if plan.stop:
            row |= promised(plan, ledger, judged)
            break
        for p in plan.proposals[: plan.try_first]:
            if not ledger.spent:
                ledger.evaluate(p.config)
    row.setdefault("end", len(ledger.curve))
    row |= {"end_regret": regret(ledger, judged), "seconds": round(time.perf_counter() - began, 1)}
    return row


def promised(plan: Plan, ledger: Ledger, judged: dict[Config, float]) -> dict[str, Any]:
    bound = TOLERANCE if plan.regret is None else max(TOLERANCE, plan.regret.bound)
    held = regret(ledger, judged) <= bound
    return {"stop": len(ledger.curve), "bound": round(bound, 5), "held": held}


def regret(ledger: Ledger, judged: dict[Config, float]) -> float:
    """Of the config with the best reading, by the judge."""
    times = Evidence(ledger.compiled, {}, ledger.measured).times()
    return round(judged[min(times, key=times.__getitem__)] / min(judged.values()) - 1, 5)


def jobs(sets: Mapping[str, Sequence[SetName]], views: Sequence[str], seeds: int) -> Iterator[dict[str, Any]]:
    """`sets`: of each landscape, those that can be read."""
    for seed in range(seeds):
        for name, found in sets.items():
            for view in views:
                for which in found:
                    yield {"landscape": name, "view": view, "reads": which, "seed": seed}


def sets_of(path: Path) -> list[SetName]:
    entries = read_landscape(path).entries.values()
    return [which for which in OTHER if which == "A" or any(which in e.sets for e in entries)]


def table(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """By view, over all landscapes and by landscape."""
    found = list(rows)
    views = [*dict.fromkeys(r["view"] for r in found)]
    return [summary(view, [r for r in found if r["view"] == view]) for view in views] + [
        {"landscape": name, **summary(view, here)}
        for view in views
        for name in dict.fromkeys(r["landscape"] for r in found)
        if (here := [r for r in found if (r["view"], r["landscape"]) == (view, name)])
    ]


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    stops, by_gain = [r for r in rows if "stop" in r], [r for r in rows if "gain_stop" in r]
    tight = [r for r in stops if r["bound"] <= TOLERANCE]
    return {
        "view": name,
        "searches": len(rows),
        "stops": len(stops),
        "held": share(r["held"] for r in stops),
        "within_1_percent": share(r["end_regret"] <= TOLERANCE for r in stops),
        "stops_within_1_percent": len(tight),
        "true": share(r["held"] for r in tight),
        "evaluations": median(r["stop"] for r in stops) if stops else None,
        "regret": fmean(r["end_regret"] for r in stops) if stops else None,
        "worst": max((r["end_regret"] for r in stops), default=None),
        "by_gain_stops": len(by_gain),
        "by_gain_within_1_percent": share(r["gain_regret"] <= TOLERANCE for r in by_gain),
        "by_gain_evaluations": median(r["gain_stop"] for r in by_gain) if by_gain else None,
        "by_gain_regret": fmean(r["gain_regret"] for r in by_gain) if by_gain else None,
        "by_gain_worst": max((r["gain_regret"] for r in by_gain), default=None),
    }


def share(flags: Iterable[bool]) -> float | None:
    found = list(flags)
    return round(sum(found) / len(found), 4) if found else None


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "out", type=click.Path(path_type=Path), required=True, help="A line per search; goes on there.")
@click.option("--seeds", default=6, help="Searches per landscape, view and set.")
@click.option("--most", default=100, help="Evaluations of a search that does not stop.")
@click.option("--view", "views", multiple=True, type=click.Choice(VIEWS), help="What is hidden (plain: nothing).")
@click.option("--minutes", default=5.0, help="Time after which it ends; the same command goes on.")
def main(files: tuple[Path, ...], out: Path, seeds: int, most: int, views: tuple[str, ...], minutes: float) -> None:
    paths = list(files) or sorted(p for p in folder().glob("*") if p.name.endswith(SUFFIXES))
    places = {p.name.removesuffix(".json.gz"): p for p in paths}
    kept = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {tuple(r[k] for k in ("landscape", "view", "reads", "seed")) for r in kept}
    end = time.monotonic() + 60 * minutes
    for job in jobs({name: sets_of(p) for name, p in places.items()}, views or (PLAIN,), seeds):
        if tuple(job.values()) in done:
            continue
        if time.monotonic() > end:
            click.echo("time is up: the same command goes on", err=True)
            break
        space, judged = reading(load(places[job["landscape"]], job["view"]), job["reads"])
        kept.append(job | search(space, judged, job["seed"], most))
        with out.open("a") as f:
            f.write(json.dumps(kept[-1]) + "\n")
    print(json.dumps(table(kept), indent=1))


if __name__ == "__main__":
    main()
