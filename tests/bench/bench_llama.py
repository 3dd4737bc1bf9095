"""A small Llama's training step with Liger's layers, unchanged: ``python -m tests.bench.bench_llama OUT [--pairs N]``.

On a GPU with ``transformers`` and ``liger-kernel``. The program (``llama_step.py``) is captured and improved, and then
runs without and with the table in turns under PyTorch's profiler. ``OUT/llama.json`` holds what ``agent compare`` finds
and beside it what the table promises: for each row, launches of a run x (owner's time - the row's time), as the proof
read both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from agent.loop.progress import LineWatch
from agent.programs.capturing import capture_program
from agent.programs.comparing.comparison import Comparison, compare_pairs, render_comparison
from agent.programs.comparing.program_runs import Plan, run_pairs
from agent.programs.improvement.improve_request import Request
from agent.programs.improvement.improving import improve
from kernels.tuned.tuned_table import TunedTable

PROGRAM = [sys.executable, str(Path(__file__).with_name("llama_step.py"))]
METRIC = r"step ([\d.]+) ms"


def promised(table: TunedTable, found: Comparison) -> list[dict[str, Any]]:
    """What each row saves in a run with the table, ms."""
    rows = []
    for used in found.rows_used["used"]:
        evidence = table.evidence.get(used["row"], {})
        owner = next((b for b in evidence.get("baselines", ()) if b["name"] == "owner"), None)
        if used["status"] != "proven" or owner is None:
            continue
        launches = used["launches"] / found.pairs
        saved = launches * (owner["ms"] - evidence["best"]["ms"])
        rows.append({"kernel": used["kernel"], "row": used["row"], "launches": launches, "saved_ms": saved})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=45.0, help="for improve (%(default)s)")
    options = parser.parse_args()
    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    path, tuned, memory = folder / "llama.capture", folder / "tuned-llama.json", folder / "memory-llama.db"
    for old in (path, memory):
        old.unlink(missing_ok=True)
    if code := capture_program([*PROGRAM, "--steps", "3"], path, "summary"):
        sys.exit(f"the program ended with code {code}")

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    request = Request(path, tuned, max_seconds=options.seconds, share=0.99, memory=memory, cold=True)
    made = improve(request, LineWatch(say))
    plan = Plan((*PROGRAM, "--steps", str(options.steps)), tuned, options.pairs, METRIC, kernels=True)
    with tempfile.TemporaryDirectory() as kept:
        found = compare_pairs(run_pairs(plan, Path(kept), say), plan, False, 0.0)
    rows = promised(made.table, found)
    total = sum(r["saved_ms"] for r in rows)
    own = [k for k in found.kernels[1:] if any(k.kernel == r["kernel"] for r in rows)]
    report = {
        "gpu": made.environment.gpu,
        "triton": made.environment.triton,
        "proven": sum(r.status == "proven" for r in made.table.rows),
        "promised_ms": total,
        "promised": rows,
        "saved by these kernels, ms": sum(k.saved.value for k in own),
        "comparison": found.as_json(),
    }
    (folder / "llama.json").write_text(json.dumps(report, indent=1))
    print(render_comparison(found))
    for r in rows:
        print(f"promised: {r['kernel']} {r['launches']:g} launches a run, {r['saved_ms']:.4f} ms")
    saved = found.kernels[0].saved
    print(
        f"promised in a run {total:.4f} ms; all kernels saved {saved.value:.4f} [{saved.low:.4f}, {saved.high:.4f}] ms"
    )
    for k in own:
        print(f"  {k.kernel}: saved {k.saved.value:.4f} [{k.saved.low:.4f}, {k.saved.high:.4f}] ms")


if __name__ == "__main__":
    main()
