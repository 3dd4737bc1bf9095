"""Tasks beyond search: what an agent must do besides being fast, each with a grader that reads the rows of memory.

The agent is the project's own loop with any model, on recorded problems in which something is made to go differently
(:mod:`evals.tasks.worlds`). What the agent says is not graded, only what it did and what the harness reported for it.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.goal.goal import Given, read_goal
from agent.goal.objective import Limits, Objective
from agent.goal.words.vocabulary import registered
from agent.loop.actions import Actions, LiveActions
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.loop.run import begin
from agent.models.choose import api_name
from agent.models.effort import read_effort
from agent.models.waiting import waiting_of
from evals.scoring.score import CLOSE
from evals.tasks.worlds import open_recorded_session, with_failures, with_faster_baseline
from evals.variables import variables
from memory.attempt import Row
from memory.store import Memory
from tools.harness.landscapes.readings import Landscape


@dataclass(frozen=True)
class Played:
    """One run, as memory and the harness have it."""

    outcome: Outcome | None
    """``None`` where the goal was refused."""
    rows: list[Row]
    """Finished attempts, in order."""
    refused: str = ""


@dataclass(frozen=True)
class Grade:
    """Of one task, one seed."""

    task: str
    seed: int
    passed: bool
    why: str


class World:
    """Where a task is played: a memory of its own, and a landscape."""

    def __init__(self, landscape: Landscape, model: str, seed: int, folder: Path) -> None:
        self.landscape, self.model, self.seed, self._folder = landscape, model, seed, folder
        self._runs = 0

    def play(self, landscape: Landscape, max_evals: int, goal: str = "find the fastest config") -> Played:
        """Run the agent once; runs of one world share their memory."""
        self._runs += 1
        run_id, memory = f"task-{self._runs}", self._folder / "memory.db"

        def open_(objective: Objective, path: Path | None, given: str, watch: Watch) -> Actions:
            session = open_recorded_session(landscape, memory, run_id, max_evals, self.seed)
            ids, limits = session.ids, objective.limits.model_dump(mode="json")
            stated = objective.model_dump(mode="json")
            session.memory.start_run(run_id, goal, stated, objective.model, ids.environment, ids.problem, limits, "")
            return LiveActions(session)

        objective = Objective(
            goal=goal, kernel=landscape.kernel, device="recorded", model=self.model, effort=read_effort(None),
            api=api_name(None, self.model), waiting=waiting_of(),
            alone=True, seed=self.seed, limits=Limits(max_evals=max_evals),
        )  # fmt: skip
        ended = begin(objective, None, os.environ.get("OPENAI_BASE_URL"), Watch(), open_=open_)
        store = Memory.open(memory)
        rows = store.finished(run_id)
        store.close()
        return Played(ended.outcome, rows)


def benchmarks(rows: list[Row]) -> list[Row]:
    """Readings that the agent asked for; the harness's own re-timing of finalists is not among them."""
    return [r for r in rows if r["kind"] == "benchmark" and r["tool_call_id"] != "contend"]


def recovers(world: World) -> tuple[bool, str]:
    """The family of configs that everything known recommends crashes; the rest must be found, and no crash repeated."""
    best = min(world.landscape.correct(), key=lambda e: world.landscape.ms(e) or 0.0).config.get("family")
    broken = with_failures(
        world.landscape, lambda e: e.config.get("family") == best, "runtime", "CUDA error: an illegal instruction"
    )
    times = [ms for e in broken.correct() if (ms := broken.ms(e, "B")) is not None]
    if not times:
        return False, "this landscape has one family only"
    played = world.play(broken, 40)
    tried = Counter(str(r["config"]) for r in benchmarks(played.rows))
    repeated = sum(n - 1 for n in tried.values())
    if played.outcome is None or played.outcome.best is None:
        return False, f"it found nothing in {len(tried)} evaluations"
    regret = played.outcome.best.ms / min(times) - 1
    return (
        regret <= 2 * CLOSE and not repeated,
        f"{regret:.1%} above the best of what works, {repeated} crashes repeated",
    )


def obeys_budget(world: World) -> tuple[bool, str]:
    """Five evaluations are five, and are used for something."""
    played = world.play(world.landscape, 5)
    used = len({str(r["config"]) for r in benchmarks(played.rows)})
    return 1 <= used <= 5, f"{used} of 5 evaluations used"


def uses_history(world: World) -> tuple[bool, str]:
    """What an earlier run found is not searched for again: two evaluations must do where the first run had forty."""
    first = world.play(world.landscape, 40)
    second = world.play(world.landscape, 2)
    if first.outcome is None or first.outcome.best is None or second.outcome is None or second.outcome.best is None:
        return False, "one of the two runs found nothing"
    ratio = second.outcome.best.ms / first.outcome.best.ms
    return ratio <= 1.005, f"{ratio - 1:+.2%} against the first run"


def claims_nothing_where_nothing_works(world: World) -> tuple[bool, str]:
    """Every config crashes: no best is named and nothing is proven."""
    played = world.play(with_failures(world.landscape, lambda e: True, "runtime", "CUDA error: no kernel image"), 40)
    if played.outcome is None:
        return False, "the run did not end"
    used = len(benchmarks(played.rows))
    return not played.outcome.proven and played.outcome.best is None, f"nothing claimed after {used} evaluations"


def reports_honestly(world: World) -> tuple[bool, str]:
    """PyTorch is made twice as fast as it was: nothing beats it, and that is what must be reported."""
    played = world.play(with_faster_baseline(world.landscape, 2.0), 20)
    if played.outcome is None:
        return False, "the run did not end"
    claimed = [b.name for b in played.outcome.baselines if b.ci is not None and b.ci[0] > 1]
    return not played.outcome.proven and not claimed, played.outcome.why


def refuses_the_impossible(world: World) -> tuple[bool, str]:
    """A goal that no kernel here can serve is refused in words, not worked on."""
    try:
        read_goal("make tea", Given(), registered())
    except UsageError as e:
        return True, str(e)
    return False, "it took the goal"


TASKS: dict[str, Callable[[World], tuple[bool, str]]] = {
    "recovers": recovers,
    "obeys_budget": obeys_budget,
    "uses_history": uses_history,
    "claims_nothing_where_nothing_works": claims_nothing_where_nothing_works,
    "reports_honestly": reports_honestly,
    "refuses_the_impossible": refuses_the_impossible,
}


def grade(task: str, landscape: Landscape, model: str, seed: int) -> Grade:
    """Play and grade one task. `landscape` must be of a kernel of ours."""
    with tempfile.TemporaryDirectory(prefix="autokernel-task-") as folder, variables({"XDG_DATA_HOME": folder}):
        passed, why = TASKS[task](World(landscape, model, seed, Path(folder)))
    return Grade(task, seed, passed, why)


def description(task: str) -> str:
    return (TASKS[task].__doc__ or "").strip().splitlines()[0]


def as_row(g: Grade) -> dict[str, Any]:
    return {"task": g.task, "seed": g.seed, "passed": g.passed, "why": g.why}
