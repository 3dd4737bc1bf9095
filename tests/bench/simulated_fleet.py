"""How far one driver carries: the recorded H200's whole space on N simulated GPUs, each taking its recorded time.

A simulated GPU is a Ray actor that sleeps for as long as the config took to compile and to run when the landscape was
recorded (0.53 s in the mean), uncompressed, and answers with the recorded reading. Driver, Ray, memory (SQLite on this
disk) and the bookkeeping in between are the real ones; rows are written as in a run. Up to SEPARATE GPUs are a process
each; beyond that several share a process, because a process needs 60 MB.

efficiency = sum of the recorded times / (GPUs * wall time). It counts the tail, in which GPUs stand idle because
nothing is left to do: ``last_answers_s`` is how long the last job of each GPU took to come in.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, cast

from kernels.hardware import hardware_named
from kernels.registry import get
from kernels.spec import Config
from memory.store import Memory
from tests.bench.sleeper import Dormitory, Sleeper, key
from tools.fleet.device import FleetDevice
from tools.fleet.fleet import Fleet, Worker
from tools.fleet.screening import screen
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.landscapes.named import find_landscape
from tools.harness.results import Measurement
from tools.planner.evidence import Evidence
from tools.planner.propose import Planner
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task

SEPARATE = 64
"""Simulated GPUs up to which each is a process."""
ROOMS = 8
"""Processes for all GPUs beyond that."""
ROUNDS = 120
"""Attempts of each GPU: a minute of work, against which the tail (the longest config takes 6.6 s) is small."""
LEAST = 64


class Recorded:
    """What was measured, by config."""

    def __init__(self) -> None:
        self.spec = get("fused_matmul")
        self.problem = self.spec.default_problem()
        self.landscape = find_landscape(None, "fused_matmul", self.problem)
        self.entries = {self.spec.config_type.model_validate(e.config): e for e in self.landscape.entries.values()}
        self.hello = {
            "info": self.landscape.device.model_dump(mode="json") | {"kind": "live"},
            "card": "simulated",
            "node": "here",
            "source": self.spec.source_hash(),
        }

    def table(self) -> dict[Any, Any]:
        """Seconds and measurement by :func:`tests.bench.sleeper.key`."""
        found = {}
        for e in self.entries.values():
            m: dict[str, Any] = {"config": e.config, "status": e.status, "reason": e.reason, "seconds": e.run_seconds}
            if e.status == "correct":
                m |= {"samples_ms": e.sets["A"].samples_ms, "ms": self.landscape.ms(e), "error": e.error}
            found[key(e.config)] = (e.seconds, m)
        return found


class Crowd:
    """Simulated GPUs that are there already, handed out to one fleet after the other."""

    def __init__(self, ray: Any, recorded: Recorded) -> None:
        self._ray, self._table, self._hello = ray, ray.put(recorded.table()), recorded.hello
        self.actor = ray.remote(num_cpus=0)(Sleeper)
        self._spare: list[Any] = []

    def start(self) -> Any:
        return self._spare.pop() if self._spare else self.actor.remote(self._table, self._hello)

    def fleet(self, count: int) -> Fleet:
        """`count` of them, awake."""
        if count > SEPARATE:
            room = self._ray.remote(num_cpus=0, max_concurrency=1000)(Dormitory)
            rooms = [room.remote(self._table, self._hello) for _ in range(ROOMS)]
            workers = [Worker(partial(rooms.__getitem__, i % ROOMS)) for i in range(count)]
            fleet = Fleet(self._ray, workers)
        else:
            fleet = Fleet(self._ray, [Worker(self.start) for _ in range(count)])
        fleet.greet(600.0)
        return fleet

    def take_back(self, fleet: Fleet) -> None:
        if len(fleet.workers) <= SEPARATE:
            self._spare += [w.actor for w in fleet.workers if w.ready]


def configs_for(recorded: Recorded, count: int) -> list[Config]:
    """A random order of the space, again and again."""
    draw = random.Random(count)
    space = list(recorded.entries)
    wanted = max(LEAST, ROUNDS * count)
    configs: list[Config] = []
    while len(configs) < wanted:
        draw.shuffle(space)
        configs += space
    return configs[:wanted]


def simulate(ray: Any, recorded: Recorded, fleet: Fleet, configs: list[Config], kill: int = 0) -> dict[str, Any]:
    """One sweep; `kill` actors are killed at random moments of it."""
    device = FleetDevice(ray, fleet, recorded.spec, recorded.problem)
    device.calibrate("burst")
    folder = Path(tempfile.mkdtemp(prefix="autokernel-simulated-"))
    memory = cast(Timed, Timed.open(folder / "memory.db"))
    ids = Ids.of(memory, device.info, recorded.spec, recorded.problem)
    memory.start_run("simulated", "sweep", {}, "none", ids.environment, ids.problem, {})
    task = Task(recorded.spec, recorded.problem, device.hardware)
    pool = LocalCompilePool(device.hardware, workers=1, cache=folder)
    session = Session(task, device, pool, memory, ids, "simulated", Budget(len(configs), 1e6))
    work = sum(recorded.entries[c].seconds for c in configs)
    deaths, expected = fleet.deaths, work / len(fleet.workers)
    victims = random.Random(0).sample(fleet.workers, kill)
    moments = random.Random(1)
    timers = [threading.Timer(moments.uniform(0.1, 0.8) * expected, end, (ray, victim)) for victim in victims]
    for timer in timers:
        timer.start()
    memory.seconds = 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    statuses: Counter[str] = Counter()
    steady_s = 0.0
    for _, m in screen(session, device, configs, "sweep"):
        statuses[m.status] += 1
        if statuses.total() == len(configs) - len(fleet.workers):
            steady_s = time.perf_counter() - wall
    seconds, spent = time.perf_counter() - wall, time.process_time() - cpu
    for timer in timers:
        timer.join()
    rows = {r["status"]: r["n"] for r in memory.ask("SELECT status, count(*) AS n FROM attempts GROUP BY status")}
    pool.close()
    memory.close()
    return {
        "workers": len(fleet.workers),
        "processes": len(fleet.workers) if len(fleet.workers) <= SEPARATE else ROOMS,
        "attempts": len(configs),
        "seconds": round(seconds, 2),
        "efficiency": round(work / len(fleet.workers) / seconds, 4),
        "last_answers_s": round(seconds - steady_s, 2),
        "attempts_per_s": round(len(configs) / seconds, 1),
        "driver_cpu_ms_per_attempt": round(1e3 * spent / len(configs), 2),
        "driver_cpu_share": round(spent / seconds, 3),
        "sqlite_ms_per_attempt": round(1e3 * memory.seconds / len(configs), 2),
        "killed": kill,
        "deaths_seen": fleet.deaths - deaths,
        "statuses": dict(statuses),
        "rows": rows,
        "accounted_for": sum(rows.values()) == len(configs) and "pending" not in rows,
    }


def end(ray: Any, worker: Worker) -> None:
    ray.kill(worker.actor, no_restart=True)


class Timed(Memory):
    """Keeps the wall time of its writes."""

    seconds = 0.0

    def begin_attempts(self, attempts: Any) -> list[int]:
        began = time.perf_counter()
        try:
            return super().begin_attempts(attempts)
        finally:
            self.seconds += time.perf_counter() - began

    def finish_attempts(self, attempts: Any) -> None:
        began = time.perf_counter()
        try:
            super().finish_attempts(attempts)
        finally:
            self.seconds += time.perf_counter() - began


def planning(recorded: Recorded, counts: tuple[int, ...] = (8, 32, 64, 256)) -> list[dict[str, Any]]:
    """Seconds for proposing a batch for so many GPUs, knowing 100 and 500 measurements: configs a second that one
    planner can name."""
    task = Task(recorded.spec, recorded.problem, hardware_named(recorded.landscape.device.hardware or ""))
    rows = []
    for known in (100, 500):
        seen = random.Random(0).sample([c for c, e in recorded.entries.items() if e.status == "correct"], known)
        measured = {
            c: Measurement(config=c.model_dump(), status="correct", ms=recorded.landscape.ms(recorded.entries[c]))
            for c in seen
        }
        planner = Planner(task, list(recorded.entries))
        for count in counts:
            began = time.perf_counter()
            planner.propose(Evidence({}, {}, measured), count)
            seconds = time.perf_counter() - began
            row = {"known": known, "batch": count, "seconds": round(seconds, 3)}
            rows.append(row | {"configs_per_s": round(count / seconds, 1)})
    return rows


def report(workers: tuple[int, ...], echo: Any) -> dict[str, Any]:
    """The curve, the killing, the planner."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    recorded = Recorded()
    crowd = Crowd(ray, recorded)
    mean = sum(e.seconds for e in recorded.entries.values()) / len(recorded.entries)
    figures: dict[str, Any] = {
        "simulated": True,
        "landscape": recorded.landscape.file,
        "host": f"{len(os.sched_getaffinity(0))} CPUs for driver and all actors",
        "mean_recorded_s": round(mean, 3),
        "curve": [],
    }
    try:
        for count in sorted(workers, reverse=True):
            fleet = crowd.fleet(count)
            figures["curve"].insert(0, simulate(ray, recorded, fleet, configs_for(recorded, count)))
            crowd.take_back(fleet)
            echo(json.dumps(figures["curve"][0]))
        count = min(max(workers), SEPARATE)
        fleet = crowd.fleet(count)
        figures["killed"] = simulate(ray, recorded, fleet, configs_for(recorded, count), kill=count // 3)
        echo(json.dumps(figures["killed"]))
    finally:
        ray.shutdown()
    figures["planner"] = planning(recorded)
    return figures
