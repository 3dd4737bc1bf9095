"""Situations for tasks: a recorded problem in which something went differently, and a session on it.

Every number stays a recorded one or a stated multiple of it; nothing here is ever scored as a measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kernels.hardware import hardware_named
from kernels.registry import get
from kernels.spec import Config, KernelSpec, Problem
from memory.store import Memory
from memory.terms import Status
from tools.harness.device import NO_LIMIT, CompileLimit
from tools.harness.devices.recorded import RecordedDevice
from tools.harness.landscapes.readings import Entry, Landscape
from tools.harness.results import CheckResult, CompileResult
from tools.session.budget import Budget
from tools.session.recall import warm_up
from tools.session.session import Ids, Session
from tools.session.task import Task


class RecordedCompiler:
    """Implements :class:`tools.harness.device.CompilePool`: the figures of the recording."""

    parallel = False

    def __init__(self, landscape: Landscape) -> None:
        self._entries = landscape.entries

    def compile(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], limit: CompileLimit = NO_LIMIT
    ) -> list[CompileResult]:
        return [self._one(c) for c in configs]

    def close(self) -> None:
        """Nothing is open."""

    def _one(self, config: Config) -> CompileResult:
        entry = self._entries.get(config.key())
        if entry is None or entry.compiled is None:
            return CompileResult(config=config.model_dump(mode="json"), status="constraints", reason="not recorded")
        return entry.compiled


class RecordedVerdicts:
    """Stands in for the interpreter: the verdict of the recording."""

    def __init__(self, landscape: Landscape) -> None:
        self._entries = landscape.entries

    def check(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], hardware: str
    ) -> list[CheckResult]:
        found = []
        for c in configs:
            entry = self._entries.get(c.key())
            status: Status = entry.status if entry else "constraints"
            found.append(CheckResult(config=c.model_dump(mode="json"), status=status, where="recorded"))
        return found

    def close(self) -> None:
        """Nothing is open."""


def open_recorded_session(landscape: Landscape, memory: Path, run_id: str, max_evals: int, seed: int) -> Session:
    """A session on `landscape`, which must be of a kernel of ours."""
    spec = get(landscape.kernel)
    problem = spec.problem_type.model_validate(landscape.problem)
    device = RecordedDevice(landscape, spec, problem, RecordedVerdicts(landscape))
    store = Memory.open(memory)
    ids = Ids.of(store, device.info, spec, problem)
    task = Task(spec, problem, hardware_named(device.hardware), spec.metric, landscape.regime, seed)
    session = Session(task, device, RecordedCompiler(landscape), store, ids, run_id, Budget(max_evals, 3600.0))
    warm_up(session)
    return session


def with_failures(landscape: Landscape, fails: Callable[[Entry], bool], status: Status, reason: str) -> Landscape:
    """`landscape` with some configs failing when they are run."""
    entries = {
        key: Entry(config=e.config, status=status, reason=reason, compiled=e.compiled, run_seconds=e.run_seconds)
        if e.status == "correct" and fails(e)
        else e
        for key, e in landscape.entries.items()
    }
    return landscape.model_copy(update={"entries": entries})


def with_faster_baseline(landscape: Landscape, factor: float) -> Landscape:
    """`landscape` with every baseline, the reference beside each config included, `factor` times as fast."""
    entries = {
        key: e.model_copy(
            update={
                "sets": {
                    name: s.model_copy(update={"reference_ms": [t / factor for t in s.reference_ms]})
                    for name, s in e.sets.items()
                }
            }
        )
        for key, e in landscape.entries.items()
    }
    baselines = [
        b.model_copy(
            update={
                "rounds": [r.model_copy(update={"samples_ms": [t / factor for t in r.samples_ms]}) for r in b.rounds]
            }
        )
        for b in landscape.baselines
    ]
    return landscape.model_copy(update={"entries": entries, "baselines": baselines})
