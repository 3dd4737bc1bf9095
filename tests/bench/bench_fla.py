"""flash-linear-attention's layers against Triton's own autotuner, cold: ``python -m tests.bench.bench_fla OUT``.

Needs a GPU and ``flash-linear-attention`` (0.6 asks for Triton 3.7.1 on Hopper). Layers run forward and backward,
unchanged, each step of this in an empty compile cache of its own, but for the capture:

1. The program as it is. Triton prints what each of its autotuners took.
2. The program under ``capture``, with the compile cache and the autotuners' choices of the first run.
3. ``improve``, for ``--part`` of what the autotuners took. What it does not come to keeps the autotuner's choice.
4. The program with the table, under ``apply``.

On an H200 two gated delta-rule layers take 252 s of autotuning, 22 s of capture and some 85 s of improve, about 400 s
in all. gla's kernels have 270 configs, which Triton's autotuner compiles one by one: ``--layers gla,gdn`` needs much
more.
``--before FOLDER`` takes over the first two steps of an earlier run.

``OUT/fla.json`` holds what is printed: for each launch that was timed the best config over the autotuner's choice made
anew, in turns; improve's time over the autotuners'; the first step with the table over that without.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.bench_improve import captured, improved

TOKENS, WIDTH, HEADS = 4096, 2048, 16
STEPS, MORE_STEPS = 6, 41
"""Of the captured program, and of the one whose later steps are timed."""
PART = 0.28
"""Of the autotuners' time, at which no further launch is begun: a third is allowed."""
AUTOTUNED = re.compile(r"Triton autotuning for function (\S+?),.*?finished after ([\d.]+)s", re.DOTALL)
"""What Triton prints under ``TRITON_PRINT_AUTOTUNING=1``."""


