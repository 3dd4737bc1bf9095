"""A GPU on this machine, driven through two child processes that can be killed: candidates and baselines."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kernels.hardware.gpu_facts import to_json
from kernels.spec import Baseline, Config, KernelSpec, Problem
from memory.proofs.rule import OWN
from memory.shared_models import DeviceInfo
from memory.terms import Regime
from tools.harness.checking.float64.float64_errors import written_reference
from tools.harness.checking.float64.promoted_reference import LEAST_S, PromotingInterpreter, Question
from tools.harness.checking.own_kernel import own_kernel
from tools.harness.compiling.cache import default_cache
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.device import DeviceError
from tools.harness.measuring.ceilings import copying
from tools.harness.measuring.choices import drop_slower, expand, merge_choices, split_name
from tools.harness.measuring.floor import implausible
from tools.harness.measuring.rounds import comparison, joules_of, merged, narrow, worse
from tools.harness.measuring.statistics import median_ci
from tools.harness.measuring.unlisted_gpu import CEILINGS_S, adopt_facts, find_facts
from tools.harness.process.gpu_lock import named_lock
from tools.harness.process.gpu_workers import WORKER, Answer, GpuWorkers, Role, StartFailed
from tools.harness.process.prestart import Prestart
from tools.harness.results import UNDECIDED, Bits, CheckResult, Comparison, Figure, Measurement, Proof, StressResult

WINDOW_S = 0.8
"""Sustained regime: a second is what it takes for rounds to agree within 0.3 % (H200 at its 700 W; windows of 0.2 s
spread by 1.9 %, docs/BENCHMARKS.md), and eight steps of an energy counter."""
NO_JOULES = "the GPU's energy counter did not move while this was timed"
SCREEN_SAMPLES = 5
BLOCK: dict[Regime, int] = {"burst": 4, "sustained": 1}
"""Samples in a row before the next subject's turn."""
CONTEND_ROUNDS: dict[Regime, int] = {"burst": 16, "sustained": 4}
MIN_ROUNDS: dict[Regime, int] = {"burst": 12, "sustained": 4}
MAX_ROUNDS = 80
CONTEND_SHARE = 0.25
"""Of the time that is left, the most for telling finalists apart: the rest is for their proof."""
STRESS_S, STRESS_SHARE = 10.0, 0.6
"""Seconds of a run for inputs and shapes that nobody chose, and the share of what is left that a finalist gets: the
first one 6 s, the second 2.4 s."""
_CEILINGS: dict[tuple[int, str], dict[str, float]] = {}
"""By number of the GPU and dtype."""


