"""``python -m evals run | compare | report``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.environment import read_env
from evals.commands.model_options import ModelOptions, model_options
from evals.commands.selection import (
    RunProgress,
    check_live,
    check_writable,
    choose_agents,
    find_landscapes,
    make_boards,
    mistakes_as_usage_errors,
    open_gpu_bench,
    print_standing,
    read_kept_runs,
    score_runs,
    unfinished_journal,
)
from memory.command_line.strict_commands import MayBeEmpty, WholeRange, strict_command

if TYPE_CHECKING:
    from evals.contest.ledger import Ledger

VARIANTS = ("plain", "renamed", "permuted")


@strict_command("run")
@click.option(
    "--agents",
    cls=MayBeEmpty,
    default="embedded,random,greedy",
    show_default=True,
    metavar="A,B",
    help='Names, or all; "" for the models alone.',
)
@click.option("--model", "models", multiple=True, metavar="NAME", help="The same as the agent model:NAME; repeatable.")
@model_options
@click.option("--landscape", "landscapes", multiple=True, metavar="NAME|FILE", help="Repeatable; all without it.")
@click.option("--seeds", type=WholeRange(min=1, max=1000), default=5, show_default=True, help="Runs per landscape.")
@click.option("--max-evals", type=WholeRange(min=1), help="Evaluations of a run; what the scores look at without it.")
@click.option(
    "--variant", type=click.Choice(VARIANTS), default="plain", show_default=True, help="Disguise of the space."
)
@click.option("--live", is_flag=True, help="Measure on a GPU of the landscape's kind instead of looking up.")
@click.option("--device", help="With --live: the GPU, cuda:N; cuda:0 without it.")
@click.option("--workers", type=WholeRange(min=1), help="Runs side by side; one per core without it, one with --live.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep the runs in this file (JSON lines).")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a report.")
@click.option("--leaderboard", type=click.Path(path_type=Path, dir_okay=False), help="Write a Markdown leaderboard.")
@click.option(
    "--submission",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the models' runs for others to verify.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run_command(
    agents: str,
    models: tuple[str, ...],
    asked: ModelOptions,
    landscapes: tuple[str, ...],
    seeds: int,
    max_evals: int | None,
    variant: str,
    live: bool,
    device: str | None,
    workers: int | None,
    out: Path | None,
    html: Path | None,
    leaderboard: Path | None,
    submission: Path | None,
    as_json: bool,
) -> None:
    """Let agents tune recorded landscapes and score them.

    An agent is a name (`python -m evals list` shows them), model:NAME for the agent's loop with a language model, or a
    function search(game) of yours as path.py:NAME or module:NAME. If the command is interrupted, repeat it: it goes on
    where it stood."""
    from evals.agents import registry
    from evals.contest.contest import Job, run_jobs
    from evals.contest.disguise import LIVE
    from evals.contest.live_referee import check_live_landscape
    from evals.contest.run_files import Results, fingerprint, request_digest
    from evals.contest.submission import write_submission

    check_writable(out=out, html=html, leaderboard=leaderboard, submission=submission)
    check_live(live, device, variant, workers)
    with mistakes_as_usage_errors(), open_gpu_bench((device or "cuda:0") if live else None) as bench:
        chosen = choose_agents(agents, models)
        if any(a.startswith(registry.MODEL) for a in chosen):
            read_env()
            asked.set()
        else:
            asked.refuse()
        found = find_landscapes(landscapes)
        if bench is not None:
            for landscape, _ in found:
                check_live_landscape(landscape)
        boards = make_boards([x for x, _ in found])
        jobs = [
            Job(
                agent,
                x,
                source,
                LIVE if live else variant,
                seed,
                min(max_evals or boards[x.name].budget, len(x.entries)),
            )
            for agent in chosen
            for x, source in found
            for seed in range(seeds)
        ]
        prints = {agent: fingerprint(agent) for agent in chosen}
        journal = Results(out or unfinished_journal(request_digest(jobs, list(prints.values()))))
        done = [x for job in jobs if (x := journal.finished(job, prints[job.agent]))]
        missing = [job for job in jobs if journal.finished(job, prints[job.agent]) is None]
        if done and missing:
            click.echo(f"{len(done)} of {len(jobs)} runs were finished before", err=True)
        progress = RunProgress(len(jobs), len(done))

        def keep(ledger: Ledger) -> None:
            journal.keep(ledger, prints[ledger.agent])
            done.append(ledger)
            progress(ledger)

        try:
            with progress:
                if bench is not None:
                    run_jobs(sorted(missing, key=lambda j: j.landscape.name), 1, keep, bench.referee, [journal.path])
                else:
                    run_jobs(missing, workers or os.cpu_count() or 1, keep, hidden=[journal.path])
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command goes on", err=True)
            sys.exit(130)
        if submission is not None:
            write_submission(submission, done)
        print_standing(score_runs(done, boards), as_json, html, leaderboard)
        if out is None:
            journal.delete()


@strict_command("compare")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--agents", metavar="A,B", help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare_command(results: tuple[Path, ...], agents: str | None, as_json: bool) -> None:
    """Paired differences between the agents of kept runs (`run --out FILE`), with intervals."""
    from evals.errors import EvalsError
    from evals.scoring.score_tables import as_json as rows
    from evals.scoring.score_tables import difference_lines, unscored_lines

    with mistakes_as_usage_errors():
        standing = read_kept_runs(results, agents)
        if len(standing.groups) < 2:
            raise EvalsError("there is nothing to compare: the files hold runs of one agent only")
        if as_json:
            click.echo(json.dumps({k: rows(standing)[k] for k in ("overall", "differences")}))
            return
        lines = [*difference_lines(standing.differences())] or ["no run of two agents can be paired"]
        click.echo("\n".join([*lines, *unscored_lines(standing)]))


@strict_command("report")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--agents", metavar="A,B", help="Only these.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a report.")
@click.option("--leaderboard", type=click.Path(path_type=Path, dir_okay=False), help="Write a Markdown leaderboard.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def report_command(
    results: tuple[Path, ...], agents: str | None, html: Path | None, leaderboard: Path | None, as_json: bool
) -> None:
    """Table, HTML report and leaderboard of kept runs (`run --out FILE`)."""
    check_writable(results, html=html, leaderboard=leaderboard)
    with mistakes_as_usage_errors():
        print_standing(read_kept_runs(results, agents), as_json, html, leaderboard)


@strict_command("tasks")
@click.option(
    "--model",
    default="embedded",
    show_default=True,
    help="Who decides: embedded, a language model's name or path.py:NAME.",
)
@model_options
@click.option("--landscape", metavar="NAME|FILE", help="Of a kernel of ours; the first one without it.")
@click.option("--seeds", type=WholeRange(min=1, max=1000), default=1, show_default=True, help="Runs of each task.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def tasks_command(
    model: str,
    asked: ModelOptions,
    landscape: str | None,
    seeds: int,
    as_json: bool,
) -> None:
    """Grade what search scores do not show: failures, budgets, history, honesty. Exit code 1 where a task is failed."""
    from agent.errors import AgentError, StoppedError
    from evals.contest.briefing import briefing_of
    from evals.errors import EvalsError
    from evals.tasks.tasks import TASKS, as_row, description, grade

    with mistakes_as_usage_errors():
        read_env()
        if model == "embedded":
            asked.refuse()
        asked.set()
        world = find_landscapes([landscape] if landscape else [])[0][0]
        if briefing_of(world).kernel is None:
            raise EvalsError(f"{world.name} is of no kernel of ours: tasks need its tools, choose another --landscape")
        try:
            grades = [grade(task, world, model, seed) for task in TASKS for seed in range(seeds)]
        except StoppedError as e:  # the run in a task says how it can be continued, and a task cannot
            raise KeyboardInterrupt from e
        except AgentError as e:
            raise EvalsError(str(e)) from e
    if as_json:
        click.echo(json.dumps({"model": model, "landscape": world.name, "tasks": [as_row(g) for g in grades]}))
    else:
        for g in grades:
            click.echo(f"{'passed' if g.passed else 'FAILED'}  {g.task}, seed {g.seed}: {g.why}")
            click.echo(f"        {description(g.task)}")
    sys.exit(0 if all(g.passed for g in grades) else 1)
