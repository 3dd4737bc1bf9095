"""A session: task, device, compile pool, memory and budget of one run, passed to every tool call.

Every attempt's row is written before the attempt starts and finished after it, so that memory knows what crashed the
machine. What this run has done is never done twice: a repeated config is answered from what is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from kernels.spec import Config, KernelSpec, Problem
from memory.proofs.best_proof import BestProof, best_proof
from memory.shared_models import DeviceInfo
from memory.store import Begin, Figures, Finish, Memory
from memory.terms import Kind
from tools.harness.device import CompilePool, Device
from tools.harness.results import CheckResult, CompileResult, Figure, Measurement, Proof, Result
from tools.planner.propose import Planner
from tools.planner.transfer import NearProblem
from tools.session.budget import Budget
from tools.session.task import Task

R = TypeVar("R", bound=Result)

CLOSE = 1.02
"""A screening's noise is under 1 %; whoever is within 2 % of the best may be the best."""
CONTENDERS = 16
"""Of an exhaustive screening of 1,009 configs the true best was always among the first 14 (bench_harness finalists)."""
JOULES_NOISE = 0.005
"""Relative, of a contended config's joules: sustained rounds agree within 0.3 %."""
FRUGAL_CLOSE, FRUGAL_CONTENDERS = 1.05, 8
"""Where energy decides: the most frugal config need not be the fastest in a burst, and each costs seconds a look."""


@dataclass(frozen=True)
class Ids:
    """Rows of memory that every attempt of this run refers to."""

    environment: int
    kernel: int
    problem: int

    @classmethod
    def of(cls, memory: Memory, info: DeviceInfo, spec: KernelSpec[Any, Any], problem: Problem) -> Ids:
        """The rows of this device, kernel source and problem, written where they are new."""
        kernel = memory.kernel(spec.name, spec.source_hash())
        return cls(
            environment=memory.environment(info.model_dump()),
            kernel=kernel,
            problem=memory.problem(kernel, problem.model_dump(mode="json"), problem.label()),
        )


