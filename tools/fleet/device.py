"""Many GPUs as one device.

What is independent of other configs (checking, screening) is spread over the workers; what compares configs with one
another or with a baseline (``contend``, ``prove``) is one job, and so one sitting on one card.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from kernels.spec import Config, KernelSpec, Problem
from memory.shared_models import DeviceInfo
from memory.terms import Regime
from tools.fleet.actor import DeviceWorker
from tools.fleet.address import FleetAddress, connect
from tools.fleet.compile_tasks import FleetCompilePool
from tools.fleet.fleet import HELLO_DEADLINE_S, Answer, Fleet, Job, Worker
from tools.fleet.reference import to_scale
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.device import DeviceError, MachineTrouble
from tools.harness.devices.live import CONTEND_ROUNDS
from tools.harness.measuring.choices import expand
from tools.harness.measuring.unlisted_gpu import adopt_facts
from tools.harness.process.child import START_DEADLINE_S
from tools.harness.process.gpu_workers import JOB_DEADLINE_S, PREPARE_DEADLINE_S, TRIES, WORKER
from tools.harness.process.identity import describe
from tools.harness.process.prestart import Prestart
from tools.harness.results import Bits, CheckResult, Figure, Measurement, Proof, StressResult

NET_S = TRIES * (JOB_DEADLINE_S + 10) + 2 * START_DEADLINE_S
"""The longest that an actor's own deadlines let one launch of a candidate and one of the reference take."""
RELEASE_S = 5.0
"""Ray's books of free GPUs lag behind a killed actor by up to a second."""
SAME = ("name", "torch", "triton", "assembler", "overrides", "driver", "cuda")
"""Readings of two versions are those of two devices."""


