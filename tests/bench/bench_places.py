"""How far do places in memory and processes move a ratio?  ``python -m tests.bench.bench_places OUT.json`` on a GPU.

A proof reads a config in one process and its baselines in another, each at one place in memory. What two readings of
the same code differ by for that reason is in no interval of the sitting. For each case (a kernel's default config and
eager PyTorch), several processes, one after the other, each hold the inputs at several places, and time both in turns:
two events around a launch, a cold L2, ``--samples`` pairs a place.

Printed are, of each case: the ratio of eager's time to the config's in one process (all places), what it would be with
the two in different processes (all pairs of processes), and the spread of either time over places and over processes.
Written after each process. Ends within ``--seconds``."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click

from evals.bench.output import print_table, store
from tests.bench.cold_launch import FLUSH_BYTES, cold_ms

CASES: tuple[tuple[str, tuple[int, ...], Mapping[str, str]], ...] = (
    ("fused_matmul", (64, 8192, 8192), {"dtype": "bf16"}),
    ("fused_matmul", (4096, 4096, 4096), {"dtype": "fp16"}),
    ("rms_norm", (32768, 4096), {"dtype": "fp16"}),
)
APART = 37
"""Guards (512 bytes) by which the inputs lie further on than at the place before."""


def read(case: int, places: int, samples: int) -> dict[str, Any]:
    """ms of both at each place, in this process."""
    import torch

    from kernels.hardware import hardware_for
    from kernels.launches.bound import GUARD, Placed
    from kernels.registry import get

    kernel, shape, options = CASES[case]
    spec = get(kernel)
    problem = spec.parse_problem(shape, dict(options))
    hardware = hardware_for(torch.cuda.get_device_name(0))
    assert hardware is not None
    config = spec.default_config(problem, hardware)
    inputs = spec.inputs(problem, torch.Generator("cuda").manual_seed(7), "cuda")
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    found: dict[str, list[float]] = {"config": [], "eager": []}
    for place in range(places):
        given = Placed(inputs, copy=True, extra=place * APART * GUARD, guard=0).value
        out = spec.output(problem, "cuda")
        calls: dict[str, Callable[[], object]] = {
            "config": partial(spec.launch, problem, config, given, out, hardware),
            "eager": spec.baselines(problem)[0].prepare(problem, given),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(-2, samples):
            for name in list(calls)[:: 1 if turn % 2 else -1]:
                ms = cold_ms(calls[name], flush)
                if turn >= 0:
                    times[name].append(ms)
        for name, values in times.items():
            found[name].append(median(values))
    return found


def summary(case: int, processes: list[dict[str, list[float]]]) -> dict[str, str]:
    """A line of the table."""
    kernel, shape, _ = CASES[case]
    row = {"case": f"{kernel} {'x'.join(map(str, shape))}", "processes": str(len(processes))}
    if not processes:
        return row
    together = [e / c for p in processes for c, e in zip(p["config"], p["eager"], strict=True)]
    pairs = list(itertools.permutations(processes, 2)) or [(processes[0], processes[0])]
    apart = [a["eager"][0] / b["config"][0] for a, b in pairs]
    row["ratio together"] = f"{median(together):.4f} [{min(together):.4f}, {max(together):.4f}]"
    row["ratio apart"] = f"{median(apart):.4f} [{min(apart):.4f}, {max(apart):.4f}]"
    for name in ("config", "eager"):
        over_places = median(spread(p[name]) for p in processes)
        over_processes = spread([p[name][0] for p in processes])
        row[f"{name}: places, processes"] = f"{over_places:.2%}, {over_processes:.2%}"
    return row


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / median(values)


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--processes", default=4, show_default=True, help="Of each case.")
@click.option("--places", default=4, show_default=True, help="Of each process.")
@click.option("--samples", default=60, show_default=True, help="Pairs of readings at a place.")
@click.option("--seconds", default=150.0, show_default=True, help="For everything; what does not fit is left out.")
@click.option("--case", "asked", type=int, hidden=True)
def main(out: Path, processes: int, places: int, samples: int, seconds: float, asked: int | None) -> None:
    if asked is not None:
        print(json.dumps(read(asked, places, samples)))
        return
    until = time.monotonic() + seconds
    found: list[list[dict[str, list[float]]]] = [[] for _ in CASES]
    for _ in range(processes):
        for case in range(len(CASES)):
            left = until - time.monotonic()
            command = [sys.executable, "-m", "tests.bench.bench_places", str(out), "--case", str(case)]
            command += ["--places", str(places), "--samples", str(samples)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, left))
                found[case].append(json.loads(done.stdout.strip().splitlines()[-1]))
            except subprocess.TimeoutExpired:
                print(f"{CASES[case][0]}: no time left for another process", file=sys.stderr)
            except (ValueError, IndexError):
                print(f"{CASES[case][0]}: {done.stderr.strip()[-300:]}", file=sys.stderr)
            cases = [{"kernel": k, "shape": list(s), "processes": p} for (k, s, _), p in zip(CASES, found, strict=True)]
            store(out, {"cases": cases})
    rows = [summary(case, read_) for case, read_ in enumerate(found)]
    print_table(rows, tuple(dict.fromkeys(name for row in rows for name in row)))


if __name__ == "__main__":
    main()
