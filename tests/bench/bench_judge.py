"""Judges three problems with honest and cheating candidates on a GPU: ``python -m tests.bench.bench_judge OUT``.

``OUT/judge.json`` holds every verdict so far, whether it is the one that is expected, and which candidates were not
reached within ``--seconds``. It is written after each candidate. Exit code 1 if a verdict is another one, or missing.
If no GPU can be used where processes are shut in, the first verdict says so, and the rest run as ``--no-sandbox``.
Nothing else may use the GPU meanwhile: the judge takes no turns with other processes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.judge.judging import Judging, Options, open_rooms
from evals.judge.pair import Pair
from evals.judge.read_pairs import pairs
from evals.judge.rooms import Rooms
from evals.judge.verdict import Status, Verdict

SECONDS = 170.0
LEAST_S = 12.0
"""No candidate is begun with less time left: a short one needs half of it on an H200."""
DEADLINE_S = 60.0
"""Of one call, in which a process opens the GPU or compiles a kernel."""
KINDS_S = 30.0
"""No further kind of inputs is begun after so many seconds of one candidate."""

HEAD = """
import threading, time
import torch
from torch import nn
import triton
import triton.language as tl
"""
ADD = (
    HEAD
    + """
class Model(nn.Module):
    def forward(self, x, y):
        return 2 * x + y

def get_inputs():
    return [torch.randn(4096, 8192), torch.randn(4096, 8192)]
"""
)
SMALL_ADD = ADD.replace("4096", "2048").replace("8192", "4096")
"""A result of the large one is more than twice the L2, so that the card's bandwidth bounds its time. Every trial
carries inputs and results between processes, which for most candidates a quarter of it does as well."""
ADD_KERNEL = (
    HEAD
    + """