class FleetDevice:
    """Implements :class:`tools.harness.device.Device` for one kernel and problem on GPUs of one type."""

    def __init__(
        self, ray: Any, fleet: Fleet, spec: KernelSpec[Any, Any], problem: Problem, cache: Path | None = None
    ) -> None:
        """Every worker of `fleet` has said hello."""
        first = fleet.workers[0].hello
        self.info = DeviceInfo.model_validate(first["info"])
        self.hardware = adopt_facts(self.info)
        self.spec, self.problem, self.fleet, self.ray, self._cache = spec, problem, fleet, ray, cache
        self.cards = [w.hello["card"] for w in fleet.workers]
        self.scales: dict[Regime, dict[str, float]] = {}
        """Time of the reference by card when the session began, ms; the first card's is the common scale."""
        self.one_host = sum(node["Alive"] for node in ray.nodes()) == 1
        """Whether driver, compilers and workers share a compile cache."""
        self.pool: LocalCompilePool | None = None
        self._cluster_pool: FleetCompilePool | None = None

    @classmethod
    def open(
        cls,
        address: FleetAddress,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        *,
        cache: Path | None = None,
        factory: str = WORKER,
        deadline_s: float = JOB_DEADLINE_S,
        limit: int | None = None,
    ) -> FleetDevice:
        """A worker on every GPU that is free, at most `limit`. Raises DeviceError."""
        ray = connect(address)
        free = int(ray.available_resources().get("GPU", 0))
        if free == 0:
            there = int(ray.cluster_resources().get("GPU", 0))
            why = f"all {there} GPUs of the cluster are in use" if there else "the Ray cluster has no GPU"
            raise DeviceError(f"{why}: see `ray status`")
        actor = ray.remote(num_gpus=1, num_cpus=1, max_restarts=0)(DeviceWorker)
        arguments = (describe(spec, problem), str(cache) if cache else None, factory, deadline_s)
        fleet = Fleet(ray, [Worker(lambda: actor.remote(*arguments)) for _ in range(min(free, limit or free))])
        try:
            fleet.greet()
            choose(fleet, address, spec)
            return cls(ray, fleet, spec, problem, cache)
        except BaseException:
            fleet.close()
            released(ray, free)
            raise

    # -- what the tools ask for

    def compiled_with(self) -> DeviceInfo:
        return self.info

    def gpus(self) -> int:
        return len(self.fleet.workers)

    def compile_pool(self, prestart: Prestart | None = None) -> LocalCompilePool:
        """The same pool at every call. If all workers are on this host, its processes compile into the cache that the
        workers share. Otherwise Ray tasks compile on all hosts, and their results travel to the worker that measures.
        `prestart` is not used: it holds processes for a single GPU."""
        if self.pool is None and not self.one_host:
            self.pool = self._cluster_pool = FleetCompilePool(self.ray, self.hardware)
        elif self.pool is None:
            self.pool = LocalCompilePool(self.hardware, cache=self._cache)
        return self.pool

    def expect_measurements(self) -> None:
        """Nothing to prepare: every worker created its context when it was opened."""

    def expect_proof(self) -> None:
        """Nothing is prepared: which worker will make the proof is not known."""

    def configs(self) -> None:
        """Any config can be measured."""

    def check(self, configs: Sequence[Config]) -> list[CheckResult]:
        jobs = [Job("check", (_values(c), self._files(c)), NET_S, c) for c in configs]
        found = {job: self._require_worker(answer) for job, answer in self.fleet.run(jobs)}
        return [CheckResult.model_validate(_about(found[j], j.subject)) for j in jobs]

    def stress(self, config: Config, most_s: float | None = None, decided_by: float = math.inf) -> StressResult:
        """Variants alone are tried before their proof, and a fleet launches none."""
        return StressResult(config=_values(config), status="infrastructure", reason="a fleet launches no edited code")

    def measure(self, configs: Sequence[Config], regime: Regime = "burst") -> list[Measurement]:
        """Verified timings, each on whichever card was free, on the first card's scale."""
        found = dict(self.measure_iter(configs, regime))
        return [found[c] for c in configs]

    def measure_iter(
        self, configs: Iterable[Config], regime: Regime = "burst", samples: int | None = None
    ) -> Iterator[tuple[Config, Measurement]]:
        """The same as they come; `configs` may be a stream, which is drawn from as workers have room."""
        self.calibrate(regime)
        jobs = (Job("measure", (_values(c), regime, samples, self._files(c)), NET_S, c) for c in configs)
        for job, answer in self.fleet.run(jobs):
            yield job.subject, self._scaled(answer, job.subject, regime)

    def contend(self, configs: Sequence[Config], regime: Regime = "burst", figure: Figure = "ms") -> list[Measurement]:
        """On one card, in one sitting."""
        self.calibrate(regime)
        files = [self._files(c) for c in configs]
        # Ray resolves references among the arguments, not inside a list: what is there, is sent.
        files = [self.ray.get(f) if f is not None else None for f in files]
        patience = NET_S + len(configs) * CONTEND_ROUNDS[regime] * (JOB_DEADLINE_S + 10)
        job = Job("contend", ([_values(c) for c in configs], regime, figure, files), patience)
        [(_, answer)] = self.fleet.run([job])
        self._require_worker(answer)
        if answer["status"] != "correct":
            return [self._failed(c, answer, regime) for c in configs]
        beside = {"reference_ms": answer["reference_ms"], "card": answer["card"]}
        rows = zip(configs, answer["measurements"], strict=True)
        return [self._scaled({"measurement": m, **beside}, c, regime) for c, m in rows]

    def prove(
        self,
        config: Config,
        regime: Regime = "burst",
        max_seconds: float = 30.0,
        figure: Figure = "ms",
        beside: Config | None = None,
    ) -> Proof:
        """On one card, in one sitting."""
        baselines = len(expand(self.spec.baselines(self.problem), self.problem))
        patience = NET_S + max_seconds + baselines * PREPARE_DEADLINE_S + 600.0
        other = None if beside is None else _values(beside)
        files = [self._files(c) for c in (config, beside) if c is not None]
        job = Job("prove", (_values(config), regime, max_seconds, figure, other, *files), patience)
        [(_, answer)] = self.fleet.run([job])
        self._require_worker(answer)
        return Proof.model_validate({"regime": regime, **_about(answer, config)})

    def no_bits(self) -> str:
        return "the cards of a fleet do not compare results"

    def compare_bits(self, config: Config) -> tuple[Bits | None, str]:
        return None, self.no_bits()

    def no_energy(self) -> str | None:
        [(_, answer)] = self.fleet.run([Job("no_energy", (), NET_S)])
        why: str | None = answer.get("why", answer.get("reason"))
        return why

    def ceilings(self) -> dict[str, float]:
        [(_, answer)] = self.fleet.run([Job("ceilings", (), NET_S)])
        return {k: v for k, v in answer.items() if k.endswith("_per_s")}

    def baseline_times(self) -> dict[str, float]:
        """None before they ran: the final sitting times them."""
        return {}

    def close(self) -> None:
        """Returns once the cluster counts the GPUs as free, so that the next device of this process gets them."""
        held = sum(w.ready for w in self.fleet.workers)
        self.fleet.close()  # an actor's children end with it
        released(self.ray, held)

    # -- scale

    def calibrate(self, regime: Regime) -> dict[str, float]:
        """Read the reference on every card, once a session; ms by card."""
        if regime not in self.scales:
            job = Job("calibrate", (regime,), PREPARE_DEADLINE_S + NET_S)
            answers = [(w, a) for w, a in self.fleet.on_each(job) if a["status"] == "correct"]
            if answers:
                self.scales[regime] = {w.hello["card"]: a["reference_ms"] for w, a in answers}
        return self.scales.get(regime, {})

    def _scaled(self, answer: Answer, config: Config, regime: Regime) -> Measurement:
        if "measurement" not in answer:
            return self._failed(config, answer, regime)
        m = Measurement.model_validate(answer["measurement"])
        if m.status != "correct":
            return m
        scales = self.scales.setdefault(regime, {answer["card"]: answer["reference_ms"]})
        return to_scale(m, answer["reference_ms"], next(iter(scales.values())), answer["card"])

    def _require_worker(self, answer: Answer) -> Answer:
        """`answer`, unless it says that no worker is left. Raises MachineTrouble."""
        if self.fleet.lost and answer.get("status") == "infrastructure":
            raise MachineTrouble(answer["reason"])
        return answer

    def _failed(self, config: Config, answer: Answer, regime: Regime) -> Measurement:
        self._require_worker(answer)
        return Measurement.model_validate({"regime": regime, **_about(answer, config)})

    def _files(self, config: Config) -> Any:
        return self._cluster_pool.files(config) if self._cluster_pool else None


