"""A table for a grouped (mixture-of-experts) kernel: ``python -m tests.bench.bench_moe_table OUT``.

On a GPU. ``capture`` records a launch of the layer (``moe_layer.py``) for each of 24 numbers of tokens, ``improve``
tunes them in one go, and the table is applied to 100 other numbers: the launch with and without it, both
recorded into CUDA graphs and replayed in turns. Nothing else may use the GPU meanwhile.

``OUT/moe-table.json`` holds every ratio. It is written after each step and each number of tokens. ``--seconds`` bounds
everything, and ``--held-out-seconds`` of it are kept for the other numbers, which come in a drawn order: as many as
there is time for are spread over all sizes. The memory is new, so a search knows what those of other sizes found in
this run, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.bench.bench_improve import _geomean
from tests.bench.moe_layer import ROWS, Layer

HELD_OUT = 100
SECONDS, HELD_OUT_SECONDS = 365.0, 65.0
LAUNCHES, ROUNDS = 10, 21
NOISE = 0.01
"""A ratio whose interval reaches above 1 minus so much is not slower: two graphs of one kernel read so far apart."""


def held_out() -> list[int]:
    """Other numbers of tokens, evenly spread over the logarithm, in an order of their own; the same in every run."""
    draw = np.random.default_rng(1)
    found: set[int] = set()
    while len(found) < HELD_OUT:
        found.add(round(math.exp(draw.uniform(0, math.log(ROWS[-1])))))
        found -= set(ROWS)
    return [int(n) for n in draw.permutation(sorted(found))]


def recorded(launch: Any) -> torch.cuda.CUDAGraph:
    """LAUNCHES launches as a CUDA graph, after one that compiles."""
    launch()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(LAUNCHES):
            launch()
    return graph


def microseconds(graph: torch.cuda.CUDAGraph, flush: torch.Tensor) -> float:
    flush.zero_()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / LAUNCHES * 1e3


def compared(layer: Layer, tokens: int, table: Path, flush: torch.Tensor) -> dict[str, Any]:
    """Stock over applied for one number of tokens: the median of ROUNDS ratios, and the interval of the median."""
    from agent.programs import apply
    from tools.harness.measuring.statistics import median_ci

    launch = layer.launch(tokens)
    stock = recorded(launch)
    with apply(table) as used:
        tuned = recorded(launch)
        report = used.report()
    ratios, times = [], []
    for graph in (stock, tuned):
        microseconds(graph, flush)
    for i in range(ROUNDS):
        order = (stock, tuned) if i % 2 else (tuned, stock)
        took = {id(graph): microseconds(graph, flush) for graph in order}
        ratios.append(took[id(stock)] / took[id(tuned)])
        times.append(took[id(stock)])
    ratio, ci = median_ci(ratios)
    served = report["used"][0]["row"] if report["used"] else None
    return {"tokens": tokens, "us": float(np.median(times)), "ratio": ratio, "ci": ci, "row": served}


class Bench:
    """Capture, improve, and the table on other numbers of tokens. The report is written after each of them."""

    def __init__(self, folder: Path, seconds: float, held_out_seconds: float) -> None:
        self._folder, self._held_out_seconds = folder, held_out_seconds
        self._began = time.monotonic()
        self._end = self._began + seconds
        self._table = folder / "tuned-moe.json"
        self.report: dict[str, Any] = {}

    def improve(self) -> None:
        """Raises AgentError; what was tuned until then is in the table."""
        from agent.errors import AgentError
        from agent.loop.progress import LineWatch
        from agent.programs.capturing import capture_program
        from agent.programs.improvement.improve_request import Request
        from agent.programs.improvement.improving import improve

        path, memory = self._folder / "moe.capture", self._folder / "memory-moe.db"
        for old in (path, memory, self._table):
            old.unlink(missing_ok=True)
        if code := capture_program([sys.executable, "-m", "tests.bench.moe_layer"], path, "whole"):
            raise AgentError(f"the program ended with code {code}")
        self.report |= {"capture, s": self._seconds(), "capture, bytes": path.stat().st_size}
        self._write()
        self._say("captured")
        seconds = self._end - time.monotonic() - self._held_out_seconds
        request = Request(path, self._table, max_seconds=seconds, share=1.0, memory=memory, even=True)
        made = improve(request, LineWatch(self._say))
        self.report |= {
            "gpu": made.environment.gpu,
            "triton": made.environment.triton,
            "improve, s": made.seconds,
            "not tuned": [f"{u.kernel}: {u.reason}" for u in made.untuned],
        }
        self._say("improved")

    def apply(self) -> None:
        """The launches of other numbers, as long as there is time."""
        from kernels.tuned.tuned_file import read_table

        rows = read_table(self._table).rows
        statuses = {s: sum(r.status == s for r in rows) for s in ("proven", "stock", "unproven")}
        self.report |= {"rows": len(rows), "statuses": statuses}
        self._write()
        layer, flush = Layer(), torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
        found: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for tokens in held_out():
            if time.monotonic() > self._end:
                self._say(f"no time is left after {len(found)} of {HELD_OUT} numbers")
                break
            began = time.monotonic()
            try:
                found.append(compared(layer, tokens, self._table, flush))
            except Exception as e:  # noqa: BLE001 -- a launch may raise anything, and the others are measured all the same
                failed.append({"tokens": tokens, "failed": f"{type(e).__name__}: {e}"[:500]})
                self._say(f"{tokens} tokens failed: {e}"[:300])
            else:
                f, (low, high) = found[-1], found[-1]["ci"]
                times = f"{f['us']:8.1f} us {f['ratio']:.3f}x [{low:.3f}, {high:.3f}]"
                self._say(f"{tokens:6} tokens {times} {f['row']} ({time.monotonic() - began:.1f} s)")
            self._note(found, failed)

    def _note(self, found: list[dict[str, Any]], failed: list[dict[str, Any]]) -> None:
        if found:
            self.report |= {
                "held out": len(found),
                "served between rows": sum(f["row"] is not None for f in found),
                "slower beyond noise": [f for f in found if f["ci"][1] < 1 - NOISE],
                "worst": min(found, key=lambda f: f["ratio"]),
                "geomean": _geomean([f["ratio"] for f in found]),
                "geomean of the served": _geomean([f["ratio"] for f in found if f["row"] is not None]),
            }
        self.report |= {"failed": failed, "seconds": self._seconds(), "each": sorted(found, key=lambda f: f["tokens"])}
        self._write()

    def finish(self) -> None:
        self._write()
        for name, value in self.report.items():
            if name != "each":
                print(f"{name}: {value}")

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _write(self) -> None:
        (self._folder / "moe-table.json").write_text(json.dumps(self.report, indent=1))

    def _say(self, line: str) -> None:
        print(f"{self._seconds():6.1f} s  {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole bench (%(default)g)")
    parser.add_argument("--held-out-seconds", type=float, default=HELD_OUT_SECONDS, help="of them (%(default)g)")
    options = parser.parse_args()
    from agent.errors import AgentError

    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.out, options.seconds, options.held_out_seconds)
    try:
        bench.improve()
    except AgentError as e:
        bench.report["improve failed"] = str(e)
        print(f"improve failed: {e}", flush=True)
    if not (options.out / "tuned-moe.json").exists():
        bench.finish()
        return 1
    bench.apply()
    bench.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
