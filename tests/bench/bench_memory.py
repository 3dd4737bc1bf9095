"""What the memory costs: ``python -m tests.bench.bench_memory growth|concurrent|kills [--json FILE]``.

growth: a file of up to 1,000,000 attempts of the fused matmul's real space (problems × environments × configs, a
compile and a benchmark each); at powers of ten the tool's questions on random problems, and inserts with commit.
concurrent: 8 processes × 1,000 attempts on one file. kills: a writing process killed by SIGKILL 1,000 times.
"""

from __future__ import annotations

import gc
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import click

from kernels.hardware import hardware_named
from kernels.registry import get
from memory.store import Begin, Finish, Memory
from tools import query_history
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task

ROOT = Path(__file__).parents[2]
CONFIGS = 1000
SAMPLES = 20
MILESTONES = (1_000, 10_000, 100_000, 1_000_000)
QUESTIONS = ("best", "failures", "effect", "nearest", "lessons")
ASKED = 200
WRITER = """
import sys
from pathlib import Path
from memory.store import Begin, Finish, Memory
m = Memory.open(Path(sys.argv[1]))
run, count = sys.argv[2], int(sys.argv[3])
e = m.environment({"kind": "live", "name": "GPU"}); k = m.kernel("k", "s"); p = m.problem(k, {"M": 1}, "1")
m.start_run(run, "g", {}, "m", e, p, {})
for i in range(count):
    [a] = m.begin_attempts([Begin(run, f"call-{i}", e, p, m.config(k, {"i": i % 500}), "benchmark")])
    m.finish_attempts([Finish(a, "correct", {"ms": 0.2, "samples": [0.2] * 20, "regime": "burst"})])
    print(a, flush=True)
"""