def choose(fleet: Fleet, address: FleetAddress, spec: KernelSpec[Any, Any]) -> None:
    """Keep the workers of one type that agree on versions. Raises DeviceError."""
    usable = [w for w in fleet.workers if w.ready]
    if not usable:
        reasons = [w.hello.get("missing") or w.trouble for w in fleet.workers]
        why = next((r for r in reasons if r), f"none answered within {HELLO_DEADLINE_S:g} s")
        raise DeviceError(f"no GPU of the fleet can be used: {why}")
    names = sorted({w.hello["info"]["name"] for w in usable})
    there = ", ".join(f"{sum(w.hello['info']['name'] == n for w in usable)} {n}" for n in names)
    fitting = [w for w in usable if address.fits(w.hello["info"]["name"])]
    if not fitting:
        raise DeviceError(f"there is no {address.device_type} in the fleet; there are {there}")
    if len({w.hello["info"]["name"] for w in fitting}) > 1:
        raise DeviceError(f"the fleet has {there}: a run is for one type, say which with --device-type")
    for worker in fitting:
        if worker.hello["source"] != spec.source_hash():
            raise DeviceError(f"{worker.hello['card']} has another version of {spec.name}: install the same there")
        first, here = _identity(fitting[0].hello), _identity(worker.hello)
        if differing := [what for what in here if here[what] != first[what]]:
            what = differing[0]
            cards = f"{fitting[0].hello['card']} has {what} {first[what]}, {worker.hello['card']} has {here[what]}"
            raise DeviceError(f"{cards}: the workers of a fleet need the same")
    fleet.keep(fitting)
    standard = _identity(fitting[0].hello)
    fleet.suits = lambda hello: _identity(hello) == standard


def released(ray: Any, gpus: int) -> None:
    """Wait until so many GPUs count as free, or RELEASE_S."""
    until = time.monotonic() + RELEASE_S
    while ray.available_resources().get("GPU", 0) < gpus and time.monotonic() < until:
        time.sleep(0.05)


def _identity(hello: Answer) -> Answer:
    """What workers whose readings are compared agree on."""
    return {"source": hello["source"], **{what: hello["info"][what] for what in SAME}}


def spread(scales: dict[str, float]) -> float:
    """How far the slowest card is from the median one, relative."""
    return max(scales.values()) / median(scales.values()) - 1 if scales else 0.0


def _values(config: Config) -> Answer:
    return config.model_dump(mode="json")


def _about(answer: Answer, config: Config) -> Answer:
    """`answer` with its config, which one that our machinery spoilt does not name."""
    return answer if "config" in answer else {"config": _values(config), **answer}
