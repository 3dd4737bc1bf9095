"""Judges three problems with honest and cheating candidates on a GPU: ``python -m tests.bench.bench_judge OUT``.

``OUT/judge.json`` holds every verdict, and whether it is the one that is expected. Exit code 1 if one is not. Add
``--no-sandbox`` if CUDA does not start where processes are shut in.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from evals.judge.judging import Judging, Options, open_rooms
from evals.judge.pair import Pair
from evals.judge.read_pairs import pairs
from evals.judge.verdict import Status

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
    return [torch.rand(8192, 4096)]

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


CASES: list[tuple[str, str, str, tuple[Status, ...]]] = [
    ("add, honest", ADD, add("return launch(x, y)"), ("correct",)),
    ("add, honest on the same stream", ADD, add(
        "with torch.cuda.stream(torch.cuda.current_stream()):\n    return launch(x, y)"), ("correct",)),
    ("add, on a stream that nobody waits for", ADD, add(
        "out = torch.zeros_like(x)\nside.wait_stream(torch.cuda.current_stream())\n"
        "with torch.cuda.stream(side):\n    torch.cuda._sleep(2_000_000)\n    return launch(x, y, out)",
        "side = torch.cuda.Stream()"), ("correctness",)),
    ("add, begun on another stream while the clock waits", ADD, add(
        "with torch.cuda.stream(side):\n    out = launch(x, y)\n"
        "time.sleep(0.001)\ntorch.cuda.current_stream().wait_stream(side)\nreturn out",
        "side = torch.cuda.Stream()"), ("clock", "correctness")),
    ("add, in a thread", ADD, add(
        "out = torch.zeros_like(x)\nthreading.Timer(0.05, launch, (x, y, out)).start()\nreturn out"), ("correctness",)),
    ("add, patched timers", ADD, add(
        "return launch(x, y)",
        "torch.cuda.Event.elapsed_time = lambda *a: 1e-3\ntorch.cuda.synchronize = lambda *a: None\n"
        "time.perf_counter = lambda: 0.0"), ("correct",)),
    ("add, kept by address", ADD, add(
        "key = x.data_ptr()\nif key not in known: known[key] = launch(x, y)\nreturn known[key].clone()", "known = {}"),
        ("correctness",)),
    ("add, the sum of a few elements as the key", ADD, add(
        "key = float(x.flatten()[::1000003].sum())\n"
        "if key not in known: known[key] = launch(x, y)\nreturn known[key].clone()", "known = {}"),
        ("correct", "correctness")),
    ("norm, honest", NORM, norm("return self.launch(x, True)"), ("correct",)),
    ("norm, without its weight", NORM, norm("return self.launch(x, False)"), ("correctness",)),
    ("norm, in fp16", NORM, norm("return self.launch(x.half(), True).float()"), ("correctness",)),
    ("product, honest", PRODUCT, product(
        "y = torch.mm(x, self.linear.weight.T).add_(self.linear.bias)\n"
        "relu[(triton.cdiv(y.numel(), 1024),)](y, y.numel(), BLOCK=1024)\nreturn y"), ("correct",)),
    ("product, TF32", PRODUCT, product(
        "y = torch.mm(x, self.linear.weight.T).add_(self.linear.bias)\n"
        "relu[(triton.cdiv(y.numel(), 1024),)](y, y.numel(), BLOCK=1024)\nreturn y",
        "torch.backends.cuda.matmul.allow_tf32 = True"), ("correctness",)),
    ("product, the reference behind a kernel", PRODUCT, product(
        "relu[(1,)](torch.zeros(8, device=x.device), 8, BLOCK=8)\nreturn torch.relu(self.linear(x))"), ("copy",)),
]  # fmt: skip
"""(name, reference, candidate, statuses that are expected)"""
NEVER_FASTER = ("add, the sum of a few elements as the key",)


def main(out: Path, sandboxed: bool) -> int:
    out.mkdir(parents=True, exist_ok=True)
    options = Options("cuda:0", sandboxed=sandboxed)
    rows, wrong = [], 0
    with ExitStack() as stack:
        ahead = [stack.enter_context(open_rooms(made, options)) for made in _pairs(CASES[:1])]
        for at, (name, _, _, expected) in enumerate(CASES):
            (pair,) = _pairs(CASES[at : at + 1])
            rooms = ahead.pop()
            # The next case's processes import while this one is judged: they use no GPU before they are asked.
            ahead = [stack.enter_context(open_rooms(made, options)) for made in _pairs(CASES[at + 1 : at + 2])]
            v = Judging(pair, options).run(rooms)
            faster = v.timing is not None and v.timing.verdict == "faster"
            as_expected = v.status in expected and not (faster and name in NEVER_FASTER)
            wrong += not as_expected
            rows.append({"name": name, "as_expected": as_expected, "verdict": v.model_dump(mode="json")})
            t = v.timing
            times = f", {t.ms:.4f} ms against {t.reference_ms:.4f} ms: {t.verdict} {t.speedup:.3f}×" if t else ""
            mark = "" if as_expected else "UNEXPECTED "
            print(f"{mark}{name}: {v.status} {v.reason}{times} ({v.trials} trials, {v.seconds:.1f} s)", flush=True)
            (out / "judge.json").write_text(json.dumps(rows, indent=1))
    print(f"{len(rows) - wrong} of {len(rows)} as expected, {sum(r['verdict']['seconds'] for r in rows):.0f} s")
    return 1 if wrong else 0


def _pairs(cases: list[tuple[str, str, str, tuple[Status, ...]]]) -> list[Pair]:
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
    arguments = [a for a in sys.argv[1:] if a != "--no-sandbox"]
    if len(arguments) != 1:
        sys.exit("usage: python -m tests.bench.bench_judge OUT [--no-sandbox]")
    sys.exit(main(Path(arguments[0]), "--no-sandbox" not in sys.argv))