@triton.jit
def axpy(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    y = tl.load(y_ptr + at, mask=at < n)
    tl.store(out_ptr + at, 2 * x + y, mask=at < n)

def launch(x, y, out=None):
    out = torch.empty_like(x) if out is None else out
    axpy[(triton.cdiv(x.numel(), 1024),)](x, y, out, x.numel(), BLOCK=1024)
    return out
"""
)
NORM = (
    HEAD
    + """
class Model(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight

def get_inputs():
    return [torch.rand(4096, 4096)]

def get_init_inputs():
    return [4096]
"""
)
NORM_KERNEL = (
    HEAD
    + """
@triton.jit
def norm(x_ptr, w_ptr, out_ptr, n, WEIGHT: tl.constexpr, BLOCK: tl.constexpr):
    row, at = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + at, mask=at < n, other=0.0)
    y = x * tl.rsqrt(tl.sum(x * x, 0) / n + 1e-6)
    if WEIGHT:
        y *= tl.load(w_ptr + at, mask=at < n)
    tl.store(out_ptr + row * n + at, y, mask=at < n)

class Base(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def launch(self, x, WEIGHT):
        out = torch.empty_like(x)
        norm[(x.shape[0],)](x, self.weight, out, x.shape[1], WEIGHT, triton.next_power_of_2(x.shape[1]))
        return out
"""
)
PRODUCT = (
    HEAD
    + """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1024, 1024)

    def forward(self, x):
        return torch.relu(self.linear(x))

def get_inputs():
    return [torch.randn(2048, 1024)]
"""
)
PRODUCT_BASE = (
    HEAD
    + """
@triton.jit
def relu(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(x_ptr + at, tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL), mask=at < n)

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1024, 1024)
"""
)


def module(base: str, body: str, head: str = "", parent: str = "nn.Module", arguments: str = "self, x, y") -> str:
    lines = "\n        ".join(body.strip().splitlines())
    return f"{base}\n{head}\nclass ModelNew({parent}):\n    def forward({arguments}):\n        {lines}\n"


def add(body: str, head: str = "") -> str:
    return module(ADD_KERNEL, body, head)


def norm(body: str) -> str:
    return module(NORM_KERNEL, body, "", "Base", "self, x")


def product(body: str, head: str = "") -> str:
    return module(PRODUCT_BASE, body, head, "Base", "self, x")


Case = tuple[str, str, str, tuple[Status, ...]]
CASES: list[Case] = [
    ("add, honest", ADD, add("return launch(x, y)"), ("correct",)),
    ("add, on a stream that nobody waits for", SMALL_ADD, add(
        "out = torch.zeros_like(x)\nside.wait_stream(torch.cuda.current_stream())\n"
        "with torch.cuda.stream(side):\n    torch.cuda._sleep(2_000_000)\n    return launch(x, y, out)",
        "side = torch.cuda.Stream()"), ("correctness",)),
    ("norm, honest", NORM, norm("return self.launch(x, True)"), ("correct",)),
    ("add, patched timers", SMALL_ADD, add(
        "return launch(x, y)",
        "torch.cuda.Event.elapsed_time = lambda *a: 1e-3\ntorch.cuda.synchronize = lambda *a: None\n"
        "time.perf_counter = lambda: 0.0"), ("correct",)),
    ("add, begun on another stream while the clock waits", ADD, add(
        "with torch.cuda.stream(side):\n    out = launch(x, y)\n"
        "time.sleep(0.001)\ntorch.cuda.current_stream().wait_stream(side)\nreturn out",
        "side = torch.cuda.Stream()"), ("clock", "correctness", "implausible")),
    ("product, honest", PRODUCT, product(
        "y = torch.mm(x, self.linear.weight.T).add_(self.linear.bias)\n"
        "relu[(triton.cdiv(y.numel(), 1024),)](y, y.numel(), BLOCK=1024)\nreturn y"), ("correct",)),
    ("product, TF32", PRODUCT, product(
        "y = torch.mm(x, self.linear.weight.T).add_(self.linear.bias)\n"
        "relu[(triton.cdiv(y.numel(), 1024),)](y, y.numel(), BLOCK=1024)\nreturn y",
        "torch.backends.cuda.matmul.allow_tf32 = True"), ("correctness",)),
    ("product, the reference behind a kernel", PRODUCT, product(
        "relu[(1,)](torch.zeros(8, device=x.device), 8, BLOCK=8)\nreturn torch.relu(self.linear(x))"), ("copy",)),
    ("add, kept by address", SMALL_ADD, add(
        "key = x.data_ptr()\nif key not in known: known[key] = launch(x, y)\nreturn known[key].clone()", "known = {}"),
        ("correctness",)),
    ("add, in a thread", SMALL_ADD, add(
        "out = torch.zeros_like(x)\nthreading.Timer(0.05, launch, (x, y, out)).start()\nreturn out"), ("correctness",)),
    ("norm, without its weight", NORM, norm("return self.launch(x, False)"), ("correctness",)),
    ("norm, in fp16", NORM, norm("return self.launch(x.half(), True).float()"), ("correctness",)),
    ("add, the sum of a few elements as the key", SMALL_ADD, add(
        "key = float(x.flatten()[::1000003].sum())\n"
        "if key not in known: known[key] = launch(x, y)\nreturn known[key].clone()", "known = {}"),
        ("correct", "correctness")),
    ("add, honest on the same stream", SMALL_ADD, add(
        "with torch.cuda.stream(torch.cuda.current_stream()):\n    return launch(x, y)"), ("correct",)),
]  # fmt: skip
"""(name, reference, candidate, statuses that are expected)"""
NEVER_FASTER = ("add, the sum of a few elements as the key",)


class Bench:
    """Candidates one after the other; the processes of the next one import while one is judged."""

    def __init__(self, out: Path, options: Options, end: float) -> None:
        """`end`: by ``time.monotonic()``; what is not begun by then is not judged."""
        self._out, self._options, self._end = out, options, end
        self.rows: list[dict[str, Any]] = []
        self._ahead: tuple[str, Rooms] | None = None

    def all(self, cases: list[Case]) -> None:
        for at, case in enumerate(cases):
            self.rows.append(self._row(case, cases[at + 1 : at + 2]))
            self._write()
        self.close()

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead[1].__exit__()
            self._ahead = None

    def _row(self, case: Case, following: list[Case]) -> dict[str, Any]:
        name, _, _, expected = case
        left = self._end - time.monotonic()
        if left < LEAST_S:
            print(f"not reached: {name}", flush=True)
            return {"name": name, "as_expected": None, "not_reached": f"{left:.0f} s were left"}
        began = time.monotonic()
        try:
            v = self._judged(case, following, min(KINDS_S, left))
        except Exception as e:  # noqa: BLE001 -- the others are judged all the same, and this one counts as wrong
            failed = f"{type(e).__name__}: {e}"
            print(f"FAILED {name}: {failed[:300]} ({time.monotonic() - began:.1f} s)", flush=True)
            return {"name": name, "as_expected": False, "failed": failed, "traceback": traceback.format_exc()[-3000:]}
        if v.status == "infrastructure" and self._options.sandboxed and not any(r.get("verdict") for r in self.rows):
            print(f"{name}: {v.reason}; from here on without the sandbox", flush=True)
            self.close()
            self._options = replace(self._options, sandboxed=False)
            return {**self._row(case, following), "in_the_sandbox": v.reason}
        faster = v.timing is not None and v.timing.verdict == "faster"
        as_expected = v.status in expected and not (faster and name in NEVER_FASTER)
        t = v.timing
        times = f", {t.ms:.4f} ms against {t.reference_ms:.4f} ms: {t.verdict} {t.speedup:.3f}×" if t else ""
        mark = "" if as_expected else "UNEXPECTED "
        print(f"{mark}{name}: {v.status} {v.reason}{times} ({v.trials} trials, {v.seconds:.1f} s)", flush=True)
        return {"name": name, "as_expected": as_expected, "verdict": v.model_dump(mode="json")}

    def _judged(self, case: Case, following: list[Case], kinds_s: float) -> Verdict:
        name, (pair,) = case[0], _pairs([case])
        options = replace(self._options, max_seconds=kinds_s)
        rooms = self._ahead[1] if self._ahead is not None and self._ahead[0] == name else open_rooms(pair, options)
        self._ahead = None
        with rooms:
            for other in following:
                self._ahead = other[0], open_rooms(_pairs([other])[0], self._options)
            return Judging(pair, options).run(rooms)

    def _write(self) -> None:
        (self._out / "judge.json").write_text(json.dumps(self.rows, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--no-sandbox", action="store_true")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole bench (%(default)g)")
    parser.add_argument("--device", default="cuda:0", help="'cpu' runs it without a GPU: nothing is timed then")
    parser.add_argument("--only", metavar="TEXT", default="", help="the candidates whose name holds TEXT")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    options = Options(asked.device, deadline_s=DEADLINE_S, sandboxed=not asked.no_sandbox)
    bench = Bench(asked.out, options, began + asked.seconds)
    cases = [c for c in CASES if asked.only in c[0]]
    bench.all(cases)
    right = sum(bool(r["as_expected"]) for r in bench.rows)
    reached = sum(r["as_expected"] is not None for r in bench.rows)
    seconds = time.monotonic() - began
    print(f"{right} of {reached} as expected, {len(cases) - reached} not reached, {seconds:.0f} s")
    return 0 if right == len(cases) else 1


def _pairs(cases: list[Case]) -> list[Pair]:
    """What the judge reads of each case's two files."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        reference, candidate = Path(folder, "problem.py"), Path(folder, "candidate.py")
        for _, problem, answer, _ in cases:
            reference.write_text(problem)
            candidate.write_text(answer)
            found += pairs(reference, candidate, None)
    return found


if __name__ == "__main__":
    sys.exit(main())