class LiveDevice:
    """Bound to one kernel and problem on ``cuda:N``. Jobs never overlap on the GPU."""

    def __init__(self, spec: KernelSpec[Any, Any], problem: Problem, info: DeviceInfo, workers: GpuWorkers) -> None:
        hardware = adopt_facts(info)
        self.info, self.hardware, self.spec, self.problem, self.workers = info, hardware, spec, problem, workers
        self.cache = workers.cache
        """Triton's cache, which the compile pool shares."""
        self.window_s = WINDOW_S
        self.ends_at = math.inf
        """``time.monotonic()`` after which no further step of a sitting is begun. A proof that this cuts short proves
        nothing."""
        self._order = random.Random(0)
        self._expecting = False
        self._stress_s = STRESS_S
        self._promoting = PromotingInterpreter()

    @classmethod
    def open(
        cls,
        device: str,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        cache: Path | None = None,
        factory: str = WORKER,
        lock: Path | None = None,
        prestart: Prestart | None = None,
    ) -> LiveDevice:
        """Start the candidates' worker for `device` (``cuda:N``) and ask it for the GPU's name and versions.

        `lock` is the file by which several devices share one GPU; the environment may name one, too
        (:func:`tools.harness.process.gpu_lock.named_lock`). `prestart` may hold the workers. Raises DeviceError."""
        lock = lock or named_lock()
        number = device.partition(":")[2]
        if not number.isdecimal():
            raise DeviceError(f"{device!r} names no GPU: write cuda:0, cuda:1, ...")
        workers = GpuWorkers(int(number), spec, problem, cache or default_cache(), factory, lock, prestart)
        try:
            answer = workers.describe_gpu()
            ceilings = {"op": "ceilings", "dtype": "float16"}
            facts = find_facts(answer, lambda: workers.run("baselines", ceilings, CEILINGS_S))
            about = {"hardware": facts.name, "facts": to_json(facts) if facts.origins else None}
            return cls(spec, problem, DeviceInfo(kind="live", **(answer | about)), workers)
        except StartFailed as e:
            workers.close()
            raise DeviceError(str(e)) from e
        except BaseException:
            workers.close()
            raise

    # -- what the tools ask for

    def compiled_with(self) -> DeviceInfo:
        return self.info

    def gpus(self) -> int:
        return 1

    def compile_pool(self, prestart: Prestart | None = None) -> LocalCompilePool:
        """A pool that shares the workers' cache: what it compiles the workers find compiled."""
        return LocalCompilePool(self.hardware, cache=self.cache, prestart=prestart, shut_in=self.spec.shut_in)

    def configs(self) -> None:
        """Any config can be measured."""

    def check(self, configs: Sequence[Config]) -> list[CheckResult]:
        """Launch each config at the true shape on fresh inputs and compare with the float64 reference."""
        where = f"gpu {self.problem.label()}"
        results = []
        for config in configs:
            job = {
                "config": _values(config),
                "samples": 2,
                "looked_at": 2,
                "repeatable": True,
                "census": own_kernel(self.spec) is None,
                "move": True,
            }
            m = self._measurement(config, "burst", self.workers.run("candidates", {"op": "burst", **job}))
            kept = {k: getattr(m, k) for k in ("config", "status", "reason", "error", "bound", "seconds")}
            results.append(CheckResult(**kept, where=where))
        return results

    def stress(self, config: Config, most_s: float | None = None, decided_by: float = math.inf) -> StressResult:
        """Launch a config on inputs and shapes that nobody chose. Without `most_s` it is a finalist, and gets a share
        of the run's time for those. It ends with `ends_at` too: then some kinds are not tried, and whoever asks has to
        look whether the time is up."""
        share = STRESS_SHARE * self._stress_s if most_s is None else most_s
        job = {"op": "stress", "config": _values(config), "most_s": share, "ends_at": self.ends_at}
        seconds, decided_by = 0.0, min(self.ends_at, decided_by)
        with tempfile.TemporaryDirectory() as folder:
            while "question" in (answer := self.workers.run("candidates", job)):
                seconds += answer["seconds"]
                question = Question(**answer["question"])
                reference = question.answer(self._promoting, decided_by - time.monotonic())
                if reference.reason is not None and decided_by - time.monotonic() < LEAST_S:
                    about = {"status": "infrastructure", "reason": UNDECIDED, "seconds": seconds}
                    return StressResult(config=_values(config), **about)
                job["answer"] = written_reference(reference, str(Path(folder) / "exact.npz"))
        seconds += answer.get("seconds", share)
        if most_s is None:
            self._stress_s -= min(self._stress_s, seconds)
        kept = {k: v for k, v in answer.items() if k in StressResult.model_fields}
        kept["seconds"] = seconds
        return StressResult(config=_values(config), where=f"gpu {self.problem.label()}", **kept)

    def no_bits(self) -> None:
        """Bits can be compared here."""

    def compare_bits(self, config: Config) -> tuple[Bits | None, str]:
        """Launch `config` and the owner's config on equal inputs."""
        if self._is_over():
            return None, "the time was up"
        answer = self.workers.run("candidates", {"op": "bits", "config": _values(config)})
        return answer.get("bits"), answer.get("bits_why") or answer.get("reason") or ""

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
        return self._measurement(config, "burst", self.workers.run("candidates", job))

    def measure_beside(
        self, config: Config, reference: str, samples: int = SCREEN_SAMPLES
    ) -> tuple[Measurement, Measurement]:
        """Readings of a config and, right after them, of a baseline, which ``measure_baselines`` verifies."""
        ours = self.screen(config, samples)
        return ours, self.measure_baseline(self._baseline(reference), "burst", samples, verified=False)

    def measure_baselines(
        self, regime: Regime = "burst", samples: int = SCREEN_SAMPLES
    ) -> list[tuple[Baseline[Any], str | None, Measurement | None]]:
        """(baseline, why it is missing, readings), one after another in the spec's order. Each forced choice is a
        baseline of its own."""
        found: list[tuple[Baseline[Any], str | None, Measurement | None]] = []
        for b in expand(self.spec.baselines(self.problem), self.problem):
            why = b.missing(self.problem)
            found.append((b, why, None if why else self.measure_baseline(b, regime, samples)))
        return found

    def measure_baseline(
        self, baseline: Baseline[Any], regime: Regime, samples: int, verified: bool = True
    ) -> Measurement:
        """Readings of one baseline, verified where it computes the same thing."""
        self.prepare_baseline(baseline.name)
        subject = {"baseline": baseline.name}
        looked_at = 1 if verified and baseline.equivalent else 0
        if regime == "sustained":
            return self._measurement(subject, regime, self._sustained(subject, samples, looked_at))
        answer = self.workers.run("baselines", {"op": "burst", **subject, "samples": samples, "looked_at": looked_at})
        return self._measurement(subject, regime, answer)

    def prepare_baseline(self, name: str) -> str | None:
        """Do a baseline's one-time work (torch.compile) now; later calls cost nothing. Why it cannot be done, if so."""
        answer = self.workers.prepare(name)
        return None if answer["status"] == "correct" else f"{answer['status']}: {answer['reason']}"

    def expect_measurements(self) -> None:
        """Create the candidates' GPU context in the background."""
        self.workers.open_ahead()

    def expect_proof(self) -> None:
        """Prepare the baselines in the background, once."""
        if not self._expecting:
            self._expecting = True
            ours = expand(self.spec.baselines(self.problem), self.problem)
            self.workers.prepare_ahead([b.name for b in ours if b.missing(self.problem) is None])

    def contend(self, configs: Sequence[Config], regime: Regime = "burst", figure: Figure = "ms") -> list[Measurement]:
        """Rounds of blocks in shuffled order. After every fourth round a config goes whose time (or joules) over the
        leader's lies above 1 with its whole interval (successive halving by evidence instead of by half)."""
        rounds: dict[Config, list[Measurement]] = {c: [] for c in configs}
        until = time.monotonic() + CONTEND_SHARE * self._seconds_left()
        racing = list(rounds)
        for n in range(1, CONTEND_ROUNDS[regime] + 1):
            self._order.shuffle(racing)
            for config in list(racing):
                m = _require_figure(self.measure([config], regime, BLOCK[regime])[0], figure)
                rounds[config].append(m)
                if m.status != "correct":
                    racing.remove(config)
            if n % 4 == 0 and racing:
                leader = min(racing, key=lambda c: getattr(merged(rounds[c]), figure) or 0.0)
                racing = [c for c in racing if c is leader or not worse(rounds[c], rounds[leader], figure)]
            if len(racing) < 2 or time.monotonic() > until:
                break
        return [merged(rounds[c]) for c in configs]

    def prove(
        self,
        config: Config,
        regime: Regime = "burst",
        max_seconds: float = 30.0,
        figure: Figure = "ms",
        beside: Config | None = None,
        against: Sequence[str] | None = None,
    ) -> Proof:
        """Census and check, then blocks of readings of the config and of every baseline in shuffled order, round after
        round, until the interval of every ratio of `figure` is narrower than NARROW or time is up. A sitting that
        `ends_at` ends before its least number of rounds is ``infrastructure``.

        `beside`: another config timed like a baseline. `against`: only these baselines, of the kernel's own and a
        device copy (``copy``), the first of which has to run."""
        if self._is_over():
            return self._cut(config, regime, "before its final sitting")
        checked = self.check([config])[0]
        if checked.status != "correct":
            return Proof(config=checked.config, status=checked.status, reason=checked.reason, regime=regime)
        stressed = self.stress(config)
        if stressed.status != "correct":
            return Proof(config=checked.config, status=stressed.status, reason=stressed.reason, regime=regime)
        if self._is_over():  # it may have been tried on fewer kinds of inputs than others
            return self._cut(config, regime, "before the baselines were timed")
        # A baseline that cannot run here is said to be missing; without the first, what a user would write, there is
        # nothing to prove against.
        there, spoilt = self._prepare_all(expand(self._baselines(against), self.problem))
        first = split_name(there[0][0].name)[0]
        choices = [(b, why) for b, why in there if split_name(b.name)[0] == first]
        if all(why is not None for _, why in choices):
            reason = f"baseline {first}: {choices[0][1]}"
            return Proof(config=checked.config, status="infrastructure", reason=reason, regime=regime)
        contenders: list[Baseline[Any] | None] = [None, *(b for b, why in there if why is None)]
        if beside is not None:
            there.append((_as_baseline(beside), None))
            contenders.append(there[-1][0])
        ours: list[Measurement] = []
        theirs: dict[str, list[Measurement]] = {b.name: [] for b in contenders if b}
        deadline = min(time.monotonic() + max_seconds, self.ends_at)
        while len(ours) < MAX_ROUNDS and (time.monotonic() < deadline or len(ours) < MIN_ROUNDS[regime]):
            self._order.shuffle(contenders)
            for one in contenders:
                if self._is_over() and len(ours) < MIN_ROUNDS[regime]:
                    return self._cut(config, regime, f"after {len(ours)} of {MIN_ROUNDS[regime]} rounds of its sitting")
                if one is None:
                    m = _require_figure(self.measure([config], regime, BLOCK[regime])[0], figure)
                    if m.status != "correct":
                        return Proof(config=m.config, status=m.status, reason=m.reason, regime=regime)
                    ours.append(m)
                else:
                    m = _require_figure(self._rival(one, regime), figure)
                    if m.status != "correct":
                        why = f"baseline {one.name}: {m.status}: {m.reason}"
                        return Proof(config=_values(config), status="infrastructure", reason=why, regime=regime)
                    theirs[one.name].append(m)
            slower = drop_slower(theirs, [c.name for c in contenders if c is not None], len(ours), figure)
            contenders = [c for c in contenders if c is None or c.name not in slower]
            racing = {c.name: theirs[c.name] for c in contenders if c is not None}
            if len(ours) >= MIN_ROUNDS[regime] and len(ours) % 4 == 0 and narrow(ours, racing, figure):
                break
        samples = [s for m in ours for s in m.samples_ms]
        ms, ci = median_ci(samples)
        joules, ci_joules = joules_of(ours) or (None, None)
        return Proof(
            config=_values(config),
            status="correct",
            regime=regime,
            ms=ms,
            ci_ms=ci,
            samples_ms=samples,
            joules=joules,
            ci_joules=ci_joules,
            comparisons=self._compare(there, spoilt, regime, ours, theirs, figure),
            error=max((m.error for m in ours if m.error is not None), default=None),
            bound=ours[-1].bound,
            telemetry=ours[-1].telemetry,
            how=f"{len(ours)} interleaved rounds in shuffled order on this GPU, {regime}; {stressed.summary()}",
            survived=stressed.tried,
            left_out=stressed.left_out,
            by_float64=stressed.by_float64,
            bits=stressed.bits,
            bits_why=stressed.bits_why,
        )

    def _seconds_left(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def _is_over(self) -> bool:
        return time.monotonic() >= self.ends_at

    def _cut(self, config: Config, regime: Regime, when: str) -> Proof:
        """A sitting that was not finished: nothing is known of the config."""
        reason = f"the time was up {when}"
        return Proof(config=_values(config), status="infrastructure", reason=reason, regime=regime)

    def _prepare_all(
        self, baselines: Sequence[Baseline[Any]]
    ) -> tuple[list[tuple[Baseline[Any], str | None]], set[str]]:
        """Each baseline and why it cannot be timed, and the names of those that our machinery spoilt: what PyTorch
        itself refuses, it refuses to any user."""
        there: list[tuple[Baseline[Any], str | None]] = []
        spoilt: set[str] = set()
        for b in baselines:
            why = b.missing(self.problem)
            if why is None:
                why = self.prepare_baseline(b.name)
                if why is not None and not why.startswith("runtime"):
                    spoilt.add(b.name)
            there.append((b, why))
        return there, spoilt

    def _compare(
        self,
        there: Sequence[tuple[Baseline[Any], str | None]],
        spoilt: set[str],
        regime: Regime,
        ours: list[Measurement],
        theirs: dict[str, list[Measurement]],
        figure: Figure,
    ) -> list[Comparison]:
        """One comparison for each baseline, with the GPU kernels that it ran."""
        found = []
        for b, why in there:
            row = comparison(b, why, regime, ours, theirs.get(b.name, []))
            ran = self.workers.ran.get(b.name, []) if b.equivalent else []
            found.append(row.model_copy(update={"spoilt": b.name in spoilt, "ran": ran}))
        return merge_choices(found, figure == "joules")

    def no_energy(self) -> str | None:
        answer = self.workers.run("candidates", {"op": "counter"})
        why = answer.get("missing") or answer.get("reason")
        return f"{self.info.name} cannot say: {why}" if why else None

    def ceilings(self) -> dict[str, float]:
        """Measured once a process for each GPU and dtype: they are the card's, whatever is tuned on it."""
        key = self.workers.index, self.problem.dtype
        if not _CEILINGS.get(key):
            answer = self.workers.run("baselines", {"op": "ceilings"})
            _CEILINGS[key] = {k: v for k, v in answer.items() if k.endswith("_per_s")}
        return _CEILINGS[key]

    def baseline_times(self) -> dict[str, float]:
        """None before they ran: the final sitting times them."""
        return {}

    def close(self) -> None:
        self.workers.close()
        self._promoting.close()

    # -- jobs

    def _sustained(self, subject: Answer, windows: int, looked_at: int = 1) -> Answer:
        role: Role = "candidates" if "config" in subject else "baselines"
        times = {"window_s": self.window_s, "windows": windows, "looked_at": looked_at}
        return self.workers.run(role, {"op": "sustained", **subject, **times}, self.workers.deadline_s + 10)

    def _rival(self, one: Baseline[Any], regime: Regime) -> Measurement:
        """Edited code is nobody's neighbour: the owner's launch is timed in another process than it."""
        if one.config is not None and (one.name == OWN or not self.spec.shut_in):
            return self.measure([one.config], regime, BLOCK[regime])[0]
        return self.measure_baseline(one, regime, BLOCK[regime])

    def _baseline(self, name: str) -> Baseline[Any]:
        return self._baselines([name])[0]

    def _baselines(self, names: Sequence[str] | None) -> list[Baseline[Any]]:
        """The kernel's baselines, or those of `names` in their order, a device copy among them."""
        own = self.spec.baselines(self.problem)
        if names is None:
            return own
        known = {b.name: b for b in [*own, copying(self.spec)]}
        unknown = [n for n in names if n not in known]
        if unknown:
            raise ValueError(f"{self.spec.name} has no baseline {', '.join(unknown)}; it has {', '.join(known)}")
        return [known[n] for n in names]

    def _measurement(self, subject: Config | Answer, regime: Regime, answer: Answer) -> Measurement:
        values = subject if isinstance(subject, dict) else _values(subject)
        m = Measurement(config=values, regime=regime, **answer)
        if m.status != "correct":
            return m
        m.ms, m.ci_ms = median_ci(m.samples_ms)
        why = implausible(self.spec, self.problem, self.hardware, m.ms, regime)
        return m.model_copy(update={"status": "implausible", "reason": why}) if why else m


def _values(config: Config) -> Answer:
    return config.model_dump(mode="json")


def _require_figure(m: Measurement, figure: Figure) -> Measurement:
    """`m`, or a failure of our own if it lacks the figure that was asked for."""
    if m.status != "correct" or getattr(m, figure) is not None:
        return m
    return m.model_copy(update={"status": "infrastructure", "reason": NO_JOULES})


def _as_baseline(config: Config) -> Baseline[Any]:
    title = "the fastest config of this run: " + " ".join(f"{k}={v}" for k, v in _values(config).items())

    def prepare(problem: Any, inputs: Any) -> Callable[[], Any]:
        raise NotImplementedError("a config is launched by the candidates' worker, not prepared by the baselines'")

    return Baseline(OWN, title, prepare, config=config)
