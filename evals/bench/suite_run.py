"""Runs the suite on one GPU. While one case is measured, the next ones start their processes, compile their configs and
run torch.compile. If torch.compile times something on the GPU, it waits for the lock in
:mod:`tools.harness.process.gpu_lock`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evals.bench import targets
from evals.bench.suite import Case, Entry, Judged
from evals.bench.sweep import FINALISTS, Progress, Row, describe_case, rates, report_progress, sort_by_time
from kernels.ops.tuned_files import Entry as TunedEntry
from kernels.ops.tuned_files import choose
from kernels.spec import Config, sentence
from tools.harness.measuring.choices import choices_of

if TYPE_CHECKING:
    from memory.terms import Regime
    from tools.harness.compiling.compile_pool import LocalCompilePool
    from tools.harness.devices.live import LiveDevice
    from tools.harness.results import CompileResult, Measurement

AHEAD = 3
"""Cases that are opened at the same time, before they are measured: torch.compile takes half a minute for a matmul, and
measuring a case takes as long."""
DEADLINE_S = 60.0
"""Deadline of a job, counted from when it has the GPU."""
START_S, SCREEN_S, BURST_S, ROUND_S, ROUNDS = 20.0, 0.04, 6.0, 0.45, 4
"""For the estimate (H200, 16 cores): seconds of the first case's start, of a config, of a burst proof and of a
sustained reading without its window, and the number of such readings."""


@dataclass
class Opened:
    """A case ready to be measured."""

    live: LiveDevice
    compiling: dict[Future[CompileResult], Config]
    screened: list[Measurement] = field(default_factory=list)
    contended: dict[Regime, list[Measurement]] = field(default_factory=dict)

    def finalists(self, progress: Progress) -> list[Config]:
        """The fastest configs of a burst screening. The screening is made once."""
        from tools.harness.results import Measurement

        if not self.screened:
            for i, done in enumerate(as_completed(self.compiling), 1):
                config, compiled = self.compiling[done], done.result()
                if compiled.status == "correct":
                    self.screened.append(self.live.screen(config))
                else:
                    failed = {"config": compiled.config, "status": compiled.status, "reason": compiled.reason}
                    self.screened.append(Measurement(**failed))
                report_progress(self.live, i, len(self.compiling), progress)
        return [self.live.spec.config_type.model_validate(m.config) for m in sort_by_time(self.screened)[:FINALISTS]]

    def contend(self, finalists: list[Config], regime: Regime) -> list[Measurement]:
        """Time the finalists against one another, once per regime. Returns those that stayed correct, fastest first."""
        if regime not in self.contended:
            self.contended[regime] = sort_by_time(self.live.contend(finalists, regime))
        return self.contended[regime]


class SuiteRun:
    """One run of the suite. If `tuned` is given, each case takes its config from it and screens none."""

    def __init__(
        self, device: str, configs: int, seconds: float, tuned: list[TunedEntry] | None, progress: Progress
    ) -> None:
        self.device, self.configs, self.seconds, self.tuned = device, configs, seconds, tuned
        self.progress = progress
        self._pool: LocalCompilePool | None = None
        self._making_pool = threading.Lock()
        self._slots = threading.Semaphore(AHEAD)
        self._devices: list[LiveDevice] = []
        self._ended = False

    def rows(self, entries: tuple[Entry, ...], keep: Callable[[list[Row]], None]) -> list[Row]:
        """A row per entry and way of judging. `keep` is called with all rows so far after each new row. Raises
        DeviceError if there is no GPU."""
        from tools.harness.device import DeviceError

        cases = list({id(e.case): e.case for e in entries}.values())
        found: list[Row] = []
        openers = ThreadPoolExecutor(AHEAD, thread_name_prefix="open")
        futures = {id(c): openers.submit(self._open, c, [e for e in entries if e.case is c]) for c in cases}
        try:
            for i, entry in enumerate(entries):
                future = futures[id(entry.case)]
                try:
                    opened = future.result()
                except (ValueError, DeviceError) as e:
                    if isinstance(e, DeviceError) and not found:
                        raise
                    found += [make_skipped_row(entry, judged, sentence(e)) for judged in entry.judged]
                    keep(found)
                    continue
                for judged in entry.judged:
                    self.progress(f"{entry.name}: {judged}")
                    found.append(self._judge(entry, judged, opened))
                    keep(found)
                if not any(later.case is entry.case for later in entries[i + 1 :]):
                    opened.live.close()
                    self._slots.release()
        finally:
            self._ended = True
            openers.shutdown(wait=False, cancel_futures=True)
            self._slots.release(len(cases))  # an opener that waits continues, sees that the suite ended, and stops
            for live in self._devices:
                live.close()
            if self._pool is not None:
                self._pool.close()
        return found

    def _open(self, case: Case, entries: list[Entry]) -> Opened:
        """Start the processes, compilations and baselines of a case. If this raises ValueError or DeviceError, the case
        does not count among the open ones."""
        from tools.harness.compiling.cache import default_cache
        from tools.harness.devices.live import LiveDevice

        self._slots.acquire()
        try:
            if self._ended:
                raise ValueError("the suite has ended")
            spec, problem = case.load()
            cache = default_cache()
            cache.mkdir(parents=True, exist_ok=True)
            live = LiveDevice.open(self.device, spec, problem, cache, lock=cache / f"gpu-{self.device}")
        except BaseException:
            self._slots.release()
            raise
        self._devices.append(live)
        live.workers.spares, live.workers.deadline_s = 0, DEADLINE_S
        try:
            pool = self._shared_pool(live)
            compiling = {pool.submit(spec, problem, c): c for c in self._configs(live)}
            for name in find_needed_baselines(live, entries):
                if not self._ended:
                    live.prepare_baseline(name)
        except BaseException:
            live.close()
            self._slots.release()
            raise
        return Opened(live, compiling)

    def _shared_pool(self, live: LiveDevice) -> LocalCompilePool:
        import os

        from tools.harness.compiling.compile_pool import LocalCompilePool

        with self._making_pool:
            if self._pool is None:  # two cores stay free for the processes that measure
                self._pool = LocalCompilePool(live.hardware, max(1, len(os.sched_getaffinity(0)) - 2), live.cache)
            return self._pool

    def _configs(self, live: LiveDevice) -> list[Config]:
        """The tuned config; without one, the default config, the planner's first proposals, and a sample of the
        space."""
        from evals.bench.sweep import sample_space
        from tools.planner.evidence import Evidence
        from tools.planner.propose import Planner
        from tools.session.task import Task

        if self.tuned is not None:
            return [choose(live.spec, live.problem, live.hardware, self.tuned).config]
        some = sample_space(live.spec, live.problem, live.hardware, self.configs // 4)
        task = Task(live.spec, live.problem, live.hardware, live.spec.metric)
        planner = Planner(task, live.spec.space(live.problem, live.hardware))
        proposed = planner.propose(Evidence(), max(1, self.configs - len(some))).proposals if self.configs else []
        return list(dict.fromkeys([*some[:1], *(p.config for p in proposed), *some[1:]]))

    def _judge(self, entry: Entry, judged: Judged, opened: Opened) -> Row:
        live, regime = opened.live, _regime(judged)
        row = describe_case(live, regime) | {"entry": entry.name, "judged": judged, "targets": [], "baselines": []}
        why = live.no_energy() if judged == "energy" else None
        if why:
            return row | {"status": "skipped", "reason": why}
        finalists = opened.finalists(self.progress)
        if not finalists:
            reason = opened.screened[0].reason if opened.screened else "no config"
            return row | {"status": "failed", "reason": f"no config could be timed: {reason}"}
        live.window_s = entry.window_s
        again = opened.contend(finalists, regime if entry.contest else "burst") if len(finalists) > 1 else []
        order = [live.spec.config_type.model_validate(m.config) for m in again] or finalists
        fastest = best = order[0]
        if judged == "energy":
            frugal = min((m for m in again if m.joules), key=lambda m: m.joules or 0.0, default=None)
            best = live.spec.config_type.model_validate(frugal.config) if frugal else fastest
        against = [*dict.fromkeys(entry.baselines(judged) or [b.name for b in live.spec.baselines(live.problem)])]
        figure: Any = "joules" if judged == "energy" else "ms"
        proof = live.prove(best, regime, self.seconds, figure, fastest if best != fastest else None, against)
        row |= {"status": proof.status, "reason": proof.reason, "config": proof.config, "how": proof.how}
        if proof.ms is None:
            return row
        row |= rates(live, proof.ms) | {"ci_ms": proof.ci_ms, "joules": proof.joules, "ci_joules": proof.ci_joules}
        row |= {"baselines": [c.model_dump(mode="json") for c in proof.comparisons], "tried": len(opened.screened)}
        if proof.joules:
            row["per_joule"] = live.spec.flops(live.problem) / proof.joules
        return row | {"targets": targets.targets(entry, judged, row)}


def find_needed_baselines(live: LiveDevice, entries: list[Entry]) -> list[str]:
    """The baselines that one of `entries` needs and that can run here, with every choice that can be forced."""
    own = {b.name: b for b in live.spec.baselines(live.problem)}
    names = dict.fromkeys(n for e in entries for j in e.judged for n in e.baselines(j) or own)
    there = [n for n in names if n not in own or own[n].missing(live.problem) is None]
    return [c for n in there for c in ([b.name for b in choices_of(own[n], live.problem)] if n in own else [n])]


def _regime(judged: Judged) -> Regime:
    return "burst" if judged == "burst" else "sustained"


def make_skipped_row(entry: Entry, judged: Judged, why: str) -> Row:
    return {
        "entry": entry.name,
        "judged": judged,
        "kernel": entry.case.kernel,
        "device": "",
        "status": "skipped",
        "reason": why,
        "targets": [],
        "baselines": [],
    }


def estimate(entries: tuple[Entry, ...], configs: int) -> dict[str, float]:
    """Estimated seconds of each entry on an H200 with 16 cores. ``start`` is the start of the first case."""
    found, seen = {"start": START_S}, set[int]()
    for entry in entries:
        seconds = 0.0 if id(entry.case) in seen else SCREEN_S * configs
        for judged in entry.judged:
            rivals = len(entry.baselines(judged) or (0,) * 3)
            reading = ROUND_S + entry.window_s
            seconds += BURST_S if judged == "burst" else ROUNDS * (1 + rivals) * reading
            contest = entry.contest and judged != "burst" and id(entry.case) not in seen
            seconds += ROUNDS * FINALISTS * reading if contest else 0.0
        seen.add(id(entry.case))
        found[entry.name] = seconds
    return found
