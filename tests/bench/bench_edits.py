"""What edits of device code bring: ``python -m tests.bench.bench_edits OUT [--seconds S] [--written] [--compare]``.

Needs a GPU and ``liger-kernel``. Seven launches of Liger's (geglu forward and backward, the backward passes of rms_norm
and layer_norm, jsd, cross_entropy, group_norm forward) are captured in an unchanged program, and ``improve --edit``
goes through them, cold, each in an equal part of S seconds (175). The embedded planner decides, with known rewrites;
with --written the edits in ``tests/bench/written_edits`` are sent through the same loop and tools. With --compare the
program (``edits_program``) then runs with and without the table, in turns. Written to OUT: the capture,
``tuned-edits.json``, the memory with every variant, and ``edits.json``: of each launch the owner's time, the owner's
code tuned, the best variant with its rewrites, the ratios with their intervals, the best time of every variant that was
measured, and the comparison. ``OUT --written --seconds 370`` took 387 s in all on an H200.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SECONDS = 175.0
PROGRAM = "tests.bench.edits_program"
LAUNCHES = (
    "_geglu_tanh_forward_kernel", "_geglu_tanh_backward_kernel", "_rms_norm_backward_kernel",
    "_layer_norm_backward_kernel", "_jsd_kernel", "liger_cross_entropy_kernel", "_group_norm_forward_kernel",
)  # fmt: skip


def captured(folder: Path) -> Path:
    path = folder / "edits.capture"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "agent", "capture", "-o", str(path), "--", sys.executable, "-m", PROGRAM, "2"]
    subprocess.run(command, check=True, timeout=120)
    return path


def compared(folder: Path) -> dict[str, Any]:
    """The unchanged program with and without the table, in turns."""
    words = [str(folder / "tuned-edits.json"), "--yes", "--kernels", "--json", "--metric", r"layers ([\d.]+) ms"]
    command = [sys.executable, "-m", "agent", "compare", *words, "--", sys.executable, "-m", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        found = {"failed": done.stderr[-2000:]}
    return {**found, "exit": done.returncode}


def rewrite_names(lineage: list[dict[str, Any]]) -> str:
    from kernels.editing.rewrites import REWRITES

    names = {" ".join(r.reason.split()): r.name for r in REWRITES}
    return ", ".join(names.get(step["reason"], step["reason"][:40]) for step in lineage) or "none"


def measured_variants(memory: Path, kernel: str) -> list[dict[str, Any]]:
    """The best time of each variant of a kernel, the owner's code (no rewrite) among them, the fastest first."""
    from agent.programs.lineage import lineage_in
    from memory.store import Memory

    opened = Memory.open(memory)
    try:
        rows = opened.ask(
            "SELECT c.config AS config, a.ms AS ms, a.status AS status FROM attempts a JOIN configs c "
            "ON c.id = a.config_id WHERE a.kind = 'benchmark' AND c.kernel = ?",
            [f"captured.{kernel}"],
        )
        best: dict[str, tuple[float, str]] = {}
        failed: dict[str, int] = {}
        for row in rows:
            config = json.loads(row["config"])
            name = str(config.get("edit", "")).partition(" ")[0]
            if row["status"] != "correct" or row["ms"] is None:
                failed[name] = failed.get(name, 0) + 1
            elif name not in best or row["ms"] < best[name][0]:
                best[name] = row["ms"], " ".join(f"{n}={v}" for n, v in config.items() if v is not None)
        found = [
            {
                "rewrites": rewrite_names(lineage_in(opened, name)),
                "ms": ms,
                "config": text,
                "failed": failed.get(name, 0),
            }
            for name, (ms, text) in sorted(best.items(), key=lambda item: item[1][0])
        ]
        broken = [n for n in failed if n not in best]
        return found + [
            {"rewrites": rewrite_names(lineage_in(opened, n)), "ms": None, "config": "", "failed": failed[n]}
            for n in broken
        ]
    finally:
        opened.close()


