"""What an applied table costs the host: ``python -m tests.bench.bench_apply [--launches N] [--seconds S]``.

Processor time of a launch, the least of ROUNDS rounds, which share the N launches of each figure: a bare launch (the
stock ``Autotuner.run`` with its choice in the cache, if the kernel is autotuned), one whose function the table does not
hold, one whose function has rows, but none for its key, and an applied one. A line is printed when its rounds are done.
If its part of the S seconds is up before, it has fewer launches, and says how many. Without a GPU a driver that
compiles for an sm_90 and launches nothing stands in (``tests/kernels/capture/launching_driver.py``): its figures are
those of this machine's processor. On a GPU the launches are real.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

import torch
import triton
import triton.language as tl

from agent.programs import apply, capture
from kernels.capture.reading.captured_launches import read_capture
from kernels.tuned.applying import applied_table
from kernels.tuned.key import key_of_captured
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import Decision, TunedEnvironment, TunedFunction, TunedRow, TunedTable
from tests.kernels.capture.launching_driver import LaunchingDriver

ROUNDS = 10
SECONDS = 48.0
"""Of the whole bench without its imports."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@triton.jit
def few(a, b, out, n, BLOCK: tl.constexpr):
    tl.store(out + tl.arange(0, BLOCK), tl.load(a + tl.arange(0, BLOCK)) + tl.load(b + tl.arange(0, BLOCK)))


@triton.jit
def many(a, b, c, d, e, f, g, h, sa, sb, sc, sd, se, sf, sg, sh, n, m, k, eps, BLOCK: tl.constexpr, MORE: tl.constexpr):
    tl.store(a + tl.arange(0, BLOCK), tl.load(b + tl.arange(0, BLOCK)))


@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (64, 128) for w in (1, 2)], key=["n"])
@triton.jit
def tuned(a, b, out, n, BLOCK: tl.constexpr):
    tl.store(out + tl.arange(0, BLOCK), tl.load(a + tl.arange(0, BLOCK)) + tl.load(b + tl.arange(0, BLOCK)))


@triton.heuristics({f"USE_{n.upper()}": lambda args, n=n: args[n] is not None for n in ("g", "dw", "cu", "dv")})
@triton.autotune([triton.Config({}, num_warps=w, num_stages=s) for w in (2, 4) for s in (2, 3, 4)], key=["H", "K", "V"])
@triton.jit(do_not_specialize=["T"])
def layered(
    q, k, v, g, h, do, dh, dq, dk, dg, w, dv, dw, cu, scale, T, H: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    BT: tl.constexpr, BK: tl.constexpr, USE_G: tl.constexpr, USE_DW: tl.constexpr, USE_CU: tl.constexpr,
    USE_DV: tl.constexpr,
):  # fmt: skip
    """Decorated and launched as the backward kernels of flash-linear-attention are: everything by name."""
    tl.store(q + tl.arange(0, BT), tl.load(k + tl.arange(0, BT)))


