"""A trace as long as wanted: the events of a real run's form, written by the trace's own writer."""

from __future__ import annotations

import gzip
import json
import random
from contextlib import closing
from pathlib import Path

from agent.trace.trace import JSON, Trace, read_trace

GALLERY = Path(__file__).parents[3] / "evals" / "traces"
PER_TURN = 5


def example() -> Path:
    """A real finished trace."""
    return sorted(GALLERY.glob("embedded*"))[0]


def write_large(path: Path, events: int) -> None:
    """`events` events: the header and the end of a real run, and between them turns of one evaluation each."""
    record, dice = read_trace(example()), random.Random(0)
    request = next(e.body for e in record.events if e.type == "model_request")
    row = next(e.body["result"]["results"][0] for e in record.events if "best" in e.body.get("result", {}))
    with closing(Trace(path)) as trace:
        trace.once("header", record.header["run"], lambda: record.header)
        for turn in range((events - 2) // PER_TURN):
            write_turn(trace, turn, request, {**row, **measured(row["config"], turn, dice)})
        while len(trace._steps) < events - 1:
            trace.once("resume", f"event {len(trace._steps)}", lambda: {"spent": 1.0})
        trace.once("end", "end", lambda: record.last("end") or {})


def measured(config: JSON, turn: int, dice: random.Random) -> JSON:
    """Another config and its time; one in ten fails."""
    config = {**config, "GROUP_M": turn + 1, "num_warps": dice.choice([4, 8, 16]), "num_stages": dice.choice([2, 3, 4])}
    if dice.random() < 0.1:
        return {"config": config, "status": "runtime", "reason": "CUDA error: misaligned address", "ms": None}
    ms = round(0.18 + dice.expovariate(20), 5)
    return {"config": config, "status": "correct", "ms": ms, "ci_ms": [ms * 0.999, ms * 1.001]}


def write_turn(trace: Trace, turn: int, request: JSON, row: JSON) -> None:
    key, call = f"turn {turn}", f"t{turn:04d}c000"
    arguments = {"configs": [row["config"]]}
    made = {"id": call, "type": "function", "function": {"name": "run_benchmark", "arguments": json.dumps(arguments)}}
    left = {"evaluations": 10**6 - turn, "used": turn, "seconds": 1e6 - turn}
    result = {"results": [row], "best": None, "evaluations_left": 10**6 - turn}
    new = request["new"] if turn == 0 else [{"role": "tool", "tool_call_id": call, "content": json.dumps(result)}]
    message = {"role": "assistant", "content": f"Try group {turn + 1}.", "tool_calls": [made]}
    said = {"model": "large", "message": message, "usage": 900, "tokens": 900, "seconds": 0.1}
    trace.once("decision", key, lambda: {"stop": "", "left": left, "tokens": 0})
    trace.once("model_request", key, lambda: {"hash": "0" * 16, "count": 2 * turn + 2, "new": new})
    trace.once("model_response", key, lambda: said)
    trace.once("tool_call", call, lambda: {"name": "run_benchmark", "arguments": arguments})
    trace.once("tool_result", call, lambda: {"result": result, "seconds": 0.05})


def write_gzipped(path: Path, source: Path) -> None:
    path.write_bytes(gzip.compress(source.read_bytes()))