def improved(path: Path, folder: Path, seconds: float, model: str, only: Sequence[str]) -> dict[str, Any]:
    from agent.loop.progress import LineWatch
    from agent.programs.improvement.improve_request import Request
    from agent.programs.improvement.improving import improve

    memory = folder / "edits-memory.db"
    memory.unlink(missing_ok=True)
    request = Request(
        path, folder / "tuned-edits.json", ",".join(_there(path, only)), max_seconds=seconds, share=1.0, memory=memory,
        cold=True, edit=True, even=True, model=model,
    )  # fmt: skip
    began = time.perf_counter()
    watch = LineWatch(lambda line: print(f"{time.perf_counter() - began:6.1f} s {line}", file=sys.stderr))
    made = improve(request, watch)
    rows = []
    for job, judged, outcome in made.rows:
        evidence = next(
            made.table.evidence[r.name]
            for r in made.table.rows
            if r.key == job.key and r.function.qualname == job.launch.function["qualname"]
        )
        rivals = {b.name: b for b in outcome.baselines} if outcome else {}
        owner, tuned = rivals.get("owner"), rivals.get("owner tuned")
        rows.append(
            {
                "kernel": job.launch.name,
                "status": judged.status,
                "why": judged.why,
                "owner_ms": owner.ms if owner else None,
                "owner_tuned_ms": tuned.ms if tuned else None,
                "ms": outcome.best.ms if outcome and outcome.best else None,
                "config": judged.config,
                "rewrites": rewrite_names(evidence.get("lineage", [])),
                "over the owner": [owner.speedup, owner.ci] if owner else None,
                "over the owner tuned": [tuned.speedup, tuned.ci] if tuned else None,
                "evaluations": outcome.evaluations if outcome else 0,
                "seconds": outcome.seconds if outcome else 0.0,
                "inputs": outcome.survived if outcome else [],
                "by float64": outcome.by_float64 if outcome else {},
                "errors": evidence.get("error"),
                "owner's errors": evidence.get("owner_error"),
                "reference": evidence["reference"],
                "variants": measured_variants(memory, job.launch.name),
            }
        )
    return {
        "gpu": made.environment.gpu,
        "triton": made.environment.triton,
        "seconds": made.seconds,
        "not tuned": [{"kernel": u.kernel, "reason": u.reason} for u in made.untuned],
        "rows": rows,
    }


def _there(path: Path, only: Sequence[str]) -> list[str]:
    """Those of LAUNCHES that were captured and are among `only`."""
    from kernels.capture.reading.captured_launches import read_capture

    names = {x.name for x in read_capture(str(path)).launches}
    return [n for n in LAUNCHES if n in names and n in only]


def render(report: dict[str, Any]) -> str:
    lines = [f"{'kernel':30} {'owner':>8} {'tuned':>8} {'variant':>8}  over the owner tuned       status    rewrites"]
    gains = []
    for row in report["rows"]:
        ratio = row["over the owner tuned"]
        shown = f"{ratio[0]:.3f}x [{ratio[1][0]:.3f}, {ratio[1][1]:.3f}]" if ratio and ratio[0] and ratio[1] else "-"
        times = [f"{row[n]:8.4f}" if row[n] else "       -" for n in ("owner_ms", "owner_tuned_ms", "ms")]
        lines.append(f"{row['kernel'][:30]:30} {' '.join(times)}  {shown:26} {row['status']:9} {row['rewrites']}")
        if row["status"] != "proven":
            lines.append(f"    {row['why'][:200]}")
        for v in row["variants"][:6]:
            time_of = "failed" if v["ms"] is None else f"{v['ms']:.4f}"
            lines.append(f"      {time_of} {v['rewrites']}: {v['config'][:110]}")
        if "group_norm" not in row["kernel"]:
            gains.append(ratio[0] if row["status"] == "proven" and ratio and ratio[0] else 1.0)
    lines += [f"not tuned: {u['kernel']}: {u['reason']}" for u in report["not tuned"]]
    mean = math.exp(sum(map(math.log, gains)) / len(gains)) if gains else float("nan")
    if "compare" in report:
        found = report["compare"]
        saved = sum(r["owner_ms"] - r["ms"] for r in report["rows"] if r["status"] == "proven")
        lines.append(f"by the verdicts the proven launches save {saved:.4f} ms; compare: {json.dumps(found)[:1500]}")
    lines.append(f"geometric mean over the owner's code tuned, without group_norm: {mean:.4f} of {len(gains)} launches")
    return "\n".join(lines)


def main() -> None:
    began = time.perf_counter()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_edits")
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--written", action="store_true")
    parser.add_argument("--compare", action="store_true", help="the program with and without the table")
    parser.add_argument("--only", default=",".join(LAUNCHES), help="names of launches")
    given = parser.parse_args()
    folder: Path = given.out
    folder.mkdir(parents=True, exist_ok=True)
    model = "tests.bench.written_player:Writer" if given.written else "embedded"
    report = improved(captured(folder), folder, given.seconds, model, given.only.split(","))
    report["model"] = model
    report["seconds with capture"] = time.perf_counter() - began
    written = folder / "edits.json"
    written.write_text(json.dumps(report, indent=1))
    if given.compare:
        report["compare"] = compared(folder)
        written.write_text(json.dumps(report, indent=1))
    print(render(report))


if __name__ == "__main__":
    main()
