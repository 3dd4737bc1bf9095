"""A GPU that is not here: a device that answers from a landscape, and says so.

Times are looked up, never made up: a search reads set A, a proof reads set B, and a config that was not recorded is
answered as such. Correctness is computed, in Triton's interpreter on a reduced problem; for a config that the
interpreter cannot run, the GPU's own verdict is looked up.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Any, Protocol

import numpy as np
from pydantic import ValidationError

from kernels.spec import Config, KernelSpec, Problem
from memory.shared_models import DeviceInfo
from memory.terms import Regime
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.device import CompilePool
from tools.harness.landscapes.named import require_fit
from tools.harness.landscapes.readings import BaselineReadings, Entry, Landscape, LandscapeError, ReadingSet
from tools.harness.landscapes.recorded_baselines import read_baseline_times
from tools.harness.measuring.choices import merge_choices
from tools.harness.measuring.statistics import RESAMPLES, Z, median_ci
from tools.harness.measuring.unlisted_gpu import adopt_facts
from tools.harness.process.prestart import Prestart
from tools.harness.results import Bits, CheckResult, Comparison, Figure, Measurement, Proof, StressResult


class Checker(Protocol):
    """What runs a config without a GPU; :class:`tools.harness.checking.interpreter.Interpreter`."""

    def check(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], hardware: str
    ) -> list[CheckResult]: ...

    def close(self) -> None: ...


class RecordedDevice:
    """Implements :class:`tools.harness.device.Device` for one kernel and problem."""

    def __init__(self, landscape: Landscape, spec: KernelSpec[Any, Any], problem: Problem, checker: Checker) -> None:
        """`checker` is closed with the device. Raises LandscapeError where `landscape` is of something else."""
        require_fit(landscape, spec.name, problem, landscape.regime)
        if landscape.device.hardware is None:
            raise LandscapeError(f"the landscape {landscape.name} does not name its GPU model in metadata.autokernel")
        self.landscape, self.spec, self.problem, self._checker = landscape, spec, problem, checker
        self.hardware: str = landscape.device.hardware
        try:
            self.facts = adopt_facts(landscape.device)
        except ValueError as e:
            raise LandscapeError(f"the landscape {landscape.name} is of a GPU that is not known: {e}") from e
        self.info = landscape.device.model_copy(
            update={"kind": "recorded", "landscape": landscape.file, "recorded_at": landscape.recorded_at}
        )
        self.stale = landscape.source != spec.source_hash()
        """Whether the kernel's source changed since: its times are those of the older source."""
        self._checks: dict[Config, CheckResult] = {}
        self._entries = {c: e for e in landscape.entries.values() if (c := _config(spec, e)) is not None}

    def compiled_with(self) -> DeviceInfo:
        """The recording's device with this machine's Triton and assembler. An assembler that was not recorded cannot
        differ."""
        import triton

        from tools.harness.compiling.toolchain import assembler, describe_overrides

        try:
            same = self.info.assembler is None and self.info.triton == triton.__version__
            here = None if same else assembler(self.facts)
        except RuntimeError:  # it is missing: the first compilation reports that
            here = None
        tools = {"triton": triton.__version__, "assembler": here, "overrides": describe_overrides()}
        return self.info.model_copy(update=tools)

    def gpus(self) -> int:
        return 1

    def compile_pool(self, prestart: Prestart | None = None) -> CompilePool:
        """Compiles for real: the compiler needs no GPU."""
        return LocalCompilePool(self.facts, prestart=prestart, shut_in=self.spec.shut_in)

    def expect_measurements(self) -> None:
        """Nothing to prepare: times are looked up."""

    def expect_proof(self) -> None:
        """Nothing to prepare: times are looked up."""

    def configs(self) -> Container[Config]:
        """What was recorded, whatever came of it."""
        return self._entries

    def check(self, configs: Sequence[Config]) -> list[CheckResult]:
        """Run each config in the interpreter. What the GPU found wrong at the true shape stays wrong: a reduced
        problem may not show it. A config that cannot be interpreted gets the verdict that was recorded."""
        why_not = {config: self.spec.interpretable(config) for config in configs}
        runnable = [config for config in configs if why_not[config] is None]
        found = iter(self._checker.check(self.spec, self.problem, runnable, self.hardware))
        results = [
            self._with_verdict(config, next(found)) if why is None else self._recorded_verdict(config, why)
            for config in configs
            for why in [why_not[config]]
        ]
        self._checks.update(zip(configs, results, strict=True))
        return results

    def stress(self, config: Config, most_s: float | None = None, decided_by: float = math.inf) -> StressResult:
        return StressResult(config=config.model_dump(mode="json"), status="infrastructure", reason=self.no_bits())

    def measure(self, configs: Sequence[Config], regime: Regime = "burst") -> list[Measurement]:
        """Set A, drift-corrected; `seconds` is what compilation aside it took on the GPU."""
        return [self._measure(config, regime) for config in configs]

    def no_bits(self) -> str:
        return f"the landscape {self.landscape.name} holds times, no results"

    def compare_bits(self, config: Config) -> tuple[Bits | None, str]:
        return None, self.no_bits()

    def no_energy(self) -> str:
        return f"the landscape {self.landscape.name} holds times, no energy"

    def contend(self, configs: Sequence[Config], regime: Regime = "burst", figure: Figure = "ms") -> list[Measurement]:
        """Set A, as :meth:`measure`: a search sees no more of it. The intervals hold the scatter of sittings too."""
        return [self._with_scatter(self._measure(config, regime)) for config in configs]

    def prove(
        self,
        config: Config,
        regime: Regime = "burst",
        max_seconds: float = 30.0,
        figure: Figure = "ms",
        beside: Config | None = None,
    ) -> Proof:
        """Set B of `config` against the reference read beside it, and through the reference against every other
        baseline: ``baseline / config = (baseline / reference) * (reference / config)``, the first factor from the
        rounds in which all baselines were read one after another. No reading that :meth:`measure` shows is used.

        If the kernel's source changed since the recording, the GPU verified another kernel's output: a config that was
        not checked here is checked first."""
        values = config.model_dump(mode="json")
        refused = self._refusal(config, regime)
        if refused is not None:
            return Proof(config=values, status=refused.status, reason=refused.reason, regime=regime)
        entry = self._entries[config]
        if entry.status != "correct":
            return Proof(config=values, status=entry.status, reason=entry.reason, regime=regime)
        if self.stale:
            check = self._checks.get(config) or self.check([config])[0]
            if check.status != "correct":
                return Proof(config=values, status=check.status, reason=check.reason, regime=regime)
        readings = entry.sets.get("B")
        if not self._has_second_sets():
            return self._unprovable(config, regime)
        if readings is None or not readings.reference_ms:
            why = f"{self.landscape.name} has no second set of readings of this config, so nothing is proven by it"
            return Proof(config=values, status="infrastructure", reason=why, regime=regime)
        samples = self._corrected(readings)
        ms, ci = median_ci(samples)
        return Proof(
            config=values,
            status="correct",
            ms=ms,
            ci_ms=ci,
            samples_ms=samples,
            regime=regime,
            comparisons=self._compare_all(readings),
            error=entry.error,
            bound=entry.bound,
            telemetry=readings.telemetry,
            how=self._how(readings),
        )

    def _has_second_sets(self) -> bool:
        return any("B" in entry.sets and entry.sets["B"].reference_ms for entry in self.landscape.entries.values())

    def _unprovable(self, config: Config, regime: Regime) -> Proof:
        """The time of `config` beside no baseline: a file that nobody's proof can be read from, such as an export of a
        memory, can be searched all the same."""
        m = self._measure(config, regime)
        only = f"{self.landscape.name} holds no reading of a baseline"
        first = self.spec.baselines(self.problem)[0]
        unread = Comparison(
            name=first.name, title=first.title, equivalent=first.equivalent, regime=regime, missing=only
        )
        tools = f" under {self.info.toolchain()}" if self.info.triton else ""
        return Proof(
            config=m.config,
            status="correct",
            ms=m.ms,
            ci_ms=m.ci_ms,
            samples_ms=m.samples_ms,
            regime=regime,
            comparisons=[unread],
            error=m.error,
            bound=m.bound,
            telemetry=m.telemetry,
            how=f"recorded on {self.info.name}{tools}, not run here: the one set of readings that "
            f"{self.landscape.name} holds, which can be searched and proves nothing",
        )

    def ceilings(self) -> dict[str, float]:
        return dict(self.landscape.ceilings)

    def baseline_times(self) -> dict[str, float]:
        return read_baseline_times(self.landscape)

    def close(self) -> None:
        self._checker.close()

    def _measure(self, config: Config, regime: Regime) -> Measurement:
        refused = self._refusal(config, regime)
        if refused is not None:
            return refused
        entry, readings = self._entries[config], self._entries[config].sets.get("A")
        spent = entry.check_seconds + entry.run_seconds
        about = {"config": config.model_dump(mode="json"), "regime": regime, "seconds": spent}
        if entry.status != "correct" or readings is None:
            return Measurement(**about, status=entry.status, reason=entry.reason, error=entry.error, bound=entry.bound)
        samples = self._corrected(readings)
        ms, ci = median_ci(samples)
        return Measurement(
            **about,
            status="correct",
            samples_ms=samples,
            ms=ms,
            ci_ms=ci,
            error=entry.error,
            bound=entry.bound,
            telemetry=readings.telemetry,
        )

    def _with_scatter(self, m: Measurement) -> Measurement:
        if m.ms is None or m.ci_ms is None:
            return m
        sitting = Z * self.landscape.scatter
        low, high = (
            math.exp(math.copysign(math.hypot(math.log(end / m.ms), sitting), s))
            for end, s in zip(m.ci_ms, (-1.0, 1.0), strict=True)
        )
        return m.model_copy(update={"ci_ms": (m.ms * low, m.ms * high)})

    def _refusal(self, config: Config, regime: Regime) -> Measurement | None:
        """The answer where nothing was recorded; ``None`` where something was."""
        name, values = self.landscape.name, config.model_dump(mode="json")
        if regime != self.landscape.regime:
            why = f"{name} holds {self.landscape.regime} readings only; {regime} times need a GPU (--device cuda:0)"
            return Measurement(config=values, status="infrastructure", reason=why, regime=regime)
        if config not in self._entries:
            why = f"not recorded in {name}, which holds {len(self._entries)} configs; only those can be looked up"
            return Measurement(config=values, status="constraints", reason=why, regime=regime)
        return None

    def _with_verdict(self, config: Config, result: CheckResult) -> CheckResult:
        entry = self._entries.get(config)
        if entry is None or entry.status != "correctness" or result.status != "correct":
            return result
        verdict = {"status": entry.status, "error": entry.error, "bound": entry.bound}
        where = f"recorded on {self.info.name}, {self.problem.label()}"
        return result.model_copy(update={**verdict, "reason": entry.reason, "where": where})

    def _recorded_verdict(self, config: Config, why: str) -> CheckResult:
        """The GPU's verdict on a config that the interpreter cannot run, `why` saying why."""
        values, entry = config.model_dump(mode="json"), self._entries.get(config)
        if entry is None:
            reason = f"{why}, and {self.landscape.name} has no verdict of it: check it on a GPU (--device cuda:0)"
            return CheckResult(config=values, status="infrastructure", reason=reason, where=self.landscape.name)
        return CheckResult(
            config=values,
            status=entry.status,
            reason=entry.reason,
            error=entry.error,
            bound=entry.bound,
            where=f"recorded on {self.info.name}, {self.problem.label()}, not run here ({why})",
        )

    def _corrected(self, readings: ReadingSet) -> list[float]:
        drift = self.landscape.drift(readings)
        return [t * drift for t in readings.samples_ms]

    def _compare_all(self, readings: ReadingSet) -> list[Comparison]:
        """One comparison for each baseline, that of its fastest choice where several were recorded."""
        chooses = [b.name for b in self.spec.baselines(self.problem) if b.choices(self.problem)]
        return merge_choices([self._compare(b, readings) for b in self.landscape.baselines], False, chooses)

    def _compare(self, b: BaselineReadings, readings: ReadingSet) -> Comparison:
        """Medians are bootstrapped, and the scatter between sittings found in the file is added: one sitting's readings
        agree better with each other than with the next sitting's."""
        about: dict[str, Any] = {"name": b.name, "title": b.title, "equivalent": b.equivalent}
        about["regime"] = self.landscape.regime
        rng = np.random.default_rng(0)
        ours, beside = np.asarray(readings.samples_ms), np.asarray(readings.reference_ms)
        speedup = float(np.median(beside) / np.median(ours))
        spread = _medians(rng, beside) / _medians(rng, ours)
        spread = spread * np.exp(rng.normal(0.0, self.landscape.scatter, RESAMPLES))
        rounds, to_reference = 1, 1.0
        if b.name != self.landscape.reference:
            ratios = self._to_reference(b)
            if ratios.size == 0:
                return Comparison(**about, missing=b.missing or f"it was not read in {self.landscape.name}")
            rounds, to_reference = int(ratios.size), float(np.median(ratios))
            speedup, spread = speedup * to_reference, spread * _medians(rng, ratios)
        low, high = np.quantile(spread, [0.025, 0.975])
        ms = to_reference * (self.landscape.reference_ms or float(np.median(beside)))
        return Comparison(**about, ms=ms, speedup=speedup, ci=(float(low), float(high)), rounds=rounds)

    def _to_reference(self, b: BaselineReadings) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Time of `b` over time of the reference, for every round that read both."""
        reference = self.landscape.baseline(self.landscape.reference or "")
        known = {r.number: r.samples_ms for r in (reference.rounds if reference else [])}
        rounds = [r for r in b.rounds if r.regime == self.landscape.regime and r.number in known]
        return np.array([np.median(r.samples_ms) / np.median(known[r.number]) for r in rounds])

    def _how(self, readings: ReadingSet) -> str:
        x, reference = self.landscape, self.landscape.reference
        old = "; the kernel's source has changed since" if self.stale else ""
        tools = f" under {self.info.toolchain()}" if self.info.triton else ""
        return (
            f"recorded on {self.info.name}{tools}, not run here: set B of {x.name}, unseen by the search, "
            f"{len(readings.samples_ms)} readings beside {len(readings.reference_ms)} of {reference}; other baselines "
            f"through {reference} in that file's rounds; intervals hold the {x.scatter:.2%} scatter of sittings{old}"
        )


def _config(spec: KernelSpec[Any, Any], entry: Entry) -> Config | None:
    """`entry`'s config as the kernel has it today; ``None`` where that kernel no longer knows it."""
    try:
        config: Config = spec.config_type.model_validate(entry.config)
    except ValidationError:
        return None
    return config


def _medians(
    rng: np.random.Generator, values: np.ndarray[Any, np.dtype[np.float64]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    medians: np.ndarray[Any, np.dtype[np.float64]] = np.median(rng.choice(values, (RESAMPLES, values.size)), axis=1)
    return medians