def launches():
    """Each case: a function that launches once, its number of tensors, and the row's constants."""
    x = [torch.ones(8, 128, device=DEVICE) for _ in range(8)]
    numbers = (*range(128, 136), 8, 8, 8, 1e-6)
    y = [torch.ones(8, 128, device=DEVICE) for _ in range(13)]
    return {
        "3 tensors, 5 arguments": (lambda: few[(8,)](*x[:3], 1024, BLOCK=128), 3, {}),
        "3 tensors, callable grid": (
            lambda: few[lambda m: (m["n"] // m["BLOCK"],)](*x[:3], 1024, BLOCK=128),
            3,
            {"BLOCK": 64},
        ),
        "8 tensors, 22 arguments": (lambda: many[(8,)](*x, *numbers, BLOCK=128, MORE=1, num_warps=4), 8, {}),
        "3 tensors, autotuned": (
            lambda: tuned[lambda m: (m["n"] // m["BLOCK"],)](*x[:3], 1024),
            3,
            {"BLOCK": 128},
        ),
        "13 tensors, heuristics, autotuned": (
            lambda: layered[lambda m: (8, 1)](
                q=y[0],
                k=y[1],
                v=y[2],
                g=y[3],
                h=y[4],
                do=y[5],
                dh=y[6],
                dq=y[7],
                dk=y[8],
                dg=y[9],
                w=y[10],
                dv=y[11],
                dw=y[12],
                cu=None,
                scale=0.1,
                T=4096,
                H=8,
                K=128,
                V=256,
                BT=64,
                BK=64,
            ),
            13,
            {},
        ),
    }


def microseconds(launch, count):
    started = time.thread_time()
    for _ in range(count):
        launch()
    return (time.thread_time() - started) / count * 1e6


def write(launch, constants, path, environment, other=False):
    """A table that has a row for `launch`, or with `other` for another key of its function."""
    recorded = path.with_suffix(".capture")
    with capture(recorded, values="no"):
        launch()
    found = read_capture(str(recorded))
    (launched,) = found.launches
    f, key = launched.function, key_of_captured(launched, found.functions())
    row = TunedRow(
        TunedFunction(f["module"], f["qualname"], f["identity"]),
        environment,
        {**key, "options": {"launch_pdl": True}} if other else key,
        "proven",
        Decision(constants, {"num_warps": 2}),
    )
    table = TunedTable()
    table.add(row, {"speedup": 1.0})
    write_table(table, path)
    return path


def measure(ways, launches, deadline, clock=time.monotonic):
    """(way → least microseconds of a launch, launches of each). `ways`: name → a context with the number of launches
    so far, in which `launch` is called. In turns, so that what else the machine does falls on all of them. A round that
    would end after `deadline` by `clock` is not begun, unless it is the first."""
    found, made, longest = defaultdict(list), 0, 0.0
    while made < launches and (not made or clock() + longest <= deadline):
        count = min(-(-launches // ROUNDS), launches - made)
        began = clock()
        for name, way in ways.items():
            found[name].append(way(count))
        longest = max(longest, clock() - began)
        made += count
    return {name: min(times) for name, times in found.items()}, made


def ways_of(launch, empty, without, path):
    """The ways of a case: each takes a number of launches, and gives the microseconds of one. The three tables: one
    without rows, one without a row for the launch, and one with it."""

    def under(table=None, counted=None):
        def way(count):
            with apply(table) if table else nullcontext() as applied:
                launch()
                us = microseconds(launch, count)
                if counted:
                    assert applied is not None
                    assert applied.report()[counted][0]["launches"] == count + 1
            return us

        return way

    return {
        "bare": under(),
        "not in the table": under(empty, "missed"),
        "no row": under(without, "missed"),
        "applied": under(path, "used"),
    }


def main(arguments=None):
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--launches", type=int, default=100_000 if DEVICE == "cuda" else 20_000, help="of each figure (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole bench (%(default)g)")
    options = parser.parse_args(arguments)
    count, deadline = options.launches, began + options.seconds
    if DEVICE == "cpu":
        triton.runtime.driver.set_active(LaunchingDriver())
        environment = TunedEnvironment("no GPU", triton.__version__, None)
        applied_table._environment_of_launch = lambda: environment
    else:
        environment = applied_table._environment_of_launch()
    about = f"{environment}, torch {torch.__version__}, {count} launches of each figure in {ROUNDS} rounds"
    print(f"{about}; microseconds a launch", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.json"
        write_table(TunedTable(), empty)
        cases = launches()
        for i, (name, (launch, tensors, constants)) in enumerate(cases.items()):
            part = max(0.0, deadline - time.monotonic()) / (len(cases) - i)
            end = time.monotonic() + part
            path, without = (Path(folder) / f"{tensors}{len(name)}{end}.json" for end in ("", "-without"))
            write(launch, constants, path, environment)
            write(launch, constants, without, environment, other=True)
            least, made = measure(ways_of(launch, empty, without, path), count, end)
            allowed = 0.0 if "autotuned" in name else 1 + 0.6 * tensors
            print(
                f"{name:34}",
                *(f"{n} {us:7.2f}" for n, us in least.items()),
                f"applied - bare {least['applied'] - least['bare']:+6.2f} (allowed {allowed:+.1f})",
                *([] if made == count else [f"({made} launches: the time was up)"]),
                flush=True,
            )
    print(f"{time.monotonic() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