def program(names: str, steps: int) -> None:
    """The layers with backward. Prints the seconds of the first step, in which the autotuners run, of the fastest later
    one and of the one in the middle, and when the first ended."""
    import torch
    from fla.layers import GatedDeltaNet, GatedLinearAttention

    made = {
        "gla": lambda: GatedLinearAttention(hidden_size=WIDTH, num_heads=HEADS // 4),
        "gdn": lambda: GatedDeltaNet(hidden_size=WIDTH, num_heads=HEADS // 2, head_dim=128),
    }
    layers = [made[name]() for name in names.split(",")]
    took, ended = [], 0.0
    for layer in layers:
        layer.to("cuda", torch.bfloat16)
    torch.cuda.synchronize()
    for _ in range(steps):
        started = time.perf_counter()
        for layer in layers:
            x = torch.randn(1, TOKENS, WIDTH, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            out = layer(x)[0]
            out.backward(torch.randn_like(out))
        torch.cuda.synchronize()
        took.append(time.perf_counter() - started)
        ended = ended or time.time()
    later = {"later_s": min(took[1:]), "later_median_s": median(took[1:])}
    print(json.dumps({"first_s": took[0], **later, "ended": ended}))


def words_of(names: str, steps: int = MORE_STEPS) -> list[str]:
    return [sys.executable, "-m", "tests.bench.bench_fla", "--program", "--layers", names, "--steps", str(steps)]


def as_it_is(cache: Path, names: str) -> dict[str, Any]:
    """Seconds of its steps, and of each autotuner as Triton prints them."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache), "TRITON_PRINT_AUTOTUNING": "1"}
    printed = run(words_of(names), environment)
    found = [(name, float(s)) for name, s in AUTOTUNED.findall(printed["output"])]
    return {**printed, "output": "", "autotuners": found, "autotuners_s": sum(s for _, s in found)}


def applied(table: Path, cache: Path, report: Path, names: str) -> dict[str, Any]:
    """Seconds of its steps with the table, and what was used and missed."""
    report.unlink(missing_ok=True)
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache), "AUTOKERNEL_APPLY_REPORT": str(report)}
    words = [sys.executable, "-m", "agent", "apply", str(table), "--", *words_of(names)]
    printed = run(words, environment)
    reports = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    missed = [m for r in reports for m in r["missed"]]
    return {**printed, "output": "", "rows used": sum(len(r["used"]) for r in reports), "missed": missed}


def run(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """What the program printed last, its output, and the seconds from its start to the end of its first step."""
    began = time.time()
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(next(x for x in reversed(done.stdout.splitlines()) if x.startswith("{")))
    return {**found, "until_s": found["ended"] - began, "output": done.stdout}


def measure(folder: Path, part: float, least: float, names: str, before: Path | None = None) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = json.loads((before / "fla.json").read_text()) if before is not None else {}

    def note(**more: Any) -> None:
        report.update(more)
        (folder / "fla.json").write_text(json.dumps(report, indent=1))
        print(f"{time.strftime('%X')} {', '.join(more)} done", file=sys.stderr, flush=True)

    now = time.time_ns()
    cache = folder / f"cache-{now}"
    if before is None:
        note(plain=as_it_is(cache, names))
        path = captured("fla", folder, words_of(names, STEPS), cache)
        note(capture=path.stat().st_size)
    else:
        path = Path(shutil.copy(before / "fla.capture", folder))
    os.environ["XDG_CACHE_HOME"] = str(folder / f"improve-{now}")  # the compile cache of improve
    tuning = report["plain"]["autotuners_s"]
    note(improve=improved("fla", path, folder, max(least, part * tuning)))
    note(apply=applied(folder / "tuned-fla.json", folder / f"applied-{now}", folder / "applied.jsonl", names))
    over = [r["autotuner"] for r in report["improve"]["rows"] if r["autotuner"] and r["autotuner"][1]]
    note(
        summary={
            "autotuners, cold, s": tuning,
            "improve, cold, s": report["improve"]["seconds"],
            "improve over the autotuners": report["improve"]["seconds"] / tuning if tuning else None,
            "launches timed beside the autotuner's choice made anew": len(over),
            "of them wholly slower in the table": sum(
                r["status"] == "proven" and r["autotuner"] is not None and r["autotuner"][1][1] < 1
                for r in report["improve"]["rows"]
            ),
            "proven faster": report["improve"]["proven"],
            "first step as it is, cold, s": report["plain"]["first_s"],
            "first step with the table, cold, s": report["apply"]["first_s"],
            "first step, table over as it is": report["apply"]["first_s"] / report["plain"]["first_s"],
            "start to first step's end as it is, cold, s": report["plain"]["until_s"],
            "start to first step's end with the table, cold, s": report["apply"]["until_s"],
            "later step as it is, ms": report["plain"]["later_s"] * 1e3,
            "later step with the table, ms": report["apply"]["later_s"] * 1e3,
        }
    )
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT")
    parser.add_argument("--program", action="store_true", help="run the two layers alone")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the layers run alone (%(default)s)")
    parser.add_argument("--layers", default="gdn,gdn", help="of gla and gdn, with commas between them (%(default)s)")
    parser.add_argument("--part", type=float, default=PART, help="of the autotuners' time, for improve (%(default)s)")
    parser.add_argument("--least", type=float, default=20.0, help="seconds for improve at least (%(default)s)")
    parser.add_argument("--before", type=Path, help="folder of an earlier run, whose first two steps are taken over")
    options = parser.parse_args()
    if options.program:
        program(options.layers, options.steps)
        return
    if options.out is None:
        parser.error("name the folder OUT")
    report = measure(options.out, options.part, options.least, options.layers, options.before)
    print("| kernel | status | over the autotuner's choice made anew | | configs | s |\n|---|---|---|---|---|---|")
    for row in report["improve"]["rows"]:
        ratio, ci = row["autotuner"] or (None, None)
        shown = [f"{ratio:.3f}x", f"[{ci[0]:.3f}, {ci[1]:.3f}]"] if ratio and ci else ["", ""]
        cells = [row["kernel"], row["status"], *shown, str(row["configs"]), f"{row['seconds']:.1f}"]
        print(f"| {' | '.join(cells)} |")
    for name, value in report["summary"].items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    print(f"not tuned: {len(report['improve']['not tuned'])}; missed under apply: {report['apply']['missed']}"[:1500])


if __name__ == "__main__":
    main()
