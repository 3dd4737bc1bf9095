"""``python -m evals source``: device code that has to be edited."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.environment import read_env
from evals.commands.model_options import ModelOptions, model_options
from evals.commands.selection import (
    UsageMistake,
    check_writable,
    mistakes_as_usage_errors,
)
from memory.command_line.output_files import write_output
from memory.command_line.strict_commands import FiniteRange, WholeRange, strict_command
from memory.terms import printable

if TYPE_CHECKING:
    from evals.source.source_runs import Place, SourceRun


STOP_AFTER = "End after about so many seconds: no run is begun that would end later; what is begun is finished."


@strict_command("source")
@click.option("--players", metavar="A,B", help="known, embedded; without it embedded, or the --model alone.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="A language model as a player; repeatable.")
@model_options
@click.option("--tasks", default="", metavar="A,B", help="Only these; all without it.")
@click.option("--device", default="cuda:0", show_default=True, help="The GPU: cuda:N.")
@click.option(
    "--max-seconds", type=FiniteRange(min=1), default=60.0, show_default=True, help="Of a run's search on the device."
)
@click.option("--workers", type=WholeRange(min=1, max=16), default=1, show_default=True, help="Runs side by side.")
@click.option("--stop-after", type=FiniteRange(min=1), metavar="S", help=STOP_AFTER)
@click.option("--seed", type=WholeRange(min=0), default=0, show_default=True, help="Seed of inputs and players.")
@click.option(
    "--known",
    "known_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Times of the known forms on the same kind of GPU: what --out has written of the player known.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep the runs in this JSON file.")
@click.option("--list", "listing", is_flag=True, help="Print the tasks and stop; needs no GPU.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def source_command(
    players: str | None,
    models: tuple[str, ...],
    asked: ModelOptions,
    tasks: str,
    device: str,
    max_seconds: float,
    workers: int,
    stop_after: float | None,
    seed: int,
    known_file: Path | None,
    out: Path | None,
    listing: bool,
    as_json: bool,
) -> None:
    """Slow kernels whose device code has to be edited: twelve tasks and three traps, on a GPU.

    The player known sends the known better form of each; a language model and the embedded rewrites are scored by how
    far they get on the way to it. Runs side by side take turns on the GPU, and their search time counts the waiting."""
    from evals.source.source_scores import known_speedups, table
    from evals.source.source_tasks import choose_tasks

    check_writable((known_file,) if known_file else (), out=out)
    with mistakes_as_usage_errors():
        chosen = choose_tasks(tasks)
        if listing:
            print_tasks(chosen, as_json)
            return
        read_env()
        if models:
            asked.set()
        else:
            asked.refuse()
        who = [*_players(("" if models else "embedded") if players is None else players), *_models(models, asked)]
        if not who:
            raise UsageMistake("there is no player: name known or embedded in --players, or a --model")
        earlier = _kept(known_file) if known_file else []
        _check_device(device)
        if known_file:
            _check_kind(known_file, earlier, device)
        runs: list[SourceRun] = []
        place = _place(device, max_seconds, asked.base_url, seed, workers)
        try:
            with closing(_played(chosen, who, place, workers, stop_after)) as ending:
                for run in ending:
                    runs.append(run)
                    if out is not None:
                        write_output(out, json.dumps(_report(runs, earlier), indent=1) + "\n")
        except KeyboardInterrupt:
            kept = f", and are in {out}" if out is not None and runs else ""
            click.echo(f"{len(runs)} of {len(chosen) * len(who)} runs have ended{kept}", err=True)
            raise
    runs.sort(key=lambda run: (who.index(run.player), chosen.index(run.task)))
    report = _report(runs, earlier)
    if out is not None:
        write_output(out, json.dumps(report, indent=1) + "\n")
    click.echo(json.dumps(report) if as_json else table(runs, known_speedups([*earlier, *runs])))
    if all(run.unplayed for run in runs):
        sys.exit(1)


def print_tasks(chosen: list[str], as_json: bool) -> None:
    from evals.source.source_tasks import TRAPS, slow_kernel

    rows = []
    for task in chosen:
        kernel = slow_kernel(task)
        label = kernel.default_problem().label()
        rows.append({"task": task, "trap": task in TRAPS, "problem": label, "habit": kernel.habit})
    if as_json:
        click.echo(json.dumps({"tasks": rows}))
        return
    for row in rows:
        click.echo(f"{row['task']}{' (trap)' if row['trap'] else ''}: {row['problem']}\n  {row['habit']}")


def _players(text: str) -> list[str]:
    from agent.models.base import EMBEDDED
    from evals.source.source_runs import KNOWN

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in (KNOWN, EMBEDDED):
            raise UsageMistake(f"there is no player {name!a}: --players takes known and embedded, --model a model")
    return list(dict.fromkeys(names))


def _models(names: tuple[str, ...], asked: ModelOptions) -> list[str]:
    """The models by name. Those of the user's own are loaded here once, so that a mistake is told before any run.
    Raises UsageError."""
    from agent.models.choose import model_name
    from agent.models.own_model import is_own, load_own

    url = asked.base_url or os.environ.get("OPENAI_BASE_URL") or None
    for name in names:
        if is_own(reference := model_name(name, asked.base_url), url):
            load_own(reference)
    return list(dict.fromkeys(names))


def _kept(path: Path) -> list[SourceRun]:
    """The runs in a file that --out has written, a time of a known form among them."""
    from evals.source.source_runs import SourceRun
    from evals.source.source_scores import known_speedups

    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))["runs"]
        runs = [SourceRun.model_validate(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
        raise UsageMistake(f"--known {path} holds no runs of source tasks ({type(e).__name__})") from e
    if not known_speedups(runs):
        raise UsageMistake(f"--known {path} holds no time of a known form: play --players known --out {path} first")
    return runs


def _check_device(device: str) -> None:
    from tools.harness.measuring.telemetry import gpus_present
    from tools.harness.process import sandbox

    if not (device.startswith("cuda:") and device[5:].isdecimal()):
        raise UsageMistake(f"--device {device} is not a GPU: write cuda:0, cuda:1, ...")
    if not gpus_present():
        raise UsageMistake("source tasks are timed on a GPU, and this machine has none: --list shows them")
    why = sandbox.why_not()
    if why is not None:
        raise UsageMistake(f"edited code is compiled by shut-in processes alone, and this machine has no way ({why})")


def _check_kind(known: Path, earlier: list[SourceRun], device: str) -> None:
    """The times of the known forms must be of the same kind of GPU as the one that will play. Raises UsageMistake."""
    from evals.source.source_scores import known_gpus

    here = _gpu_name(device)
    for task, name in known_gpus(earlier).items():
        if name is None:
            raise UsageMistake(f"--known {known} does not tell the GPU on which it has timed {task}: play known anew")
        if name != here:
            raise UsageMistake(
                f"--known {known} has the time of {task} on {name}, and --device {device} is {here}: "
                "play --players known on this GPU first"
            )


def _gpu_name(device: str) -> str:
    """As the driver reports it. A child asks, as this process uses no GPU. Raises UsageMistake."""
    from tools.harness.checking.owner_survey import OwnerSurvey
    from tools.harness.process.child import ChildUnborn

    survey = OwnerSurvey(device)
    try:
        info = survey.device_info()
    except ChildUnborn as e:
        raise UsageMistake(f"the GPU {device} cannot be asked for its name: {e}") from e
    finally:
        survey.close()
    if why := info.get("missing") or info.get("reason"):
        raise UsageMistake(f"{why}: name another --device")
    return str(info["name"])


def _report(runs: list[SourceRun], earlier: list[SourceRun]) -> dict[str, list[dict[str, object]]]:
    from evals.source.source_scores import known_speedups, score

    known = known_speedups([*earlier, *runs])
    return {
        "runs": [r.model_dump(mode="json") for r in runs],
        "scores": [score(r, known).model_dump(mode="json") for r in runs],
    }


def _place(device: str, seconds: float, base_url: str | None, seed: int, workers: int) -> Place:
    """Where runs are played, each with its part of the cores."""
    from evals.source.source_runs import Place
    from tools.harness.process.own_packages import current_folder

    compilers = max(1, len(os.sched_getaffinity(0)) // workers)
    paths = tuple(current_folder())
    return Place(device, seconds=seconds, base_url=base_url, seed=seed, compilers=compilers, paths=paths)


def _played(
    tasks: list[str], players: list[str], place: Place, workers: int, stop_after: float | None
) -> Generator[SourceRun]:
    """All runs as they end. A task's players follow one another."""
    from evals.source.parallel_runs import Job, ParallelRuns, play_order

    jobs = [Job(task, player) for task in play_order(tasks) for player in players]
    runs = ParallelRuns(jobs, place, workers, stop_after).ended()
    for i, run in enumerate(runs, 1):
        said = run.unplayed or run.wrong or run.why
        took = f" ({run.whole_seconds:.0f} s)" if run.whole_seconds else ""
        click.echo(printable(f"{i}/{len(jobs)} {run.task}, {run.player}{took}: {said}", "?"), err=True)
        yield run