@dataclass
class Session:
    """Everything a tool needs and a model cannot change."""

    task: Task
    device: Device
    pool: CompilePool
    memory: Memory
    ids: Ids
    run_id: str
    budget: Budget
    progress: Callable[[str], None] = lambda line: None
    compiled: dict[Config, CompileResult] = field(default_factory=dict)
    checked: dict[Config, CheckResult] = field(default_factory=dict)
    measured: dict[Config, Measurement] = field(default_factory=dict)
    known: dict[Config, str] = field(default_factory=dict)
    """Those of `measured` that memory knew when this run began, and the run that measured each; they cost nothing."""
    seeds: list[Config] = field(default_factory=list)
    """Winners of near problems, worth measuring first."""
    near_problems: list[NearProblem] = field(default_factory=list)
    """Near problems as the planner learns from them."""
    planner: Planner | None = None
    contended: dict[Config, Measurement] = field(default_factory=dict)
    """Finalists, timed against one another."""
    _ceilings: dict[str, float] | None = None

    @property
    def gpus(self) -> int:
        """How many GPUs measure at the same time."""
        return self.device.gpus()

    def best(self) -> Measurement | None:
        """The fastest verified measurement of this run, or known to it."""
        return min(self.ranked(), key=lambda m: m.ms or 0.0, default=None)

    def ranked(self) -> list[Measurement]:
        """Verified measurements of this run, and those known to it, fastest first."""
        correct = [m for m in self.measured.values() if m.status == "correct" and m.ms is not None]
        return sorted(correct, key=lambda m: m.ms or 0.0)

    @cached_property
    def space(self) -> list[Config]:
        """The configs that can be tried: the kernel's space, as far as the device can measure it."""
        space = self.task.spec.space(self.task.problem, self.task.hardware)
        there = self.device.configs()
        return space if there is None else [c for c in space if c in there]

    def config(self, values: dict[str, Any]) -> Config:
        config: Config = self.task.spec.config_type.model_validate(values)
        return config

    def compile(self, configs: Sequence[Config], call_id: str) -> list[CompileResult]:
        """Compile what is not compiled yet."""

        def run(new: list[Config]) -> list[CompileResult]:
            return self.pool.compile(self.task.spec, self.task.problem, new)

        return self._once("compile", configs, call_id, self.compiled, run)

    def check(self, configs: Sequence[Config], call_id: str) -> list[CheckResult]:
        """Check what is not checked yet."""
        return self._once("check", configs, call_id, self.checked, self.device.check)

    def measure(self, configs: Sequence[Config], call_id: str) -> list[Measurement]:
        """Compile and time what is not timed yet, as far as the budget of evaluations goes; configs beyond it are left
        out of the answer."""
        new = [c for c in dict.fromkeys(configs) if c not in self.measured]
        allowed = new[: self.budget.evals_left()]
        if len(allowed) < len(new):
            refused = set(new[len(allowed) :])
            configs = [c for c in configs if c not in refused]
        self.budget.evals += len(allowed)

        def run(unmeasured: list[Config]) -> list[Measurement]:
            verdicts = [self._verdict(r) for r in self.compile(unmeasured, call_id)]
            ready = [c for c, known in zip(unmeasured, verdicts, strict=True) if known is None]
            timed = iter(self.device.measure(ready, self.task.regime))
            return [known or next(timed) for known in verdicts]

        return self._once("benchmark", configs, call_id, self.measured, run)

    def _verdict(self, compiled: CompileResult) -> Measurement | None:
        """What compilation alone says of a config: that it cannot run, or that it is another one over again; ``None``
        where it has to be measured."""
        if compiled.status != "correct":
            return Measurement(
                config=compiled.config, status=compiled.status, reason=compiled.reason, regime=self.task.regime
            )
        for config, m in self.measured.items():
            other = self.compiled.get(config)
            if other and compiled.fingerprint and other.fingerprint == compiled.fingerprint and m.status == "correct":
                how = f"the same machine code on the same grid as {config.key()}: not measured again"
                return m.model_copy(update={"config": compiled.config, "how": how, "seconds": 0.0})
        return None

    def finalists(self, limit: int) -> tuple[list[Config], int]:
        """The fastest verified configs of this run, best first, and how many of them lie within noise of the best. On a
        GPU those within CLOSE of the best are timed once more against one another: a screening of five samples cannot
        tell them apart. Recorded ones are ranked by the upper ends of their intervals."""
        ranked = sorted(
            (m.ms, i, c)
            for i, (c, m) in enumerate(self.measured.items())
            if m.status == "correct" and m.ms is not None and self._sound(c)
        )
        within, most = (FRUGAL_CLOSE, FRUGAL_CONTENDERS) if self.task.energy else (CLOSE, CONTENDERS)
        live = self.device.info.kind == "live"
        close = [c for ms, _, c in ranked if not live or ms <= ranked[0][0] * within][:most]
        timed = self.contended
        if len(close) > 1 and live:
            timed.update(zip(close, self._record("benchmark", close, "contend", self._contend), strict=True))
        elif len(close) > 1:  # a landscape has no more readings for a search: their intervals are what it can tell
            timed.update(zip(close, self._contend(close), strict=False))
        sound = [c for c in timed if timed[c].status == "correct"]
        ahead = sorted(sound, key=lambda c: self._end(timed[c], 0 if live else 1))
        found = [*ahead, *(c for _, _, c in ranked if c not in timed)][:limit]
        level = [c for c in ahead if self._end(timed[c], -1) <= self._end(timed[ahead[0]], 1)] or close[:1]
        return found, min(len(level), len(found))

    def _end(self, m: Measurement, side: int) -> float:
        """The lower end (`side` -1), the middle (0) or the upper end (1) of what `m` is ranked by."""
        if self.task.energy:
            return (m.joules or 0.0) * (1 + side * JOULES_NOISE)
        return (m.ms or 0.0) if m.ci_ms is None or side == 0 else m.ci_ms[0 if side < 0 else 1]

    @property
    def _figure(self) -> Figure:
        return "joules" if self.task.energy else "ms"

    def _contend(self, configs: list[Config]) -> list[Measurement]:
        if self.task.energy:
            return self.device.contend(configs, "sustained", "joules")
        return self.device.contend(configs, self.task.regime)

    def _fastest(self) -> Config | None:
        """The best per second, beside which the best per joule is shown: of those timed against one another, else of
        the screening."""
        known = self.contended or self.measured
        timed = {c: m.ms for c, m in known.items() if m.status == "correct" and m.ms is not None}
        return min(timed, key=lambda c: timed[c], default=None)

    def _sound(self, config: Config) -> bool:
        """Nothing is known against the config; a check that our machinery spoilt says nothing of it."""
        check = self.checked.get(config)
        return check is None or check.status in ("correct", "infrastructure")

    def expect_proof(self) -> None:
        """A proof will be asked for: the device may prepare it in the background."""
        self.device.expect_proof()

    def prove(self, config: Config, max_seconds: float = 30.0) -> Proof:
        """Time `config` interleaved with every baseline; the last word of a run. Where the goal is energy, in the
        sustained regime, and beside the fastest config if that is another."""

        def run(configs: list[Config]) -> list[Proof]:
            if not self.task.energy:
                return [self.device.prove(configs[0], self.task.regime, max_seconds)]
            fastest = self._fastest()
            beside = fastest if fastest != configs[0] else None
            return [self.device.prove(configs[0], "sustained", max_seconds, "joules", beside)]

        return self._record("proof", [config], "proof", run)[0]

    def earlier_proof(self, against: Sequence[str] = ()) -> BestProof | None:
        """The best proof that other runs made of this problem in this environment."""
        energy = self.task.energy is not None
        regime = "sustained" if energy else self.task.regime
        return best_proof(self.memory, self.ids.problem, self.ids.environment, regime, energy, against, self.run_id)

    def ceilings(self) -> dict[str, float]:
        """The device's measured rates, asked once."""
        if self._ceilings is None:
            self._ceilings = self.device.ceilings()
        return self._ceilings

    def close(self) -> None:
        self.device.close()
        self.pool.close()
        self.memory.close()

    def _once(
        self,
        kind: Kind,
        configs: Sequence[Config],
        call_id: str,
        known: dict[Config, R],
        run: Callable[[list[Config]], list[R]],
    ) -> list[R]:
        """Run what is not known yet; what our own machinery spoilt is not known."""
        new = [c for c in dict.fromkeys(configs) if c not in known or known[c].status == "infrastructure"]
        if new:
            known.update(zip(new, self._record(kind, new, call_id, run), strict=True))
        return [known[c] for c in configs]

    def _record(
        self, kind: Kind, configs: list[Config], call_id: str, run: Callable[[list[Config]], list[R]]
    ) -> list[R]:
        """Rows 'pending', then the attempt, then the rows' outcome."""
        ids, values = self.ids, [c.model_dump(mode="json") for c in configs]
        addresses = self.memory.configs(ids.kernel, values)
        rows = self.memory.begin_attempts(
            [Begin(self.run_id, call_id, ids.environment, ids.problem, address, kind) for address in addresses]
        )
        results = run(configs)
        finished = [Finish(i, r.status, self.figures(r)) for i, r in zip(rows, results, strict=True)]
        self.memory.finish_attempts(finished)
        return results

    def figures(self, r: Result) -> Figures:
        """A result as the figures of an attempt."""
        found = r.model_dump(
            mode="json", exclude_none=True, exclude={"config", "status", "telemetry", "ci_ms", "ci_joules", "where"}
        )
        if "samples_ms" in found:
            found["samples"] = [round(s, 6) for s in found.pop("samples_ms")]
        if isinstance(r, CheckResult):
            found["checked_where"] = r.where
        if isinstance(r, Measurement | Proof):
            if r.ci_ms is not None:
                found["ci_low"], found["ci_high"] = r.ci_ms
            if r.telemetry is not None:
                found |= r.telemetry.model_dump(exclude_none=True)
            if r.ms is not None:
                found |= {"value": self.task.value(r.ms), "unit": self.task.unit}
            if isinstance(r, Proof) and self.task.energy and r.joules is not None:
                found |= {"value": self.task.energy_value(r.joules), "unit": self.task.energy_unit}
        return cast(Figures, found)
