"""What a first batch takes to compile from a standing start: ``python -m tests.bench.bench_startup [--compilers N]``.

One after another, as a run did it: this process imports, then the pool starts its own for the first config. Together,
as it does: the pool's processes start first. Each way in a new process with an empty compile cache; the GPU and what
else a driver imports are left out, so the gain here is that of these two alone."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

import click

CODE = """
import sys, time
began = time.perf_counter()
from pathlib import Path
from tools.harness.process.prestart import Prestart
cache, compilers, together = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "together"
with Prestart(cache, compilers if together else 0, None) as prestart:
    from kernels.hardware import hardware_named
    from kernels.registry import get
    from tools.harness.compiling.compile_pool import LocalCompilePool
    spec, hardware = get("softmax"), hardware_named("H200")
    problem = spec.default_problem()
    pool = LocalCompilePool(hardware, compilers, cache, prestart=prestart)
    results = pool.compile(spec, problem, spec.space(problem, hardware)[:8])
    print(time.perf_counter() - began)
    pool.close()
    assert results
"""


@click.command()
@click.option("--compilers", default=len(os.sched_getaffinity(0)), show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(compilers: int, rounds: int) -> None:
    seconds: dict[str, list[float]] = {"one after another": [], "together": []}
    for _ in range(rounds):
        for way, found in seconds.items():
            with tempfile.TemporaryDirectory(prefix="autokernel-startup-") as cache:
                command = [sys.executable, "-c", CODE, cache, str(compilers), way]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(float(done.stdout.splitlines()[-1]))
    print(json.dumps({way: round(statistics.median(found), 2) for way, found in seconds.items()}, indent=1))


if __name__ == "__main__":
    main()
