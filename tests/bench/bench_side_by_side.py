"""What a nominally checked config costs in this build and in an older one, side by side.

    python -m tests.bench.bench_side_by_side REVISION --device cuda:0

REVISION is a revision of the repository, or an archive of one (``git archive --format tar.gz``) where there is no
repository. It is unpacked into a temporary folder. Each build checks the same configs in processes of its own, one
build after the other in turn (A B B A …), so that both meet the same machine. On a GPU a check is that on nominal
inputs and a screening; with ``--device interpreter`` it is that of Triton's interpreter. Both builds compile at once,
and each config is checked once before it is timed: compilation does not count. The figures are written after each
round. If a build ends, those until then stand.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from tools.harness.compiling.cache import worker_environment

ROOT = Path(__file__).resolve().parents[2]
TIMER = Path(__file__).with_name("build_timer.py")
ALLOWED = 1.1
"""Cost of a check over that of the older build."""
RESAMPLES = 2000
END_S = 10.0
"""What a build is given to end by itself."""


class BuildEnded(click.ClickException):
    """The process of a build is gone."""


class Build:
    """A process that times checks with the packages of one folder."""

    def __init__(self, name: str, folder: Path, kernel: str, device: str, cache: Path) -> None:
        self.name = name
        environment = {**os.environ, **worker_environment(cache), "PYTHONPATH": search_path(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(TIMER), kernel, device, str(cache)],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, op: str, **job: Any) -> Any:
        self.send(op, **job)
        return self.receive()

    def send(self, op: str, **job: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"op": op, **job}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as e:
            raise BuildEnded(f"the {self.name} build ended: its last words are above") from e

    def receive(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BuildEnded(f"the {self.name} build ended: its last words are above")
        return json.loads(line)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


def search_path(folder: Path) -> str:
    """Where a build's process looks for packages: its own first, then what this process was given, without this build's
    own."""
    given = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and Path(p).resolve() != ROOT]
    return os.pathsep.join([str(folder), *(str(Path(p).resolve()) for p in given)])


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
    began = time.monotonic()
    deadline = began + max_seconds
    about = {"revision": Path(revision).name, "kernel": kernel, "device": device}
    figures: dict[str, Any] | None = None
    with tempfile.TemporaryDirectory(prefix="autokernel-builds-") as temporary:
        older = unpacked(revision, Path(temporary) / "older")
        builds = [
            Build(name, folder, kernel, device, Path(temporary) / f"cache-{name}")
            for name, folder in (("older", older), ("this", ROOT))
        ]
        try:
            for found in side_by_side(builds, configs, rounds, deadline):
                figures = about | found
                if out:
                    out.write_text(json.dumps(figures, indent=1) + "\n")
                print(f"{time.monotonic() - began:6.1f} s  {figures['pairs']} pairs", flush=True)
        except BuildEnded as e:
            print(e.message, flush=True)
        finally:
            for build in builds:
                build.close()
    if figures is None:
        raise click.ClickException("no check was timed: give more --max-seconds, or see what the builds print")
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


def side_by_side(builds: list[Build], count: int, rounds: int, deadline: float) -> Iterator[dict[str, Any]]:
    """Ratios of the second build's time to the first's, each of two checks of one config in a row, after each round."""
    older, this = builds
    known = this.ask("known", configs=older.ask("space"))
    chosen = random.Random(0).sample(known, min(count, len(known)))
    for build in builds:
        build.send("compile", configs=chosen)
    for build in builds:
        build.receive()
    sound = [c for c in chosen if all(build.ask("check", config=c)["status"] == "correct" for build in builds)]
    if not sound:
        raise click.ClickException("no config is correct in both builds")
    times: dict[str, list[float]] = {build.name: [] for build in builds}
    for n in range(rounds):
        for i, config in enumerate(sound):
            if time.monotonic() > deadline:
                break
            order = builds if (i + n) % 2 == 0 else builds[::-1]
            took = {build.name: build.ask("check", config=config)["seconds"] for build in order}
            for name, seconds in took.items():
                times[name].append(seconds)
        if times[this.name]:
            yield figures_of(len(sound), times)


def figures_of(configs: int, times: dict[str, list[float]]) -> dict[str, Any]:
    """The median of the ratios with its interval."""
    ratios = np.array(times["this"]) / np.array(times["older"])
    draws = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return {
        "configs": configs,
        "pairs": len(ratios),
        "ms": {name: 1e3 * float(np.median(found)) for name, found in times.items()},
        "ratio": float(np.median(ratios)),
        "ci": [float(low), float(high)],
    }


if __name__ == "__main__":
    main()
