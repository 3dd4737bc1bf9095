"""A deterministic little world for the loop: 24 configs with known times, and a ledger of every evaluation on disk.

The ledger stands for the memory that outlives a process: a config that is in it is not measured again, and one
that was measured twice is in it twice."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from agent.goal.objective import Objective, Setting
from agent.loop.actions import Left
from agent.loop.progress import Watch
from agent.loop.prompt import reserve_for
from agent.models.base import Done, ToolSchema
from tools.registry import builtin_declarations

SPACE = [{"tile": tile, "warps": warps} for tile in (16, 32, 64, 128, 256, 512) for warps in (1, 2, 4, 8)]
MS = {json.dumps(c): round(0.2 + abs(c["tile"] - 128) / 1000 + abs(c["warps"] - 4) / 100, 4) for c in SPACE}
BROKEN = json.dumps({"tile": 512, "warps": 1})
"""Does not compile."""
BEST = {"tile": 128, "warps": 4}
BASELINE_MS = 0.25
ONE_CONFIGS = {"type": "object", "properties": {"configs": {"type": "array", "items": {"type": "object"}}}}
TOOLS = {name: declared for name, declared in builtin_declarations().items() if name != "record_lesson"}

SETTING = Setting(
    kernel="fused_matmul",
    problem={"M": 64, "N": 64, "K": 64, "dtype": "fp16"},
    label="64x64x64 fp16",
    metric="tflops",
    unit="TFLOP/s",
    regime="burst",
    flops=2 * 10**11,
    bytes=10**8,
    floor_ms=0.15,
    bound="compute",
    hardware="H200",
    device={"kind": "recorded", "name": "NVIDIA H200"},
)


def done(name, arguments, result):
    """A finished call of one of the built-in tools."""
    return Done(name, arguments, result, TOOLS[name])


def baseline(name, title, its_ms, ms):
    """A comparison with an equivalent baseline, whose interval is 0.02 wide."""
    speedup = its_ms / ms
    about = {"name": name, "title": title, "equivalent": True, "regime": "burst", "rounds": 9, "missing": None}
    return about | {"ms": its_ms, "speedup": speedup, "ci": [speedup - 0.01, speedup + 0.01]}


class FakeActions:
    """`pause` is how long each evaluation takes; `verdicts` gives the status of each proof in turn."""

    def __init__(
        self,
        objective,
        ledger: Path,
        pause=0.0,
        verdicts=("correct",),
        baseline_ms=BASELINE_MS,
        seconds=600.0,
        nothing_correct=False,
        earlier=None,
        compiled_ms=None,
    ):
        self.setting = SETTING
        self.tools = [ToolSchema(name, name, ONE_CONFIGS, declared) for name, declared in TOOLS.items()]
        self.limits, self.reserve = objective.limits, reserve_for(objective)
        self.ledger, self.pause, self.verdicts, self.baseline_ms = ledger, pause, list(verdicts), baseline_ms
        self.seconds, self.nothing_correct, self.compiled_ms = seconds, nothing_correct, compiled_ms
        self.calls: list[tuple[str, str]] = []
        self.earlier = earlier
        self.closed = False
        self.declined: list[str] = []
        self.proposed: set[str] = set()

    def measured(self) -> list[str]:
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def left(self) -> Left:
        used = len(self.measured())
        return Left(max(0, self.limits.max_evals - self.reserve - used), used, self.seconds, self.reserve)

    def call(self, call_id, name, arguments):
        self.calls.append((call_id, name))
        return getattr(self, name)(**arguments)

    def query_history(self, question):
        return {"question": question, "rows": []}

    def suggest_configs(self, count, ignore_measurements=False):
        known = {*self.measured(), *self.declined, BROKEN}
        new = [c for c in SPACE if json.dumps(c) not in known]
        self.proposed |= {json.dumps(c) for c in new[:count]}
        return {
            "proposals": [{"config": c} for c in new[:count]],
            "stop": not new,
            "why": "all are known" if not new else "",
        }

    def compile_kernel(self, configs):
        return {
            "results": [{"config": c, "status": "compile" if json.dumps(c) == BROKEN else "correct"} for c in configs]
        }

    def check_correctness(self, configs):
        return {"results": [{"config": c, "status": "correct"} for c in configs]}

    def run_benchmark(self, configs):
        rows = []
        for config in configs:
            key = json.dumps(config)
            if key not in self.measured():
                if self.left().evaluations == 0:
                    if not (self.reserve and key in self.proposed):
                        continue
                    self.reserve -= 1
                time.sleep(self.pause)
                with self.ledger.open("a") as f:
                    f.write(key + "\n")
            rows.append({"config": config, "status": "correct", "ms": MS[key]})
        best = min((MS[key], key) for key in self.measured())
        return {
            "results": rows,
            "best": {"config": json.loads(best[1]), "ms": best[0]},
            "evaluations_left": self.left().evaluations,
        }

    def roofline_report(self, config):
        return {"config": config, "share_of_floor": 0.75}

    def approve(self, key, batches):
        from langgraph.types import interrupt

        return interrupt({"key": key, "batches": batches})

    def excuse(self, seconds):
        self.excused = seconds

    def release_reserve(self):
        self.reserve = 0

    def decline(self, configs):
        self.declined += [json.dumps(c) for c in configs]

    def finalists(self, limit):
        ranked = [] if self.nothing_correct else sorted(set(self.measured()), key=lambda key: (MS[key], key))
        close = sum(MS[key] <= MS[ranked[0]] * 1.1 for key in ranked)
        return {"finalists": [json.loads(key) for key in ranked[:limit]], "close": min(close, limit)}

    def anything_to_prove(self):
        return bool(self.finalists(1)["finalists"])

    def earlier_proof(self, against):
        return self.earlier

    def prove(self, key, config):
        self.calls.append((key, "prove"))
        status = self.verdicts.pop(0) if self.verdicts else "correct"
        ms = MS[json.dumps(config)]
        rival = baseline("unfused", "PyTorch eager", self.baseline_ms, ms)
        ceiling = {**rival, "name": "cublas", "title": "a @ b", "equivalent": False}
        others = [baseline("compiled", "torch.compile", self.compiled_ms, ms)] if self.compiled_ms else []
        return {
            "config": config,
            "status": status,
            "reason": "" if status == "correct" else "made to fail",
            "ms": ms if status == "correct" else None,
            "ci_ms": [ms, ms] if status == "correct" else None,
            "comparisons": [ceiling, rival, *others] if status == "correct" else [],
            "how": "a fake sitting",
        }

    def finish(self, verdict, summary):
        self.verdict = verdict

    def close(self):
        self.closed = True


def objective(**limits) -> Objective:
    return Objective(goal="maximise fused TFLOPS", kernel="fused_matmul", limits=limits)


def opener(ledger: Path, **options):
    """What ``begin`` and ``resume`` open a run with; the actions of the last run are kept in ``opened``."""
    opened = []

    def open_(objective, memory, run_id, watch):
        opened.append(FakeActions(objective, ledger, **options))
        return opened[-1]

    open_.opened = opened
    return open_


if __name__ == "__main__":  # a run in a process of its own, to be killed
    from agent.loop.run import begin, resume

    verb, ledger = sys.argv[1], Path(os.environ["LEDGER"])
    if verb == "begin":
        begin(objective(), None, None, Watch(), opener(ledger, pause=0.02))
    else:
        resume(verb, Watch(), opener(ledger, pause=0.02))
