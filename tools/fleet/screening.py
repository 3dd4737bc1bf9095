"""Many configs over a fleet, every attempt in memory: its row is there before a worker gets it, and is finished as its
answer comes. The driver writes for all workers, several rows a transaction: a commit costs a disk's flush."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator

from kernels.spec import Config
from memory.store import Begin, Finish
from tools.fleet.device import FleetDevice
from tools.harness.results import Measurement
from tools.session.session import Session

GROUP = 32
"""Rows of a transaction at most."""
EVERY_S = 0.5
"""Age at which answers are committed, however few: what a crash of the driver can lose."""


def screen(
    session: Session, device: FleetDevice, configs: Iterable[Config], call_id: str
) -> Iterator[tuple[Config, Measurement]]:
    """Measurements as they come; `configs` may be a stream and may name a config twice."""
    ids, memory = session.ids, session.memory
    rows: dict[Config, list[int]] = defaultdict(list)
    group = min(GROUP, 2 * len(device.fleet.workers))

    def begun() -> Iterator[Config]:
        for some in _groups(configs, group):
            addresses = memory.configs(ids.kernel, [c.model_dump(mode="json") for c in some])
            begin = [Begin(session.run_id, call_id, ids.environment, ids.problem, a, "benchmark") for a in addresses]
            for config, row in zip(some, memory.begin_attempts(begin), strict=True):
                rows[config].append(row)
            yield from some

    done: list[Finish] = []
    committed = time.monotonic()
    try:
        for config, m in device.measure_iter(begun(), session.task.regime):
            done.append(Finish(rows[config].pop(0), m.status, session.figures(m)))
            if len(done) >= group or time.monotonic() - committed > EVERY_S:
                memory.finish_attempts(done)
                done, committed = [], time.monotonic()
            yield config, m
    finally:
        memory.finish_attempts(done)


def _groups(configs: Iterable[Config], size: int) -> Iterator[list[Config]]:
    group: list[Config] = []
    for config in configs:
        group.append(config)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
