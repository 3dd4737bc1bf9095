"""A table for a grouped (mixture-of-experts) kernel: ``python -m tests.bench.bench_moe_table OUT``.

On a GPU. The kernel is launched as serving engines do it: tokens sorted by expert, blocks of BLOCK_M of them padded,
one default config for few tokens and one for many. ``capture`` records a launch for each of 24 numbers of tokens,
``improve`` tunes them in one go (``--seconds``), and the table is applied to 100 other numbers: the launch with and
without it, both recorded into CUDA graphs and replayed in turns. ``OUT/moe-table.json`` holds every ratio.
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
import triton
import triton.language as tl

from tests.bench.bench_improve import _geomean

ROWS = (
    1,
    2,
    4,
    8,
    16,
    32,
    48,
    64,
    96,
    128,
    192,
    256,
    384,
    512,
    768,
    1024,
    1536,
    2048,
    3072,
    4096,
    6144,
    8192,
    12288,
    16384,
)
EXPERTS, TOP, N, K = 8, 2, 2048, 2048
HELD_OUT = 100
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""Without a GPU the launches are made in Triton's interpreter, for a capture alone."""
LAUNCHES, ROUNDS = 10, 21
NOISE = 0.01
"""A ratio whose interval reaches above 1 minus so much is not slower: two graphs of one kernel read so far apart."""


