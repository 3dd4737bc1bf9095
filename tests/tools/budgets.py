"""Runs of the embedded planner on a recorded space, whose compiler answers from the recording too: a whole run, proof
included, takes a second, so that a property can be shown over many of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.goal.objective import Limits, Objective
from agent.loop.actions import LiveActions
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.loop.run import begin
from kernels.hardware import hardware_named
from kernels.registry import get
from memory.store import Memory
from tools.harness.devices.recorded import RecordedDevice
from tools.harness.landscapes.readings import Landscape
from tools.harness.results import CheckResult, CompileResult
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task


class RecordedCompiler:
    """A compile pool that answers what the recording says."""

    parallel = True

    def __init__(self, landscape: Landscape) -> None:
        self._entries = landscape.entries

    def compile(self, spec: Any, problem: Any, configs: Any, limit: Any = None) -> list[CompileResult]:
        found = [self._entries[config.key()] for config in configs]
        return [e.compiled or CompileResult(config=e.config, status="correct", reason="") for e in found]

    def close(self) -> None:
        """Nothing is open."""


class RecordedChecker:
    """Every config passes in the interpreter; what the GPU found wrong is in the recording."""

    def check(self, spec: Any, problem: Any, configs: Any, hardware: str) -> list[CheckResult]:
        return [CheckResult(config=c.model_dump(mode="json"), status="correct", where="recorded") for c in configs]

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Played:
    """One run."""

    outcome: Outcome
    measured: tuple[str, ...]
    """Keys of the configs in the order of their evaluation."""

    @property
    def ms(self) -> float:
        """The result's time by set B."""
        assert self.outcome.best is not None
        return self.outcome.best.ms


def play(landscape: Landscape, budget: int, seed: int, folder: Path, seconds: float = 3600.0) -> Played:
    """A cold run of `budget` evaluations and `seconds`; traces and memory go under `folder`."""
    spec = get(landscape.kernel)
    problem = spec.problem_type.model_validate(landscape.problem)
    opened: list[Session] = []

    def open_(objective: Objective, memory: Path | None, run_id: str, watch: Watch) -> LiveActions:
        device = RecordedDevice(landscape, spec, problem, RecordedChecker())
        store = Memory.open(folder / f"{run_id}.db")
        ids = Ids.of(store, device.info, spec, problem)
        store.start_run(run_id, "", {}, "embedded", ids.environment, ids.problem, {})
        task = Task(spec, problem, hardware_named(device.hardware), spec.metric, "burst", seed)
        session = Session(task, device, RecordedCompiler(landscape), store, ids, run_id, Budget(budget, seconds))
        opened.append(session)
        return LiveActions(session)

    limits = Limits(max_evals=budget, max_seconds=seconds)
    objective = Objective(goal="", kernel=landscape.kernel, device="recorded", limits=limits, seed=seed)
    outcome = begin(objective, None, None, Watch(), open_=open_).outcome
    return Played(outcome, tuple(config.key() for config in opened[0].measured))
