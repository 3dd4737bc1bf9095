"""Improves Liger's layers on a GPU: ``python -m tests.bench.bench_improve OUT``.

Needs a GPU and ``liger-kernel``. The layers run forward and backward in a process of their own, unchanged, under
``python -m agent capture``; then ``improve`` tunes what was captured, cold. Written to OUT: the capture,
``tuned-liger.json`` and ``improve.json``: how many launches were tried, with how many configs, how many were proven
faster, rows whose interval lies wholly below 1, and two geometric means over the owner's launch: that of the table, in
which a launch that is not proven keeps its config, and that of the best config that was timed. Kernels with an
autotuner: ``bench_fla.py``.

``python -m tests.bench.bench_improve rows TUNED`` prints the rows of a table that improve wrote, with their means.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agent.programs.improvement.improve_plan import Job
from agent.programs.improvement.improve_request import Improved
from agent.programs.improvement.tuned_rows import TWO_PROCESSES
from kernels.tuned.tuned_file import read_table

SECONDS = 360.0


def liger() -> None:
    """Two passes over the layers, as a user's program makes them."""
    import torch

    from tests.bench.bench_captured_layers import layers, run

    for name, layer in layers().items():
        try:
            run(layer)
            run(layer)
            torch.cuda.synchronize()
        except Exception as e:  # noqa: BLE001 -- a layer of another version of the library is reported
            print(f"{name} failed: {type(e).__name__}: {e}"[:200], file=sys.stderr)


def captured(name: str, folder: Path, program: list[str], cache: Path) -> Path:
    """The capture of a program. `cache`: Triton's."""
    path = folder / f"{name}.capture"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "agent", "capture", "-o", str(path), "--", *program]
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache)}
    subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return path


def improved(name: str, path: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """The figures of one library, whose launches are improved for so many seconds."""
    from agent.loop.progress import LineWatch
    from agent.programs.improvement.improve_request import Request
    from agent.programs.improvement.improving import improve

    out, memory = folder / f"tuned-{name}.json", folder / f"memory-{name}.db"
    memory.unlink(missing_ok=True)
    request = Request(path, out, max_seconds=seconds, share=1.0, memory=memory, cold=True)
    began = time.monotonic()
    watch = LineWatch(lambda line: print(f"{time.monotonic() - began:6.1f} {line}", file=sys.stderr, flush=True))
    made = improve(request, watch)
    rows = []
    for job, judged, outcome in made.rows:
        owner = next((b for b in outcome.baselines if b.name == "owner"), None) if outcome else None
        tuner = next((b for b in outcome.baselines if b.name == "autotuner"), None) if outcome else None
        rows.append(
            {
                "kernel": job.launch.name,
                "launch": job.launch.digest[:8],
                "status": judged.status,
                "why": judged.why,
                "configs": outcome.evaluations if outcome else 0,
                "seconds": outcome.seconds if outcome else 0.0,
                "owner": [owner.speedup, owner.ci] if owner else None,
                "autotuner": [tuner.speedup, tuner.ci] if tuner else None,
                "float64": made.table.evidence[_name(made, job)]["reference"],
            }
        )
    timed = [r for r in rows if r["owner"] and r["owner"][0]]
    proven = [r for r in timed if r["status"] == "proven"]
    intervals = [r[name][1] for r in timed for name in ("owner", "autotuner") if r[name] and r[name][1]]
    return {
        "gpu": made.environment.gpu,
        "triton": made.environment.triton,
        "seconds": made.seconds,
        "launches tried": len(timed),
        "with at least eight configs": sum(r["configs"] >= 8 for r in timed),
        "proven": len(proven),
        "proven rows wholly below 1": sum(r["owner"][1][1] < 1 for r in proven),
        "best configs wholly below 1": sum(high < 1 for _, high in intervals),
        "geomean of the table": _geomean([r["owner"][0] if r in proven else 1.0 for r in timed]),
        "geomean of the best configs": _geomean([r["owner"][0] for r in timed]),
        "with a float64 reference": sum(r["float64"].startswith("float64") for r in rows),
        "not tuned": [{"kernel": u.kernel, "reason": u.reason} for u in made.untuned],
        "rows": rows,
    }


def _name(made: Improved, job: Job) -> str:
    return next(
        r.name for r in made.table.rows if r.key == job.key and r.function.qualname == job.launch.function["qualname"]
    )


def _geomean(values: list[float]) -> float | None:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def print_rows(path: Path) -> None:
    """A row for each launch that was timed, what it gained most first. What an earlier rule proved is proven by the
    present one, or called level."""
    table = read_table(path)
    found = []
    for row in table.rows:
        evidence = table.evidence[row.name]
        owner = next((b for b in evidence.get("baselines", ()) if b["name"] == "owner" and b["speedup"]), None)
        if owner is None:
            continue
        values = {**evidence["owner"], **((evidence.get("best") or {}).get("config") or {})}
        changed = ", ".join(
            f"{n} {evidence['owner'].get(n)} to {v}" for n, v in values.items() if v != evidence["owner"].get(n)
        )
        found.append((owner["speedup"], owner["ci"], row, evidence, changed))
    print("| kernel | over the owner's launch | | config | configs timed | reference |\n|---|---|---|---|---|---|")
    gains: list[float] = []
    for speedup, (low, high), row, evidence, changed in sorted(found, key=lambda x: -x[0]):
        status = "proven" if (row.status, bool(changed)) == ("proven", True) and low > 1 + TWO_PROCESSES else "level"
        gains.append(speedup if status == "proven" else 1.0)
        cells = [row.function.qualname, f"{speedup:.3f}x [{low:.3f}, {high:.3f}]", status, changed]
        print(f"| {' | '.join([*cells, str(evidence['evaluations']), evidence['reference']])} |")
    n = sum(gain > 1 for gain in gains)
    print(f"\n{len(gains)} launches timed, {n} proven, geometric mean of the table {_geomean(gains):.4f}")


def main() -> None:
    if sys.argv[1:2] == ["rows"]:
        print_rows(Path(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--program"]:
        liger()
        return
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("liger_kernel") is None:
        sys.exit("liger-kernel is not installed: pip install liger-kernel")
    program = [sys.executable, "-m", "tests.bench.bench_improve", "--program"]
    path = captured("liger", folder, program, folder / f"cache-liger-{time.time_ns()}")
    report = {"liger": improved("liger", path, folder, SECONDS)}
    (folder / "improve.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
