"""What a nominally checked config costs in this build and in an older one, side by side.

    python -m tests.bench.bench_side_by_side REVISION --device cuda:0

REVISION is a revision of the repository, or an archive of one (``git archive --format tar.gz``) where there is no
repository. It is unpacked into a temporary folder. Each build checks the same configs in processes of its own, one
build after the other in turn (A B B A …), so that both meet the same machine. On a GPU a check is that on nominal
inputs and a screening; with ``--device interpreter`` it is that of Triton's interpreter. Each config is checked once
before it is timed: compilation does not count.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from tools.harness.compiling.cache import worker_environment

ROOT = Path(__file__).parents[2]
TIMER = Path(__file__).with_name("build_timer.py")
ALLOWED = 1.1
"""Cost of a check over that of the older build."""
RESAMPLES = 2000


class Build:
    """A process that times checks with the packages of one folder."""

    def __init__(self, name: str, folder: Path, kernel: str, device: str, cache: Path) -> None:
        self.name = name
        environment = {**os.environ, **worker_environment(cache), "PYTHONPATH": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(TIMER), kernel, device, str(cache)],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, op: str, **job: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"op": op, **job}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise click.ClickException(f"the {self.name} build ended: its last words are above")
        return json.loads(line)

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(30)


@click.command()
@click.argument("revision")
@click.option("--kernel", default="fused_matmul", show_default=True)
@click.option("--device", default="cuda:0", show_default=True, help="cuda:N, or interpreter.")
@click.option("--configs", default=24, show_default=True, help="Drawn from the space that both builds have.")
@click.option("--rounds", default=4, show_default=True, help="Timed checks of each config in each build.")
@click.option("--max-seconds", default=100.0, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
def main(
    revision: str, kernel: str, device: str, configs: int, rounds: int, max_seconds: float, out: Path | None
) -> None:
    deadline = time.monotonic() + max_seconds
    with tempfile.TemporaryDirectory(prefix="autokernel-builds-") as temporary:
        older = unpacked(revision, Path(temporary) / "older")
        builds = [
            Build(name, folder, kernel, device, Path(temporary) / f"cache-{name}")
            for name, folder in (("older", older), ("this", ROOT))
        ]
        try:
            figures = side_by_side(builds, configs, rounds, deadline)
        finally:
            for build in builds:
                build.close()
    figures = {"revision": revision, "kernel": kernel, "device": device, **figures}
    if out:
        out.write_text(json.dumps(figures, indent=1) + "\n")
    low, high = figures["ci"]
    print(f"{kernel} on {device}: {figures['configs']} configs, {figures['pairs']} pairs of checks")
    for name in ("older", "this"):
        print(f"  {name:6} {figures['ms'][name]:8.1f} ms a checked config (median)")
    print(f"  ratio  {figures['ratio']:8.3f} [{low:.3f}, {high:.3f}], at most {ALLOWED} is asked for")
    raise SystemExit(1 if low > ALLOWED else 0)


def unpacked(revision: str, folder: Path) -> Path:
    """The files of a revision or an archive in `folder`."""
    archive = Path(revision)
    if not archive.is_file():
        made = subprocess.run(["git", "-C", str(ROOT), "archive", revision], capture_output=True, check=False)
        if made.returncode:
            raise click.UsageError(
                f"{revision} is neither an archive nor a revision here: {made.stderr.decode()[:200]}"
            )
        archive = folder.with_suffix(".tar")
        archive.write_bytes(made.stdout)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder


def side_by_side(builds: list[Build], count: int, rounds: int, deadline: float) -> dict[str, Any]:
    """Ratios of the second build's time to the first's, each of two checks of one config in a row."""
    older, this = builds
    known = this.ask("known", configs=older.ask("space"))
    chosen = random.Random(0).sample(known, min(count, len(known)))
    sound = [c for c in chosen if all(build.ask("check", config=c)["status"] == "correct" for build in builds)]
    if not sound:
        raise click.ClickException("no config is correct in both builds")
    times: dict[str, list[float]] = {build.name: [] for build in builds}
    for n in range(rounds):
        for i, config in enumerate(sound):
            if time.monotonic() > deadline:
                break
            for build in builds if (i + n) % 2 == 0 else builds[::-1]:
                times[build.name].append(build.ask("check", config=config)["seconds"])
    ratios = np.array(times[this.name]) / np.array(times[older.name])
    if not len(ratios):
        raise click.ClickException("the time was over before the first timed check: give more --max-seconds")
    draws = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return {
        "configs": len(sound),
        "pairs": len(ratios),
        "ms": {name: 1e3 * float(np.median(found)) for name, found in times.items()},
        "ratio": float(np.median(ratios)),
        "ci": [float(low), float(high)],
    }


if __name__ == "__main__":
    main()
