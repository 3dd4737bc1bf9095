"""A GPU on this machine, driven through two child processes that can be killed: candidates and baselines."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kernels.hardware import Hardware, hardware_for
from kernels.spec import Baseline, Config, KernelSpec, Problem
from tools.harness.child import Child, ChildDied, ChildKilled, ChildTimeout
from tools.harness.compile_pool import default_cache, triton_environment
from tools.harness.device import DeviceError
from tools.harness.floor import implausible
from tools.harness.identity import describe
from tools.harness.results import CheckResult, Comparison, DeviceInfo, Measurement, Proof, Regime
from tools.harness.statistics import median_ci

Role = Literal["candidates", "baselines"]
Answer = dict[str, Any]

JOB_DEADLINE_S = 20.0
"""A screening takes 0.05 s; a launch that has not come back by now hangs."""
START_DEADLINE_S = 120.0
"""Importing torch from a cold disk and creating a context."""
PREPARE_DEADLINE_S = 240.0
"""torch.compile with max-autotune compiles and times some twenty kernels of its own."""
WARM_S, WINDOW_S = 0.25, 0.8
"""Sustained regime: a second is what it takes for rounds to agree within 0.3 % (H200 at its 700 W; windows of 0.2 s
spread by 1.9 %, docs/BENCHMARKS.md)."""
TRIES = 3
SCREEN_SAMPLES = 5
BLOCK_SAMPLES = 4
CONTEND_ROUNDS: dict[Regime, int] = {"burst": 16, "sustained": 4}
MIN_ROUNDS: dict[Regime, int] = {"burst": 12, "sustained": 4}
MAX_ROUNDS = 80
NARROW = 0.004
"""A proof stops early once every interval is narrower than this (relative)."""


class StartFailed(RuntimeError):
    """A worker cannot be had: no candidate is to blame."""


class LiveDevice:
    """Bound to one kernel and problem on ``cuda:index``. Jobs never overlap on the GPU."""

    def __init__(
        self, index: int, spec: KernelSpec[Any, Any], problem: Problem, info: DeviceInfo, first: Child, cache: Path
    ) -> None:
        hardware = hardware_for(info.name)
        if hardware is None:
            raise DeviceError(f"there are no facts about {info.name} in kernels/hardware.py; add an entry for it there")
        self.info, self.hardware, self.spec, self.problem, self.index = info, hardware, spec, problem, index
        self.cache = cache
        self.cache_hits = 0
        """Launches so far that found their code compiled."""
        self._gpu = threading.Lock()
        self._workers: dict[Role, Child] = {"candidates": first}
        self._spares: list[Child] = []
        self.spares = 1
        """Workers kept with their imports done; more of them ride out a storm of crashes."""
        self._open: set[Child] = set()
        self._ready: set[str] = set()
        self._order = random.Random(0)
        self.deadline_s = JOB_DEADLINE_S

    @classmethod
    def open(cls, device: str, spec: KernelSpec[Any, Any], problem: Problem, cache: Path | None = None) -> LiveDevice:
        """Start the candidates' worker for `device` (``cuda:N``) and ask what the GPU is. Raises DeviceError."""
        number = device.partition(":")[2]
        if not number.isdecimal():
            raise DeviceError(f"{device!r} names no GPU: write cuda:0, cuda:1, ...")
        index = int(number)
        cache = cache or default_cache()
        child = _spawn(index, spec, problem, cache)
        try:
            answer = child.call({"op": "info"}, START_DEADLINE_S)
        except (ChildDied, ChildTimeout) as e:
            raise DeviceError(f"cuda:{index} cannot be used: {e}") from e
        if "missing" in answer:
            child.kill()
            raise DeviceError(answer["missing"])
        info = DeviceInfo(kind="live", hardware=_name(answer["name"]), **answer)
        return cls(index, spec, problem, info, child, cache)

    # -- what the tools ask for

    def configs(self) -> None:
        """Any config can be measured."""

    def check(self, configs: Sequence[Config]) -> list[CheckResult]:
        """Launch each config at the true shape on fresh inputs and compare with the float64 reference."""
        where = f"gpu {self.problem.label()}"
        results = []
        for config in configs:
            job = {"config": _values(config), "samples": 2, "looked_at": 2, "repeatable": True, "census": True}
            m = self._measurement(config, "burst", self._run("candidates", {"op": "burst", **job}))
            kept = {k: getattr(m, k) for k in ("config", "status", "reason", "error", "bound", "seconds")}
            results.append(CheckResult(**kept, where=where))
        return results

    def measure(
        self, configs: Sequence[Config], regime: Regime = "burst", samples: int | None = None
    ) -> list[Measurement]:
        """Time each config, its output verified."""
        if regime == "burst":
            return [self.screen(c, samples or SCREEN_SAMPLES) for c in configs]
        return [self._measurement(c, regime, self._sustained({"config": _values(c)}, samples or 2)) for c in configs]

    def screen(self, config: Config, samples: int = SCREEN_SAMPLES) -> Measurement:
        """Burst readings of one config, one of them verified."""
        job = {"op": "burst", "config": _values(config), "samples": samples, "looked_at": 1}
        return self._measurement(config, "burst", self._run("candidates", job))

    def measure_beside(
        self, config: Config, reference: str = "unfused", samples: int = SCREEN_SAMPLES
    ) -> tuple[Measurement, Measurement]:
        """Readings of a config and, right after them, of a baseline."""
        return self.screen(config, samples), self.measure_baseline(self._baseline(reference), "burst", samples)

    def measure_baselines(
        self, regime: Regime = "burst", samples: int = SCREEN_SAMPLES
    ) -> list[tuple[Baseline[Any], str | None, Measurement | None]]:
        """(baseline, why it is missing, readings), one after another in the spec's order."""
        found: list[tuple[Baseline[Any], str | None, Measurement | None]] = []
        for b in self.spec.baselines(self.problem):
            why = b.missing(self.problem)
            found.append((b, why, None if why else self.measure_baseline(b, regime, samples)))
        return found

    def measure_baseline(self, baseline: Baseline[Any], regime: Regime, samples: int) -> Measurement:
        """Readings of one baseline, verified where it computes the same thing."""
        self.prepare_baseline(baseline.name)
        subject = {"baseline": baseline.name}
        looked_at = 1 if baseline.equivalent else 0
        if regime == "sustained":
            return self._measurement(subject, regime, self._sustained(subject, samples, looked_at))
        answer = self._run("baselines", {"op": "burst", **subject, "samples": samples, "looked_at": looked_at})
        return self._measurement(subject, regime, answer)

    def prepare_baseline(self, name: str) -> None:
        """Do a baseline's one-time work (torch.compile) now; later calls cost nothing."""
        if name not in self._ready:
            job = {"op": "burst", "baseline": name, "samples": 1, "looked_at": 0}
            if self._run("baselines", job, PREPARE_DEADLINE_S)["status"] == "correct":
                self._ready.add(name)

    def contend(self, configs: Sequence[Config], regime: Regime = "burst") -> list[Measurement]:
        """Rounds of blocks in shuffled order. After every fourth round a config goes whose time over the leader's lies
        above 1 with its whole interval (successive halving by evidence instead of by half)."""
        rounds: dict[Config, list[Measurement]] = {c: [] for c in configs}
        racing = list(rounds)
        for n in range(1, CONTEND_ROUNDS[regime] + 1):
            self._order.shuffle(racing)
            for config in list(racing):
                [m] = self.measure([config], regime, BLOCK_SAMPLES if regime == "burst" else 1)
                rounds[config].append(m)
                if m.status != "correct":
                    racing.remove(config)
            if n % 4 == 0 and racing:
                leader = min(racing, key=lambda c: _merged(rounds[c]).ms or 0.0)
                racing = [c for c in racing if c is leader or not _slower(rounds[c], rounds[leader])]
            if len(racing) < 2:
                break
        return [_merged(rounds[c]) for c in configs]

    def prove(self, config: Config, regime: Regime = "burst", max_seconds: float = 30.0) -> Proof:
        """Census and check, then blocks of readings of the config and of every baseline in shuffled order, round after
        round, until the interval of every ratio is narrower than NARROW or time is up."""
        checked = self.check([config])[0]
        if checked.status != "correct":
            return Proof(config=checked.config, status=checked.status, reason=checked.reason, regime=regime)
        there = [(b, b.missing(self.problem)) for b in self.spec.baselines(self.problem)]
        for b, why in there:
            if why is None:
                self.prepare_baseline(b.name)
        contenders: list[Baseline[Any] | None] = [None, *(b for b, why in there if why is None)]
        ours: list[Measurement] = []
        theirs: dict[str, list[Measurement]] = {b.name: [] for b in contenders if b}
        block = BLOCK_SAMPLES if regime == "burst" else 1
        deadline = time.monotonic() + max_seconds
        while len(ours) < MAX_ROUNDS and (time.monotonic() < deadline or len(ours) < MIN_ROUNDS[regime]):
            self._order.shuffle(contenders)
            for one in contenders:
                if one is None:
                    m = self.measure([config], regime, block)[0]
                    if m.status != "correct":
                        return Proof(config=m.config, status=m.status, reason=m.reason, regime=regime)
                    ours.append(m)
                else:
                    m = self.measure_baseline(one, regime, block)
                    if m.status != "correct":
                        why = f"baseline {one.name}: {m.status}: {m.reason}"
                        return Proof(config=_values(config), status="infrastructure", reason=why, regime=regime)
                    theirs[one.name].append(m)
            if len(ours) >= MIN_ROUNDS[regime] and len(ours) % 4 == 0 and _narrow(ours, theirs):
                break
        samples = [s for m in ours for s in m.samples_ms]
        ms, ci = median_ci(samples)
        return Proof(
            config=_values(config),
            status="correct",
            regime=regime,
            ms=ms,
            ci_ms=ci,
            samples_ms=samples,
            comparisons=[_comparison(b, why, regime, ours, theirs.get(b.name, [])) for b, why in there],
            error=max((m.error for m in ours if m.error is not None), default=None),
            bound=ours[-1].bound,
            telemetry=ours[-1].telemetry,
            how=f"{len(ours)} interleaved rounds in shuffled order on this GPU, {regime}",
        )

    def ceilings(self) -> dict[str, float]:
        answer = self._run("baselines", {"op": "ceilings"})
        return {k: v for k, v in answer.items() if k.endswith("_per_s")}

    def close(self) -> None:
        for child in [*self._workers.values(), *self._spares]:
            child.kill()

    # -- jobs

    def _sustained(self, subject: Answer, windows: int, looked_at: int = 1) -> Answer:
        role: Role = "candidates" if "config" in subject else "baselines"
        times = {"warm_s": WARM_S, "window_s": WINDOW_S, "windows": windows, "looked_at": looked_at}
        return self._run(role, {"op": "sustained", **subject, **times}, self.deadline_s + 10)

    def _run(self, role: Role, job: Answer, deadline_s: float | None = None) -> Answer:
        """One job on the GPU. A worker that hung, crashed or lost its context is replaced before this returns."""
        with self._gpu:
            for _ in range(TRIES):
                try:
                    return self._call(role, job, deadline_s or self.deadline_s)
                except ChildKilled as e:  # from outside: not the config's doing, and worth another try
                    killed = e
            return {"status": "infrastructure", "reason": f"the worker was killed from outside {TRIES} times: {killed}"}

    def _call(self, role: Role, job: Answer, deadline_s: float) -> Answer:
        try:
            child = self._worker(role)
            answer = child.call(job, deadline_s)
        except StartFailed as e:
            self._replace(role)
            return {"status": "infrastructure", "reason": str(e)}
        except ChildKilled:
            self._replace(role)
            raise
        except ChildTimeout as e:
            self._replace(role)
            return {"status": "timeout", "reason": str(e)}
        except ChildDied as e:
            self._replace(role)
            return {"status": "runtime", "reason": str(e)}
        self.cache_hits += answer.pop("cache_hits", 0)
        if answer.pop("broken", False):
            child.kill()
            self._replace(role)
        return answer

    def _worker(self, role: Role) -> Child:
        """The role's worker with its context open; start-up is no part of any job's deadline.

        Raises StartFailed where it cannot be had and ChildKilled where somebody killed it."""
        if role not in self._workers:
            self._replace(role)
        child = self._workers[role]
        if child not in self._open:
            try:
                answer = child.call({"op": "open"}, START_DEADLINE_S)
            except ChildKilled:
                raise
            except (ChildDied, ChildTimeout) as e:
                raise StartFailed(f"the GPU's worker does not start: {e}") from e
            if "missing" in answer:
                child.kill()
                raise StartFailed(answer["missing"])
            self._open.add(child)
        return child

    def _replace(self, role: Role) -> None:
        """Put the spare in `role`'s place and start another: importing torch takes seconds, a spare has done it."""
        if role == "baselines":
            self._ready.clear()
        self._open -= {self._workers.get(role)}
        self._spares = [s for s in self._spares if s.alive]
        self._workers[role] = self._spares.pop(0) if self._spares else self._start()
        self._spares += [self._start() for _ in range(self.spares - len(self._spares))]

    def _start(self) -> Child:
        return _spawn(self.index, self.spec, self.problem, self.cache)

    def _baseline(self, name: str) -> Baseline[Any]:
        return next(b for b in self.spec.baselines(self.problem) if b.name == name)

    def _measurement(self, subject: Config | Answer, regime: Regime, answer: Answer) -> Measurement:
        values = subject if isinstance(subject, dict) else _values(subject)
        m = Measurement(config=values, regime=regime, **answer)
        if m.status != "correct":
            return m
        m.ms, m.ci_ms = median_ci(m.samples_ms)
        why = implausible(self.spec, self.problem, self.hardware, m.ms, regime)
        return m.model_copy(update={"status": "implausible", "reason": why}) if why else m


