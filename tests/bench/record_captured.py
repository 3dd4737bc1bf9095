"""Records launches of Liger's as landscapes: ``python -m tests.bench.record_captured OUT LAYER:LAUNCH… [--limit 100]``.

Needs a GPU and ``liger-kernel``. Each LAYER (``tests/bench/bench_captured_layers.py``) runs forward and backward under
``python -m agent capture``. A LAUNCH is the name of a Triton kernel among what was captured; the costliest launch of
that name is recorded, as ``improve`` would tune it: with its owner's survey, and its owner's launch as the baseline
beside each reading. ``group_norm:_group_norm_backward_kernel
rms_norm:_rms_norm_backward_kernel`` took 82 s on an H200, the capture included.

Written to OUT: ``liger.capture`` and, for each LAUNCH, a landscape with its card. A launch that cannot be recorded is
named with the reason, and the others go on.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click

from agent.errors import UsageError
from agent.programs.improvement.improve_plan import Job, plan
from agent.programs.improvement.preparing.ahead import Ahead
from agent.programs.improvement.preparing.surveys import SEED, Surveys
from agent.programs.improvement.time_left import TimeLeft
from agent.programs.improvement.wanted_launches import open_capture
from evals.record.card import stats
from evals.record.recording import Plan, Recording
from kernels.hardware.gpu_facts import from_json
from tools.harness.checking.owner_survey import OwnerSurvey
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.devices.live import LiveDevice

DEVICE = "cuda:0"
SURVEY_S = 120.0
"""For the launches' surveys and float64 references in all."""
PROGRAM = """
import sys
from tests.bench.bench_captured_layers import layers, run
made = layers()
for name in sys.argv[1:]:
    run(made[name])
"""


def capture_layers(names: list[str], path: Path) -> None:
    """Run the layers in a process of their own, unchanged, and capture their launches."""
    path.unlink(missing_ok=True)
    program = [sys.executable, "-c", PROGRAM, *dict.fromkeys(names)]
    command = [sys.executable, "-m", "agent", "capture", "-o", str(path), "--", *program]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def named(kernel: str) -> str:
    """``liger-rms_norm_backward`` of ``_rms_norm_backward_kernel``."""
    return f"liger-{kernel.strip('_').removeprefix('liger_').removesuffix('_kernel')}"


def record(job: Job, surveys: Surveys, made: Plan) -> str:
    """Record one launch and return what came of it, as a line."""
    found = surveys.of(job)
    if isinstance(found, str):
        return f"not recorded: {found}"
    problem, _, _ = found
    live = LiveDevice.open(DEVICE, job.kernel, problem)
    pool = LocalCompilePool(live.hardware)
    try:
        landscape = Recording(job.kernel, problem, live.hardware, live, pool, made, lambda *_: None).run()
    finally:
        pool.close()
        live.close()
    if landscape is None:
        return f"the time was up: {made.journal.name} keeps what was read"
    s = stats(landscape)
    best = "nothing correct" if s.best_ms is None else f"best {s.best_ms:.5g} ms"
    return f"{s.configs} configs, {s.correct} correct, {best}, {landscape.seconds:.0f} s"


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.argument("launches", nargs=-1, required=True, metavar="LAYER:LAUNCH...")
@click.option("--limit", default=100, help="Configs of a launch, drawn at random.")
@click.option("--max-seconds", default=60.0, help="For the readings of one launch.")
def main(out: Path, launches: tuple[str, ...], limit: int, max_seconds: float) -> None:
    out.mkdir(parents=True, exist_ok=True)
    layers, kernels = zip(*(name.split(":") for name in launches), strict=True)
    path = out / "liger.capture"
    capture_layers(list(layers), path)
    capture = open_capture(path)
    survey, ahead = OwnerSurvey(DEVICE), Ahead(str(path), SEED, None)
    try:
        info = survey.device_info()
        hardware = from_json(info["facts"])
        surveys = Surveys(survey, ahead, hardware, TimeLeft(time.monotonic(), SURVEY_S + max_seconds * len(kernels)))
        for name in kernels:
            began = time.perf_counter()
            try:
                jobs = plan(capture, 1.0, name, info["name"], hardware).jobs
                recorded = out / f"{named(name)}-{hardware.name.lower()}.json.gz"
                made = Plan(recorded, limit=limit, max_seconds=max_seconds)
                line = record(jobs[0], surveys, made) if jobs else "not recorded: nothing can be tuned"
            except UsageError as e:
                line = f"not recorded: {e}"
            print(f"{name:36} {line} ({time.perf_counter() - began:.0f} s)", flush=True)
    finally:
        survey.close()
        ahead.close()


if __name__ == "__main__":
    main()
