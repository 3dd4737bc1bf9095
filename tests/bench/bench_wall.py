"""How long a cold run of the main job takes, whole process, in this build and in an older one, side by side.

    python -m tests.bench.bench_wall REVISION --device cuda:0 --json wall.json

REVISION is a revision of the repository, or an archive of one. The builds take turns (A B B A …). Each run is a new
process with an empty compile cache, an empty memory and no traces; bytecode and the libraries' files are there, since
each build has imported them before. Wall time is that of the whole process. A run that proves nothing counts as failed
and ends the comparison. Figures are written after each pair.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from tests.bench.bench_side_by_side import ROOT, search_path, unpacked

GOAL = "maximise fused TFLOPS"
ALLOWED = 0.75
"""Wall time over that of the older build that is asked for."""
FOLDERS = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")


def environment(build: Path, scratch: Path) -> dict[str, str]:
    """That of a process of `build` that finds nothing of earlier runs."""
    found = {**os.environ, "PYTHONPATH": search_path(build)}
    for name in FOLDERS:
        folder = scratch / name.lower()
        folder.mkdir(parents=True)
        found[name] = str(folder)
    return found


def run(build: Path, goal: str, device: str, limit: float) -> dict[str, Any]:
    """One cold run: wall seconds, the best config's ms, and the verdict. Raises ClickException if it proves nothing."""
    with tempfile.TemporaryDirectory(prefix="autokernel-wall-") as scratch:
        command = [sys.executable, "-m", "agent", goal, "--device", device, "--json"]
        began = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=build, env=environment(build, Path(scratch)), capture_output=True, text=True,
                timeout=limit, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as e:
            raise click.ClickException(f"a run of {build.name} took over {limit:.0f} s") from e
        wall = time.perf_counter() - began
    if done.returncode:
        raise click.ClickException(f"a run of {build.name} ended with {done.returncode}: {done.stderr[-1000:]}")
    found = json.loads(done.stdout)
    names = ("seconds", "proof_seconds", "evaluations", "proven", "why")
    return {"wall": round(wall, 2), "ms": found["best"]["ms"], **{n: found.get(n) for n in names}}


def warm_up(build: Path) -> None:
    """Write the bytecode of `build`, and import it once: neither is what a run is asked about."""
    for words in (["compileall", "-q", "."], ["agent", "--help"]):
        with tempfile.TemporaryDirectory(prefix="autokernel-wall-") as scratch:
            command = [sys.executable, "-m", *words]
            subprocess.run(command, cwd=build, env=environment(build, Path(scratch)), capture_output=True, check=False)


def figures_of(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of both builds, and the ratio of each pair with their median."""
    ratios = [this["wall"] / older["wall"] for older, this in zip(runs["older"], runs["this"], strict=True)]
    return {
        "wall": {name: statistics.median(r["wall"] for r in found) for name, found in runs.items()},
        "ratios": [round(r, 4) for r in ratios],
        "ratio": round(statistics.median(ratios), 4),
        "runs": runs,
    }


@click.command()
@click.argument("revision")
@click.option("--goal", default=GOAL, show_default=True)
@click.option("--device", default="cuda:0", show_default=True, help="cuda:N, or recorded.")
@click.option("--pairs", type=click.IntRange(1), default=4, show_default=True)
@click.option("--max-seconds", default=480.0, show_default=True, help="No pair is begun that would end later.")
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here as well.")
def main(revision: str, goal: str, device: str, pairs: int, max_seconds: float, out: Path | None) -> None:
    began = time.monotonic()
    runs: dict[str, list[dict[str, Any]]] = {"older": [], "this": []}
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="autokernel-builds-") as temporary:
        builds = {"older": unpacked(revision, Path(temporary) / "older"), "this": ROOT}
        for folder in builds.values():
            warm_up(folder)
        for n in range(pairs):
            longest = max((a["wall"] + b["wall"] for a, b in zip(*runs.values(), strict=True)), default=0.0)
            if time.monotonic() - began + longest > max_seconds:
                break
            for name in list(builds)[:: 1 if n % 2 == 0 else -1]:
                left = max(1.0, max_seconds - (time.monotonic() - began))
                runs[name].append(run(builds[name], goal, device, left))
                print(f"{time.monotonic() - began:6.1f} s  {name:6} {runs[name][-1]}", flush=True)
            figures = {"revision": Path(revision).name, "goal": goal, "device": device} | figures_of(runs)
            if out:
                out.write_text(json.dumps(figures, indent=1) + "\n")
    for name, wall in figures["wall"].items():
        print(f"{name:6} {wall:6.1f} s")
    print(f"ratio  {figures['ratio']:6.3f} {figures['ratios']}, at most {ALLOWED} is asked for")


if __name__ == "__main__":
    main()
