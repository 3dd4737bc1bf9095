"""A session: task, device, compile pool, memory and budget of one run, passed to every tool call.

Every attempt's row is written before the attempt starts and finished after it, so that memory knows what crashed the
machine. What this run has done is never done twice: a repeated config is answered from what is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from kernels.spec import Config, KernelSpec, Problem
from memory.proofs.best_proof import BestProof, best_proof
from memory.proofs.timed_baselines import baseline_times
from memory.shared_models import DeviceInfo
from memory.store import Begin, Figures, Finish, Memory, MemoryFileError
from memory.terms import Kind, Status, variant_of
from tools.harness.checking.interpreter import Interpreter
from tools.harness.device import CompileLimit, CompilePool, Device, DeviceError
from tools.harness.results import CheckResult, CompileResult, Figure, Measurement, Proof, Result
from tools.planner.propose import Planner
from tools.planner.transfer import NearProblem
from tools.session.budget import Budget
from tools.session.neighbourhood import Neighbourhood
from tools.session.task import Task
from tools.session.variants.finalist_codes import with_every_code
from tools.session.variants.variant_verdicts import wrong_variants

R = TypeVar("R", bound=Result)

CLOSE = 1.02
"""A screening's noise is under 1 %; whoever is within 2 % of the best may be the best."""
CONTENDERS = 16
"""Of an exhaustive screening of 1,009 configs the true best was always among the first 14 (bench_harness finalists)."""
TWIN = "the same machine code on the same grid as"
"""How a measurement that was taken over from another config begins to say so."""
DID_NOT_COMPILE = "not launched: it did not compile"
COMPILES_IN_TIME = 3
"""Compilations get this part of the time that is left: one config that compiles for 14 s, or a batch of eight on two
cores, must not take all of a run of 14 s."""
PROOF_S = 30.0
"""For the rounds of a proof, unless the search itself is shorter."""
LEAST_COMPILE_S = 4.0
"""What the common compilation takes on a busy machine; kernels with several products take 1.3 to 9 s."""
DEFAULT = "default config"
"""In place of a tool call's id: the default config is measured after a search that measured nothing in its time."""
NOT_FIGURES = ("survived", "left_out", "by_float64", "bits", "bits_why")
"""What a proof says beside its figures."""
UNLAUNCHED = (TWIN, DID_NOT_COMPILE)
"""How measurements begin to say that the device was not asked."""
NOT_RECORDED = "not recorded"
"""How a recorded device calls a config that it cannot answer."""
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
    compiler: int | None = None
    """The environment of compilations, if they are made by another Triton or assembler than the measurements were."""

    @classmethod
    def of(
        cls,
        memory: Memory,
        info: DeviceInfo,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        compiled_with: DeviceInfo | None = None,
    ) -> Ids:
        """The rows of this device, kernel source and problem, written where they are new."""
        kernel = memory.kernel(spec.name, spec.source_hash())
        differs = compiled_with is not None and compiled_with != info
        return cls(
            environment=memory.environment(info.model_dump()),
            kernel=kernel,
            problem=memory.problem(kernel, problem.model_dump(mode="json"), problem.label()),
            compiler=memory.environment(compiled_with.model_dump()) if compiled_with and differs else None,
        )

    def of_kind(self, kind: Kind) -> int:
        """The environment of attempts of this kind."""
        return self.compiler if kind == "compile" and self.compiler is not None else self.environment


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
    declined: set[Config] = field(default_factory=set)
    """Configs that the user did not let run; they are not proposed again."""
    cold: bool = False
    """Whether nothing is used and shown of what was known before the command began."""
    alongside: Sequence[str] = ()
    """Earlier runs of the same command, which a cold run knows too."""
    planner: Planner | None = None
    interpreter: Interpreter | None = None
    """For edited code, once there is some."""
    contended: dict[Config, Measurement] = field(default_factory=dict)
    """Finalists, timed against one another."""
    nominated: dict[Config, None] = field(default_factory=dict)
    """Configs that whoever decides wants proven, in order."""
    differing: dict[Config, str] = field(default_factory=dict)
    """Configs whose bits were compared with the owner's, and why they are refused; empty if they are the same."""
    _ceilings: dict[str, float] | None = None

    @property
    def gpus(self) -> int:
        """How many GPUs measure at the same time."""
        return self.device.gpus()

    @property
    def batch(self) -> int | None:
        """Configs to compile at once: as many as the pool has processes, if no cost model chooses them. None if batches
        stay small: a cost model learns enough from a few, and what was recorded takes no time."""
        from tools.planner.cost.lookup import model_of

        workers = getattr(self.pool, "workers", 1)
        alone = self.device.info.kind == "live" and self.gpus == 1 and workers > 1
        return workers if alone and model_of(self.task.problem, self.space) is None else None

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
        there, wrong = self.device.configs(), wrong_variants(self.checked)
        return [c for c in space if (there is None or c in there) and variant_of(c) not in wrong]

    def config(self, values: dict[str, Any]) -> Config:
        config: Config = self.task.spec.config_type.model_validate(values)
        return config

    @cached_property
    def neighbourhood(self) -> Neighbourhood:
        """The space around any config."""
        return Neighbourhood(self.space)

    def refusal(self, config: Config, timed: bool = True) -> str | None:
        """Why the space does not hold `config`, with the nearest configs that it holds; ``None`` if it holds it. This
        needs neither a compiler nor a device, and costs nothing. Without `timed` a recorded device takes edited code,
        which can be compiled and checked though nobody has timed it."""
        broken = self.task.spec.constraint(self.task.problem, config, self.task.hardware)
        there = self.device.configs()
        edited = bool(getattr(config, "edit", "")) and not timed
        if broken is None and (there is None or edited or config in there):
            return None
        reason = broken or f"{NOT_RECORDED}: the space of this recorded device does not hold this combination"
        nearest = self.neighbourhood.describe_nearest(config)
        return f"{reason}; the nearest configs that exist change: {nearest}" if nearest else reason

    def compile(self, configs: Sequence[Config], call_id: str) -> list[CompileResult]:
        """Compile what is not compiled yet. A config that does not compile costs an evaluation; configs beyond the
        budget are left out of the answer."""

        def refuse(config: Config, reason: str) -> CompileResult:
            return CompileResult(config=config.model_dump(mode="json"), status="constraints", reason=reason)

        return self._afford(configs, self.compiled, lambda new: self._compile(new, call_id), refuse, timed=False)

    def check(self, configs: Sequence[Config], call_id: str) -> list[CheckResult]:
        """Check what is not checked yet. A config that fails costs an evaluation; configs beyond the budget are left
        out of the answer."""

        def refuse(config: Config, reason: str) -> CheckResult:
            return CheckResult(config=config.model_dump(mode="json"), status="constraints", reason=reason)

        def attempt(new: list[Config]) -> None:
            self._once("check", new, call_id, self.checked, self.device.check)

        return self._afford(configs, self.checked, attempt, refuse, timed=False)

    def measure(self, configs: Sequence[Config], call_id: str) -> list[Measurement]:
        """Compile and time what is not timed yet. Each config costs an evaluation, unless it is another one over again;
        configs beyond the budget are left out of the answer."""
        regime = self.task.regime

        def refuse(config: Config, reason: str) -> Measurement:
            values = config.model_dump(mode="json")
            return Measurement(config=values, status="constraints", reason=reason, regime=regime)

        def run(unmeasured: list[Config]) -> list[Measurement]:
            if self.ids.compiler is not None:  # what this machine's compiler says is no word on what was recorded
                return self.device.measure(unmeasured, regime)
            self._compile(unmeasured, call_id)
            verdicts = [self._verdict(self.compiled[c]) for c in unmeasured]
            ready = [c for c, known in zip(unmeasured, verdicts, strict=True) if known is None]
            timed = iter(self.device.measure(ready, regime))
            return [known or next(timed) for known in verdicts]

        def attempt(new: list[Config]) -> None:
            self._once("benchmark", new, call_id, self.measured, run)
            if self.best() is not None:
                self.budget.end_reading()

        return self._afford(configs, self.measured, attempt, refuse)

    def measure_default(self) -> bool:
        """Measure the kernel's default config, however long its compilation takes, if the time of the search was over
        before anything was measured: a run on a short time has a result too. A run that has to be over at some time
        has none then. Whether the config was measured."""
        budget = self.budget
        config = self.task.spec.default_config(self.task.problem, self.task.hardware)
        over = budget.seconds_left() <= 0 and budget.ends_at == math.inf
        if not over or self.best() is not None or not (budget.evals_left() or config.key() in budget.charged):
            return False
        if self.refusal(config) is not None:
            return False
        self.progress("note: nothing was measured in the search's time, so the default config is measured")
        if config in self.compiled and self.compiled[config].status in ("timeout", "infrastructure"):
            del self.compiled[config]  # it had as little time as the search left

        def run(new: list[Config]) -> list[CompileResult]:
            return self.pool.compile(self.task.spec, self.task.problem, new)

        if self.ids.compiler is None:
            self._once("compile", [config], DEFAULT, self.compiled, run)
        self.measure([config], DEFAULT)
        return True

    def _compile(self, configs: list[Config], call_id: str) -> None:
        def run(new: list[Config]) -> list[CompileResult]:
            return self.pool.compile(self.task.spec, self.task.problem, new, self._compile_limit())

        self._once("compile", configs, call_id, self.compiled, run)
        if self._has_compiled():
            self.budget.allow_a_reading()

    def _has_compiled(self) -> bool:
        """Whether there is something to measure."""
        return any(r.status == "correct" for r in self.compiled.values())

    def _compile_limit(self) -> CompileLimit:
        """A batch ends with the search, unless nothing could be measured then."""
        budget = self.budget
        batch_s = max(LEAST_COMPILE_S, budget.seconds_left() / COMPILES_IN_TIME)
        enough = self._has_compiled() or self.best() is not None
        return CompileLimit(batch_s, budget.search_ends_at, budget.search_ends_at if enough else budget.ends_at)

    def _afford(
        self,
        configs: Sequence[Config],
        known: dict[Config, R],
        attempt: Callable[[list[Config]], None],
        refuse: Callable[[Config, str], R],
        timed: bool = True,
    ) -> list[R]:
        """The results of `configs`. `attempt` makes those that are not known, never more at once than evaluations are
        left, because each of them may cost one."""
        refused: dict[Config, R] = {}
        waiting: list[Config] = []
        for config in dict.fromkeys(configs):
            if config in known and known[config].status != "infrastructure":
                continue
            reason = self.refusal(config, timed)
            if reason is None:
                waiting.append(config)
            else:
                refused[config] = refuse(config, reason)
        while waiting:
            charged = self.budget.charged
            affordable = self.budget.affordable([c.key() for c in waiting if c.key() not in charged])
            batch = [c for c in waiting if c.key() in charged or c.key() in affordable]
            if not batch:
                break
            attempt(batch)
            waiting = [c for c in waiting if c not in set(batch)]
        left_out = set(waiting)
        return [refused.get(c) or known[c] for c in configs if c not in left_out]

    def charge(self, kind: Kind, config: Config, result: Result) -> None:
        """Charge an evaluation for `config`, once, if `result` of a compilation, check or measurement costs one: a
        reading, or a failure. A compilation or check that went well costs none, nor does one that our own machinery
        spoilt. A measurement that our machinery spoilt costs one, and may be repeated."""
        if kind == "benchmark":
            costs = isinstance(result, Measurement) and not (result.how or "").startswith(UNLAUNCHED)
        else:
            costs = kind in ("compile", "check") and result.status not in ("correct", "infrastructure")
        if costs:
            self.budget.charge(config.key())

    def _verdict(self, compiled: CompileResult) -> Measurement | None:
        """What compilation alone says of a config: that it cannot run, or that it is another one over again; ``None``
        if it has to be measured."""
        if compiled.status != "correct":
            return Measurement(
                config=compiled.config,
                status=compiled.status,
                reason=compiled.reason,
                regime=self.task.regime,
                how=DID_NOT_COMPILE,
            )
        for config, m in self.measured.items():
            other = self.compiled.get(config)
            if other and compiled.fingerprint and other.fingerprint == compiled.fingerprint and m.status == "correct":
                how = f"{TWIN} {config.key()}: not measured again"
                return m.model_copy(update={"config": compiled.config, "how": how, "seconds": 0.0})
        return None

    def finalists(self, limit: int) -> tuple[list[Config], int]:
        """The fastest verified configs of this run, best first, and how many of them lie within noise of the best. On a
        GPU those within CLOSE of the best are timed once more against one another: a screening of five samples cannot
        tell them apart. Recorded ones are ranked by the upper ends of their intervals."""
        ranked = self._candidates()
        if self.task.bitwise:
            ranked = self._with_owner_bits(ranked)
        within, most = (FRUGAL_CLOSE, FRUGAL_CONTENDERS) if self.task.energy else (CLOSE, CONTENDERS)
        live = self.device.info.kind == "live"
        close = [c for ms, _, c in ranked if not live or ms <= ranked[0][0] * within][:most]
        close += [c for _, _, c in ranked if c in self.nominated and c not in close]
        timed = self.contended
        if len(close) > 1 and live:
            timed.update(zip(close, self.record("benchmark", close, "contend", self._contend), strict=True))
        elif len(close) > 1:  # a landscape has no more readings for a search: their intervals are what it can tell
            timed.update(zip(close, self._contend(close), strict=False))
        sound = [c for c in timed if timed[c].status == "correct"]
        ahead = sorted(sound, key=lambda c: self._end(timed[c], 0 if live else 1))
        level = [c for c in ahead if self._end(timed[c], -1) <= self._end(timed[ahead[0]], 1)] or close[:1]
        first = [c for c in self.nominated if c in level]
        if self.task.spec.ordered_ties:
            first += sorted(level, key=lambda c: c.key())
        ordered = [*dict.fromkeys([*first, *ahead, *(c for _, _, c in ranked if c not in timed)])]
        found = with_every_code(self.task.spec, self.task.problem, ordered, len(level), limit)
        return found, sum(c in ordered[: len(level)] for c in found)

    def _candidates(self) -> list[tuple[float, int, Config]]:
        """Everything that may be proven, fastest first, with its time and its place in the run."""
        return sorted(
            (m.ms, i, c)
            for i, (c, m) in enumerate(self.measured.items())
            if m.status == "correct" and m.ms is not None and self._sound(c)
        )

    def is_candidate(self, config: Config) -> bool:
        """Whether `config` was measured correctly in this run and nothing is known against it."""
        return any(c == config for _, _, c in self._candidates())

    def nominate(self, configs: Sequence[Config]) -> list[Measurement]:
        """Time these candidates once more, against one another and the fastest, and have them proven before others that
        lie within noise of them. The new readings, fastest first; the fastest is among them."""
        if not configs:
            return []
        self.nominated |= dict.fromkeys(configs)
        fastest = self._candidates()[0][2]
        together = list(dict.fromkeys([*configs, fastest]))
        if self.device.info.kind == "live":
            found = self.record("benchmark", together, "contend", self._contend)
        else:
            found = self._contend(together)
        self.contended.update(zip(together, found, strict=False))
        return sorted(found, key=lambda m: (m.status != "correct", m.ms or 0.0))

    def _with_owner_bits(self, ranked: list[tuple[float, int, Config]]) -> list[tuple[float, int, Config]]:
        """The fastest CONTENDERS of `ranked` that give the bits of the owner's launch. If none does, the fastest alone,
        which :meth:`prove` then refuses with the reason."""
        found: list[tuple[float, int, Config]] = []
        for entry in ranked:
            if not self._differs(entry[2]):
                found.append(entry)
            if len(found) == CONTENDERS:
                break
        return found or ranked[:1]

    def _differs(self, config: Config) -> str:
        """Why the bits of `config` are not known to be those of the owner's launch; empty if they are."""
        if config not in self.differing:
            bits, why = self.device.compare_bits(config)
            said = {"differ": "its bits are not those of the owner's launch", None: "its bits could not be compared"}
            self.differing[config] = "" if bits == "same" else f"{said[bits]}: {why}"
        return self.differing[config]

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

    def prove(self, config: Config) -> Proof:
        """Time `config` interleaved with every baseline; the last word of a run. Where the goal is energy, in the
        sustained regime, and beside the fastest config if that is another. The rounds take half of the search's time at
        most, beyond those that any proof has."""
        if self.task.bitwise and (why := self._differs(config)):
            # Not a row of memory: the config is wrong for this run alone.
            values = config.model_dump(mode="json")
            return Proof(config=values, status="correctness", reason=why, regime=self.task.regime)

        spec: Any = self.task.spec
        if spec.shut_in:  # a variant is judged against the owner's code, tuned, as the variant is
            spec.stand_against([self.config(m.config) for m in self.ranked()] if variant_of(config) else None)

        max_seconds = min(PROOF_S, self.budget.max_seconds / 2)

        def run(configs: list[Config]) -> list[Proof]:
            if refused := self._refused_code(configs[0]):
                values = configs[0].model_dump(mode="json")
                return [Proof(config=values, status=refused[0], reason=refused[1], regime=self.task.regime)]
            if not self.task.energy:
                return [self.device.prove(configs[0], self.task.regime, max_seconds)]
            fastest = self._fastest()
            beside = fastest if fastest != configs[0] else None
            return [self.device.prove(configs[0], "sustained", max_seconds, "joules", beside)]

        return self.record("proof", [config], "proof", run)[0]

    def _refused_code(self, config: Config) -> tuple[Status, str] | None:
        """Why an edited config cannot be launched on all that a proof launches it on; None if it can, or has no
        edit."""
        task = self.task
        if not task.spec.shut_in:
            return None
        from tools.session.compiled_for_proof import compile_for_proof  # imports Triton, which other runs do without

        ends_at = self.budget.ends_at
        return compile_for_proof(self.pool, task.spec, task.problem, config, task.hardware, ends_at)

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

    def baseline_times(self) -> dict[str, float]:
        """Name → ms per launch of the baselines, as the device knows them without running any, else as the newest
        sitting of an earlier run read them; a cold run does not look there."""
        known = self.device.baseline_times()
        if known or self.cold:
            return known
        regime = "sustained" if self.task.energy else self.task.regime
        return baseline_times(self.memory, self.ids.problem, self.ids.environment, regime)

    def forget_space(self) -> None:
        """The space has grown: list it anew when it is next needed."""
        for name in ("space", "neighbourhood"):
            self.__dict__.pop(name, None)
        self.planner = None

    def close(self) -> None:
        if self.interpreter is not None:
            self.interpreter.close()
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
            results = self.record(kind, new, call_id, run)
            known.update(zip(new, results, strict=True))
            for config, result in zip(new, results, strict=True):
                self.charge(kind, config, result)
        return [known[c] for c in configs]

    def record(
        self, kind: Kind, configs: list[Config], call_id: str, run: Callable[[list[Config]], list[R]]
    ) -> list[R]:
        """Rows 'pending', then the attempt, then the rows' outcome. If the device fails, its error is the rows' reason
        and is raised again: none of them is a verdict on a config."""
        ids, values = self.ids, [c.model_dump(mode="json") for c in configs]
        addresses = self.memory.configs(ids.kernel, values)
        rows = self.memory.begin_attempts(
            [Begin(self.run_id, call_id, ids.of_kind(kind), ids.problem, address, kind) for address in addresses]
        )
        try:
            results = run(configs)
        except DeviceError as e:
            with suppress(MemoryFileError):  # the disk may be full for the memory too: the device's error matters more
                self.memory.finish_attempts([Finish(i, "infrastructure", {"reason": str(e)}) for i in rows])
            raise
        finished = [Finish(i, r.status, self.figures(r)) for i, r in zip(rows, results, strict=True)]
        self.memory.finish_attempts(finished)
        return results

    def figures(self, r: Result) -> Figures:
        """A result as the figures of an attempt."""
        found = r.model_dump(
            mode="json",
            exclude_none=True,
            exclude={"config", "status", "telemetry", "ci_ms", "ci_joules", "where"} | set(NOT_FIGURES),
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
