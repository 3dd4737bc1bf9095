"""``python -m evals``: list and record landscapes, run and score agents."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from evals.bench.output import read_options, read_shape
from evals.commands.judge_command import judge_command
from evals.commands.leaderboard_command import leaderboard_command
from evals.commands.score_commands import compare_command, report_command, run_command, tasks_command
from evals.progress_bar import ProgressBar
from evals.source.source_command import source_command
from memory.command_line.command_errors import run_command_line
from memory.command_line.door import interrupt
from memory.command_line.strict_commands import FiniteRange, StrictGroup, WholeRange

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
UNFINISHED = 3
"""Exit code where the time was up before the recording was complete."""


@click.group(cls=StrictGroup, context_settings=CONTEXT)
def cli() -> None:
    """Recorded landscapes, how well an agent tunes on them, and a judge of other people's kernels."""


cli.add_command(run_command)
cli.add_command(compare_command)
cli.add_command(report_command)
cli.add_command(tasks_command)
cli.add_command(leaderboard_command)
cli.add_command(judge_command)
cli.add_command(source_command)


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_command(as_json: bool) -> None:
    """List the landscapes and the agents that come with the project."""
    from evals.agents import registry
    from evals.record.card import stats
    from tools.harness.landscapes.named import LandscapeError, list_landscapes

    rows = []
    try:
        found = list_landscapes()
    except LandscapeError as e:
        raise click.ClickException(str(e)) from e
    for x in found:
        s = stats(x)
        about = {"name": x.name, "kernel": x.kernel, "problem": x.label, "device": x.device.name, "regime": x.regime}
        about |= {"triton": x.device.triton, "assembler": x.device.assembler}
        rows.append({**about, "configs": s.configs, "correct": s.correct, "best_ms": s.best_ms, "file": x.file})
    if as_json:
        click.echo(json.dumps({"landscapes": rows, "agents": registry.names()}))
        return
    if not rows:
        click.echo("there are no landscapes yet: record one with `python -m evals record`")
    for r in rows:
        triton = r["triton"] or "of an unknown version"
        best = "nothing correct" if r["best_ms"] is None else f"best {r['best_ms']:.5g} ms"
        click.echo(f"{r['name']}: {r['kernel']} {r['problem']} on {r['device']}, {r['regime']}, Triton {triton}")
        click.echo(f"  {r['configs']} configs, {r['correct']} correct, {best}")
    click.echo(
        f"agents: {', '.join(registry.names())}, model:NAME, or a function search(game) as path.py:NAME or module:NAME"
    )


@cli.command("record")
@click.option("--kernel", required=True, help="A registered kernel, path.py:NAME or module:NAME.")
@click.option(
    "--shape", callback=read_shape, help="Dimensions of the problem, e.g. 4096x4096x4096; the kernel's own without it."
)
@click.option("--dtype", help="fp16, bf16, or fp8 where the kernel has it.")
@click.option(
    "--option",
    "options",
    multiple=True,
    callback=read_options,
    metavar="NAME=VALUE",
    help="Any other field of the problem.",
)
@click.option("--device", default="cuda:0", show_default=True, help="The GPU to record: cuda:N.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .json.gz (or .json) to write.")
@click.option("--limit", type=WholeRange(min=1), help="Record so many configs, drawn at random.")
@click.option("--samples", type=WholeRange(min=2), default=10, show_default=True, help="Readings per config and pass.")
@click.option("--max-seconds", type=FiniteRange(min=0), default=3600.0, show_default=True, help="Time of this call.")
@click.option("--seed", type=WholeRange(0), default=0, show_default=True, help="Order of the configs.")
@click.option("--workers", type=WholeRange(min=1), help="Compile processes; one per core without it.")
@click.option("--compile-only", is_flag=True, help="Compile and stop; the same command without this measures.")
def record_command(
    kernel: str,
    shape: tuple[int, ...] | None,
    dtype: str | None,
    options: dict[str, str],
    device: str,
    out: Path,
    limit: int | None,
    samples: int,
    max_seconds: float,
    seed: int,
    workers: int | None,
    compile_only: bool,
) -> None:
    """Record a landscape: measure a kernel's whole space on a GPU, twice.

    Interrupted or out of time, it keeps what it has in OUT.partial.jsonl and the same command goes on."""
    _check_out(out)
    if not device.startswith("cuda"):
        raise click.UsageError(f"--device {device} is not a GPU: a landscape is recorded on cuda:N")
    fields = options if dtype is None else {"dtype": dtype, **options}

    from evals.record.card import stats
    from evals.record.journal import JournalError
    from evals.record.recording import GpuLost, Plan, Recording
    from kernels.registry import get
    from kernels.spec import sentence
    from tools.harness.compiling.compile_pool import LocalCompilePool
    from tools.harness.device import DeviceError
    from tools.harness.devices.live import LiveDevice

    try:
        spec = get(kernel)
        problem = spec.parse_problem(shape, fields)
    except ValueError as e:
        raise click.UsageError(sentence(e)) from e
    plan = Plan(out, samples, limit, seed, max_seconds, compile_only)
    try:
        live = LiveDevice.open(device, spec, problem)
    except DeviceError as e:
        raise click.UsageError(str(e)) from e
    pool = LocalCompilePool(live.hardware, workers)
    try:
        with ProgressBar() as bar:
            landscape = Recording(spec, problem, live.hardware, live, pool, plan, bar.show).run()
    except (DeviceError, GpuLost, JournalError) as e:
        raise click.ClickException(str(e)) from e
    except OSError as e:
        raise click.ClickException(f"cannot write beside {out}: {(e.strerror or str(e)).lower()}") from e
    except KeyboardInterrupt:
        click.echo(f"\nstopped; the same command goes on from {plan.journal}", err=True)
        sys.exit(130)
    finally:
        pool.close()
        live.close()
    if compile_only:
        click.echo(f"compiled; the same command without --compile-only goes on from {plan.journal}", err=True)
        return
    if landscape is None:
        click.echo(f"time is up; the same command goes on from {plan.journal}", err=True)
        sys.exit(UNFINISHED)
    s = stats(landscape)
    best = "none is correct" if s.best_ms is None else f"best {s.best_ms:.5g} ms"
    click.echo(f"{out}: {s.configs} configs, {s.correct} correct, {best}, {out.stat().st_size / 1e3:.0f} kB")


def _check_out(out: Path) -> None:
    if not out.name.endswith((".json.gz", ".json")):
        raise click.UsageError(f"--out {out} must end in .json.gz or .json")
    if not out.parent.is_dir():
        raise click.UsageError(f"--out {out}: there is no folder {out.parent}")
    if not os.access(out.parent, os.W_OK):
        raise click.UsageError(f"--out {out}: the folder {out.parent} cannot be written")
    if out.exists():
        raise click.UsageError(f"--out {out} exists already: delete it or give another name")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 for an error, 2 with one sentence for wrong arguments, 3 for a recording that is unfinished."""
    # A polite kill unwinds like Ctrl-C, so that child processes end with us.
    signal.signal(signal.SIGTERM, interrupt)
    return run_command_line(cli, "python -m evals", arguments)


if __name__ == "__main__":
    sys.exit(main())