class Growth:
    """Fills a memory problem by problem, environment by environment."""

    def __init__(self, path: Path) -> None:
        self.dice = random.Random(0)
        self.spec = get("fused_matmul")
        self.hardware = hardware_named("H200")
        base = self.spec.default_problem()
        space = self.spec.space(base, self.hardware)
        self.configs = space[:: max(1, len(space) // CONFIGS)][:CONFIGS]
        self.memory = Memory.open(path)
        self.kernel = self.memory.kernel(self.spec.name, self.spec.source_hash())
        self.pairs: list[tuple[Any, Ids]] = []
        self.attempts = 0
        host = {"name": "NVIDIA H200", "hardware": "H200", "torch": "2.11.0", "triton": "3.6.0"}
        self.environments = [
            self.memory.environment(host | {"kind": kind, "driver": driver, "landscape": landscape})
            for kind, driver, landscape in (
                ("live", "570.1", None), ("live", "580.2", None),
                ("recorded", None, "a.json.gz"), ("recorded", None, "b.json.gz"),
            )
        ]  # fmt: skip

    def grow(self, to: int) -> None:
        while self.attempts < to:
            m, n = (2 ** self.dice.randint(6, 14) + 8 * self.dice.randint(0, 200) for _ in "MN")
            problem = self.spec.parse_problem((m, n, 2 ** self.dice.randint(7, 14)), {})
            number = self.memory.problem(self.kernel, problem.model_dump(mode="json"), problem.label())
            for environment in self.dice.sample(self.environments, 2):
                self._run(
                    problem, Ids(environment, self.kernel, number), min(len(self.configs), (to - self.attempts) // 2)
                )

    def _run(self, problem: Any, ids: Ids, count: int) -> None:
        if count <= 0:
            return
        run, memory = f"20261122T1200-{len(self.pairs):06d}", self.memory
        memory.start_run(run, "maximise fused TFLOPS", {}, "embedded", ids.environment, ids.problem, {})
        configs = self.dice.sample(self.configs, count)
        names = memory.configs(self.kernel, [c.model_dump(mode="json") for c in configs])
        for start in range(0, count, 32):
            chunk = list(zip(names, configs, strict=True))[start : start + 32]
            for kind in ("compile", "benchmark"):
                call = f"call_{self.dice.getrandbits(96):024x}"
                rows = [Begin(run, call, ids.environment, ids.problem, n, cast(Any, kind)) for n, _ in chunk]
                ends = [self._end(i, kind, c) for i, (_, c) in zip(memory.begin_attempts(rows), chunk, strict=True)]
                memory.finish_attempts(ends)
                self.attempts += len(rows)
        memory.record_lesson(run, self.spec.name, ids.problem, ids.environment, f"8 warps won on {problem.label()}")
        memory.finish_run(run, "proven", {"evaluations": count})
        self.pairs.append((problem, ids))

    def _end(self, attempt: int, kind: str, config: Any) -> Finish:
        values = config.model_dump()
        if values["num_stages"] >= 4 and values["BLOCK_K"] >= 128:
            return Finish(
                attempt, "compile", {"reason": f"shared memory: {self.dice.randint(3, 9)}0000 B over 232448 B"}
            )
        figures: dict[str, Any]
        if kind == "compile":
            figures = {"seconds": 1.234, "registers": 168, "spill_bytes": 0, "stack_bytes": 0, "shared_bytes": 196608}
            return Finish(attempt, "correct", cast(Any, figures | {"occupancy": 0.125, "tensor_core": "wgmma"}))
        ms = self.dice.lognormvariate(-1.5, 0.4)
        samples = [round(ms * self.dice.gauss(1, 0.01), 6) for _ in range(SAMPLES)]
        figures = {"ms": ms, "ci_low": ms * 0.99, "ci_high": ms * 1.01, "samples": samples, "regime": "burst"}
        figures |= {"value": 137.4 / ms, "unit": "TFLOP/s", "error": 3e-4, "bound": 2e-3, "seconds": 0.05}
        figures |= {"sm_mhz": 1980.0, "power_w": 412.0, "temperature_c": 41.0}
        return Finish(attempt, "correct", cast(Any, figures))

    def ask(self, question: str) -> tuple[float, float]:
        """Seconds on the clock and on the processor: the two differ where others use the machine or the disk waits."""
        problem, ids = self.dice.choice(self.pairs)
        nothing = cast(Any, None)
        session = Session(Task(self.spec, problem, self.hardware), nothing, nothing, self.memory, ids, "r", Budget())
        parameter = self.dice.choice(["num_warps", "num_stages", "BLOCK_M", "BLOCK_K"])
        arguments = self.model.model_validate({"question": question, "parameter": parameter, "limit": 5})
        start, worked = time.perf_counter(), time.process_time()
        query_history.run(session, arguments, "call")
        return time.perf_counter() - start, time.process_time() - worked

    @property
    def model(self) -> Any:
        return query_history.arguments(self.spec)

    def insert(self) -> tuple[float, float]:
        """Seconds to write one pending attempt, and to finish it, each with its commit."""
        _, ids = self.dice.choice(self.pairs)
        run = self.memory.ask("SELECT max(run_id) AS r FROM runs")[0]["r"]
        config = self.memory.config(self.kernel, self.configs[0].model_dump(mode="json"))
        start = time.perf_counter()
        [a] = self.memory.begin_attempts([Begin(run, "call", ids.environment, ids.problem, config, "benchmark")])
        middle = time.perf_counter()
        self.memory.finish_attempts([self._end(a, "benchmark", self.configs[0])])
        return middle - start, time.perf_counter() - middle


def growth(folder: Path, most: int) -> dict[str, Any]:
    g, found = Growth(folder / "memory.db"), {}
    for size in (s for s in MILESTONES if s <= most):
        start = time.perf_counter()
        g.grow(size)
        took = time.perf_counter() - start
        g.memory.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        gc.collect()
        gc.freeze()  # a sweep over the million objects that torch's import leaves takes 0.1 s and is nobody's question
        row: dict[str, Any] = {"bytes_per_attempt": round((folder / "memory.db").stat().st_size / g.attempts)}
        for question in QUESTIONS:
            took_s, worked_s = zip(*(g.ask(question) for _ in range(ASKED)), strict=True)
            row[question] = percentiles(list(took_s)) | {"cpu": percentiles(list(worked_s))}
        begins, finishes = zip(*(g.insert() for _ in range(500)), strict=True)
        row |= {"begin+commit": percentiles(list(begins)), "finish+commit": percentiles(list(finishes))}
        found[str(size)] = row | {"fill_s": round(took, 1)}
        print(size, json.dumps(found[str(size)]), file=sys.stderr, flush=True)
    return found


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"p{p}_ms": round(1e3 * ordered[len(ordered) * p // 100], 2) for p in (50, 99)}


def writer(path: Path, run: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), run, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def concurrent(folder: Path) -> dict[str, Any]:
    path, start = folder / "memory.db", time.perf_counter()
    writers = [writer(path, f"run-{n}", 1000) for n in range(8)]
    for w in writers:
        w.communicate()
    memory = Memory.open(path)
    rows = memory.ask("SELECT count(*) AS n FROM attempts WHERE status = 'correct'")[0]["n"]
    check = memory.ask("PRAGMA integrity_check")[0]["integrity_check"]
    return {"rows": rows, "integrity": check, "seconds": round(time.perf_counter() - start, 1)}


def kills(folder: Path, count: int) -> dict[str, Any]:
    dice, path, acknowledged, lost, broken, start = random.Random(0), folder / "memory.db", 0, 0, 0, time.perf_counter()
    for n in range(count):
        w = writer(path, f"run-{n}", 1_000_000)
        assert w.stdout is not None
        told = [w.stdout.readline()]
        time.sleep(dice.uniform(0, 0.03))
        w.send_signal(signal.SIGKILL)
        told += w.communicate()[0].splitlines(keepends=True)
        memory = Memory.open(path)
        broken += memory.ask("PRAGMA integrity_check") != [{"integrity_check": "ok"}]
        kept = memory.ask("SELECT id FROM attempts WHERE run_id = ? AND status = 'correct'", [f"run-{n}"])
        ids = {int(t) for t in told if t.endswith("\n")}
        lost += len(ids - {r["id"] for r in kept})
        acknowledged += len(ids)
        if n % 100 == 99:
            print(n + 1, acknowledged, lost, broken, file=sys.stderr, flush=True)
    total = Memory.open(path).ask("SELECT count(*) AS n FROM attempts WHERE status = 'correct'")[0]["n"]
    figures = {"kills": count, "acknowledged": acknowledged, "kept": total, "lost": lost, "integrity_failures": broken}
    return figures | {"seconds": round(time.perf_counter() - start, 1)}


@click.command()
@click.argument("what", type=click.Choice(["growth", "concurrent", "kills"]))
@click.option("--most", default=1_000_000, help="Attempts at most (growth).")
@click.option("--count", default=1000, help="Kills.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
def main(what: str, most: int, count: int, out: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="autokernel-memory-") as name:
        folder = Path(name)
        figures = {
            "growth": lambda: growth(folder, most),
            "concurrent": lambda: concurrent(folder),
            "kills": lambda: kills(folder, count),
        }[what]()
    if out:
        out.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
