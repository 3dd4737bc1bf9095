"""What a replayed call of each op costs the host: ``python -m tests.bench.bench_ops_host [--json FILE]``.

No GPU is needed. The ops are called on CPU tensors as if they lay on an H200 (``tests/kernels/ops/replayed.py``). A C
function that does nothing stands in for the one that Triton's launcher ends in, and CPU memory for the GPU's. So this
measures the Python path of a call and one allocation, and neither the driver nor a GPU. In each round every op is timed
next to ``torch.neg`` of one number, a PyTorch call with one output. Times are the thread's CPU time."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

CALLS, ROUNDS = 500, 101
BASELINE = "torch.neg"
MEASURED = "fused_matmul with leaky_relu"


@click.command(help=__doc__)
@click.option("--rounds", default=ROUNDS, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
@click.option("--profile", help="Profile this call by function instead.")
def main(rounds: int, out: Path | None, profile: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="autokernel-ops-") as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        ways = replays()
        if profile is not None:
            if profile not in ways:
                raise click.UsageError(f"there is no call {profile!r}: give one of {', '.join(ways)}")
            show_profile(ways[profile])
            return
        found = measure(ways, rounds)
    print(f"{'call':28} {'µs':>7}  {'95 %':15} of {BASELINE}'s time")
    for name, row in found["calls"].items():
        low, high = row["us_ci"]
        print(f"{name:28} {row['us']:7.2f}  {f'[{low:.2f}, {high:.2f}]':15} {row['ratio']:.2f}")
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")


def replays() -> dict[str, Callable[[], object]]:
    """A call of each op that has been recorded, by name, after the baseline."""
    import torch

    from tests.kernels.ops import replayed

    # A method of C that takes any arguments, reads none and returns at once.
    end: Any = "".format
    replayed.END = replayed.UTILS.launch = end
    replayed.pretend()
    one = torch.ones(1)
    ways: dict[str, Callable[[], object]] = {BASELINE: lambda: torch.neg(one)}
    for name, op, make in (*replayed.cases(), measured_on_gpu()):
        ways[name] = partial(op, *make())
        for _ in range(3):
            ways[name]()
        replayed.front.clear()
        ways[name]()
        assert not replayed.front, f"{name} is not replayed"
    return ways


def measured_on_gpu() -> tuple[str, Callable[..., object], Callable[[], tuple[Any, ...]]]:
    """The call that ``evals/bench/launch_overhead.py`` times on a GPU, with smaller tensors."""
    from kernels import ops
    from tests.kernels.ops.replayed import normal

    return MEASURED, ops.fused_matmul, lambda: (normal(8, 256), normal(256, 64), None, "leaky_relu")


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    """Microseconds of a call, the median of the rounds with its 95 % interval, and the ratio to the baseline's."""
    import torch
    import triton

    from tools.harness.measuring.statistics import median_ci

    with torch.no_grad():
        for way in ways.values():
            host_us(way)
        times = [{name: host_us(way) for name, way in ways.items()} for _ in range(rounds)]
    calls = {}
    for name in ways:
        us, ci = median_ci([t[name] for t in times])
        ratio, _ = median_ci([t[name] / t[BASELINE] for t in times])
        calls[name] = {"us": us, "us_ci": ci, "ratio": ratio}
    versions = {"python": platform.python_version(), "torch": torch.__version__, "triton": triton.__version__}
    return {**versions, "calls_a_round": CALLS, "rounds": rounds, "calls": calls}


def host_us(way: Callable[[], object]) -> float:
    began = time.thread_time()
    for _ in range(CALLS):
        way()
    return (time.thread_time() - began) / CALLS * 1e6


def show_profile(way: Callable[[], object]) -> None:
    """Print where the time of calls goes, by function. The profiler itself multiplies the cost of Python's calls."""
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    with profiler:
        for _ in range(20 * CALLS):
            way()
    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(20)


if __name__ == "__main__":
    main()
