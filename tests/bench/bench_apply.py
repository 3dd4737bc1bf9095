"""What an applied table costs the host: ``python -m tests.bench.bench_apply [--launches N]``.

Processor time of a launch, the least of several rounds: a bare launch, which is the stock ``Autotuner.run`` with its
choice in the cache if the kernel is autotuned; one whose function the table does not hold; one whose function has rows,
but none for its key; and an applied one. Without a GPU a driver that
compiles for an sm_90 and launches nothing stands in (``tests/kernels/capture/launching_driver.py``): its figures are
those of this machine's processor. On a GPU the launches are real.
"""

from __future__ import annotations

import argparse
import tempfile
import time
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

ROUNDS = 7
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=100_000 if DEVICE == "cuda" else 3000)
    count = parser.parse_args().launches
    if DEVICE == "cpu":
        triton.runtime.driver.set_active(LaunchingDriver())
        environment = TunedEnvironment("no GPU", triton.__version__, None)
        applied_table._environment_of_launch = lambda: environment
    else:
        environment = applied_table._environment_of_launch()
    print(f"{environment}, torch {torch.__version__}, {count} launches, {ROUNDS} rounds; microseconds a launch")
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.json"
        write_table(TunedTable(), empty)
        for name, (launch, tensors, constants) in launches().items():
            path = write(launch, constants, Path(folder) / f"{tensors}{len(name)}.json", environment)
            without = write(launch, constants, Path(folder) / f"{tensors}{len(name)}-without.json", environment, True)
            found = {"bare": [], "not in the table": [], "no row": [], "applied": []}
            for _ in range(ROUNDS):  # in turns, so that what else the machine does falls on all of them
                launch()
                found["bare"].append(microseconds(launch, count))
                with apply(empty):
                    launch()
                    found["not in the table"].append(microseconds(launch, count))
                with apply(without) as applied:
                    launch()
                    found["no row"].append(microseconds(launch, count))
                    assert applied.report()["missed"][0]["launches"] == count + 1
                with apply(path) as applied:
                    launch()
                    found["applied"].append(microseconds(launch, count))
                    assert applied.report()["used"][0]["launches"] == count + 1
            least = {n: min(times) for n, times in found.items()}
            allowed = 0.0 if "autotuned" in name else 1 + 0.6 * tensors
            print(
                f"{name:34}",
                *(f"{n} {us:7.2f}" for n, us in least.items()),
                f"applied - bare {least['applied'] - least['bare']:+6.2f} (allowed {allowed:+.1f})",
            )


if __name__ == "__main__":
    main()
