"""500 faults in one run on a GPU: ``python -m tests.bench.bench_faults [--faults N] [--json FILE]``.

Faulty and good configs alternate through a session with a memory, as an agent's would, while a thread kills the worker
with SIGKILL at random moments. At the end every attempt has to be in memory with its true status.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from kernels.spec import Config, KernelSpec, Problem
from memory.store import Memory
from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import TRUE_STATUS, Faulty, FaultyConfig
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.device import NO_LIMIT, CompileLimit
from tools.harness.devices.live import LiveDevice
from tools.harness.results import CompileResult
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task

WEIGHTS = {
    "raises": 26, "wrong": 26, "out_of_memory": 24, "never_ends": 5, "out_of_bounds": 8, "segfault": 5, "exit": 6,
}  # fmt: skip
"""Shares of the kinds; those that cost a worker are a quarter, as many as an hour of hostile kernels would have."""
HANG_S = 1.0


@click.command()
@click.option("--faults", default=500)
@click.option("--kills", default=20, help="SIGKILLs of the worker at random moments, on top.")
@click.option("--device", default="cuda:0")
@click.option("--seed", default=0)
@click.option("--json", "out", type=click.Path(path_type=Path))
def main(faults: int, kills: int, device: str, seed: int, out: Path | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="autokernel-faults-"))
    live = LiveDevice.open(device, Faulty(), AxpyProblem(), cache=folder)
    live.workers.spares, live.workers.deadline_s = 4, HANG_S
    memory = Memory.open(folder / "memory.db")
    try:
        figures = storm(live, memory, folder, faults, kills, seed)
    finally:
        live.close()
    if out:
        out.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if figures["lost"] == figures["wrong"] == 0 else 1)


def storm(live: LiveDevice, memory: Memory, folder: Path, faults: int, kills: int, seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    kinds = draw.choices(list(WEIGHTS), list(WEIGHTS.values()), k=faults)
    plan = [kind for fault in kinds for kind in (fault, "none")]
    task = Task(live.spec, live.problem, live.hardware, "gbps", seed=seed)
    ids = Ids.of(memory, live.info, live.spec, live.problem)
    memory.start_run("storm", "faults", {}, "none", ids.environment, ids.problem, {})
    pool = LocalCompilePool(live.hardware, cache=folder)
    session = Session(task, live, pool, memory, ids, "storm", Budget(max_evals=len(plan) + 100, max_seconds=1e6))
    session.measure([FaultyConfig(n=-1)], "warm-up")
    # Compilation is not what is on trial: a fault raised by launch() would already stop a config in the pool.
    pool.compile = compile_at_once  # type: ignore[method-assign]
    calm = [clock(session, FaultyConfig(n=10_000 + i)) for i in range(50)]
    stop = threading.Event()
    killer = threading.Thread(target=kill_at_random, args=(live, kills, draw.randrange(1 << 30), stop))
    started = time.perf_counter()
    killer.start()
    after: list[float] = []
    for n, kind in enumerate(plan):
        seconds = clock(session, FaultyConfig(fault=kind, n=n))
        if kind == "none":
            after.append(seconds)
    seconds = time.perf_counter() - started
    stop.set()
    killer.join()
    again = [clock(session, FaultyConfig(n=20_000 + i)) for i in range(50)]
    pool.close()
    rows = {r["config"]["n"]: r for r in memory.finished("storm") if r["kind"] == "benchmark"}
    wrong = [
        {"n": n, "kind": kind, "status": rows[n]["status"], "reason": rows[n]["reason"]}
        for n, kind in enumerate(plan)
        if n in rows and rows[n]["status"] != TRUE_STATUS[kind]
    ]
    return {
        "device": live.info.name,
        "torch": live.info.torch,
        "triton": live.info.triton,
        "faults": dict(Counter(kinds)),
        "kills": kills,
        "attempts": len(plan),
        "lost": sum(n not in rows for n in range(len(plan))),
        "wrong": len(wrong),
        "first_wrong": wrong[:5],
        "seconds": round(seconds, 1),
        "ms_per_good_config": {
            "before": round(1e3 * statistics.median(calm), 1),
            "between_faults": round(1e3 * statistics.median(after), 1),
            "after": round(1e3 * statistics.median(again), 1),
        },
    }


def compile_at_once(
    spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], limit: CompileLimit = NO_LIMIT
) -> list[CompileResult]:
    """In the place of a pool's ``compile``: nothing is compiled."""
    return [CompileResult(config=config.model_dump(mode="json"), status="correct") for config in configs]


def clock(session: Session, config: FaultyConfig) -> float:
    started = time.perf_counter()
    session.measure([config], f"call {config.n}")
    return time.perf_counter() - started


def kill_at_random(live: LiveDevice, kills: int, seed: int, stop: threading.Event) -> None:
    draw = random.Random(seed)
    for _ in range(kills):
        if stop.wait(draw.uniform(0.5, 12)):
            return
        with suppress(ProcessLookupError):
            pid = live.workers.by_role["candidates"].process.pid
            if pid is not None:
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
