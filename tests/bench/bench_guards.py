"""What the guard of burst timing costs, and whether it changes a time: ``python -m tests.bench.bench_guards``

The default config of each kernel is read with and without the guard in turn, in one process on a GPU. The guard is that
some elements of the inputs get their values last (``tools/harness/measuring/timing.py``). Figures are written after
each kernel. A kernel that fails is named, and ``--seconds`` is divided among those that are left.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np

KERNELS = ("softmax", "rms_norm", "swiglu", "fused_matmul")
READINGS, LEAST = 24, 2
"""Of each kind."""


@click.command()
@click.argument("kernels", nargs=-1)
@click.option("--readings", default=READINGS, show_default=True)
@click.option("--seconds", default=80.0, show_default=True, help="Of all kernels together.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
def main(kernels: tuple[str, ...], readings: int, seconds: float, out: Path | None) -> None:
    import torch

    if not torch.cuda.is_available():
        raise click.UsageError("this reads a GPU's clock, and torch finds no usable GPU here")
    end, names = time.monotonic() + seconds, list(kernels or KERNELS)
    rows: list[dict[str, Any]] = []
    print("kernel          ms guarded      plain   ratio  | s a reading guarded  plain", flush=True)
    for i, name in enumerate(names):
        began = time.monotonic()
        try:
            r = compare(name, readings, began + max(0.0, end - began) / (len(names) - i))
        except Exception as e:  # noqa: BLE001 -- the other kernels are read all the same
            r = {"kernel": name, "failed": f"{type(e).__name__}: {e}"[:500]}
            print(f"{name:14} failed: {r['failed']}", flush=True)
        else:
            print(
                f"{r['kernel']:14} {r['ms_guarded']:11.5f} {r['ms_plain']:10.5f} {r['ratio']:7.4f}  | "
                f"{r['seconds_guarded']:19.4f} {r['seconds_plain']:6.4f}  "
                f"({r['readings']} readings, {time.monotonic() - began:.1f} s)",
                flush=True,
            )
        rows.append(r)
        torch.cuda.empty_cache()
        if out:
            out.write_text(json.dumps(rows, indent=1) + "\n")


def compare(name: str, readings: int, end: float) -> dict[str, Any]:
    """Up to `readings` of each kind, two of each at least. `end`: a time of ``time.monotonic()``."""
    import torch

    from kernels.hardware import hardware_for
    from kernels.registry import get
    from tools.harness.measuring import timing
    from tools.harness.measuring.arena import Arena

    spec = get(name)
    problem = spec.default_problem()
    hardware: Any = hardware_for(torch.cuda.get_device_name())
    config = spec.default_config(problem, hardware)
    arena = Arena(spec, problem, "cuda:0")
    arena.use(config)

    def call() -> Any:
        spec.launch(problem, config, arena.bound.inputs, arena.bound.out, hardware)
        return arena.bound.results

    times: dict[bool, list[float]] = {True: [], False: []}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    timing.burst(arena, call, 5, 1, False)
    for n in range(readings):
        if n >= LEAST and time.monotonic() > end:
            break
        for guarded in random.sample((True, False), 2):
            with guard(guarded):
                began = time.perf_counter()
                samples, _ = timing.burst(arena, call, 5, 1, False)
            times[guarded] += samples
            seconds[guarded].append(time.perf_counter() - began)
    ms = {guarded: float(np.median(found)) for guarded, found in times.items()}
    return {
        "kernel": name,
        "problem": problem.label(),
        "ms_guarded": ms[True],
        "ms_plain": ms[False],
        "ratio": ms[True] / ms[False],
        "readings": len(seconds[True]),
        "seconds_guarded": float(np.median(seconds[True])),
        "seconds_plain": float(np.median(seconds[False])),
    }


@contextmanager
def guard(on: bool) -> Iterator[None]:
    """Burst timing with its guard, or as if there were none."""
    from tools.harness.measuring.arena import Arena

    with nullcontext() if on else patch.object(Arena, "hold_back", lambda arena: lambda: None):
        yield


if __name__ == "__main__":
    main()