def _spawn(index: int, spec: KernelSpec[Any, Any], problem: Problem, cache: Path) -> Child:
    init = {**describe(spec, problem), "index": index}
    return Child("tools.harness.worker:worker", init, triton_environment(cache))


def _name(device_name: str) -> str | None:
    hardware: Hardware | None = hardware_for(device_name)
    return hardware.name if hardware else None


def _values(config: Config) -> Answer:
    return config.model_dump(mode="json")


def _ratios(ours: list[Measurement], theirs: list[Measurement]) -> list[float]:
    """Baseline over config, round by round: drift slower than a round divides out."""
    return [(t.ms or 0.0) / (o.ms or 1.0) for o, t in zip(ours, theirs, strict=False)]


def _slower(ours: list[Measurement], leaders: list[Measurement]) -> bool:
    _, (_, high) = median_ci(_ratios(ours, leaders))
    return high < 1


def _merged(rounds: list[Measurement]) -> Measurement:
    """One measurement of all rounds' samples, or the round that failed."""
    failed = next((m for m in rounds if m.status != "correct"), None)
    if failed is not None:
        return failed
    samples = [s for m in rounds for s in m.samples_ms]
    ms, ci = median_ci(samples)
    seconds = sum(m.seconds for m in rounds)
    return rounds[-1].model_copy(update={"samples_ms": samples, "ms": ms, "ci_ms": ci, "seconds": seconds})


def _narrow(ours: list[Measurement], theirs: dict[str, list[Measurement]]) -> bool:
    intervals = [median_ci(_ratios(ours, t)) for t in theirs.values()]
    return all((high - low) / middle < NARROW for middle, (low, high) in intervals)


def _comparison(
    b: Baseline[Any], missing: str | None, regime: Regime, ours: list[Measurement], theirs: list[Measurement]
) -> Comparison:
    about = {"name": b.name, "title": b.title, "equivalent": b.equivalent, "regime": regime}
    if missing is not None:
        return Comparison(**about, missing=missing)
    speedup, ci = median_ci(_ratios(ours, theirs))
    ms, _ = median_ci([s for m in theirs for s in m.samples_ms])
    return Comparison(**about, ms=ms, speedup=speedup, ci=ci, rounds=len(theirs))
