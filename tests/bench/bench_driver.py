"""What an attempt costs the driver beside compiler and GPU: ``python -m tests.bench.bench_driver [--attempts N]``.

Configs go through a session one by one, with a real memory on this disk, a compiler that answers at once and a device
that answers at once. What is left is ours: rows written and committed before and after, bookkeeping.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from kernels.hardware import hardware_named
from memory.store import Memory
from tests.bench.bench_faults import compile_at_once
from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tests.tools.test_session import Clockwork
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task


@click.command()
@click.option("--attempts", default=1000)
@click.option("--json", "out", type=click.Path(path_type=Path))
def main(attempts: int, out: Path | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="autokernel-driver-"))
    memory = Memory.open(folder / "memory.db")
    hardware, spec, problem = hardware_named("H200"), Faulty(), AxpyProblem()
    device: Any = Clockwork(memory)
    ids = Ids.of(memory, device.info, spec, problem)
    memory.start_run("bench", "driver", {}, "none", ids.environment, ids.problem, {})
    pool = LocalCompilePool(hardware, cache=folder)
    pool.compile = compile_at_once  # type: ignore[method-assign]
    budget = Budget(max_evals=attempts, max_seconds=1e6)
    session = Session(Task(spec, problem, hardware, "gbps"), device, pool, memory, ids, "bench", budget)
    times = []
    for n in range(attempts):
        started = time.perf_counter()
        session.measure([FaultyConfig(n=n)], f"call {n}")
        times.append(1e3 * (time.perf_counter() - started))
    figures = {
        "machine": platform.processor() or platform.machine(),
        "attempts": attempts,
        "ms_per_attempt": {f"p{q}": round(float(np.percentile(times, q)), 2) for q in (50, 95, 99)},
        "mean_ms": round(float(np.mean(times)), 2),
    }
    if out:
        out.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