@triton.jit
def grouped(
    a_ptr, b_ptr, c_ptr, ids_ptr, experts_ptr, padded_ptr, valid, padded_most, n, k, stride_a, stride_be, stride_bn,
    stride_c, TOP: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):  # fmt: skip
    """c[i] = a[i // TOP] @ b[expert of i].T for tokens i in the order of ``ids``, which fills each block with one
    expert's."""
    pid = tl.program_id(0)
    down, across = tl.cdiv(padded_most, BLOCK_M), tl.cdiv(n, BLOCK_N)
    group = pid // (GROUP_M * across)
    tall = min(down - group * GROUP_M, GROUP_M)
    m, col = group * GROUP_M + (pid % (GROUP_M * across)) % tall, (pid % (GROUP_M * across)) // tall
    if m * BLOCK_M >= tl.load(padded_ptr):
        return
    token = tl.load(ids_ptr + m * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    there = token < valid
    cols = (col * BLOCK_N + tl.arange(0, BLOCK_N)) % n
    ks = tl.arange(0, BLOCK_K)
    expert = tl.load(experts_ptr + m).to(tl.int64)
    a = a_ptr + (token // TOP)[:, None] * stride_a + ks[None, :]
    b = b_ptr + expert * stride_be + cols[None, :] * stride_bn + ks[:, None]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for _ in range(0, tl.cdiv(k, BLOCK_K)):
        total += tl.dot(tl.load(a, mask=there[:, None], other=0.0), tl.load(b))
        a += BLOCK_K
        b += BLOCK_K
    out = col * BLOCK_N + tl.arange(0, BLOCK_N)
    c = c_ptr + token[:, None] * stride_c + out[None, :]
    tl.store(c, total.to(tl.bfloat16), mask=there[:, None] & (out < n)[None, :])


def default_config(tokens: int) -> dict[str, int]:
    """What vLLM takes where no file of tuned configs fits (``get_default_config``, 16-bit weights)."""
    if tokens <= EXPERTS:
        return {"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 64, "GROUP_M": 1}
    return {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "GROUP_M": 8}


class Layer:
    """The weights, and one launch for a number of tokens."""

    def __init__(self) -> None:
        generator = torch.Generator(DEVICE).manual_seed(0)
        self._draw = lambda *shape: torch.randn(*shape, generator=generator, device=DEVICE, dtype=torch.bfloat16)
        self.weights = self._draw(EXPERTS, N, K) / math.sqrt(K)

    def launch(self, tokens: int) -> Any:
        """A function that launches once."""
        config = default_config(tokens)
        block, valid = config["BLOCK_M"], tokens * TOP
        most = valid + EXPERTS * (block - 1)
        ids, experts, padded = aligned(tokens, block, most)
        x, out = self._draw(tokens, K), torch.empty(valid, N, device=DEVICE, dtype=torch.bfloat16)

        def grid(meta: dict[str, int]) -> tuple[int]:
            return (triton.cdiv(most, block) * triton.cdiv(N, meta["BLOCK_N"]),)

        return lambda: grouped[grid](
            x, self.weights, out, ids, experts, padded, valid, most, N, K, x.stride(0), self.weights.stride(0),
            self.weights.stride(1), out.stride(0), TOP=TOP, **config,
        )  # fmt: skip


def aligned(tokens: int, block: int, most: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The tokens' copies sorted by their drawn experts, each expert's padded to whole blocks; the expert of each block;
    how many entries there are, padding included."""
    draw = np.random.default_rng(tokens)
    chosen = np.argsort(draw.random((tokens, EXPERTS)), axis=1)[:, :TOP].reshape(-1)
    ids, experts = np.full(most, tokens * TOP), np.zeros(-(-most // block), dtype=np.int64)
    at = 0
    for e in range(EXPERTS):
        own = np.flatnonzero(chosen == e)
        blocks = -(-len(own) // block)
        ids[at : at + len(own)] = own
        experts[at // block : at // block + blocks] = e
        at += blocks * block
    return (*(torch.tensor(v, dtype=torch.int32, device=DEVICE) for v in (ids, experts)),
            torch.tensor([at], dtype=torch.int32, device=DEVICE))  # fmt: skip


def program() -> None:
    """The program that is captured: three launches for each of ROWS."""
    layer = Layer()
    for tokens in ROWS:
        launch = layer.launch(tokens)
        for _ in range(3):
            launch()
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def held_out() -> list[int]:
    """Other numbers of tokens, evenly spread over the logarithm, the same in every run."""
    draw = np.random.default_rng(1)
    found: set[int] = set()
    while len(found) < HELD_OUT:
        found.add(round(math.exp(draw.uniform(0, math.log(ROWS[-1])))))
        found -= set(ROWS)
    return sorted(found)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT")
    parser.add_argument("--program", action="store_true", help="make the launches alone")
    parser.add_argument("--seconds", type=float, default=260.0, help="for all rows together (%(default)s)")
    options = parser.parse_args()
    if options.program:
        program()
        return
    if options.out is None:
        parser.error("name the folder OUT")
    measure(options.out, options.seconds)


def measure(folder: Path, seconds: float) -> None:
    from agent.loop.progress import LineWatch
    from agent.programs.capturing import capture_program
    from agent.programs.improvement.improve_request import Request
    from agent.programs.improvement.improving import improve

    folder.mkdir(parents=True, exist_ok=True)
    path, table, memory = folder / "moe.capture", folder / "tuned-moe.json", folder / "memory-moe.db"
    for old in (path, memory):
        old.unlink(missing_ok=True)
    began = time.monotonic()
    code = capture_program([sys.executable, "-m", "tests.bench.bench_moe_table", "--program"], path, "whole")
    if code:
        sys.exit(f"the program ended with code {code}")
    request = Request(path, table, max_seconds=seconds, share=1.0, memory=memory, cold=True, even=True)
    made = improve(request, LineWatch(lambda line: print(line, file=sys.stderr, flush=True)))
    report: dict[str, Any] = {
        "gpu": made.environment.gpu,
        "triton": made.environment.triton,
        "capture and improve, s": time.monotonic() - began,
        "rows": len(made.table.rows),
        "statuses": {s: sum(r.status == s for r in made.table.rows) for s in ("proven", "stock", "unproven")},
        "not tuned": [f"{u.kernel}: {u.reason}" for u in made.untuned],
    }
    layer, flush = Layer(), torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    found = [compared(layer, tokens, table, flush) for tokens in held_out()]
    worst = min(found, key=lambda f: f["ratio"])
    report |= {
        "held out": len(found),
        "served between rows": sum(f["row"] is not None for f in found),
        "slower beyond noise": [f for f in found if f["ci"][1] < 1 - NOISE],
        "worst": worst,
        "geomean": _geomean([f["ratio"] for f in found]),
        "seconds": time.monotonic() - began,
        "each": found,
    }
    (folder / "moe-table.json").write_text(json.dumps(report, indent=1))
    for f in found[:: max(1, len(found) // 20)]:
        low, high = f["ci"]
        print(f"{f['tokens']:6} tokens {f['us']:8.1f} us {f['ratio']:.3f}x [{low:.3f}, {high:.3f}] {f['row']}")
    for name, value in report.items():
        if name != "each":
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
