"""``python -m evals run | compare | report``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evals.ledger import Ledger
    from evals.live import Bench
    from evals.score import Board
    from evals.tables import Standing
    from tools.harness.readings import Landscape

VARIANTS = ("plain", "renamed", "permuted")


@click.command("run")
@click.option("--agents", default="embedded,random,greedy", show_default=True, metavar="A,B", help="Names, or all.")
@click.option("--landscape", "landscapes", multiple=True, metavar="NAME|FILE", help="Repeatable; all without it.")
@click.option("--seeds", type=click.IntRange(min=1, max=1000), default=5, show_default=True, help="Runs per landscape.")
@click.option(
    "--max-evals", type=click.IntRange(min=1), help="Evaluations of a run; what the scores look at without it."
)
@click.option(
    "--variant", type=click.Choice(VARIANTS), default="plain", show_default=True, help="Disguise of the space."
)
@click.option("--live", is_flag=True, help="Measure on a GPU of the landscape's kind instead of looking up.")
@click.option("--device", help="With --live: the GPU, cuda:N; cuda:0 without it.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Runs side by side; one per core without it, one with --live."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep the runs in this file (JSON lines).")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a report.")
@click.option("--leaderboard", type=click.Path(path_type=Path, dir_okay=False), help="Write a Markdown leaderboard.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run_command(
    agents: str,
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
    as_json: bool,
) -> None:
    """Let agents tune recorded landscapes and score them.

    An agent is a name (`python -m evals list` shows them), model:NAME for the agent's loop with a language model, or a
    Python file with search(game). Interrupted, the same command goes on where it stood."""
    from dotenv import find_dotenv, load_dotenv

    from evals import roster
    from evals.contest import Job, hold
    from evals.live import playable
    from evals.results import Results, fingerprint, request_digest
    from evals.variants import LIVE

    for path in (out, html, leaderboard):
        _check_writable(path)
    _check_live(live, device, variant, workers)
    with sentences(), _bench((device or "cuda:0") if live else None) as bench:
        chosen = _agents(agents)
        if any(a.startswith(roster.MODEL) for a in chosen):
            load_dotenv(find_dotenv(usecwd=True))
        found = _landscapes(landscapes)
        if bench is not None:
            for landscape, _ in found:
                playable(landscape)
        boards = _boards([x for x, _ in found])
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
        journal = Results(out or _journal(request_digest(jobs, list(prints.values()))))
        done = [x for job in jobs if (x := journal.finished(job, prints[job.agent]))]
        missing = [job for job in jobs if journal.finished(job, prints[job.agent]) is None]
        if done and missing:
            click.echo(f"{len(done)} of {len(jobs)} runs were finished before", err=True)
        progress = Progress(len(jobs), len(done))

        def keep(ledger: Ledger) -> None:
            journal.keep(ledger, prints[ledger.agent])
            done.append(ledger)
            progress(ledger)

        try:
            if bench is not None:
                hold(sorted(missing, key=lambda j: j.landscape.name), 1, keep, bench.referee)
            else:
                hold(missing, workers or os.cpu_count() or 1, keep)
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command goes on", err=True)
            sys.exit(130)
        if out is None:
            journal.delete()
        _show(_stand(done, boards), as_json, html, leaderboard)


@click.command("compare")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--agents", metavar="A,B", help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare_command(results: tuple[Path, ...], agents: str | None, as_json: bool) -> None:
    """Paired differences between the agents of kept runs (`run --out FILE`), with intervals."""
    from evals.errors import EvalsError
    from evals.tables import as_json as rows
    from evals.tables import difference_lines

    with sentences():
        standing = _kept(results, agents)
        if len(standing.groups) < 2:
            raise EvalsError("there is nothing to compare: the files hold runs of one agent only")
        if as_json:
            click.echo(json.dumps({k: rows(standing)[k] for k in ("overall", "differences")}))
            return
        click.echo("\n".join(difference_lines(standing.differences())) or "no run of two agents can be paired")


@click.command("report")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--agents", metavar="A,B", help="Only these.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a report.")
@click.option("--leaderboard", type=click.Path(path_type=Path, dir_okay=False), help="Write a Markdown leaderboard.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def report_command(
    results: tuple[Path, ...], agents: str | None, html: Path | None, leaderboard: Path | None, as_json: bool
) -> None:
    """Table, HTML report and leaderboard of kept runs (`run --out FILE`)."""
    for path in (html, leaderboard):
        _check_writable(path)
    with sentences():
        _show(_kept(results, agents), as_json, html, leaderboard)


@click.command("tasks")
@click.option(
    "--model", default="embedded", show_default=True, help="Who decides: embedded, or a language model's name."
)
@click.option("--landscape", metavar="NAME|FILE", help="Of a kernel of ours; the first one without it.")
@click.option("--seeds", type=click.IntRange(min=1, max=1000), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def tasks_command(model: str, landscape: str | None, seeds: int, as_json: bool) -> None:
    """Grade what search scores do not show: failures, budgets, history, honesty. Exit code 1 where a task is failed."""
    from dotenv import find_dotenv, load_dotenv

    from agent.errors import AgentError
    from evals.errors import EvalsError
    from evals.sheet import sheet_of
    from evals.tasks import TASKS, as_row, description, grade

    with sentences():
        load_dotenv(find_dotenv(usecwd=True))
        world = _landscapes([landscape] if landscape else [])[0][0]
        if sheet_of(world).kernel is None:
            raise EvalsError(f"{world.name} is of no kernel of ours: tasks need its tools, choose another --landscape")
        try:
            grades = [grade(task, world, model, seed) for task in TASKS for seed in range(seeds)]
        except AgentError as e:
            raise EvalsError(str(e)) from e
    if as_json:
        click.echo(json.dumps({"model": model, "landscape": world.name, "tasks": [as_row(g) for g in grades]}))
    else:
        for g in grades:
            click.echo(f"{'passed' if g.passed else 'FAILED'}  {g.task}, seed {g.seed}: {g.why}")
            click.echo(f"        {description(g.task)}")
    sys.exit(0 if all(g.passed for g in grades) else 1)


class Progress:
    """A line per run on stderr where there is no terminal, one moving line where there is."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.first, self.began, self.shown = total, done, done, time.monotonic(), 0.0

    def __call__(self, ledger: Ledger) -> None:
        self.done += 1
        if ledger.end in ("crashed", "foul", "deadline", "stalled"):
            click.echo(
                f"{ledger.agent} on {ledger.landscape}, seed {ledger.seed}, {ledger.end}: {ledger.why}", err=True
            )
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if self.done < self.total and now - self.shown < (0.2 if terminal else 10.0):
            return
        self.shown = now
        left = (now - self.began) / (self.done - self.first) * (self.total - self.done)
        filled = 30 * self.done // self.total
        line = f"runs {'#' * filled}{'.' * (30 - filled)} {self.done}/{self.total}, {left:.0f} s left"
        end = self.done >= self.total or not terminal
        click.echo(f"\r{line}" if terminal else line, err=True, nl=end)


def _check_live(live: bool, device: str | None, variant: str, workers: int | None) -> None:
    if not live and device is not None:
        raise WrongUse("--device belongs to --live: recorded landscapes need no GPU")
    if live and variant != "plain":
        raise WrongUse(f"--live and --variant {variant} exclude each other: a GPU runs configs under their own names")
    if live and workers not in (None, 1):
        raise WrongUse("--live times one run after another: leave --workers out")
    if device is not None and not (device.startswith("cuda:") and device[5:].isdecimal()):
        raise WrongUse(f"--device {device} is not a GPU: write cuda:0, cuda:1, ...")


@contextmanager
def _bench(device: str | None) -> Iterator[Bench | None]:
    """The GPU of a live contest, ``None`` without one."""
    if device is None:
        yield None
        return
    from evals.live import Bench

    bench = Bench(device)
    try:
        yield bench
    finally:
        bench.close()


@contextmanager
def sentences() -> Iterator[None]:
    """What the user can mend is one sentence and exit code 2."""
    from evals.errors import EvalsError
    from tools.harness.readings import LandscapeError

    try:
        yield
    except (EvalsError, LandscapeError) as e:
        raise WrongUse(str(e)) from e


class WrongUse(click.ClickException):
    """One sentence and exit code 2."""

    exit_code = 2


def _agents(text: str) -> list[str]:
    from evals import roster
    from evals.errors import EvalsError, Missing

    wanted = list(dict.fromkeys(a.strip() for a in text.split(",") if a.strip()))
    if not wanted:
        raise EvalsError(f"--agents names nobody: choose among {', '.join(roster.names())}")
    if wanted != ["all"]:
        for agent in wanted:
            roster.check(agent)
        return wanted
    chosen = []
    for agent in roster.names():
        try:
            roster.check(agent)
            chosen.append(agent)
        except Missing as e:
            click.echo(f"left out: {e}", err=True)
    return chosen


def _landscapes(names: Sequence[str]) -> list[tuple[Landscape, str]]:
    """With how each is found again; all that come with the project where none is named."""
    from evals.errors import EvalsError
    from tools.harness.landscape import list_landscapes, named_landscape

    if not names:
        found = [(x, x.name) for x in list_landscapes()]
        if not found:
            raise EvalsError("no landscape comes with this installation: give a file with --landscape")
        return found
    chosen: dict[str, tuple[Landscape, str]] = {}
    for name in dict.fromkeys(names):
        landscape = named_landscape(name)
        source = str(Path(name).expanduser().resolve()) if Path(name).expanduser().is_file() else name
        other = chosen.setdefault(landscape.name, (landscape, source))
        if other[0].file != landscape.file:
            raise EvalsError(f"two landscapes are called {landscape.name}: rename one of the files")
    return list(chosen.values())


def _boards(landscapes: Sequence[Landscape]) -> dict[str, Board]:
    from evals.score import Board

    return {x.name: Board(x) for x in landscapes}


def _kept(results: Sequence[Path], agents: str | None) -> Standing:
    """The runs of result files, scored on the landscapes they were made on."""
    from evals.errors import EvalsError
    from evals.results import read_results
    from tools.harness.landscape import named_landscape

    ledgers = [x for path in results for x in read_results(path)]
    if agents is not None:
        wanted = [a.strip() for a in agents.split(",")]
        there = {x.agent for x in ledgers}
        unknown = [a for a in wanted if a not in there]
        if unknown:
            raise EvalsError(f"there is no run of {', '.join(unknown)}; there are runs of {', '.join(sorted(there))}")
        ledgers = [x for x in ledgers if x.agent in wanted]
    landscapes: dict[str, Landscape] = {}
    for ledger in ledgers:
        if ledger.landscape not in landscapes:
            landscapes[ledger.landscape] = named_landscape(ledger.source)
        if landscapes[ledger.landscape].file != ledger.file:
            raise EvalsError(f"{ledger.landscape} has changed since {ledger.agent} ran on it: run it again")
    return _stand(ledgers, _boards(list(landscapes.values())))


def _stand(ledgers: Sequence[Ledger], boards: dict[str, Board]) -> Standing:
    from evals.tables import standing

    return standing(ledgers, boards)


def _show(standing: Standing, as_json: bool, html: Path | None, leaderboard: Path | None) -> None:
    from evals import tables
    from evals.leaderboard import render as render_leaderboard
    from evals.report import render as render_report

    writers: list[tuple[Path | None, Callable[[Standing], str]]] = [
        (html, render_report),
        (leaderboard, render_leaderboard),
    ]
    for path, render in writers:
        if path is not None:
            path.write_text(render(standing), encoding="utf-8")
            click.echo(f"wrote {path}", err=True)
    if as_json:
        click.echo(json.dumps(tables.as_json(standing)))
        return
    click.echo(tables.text_table(tables.COLUMNS, map(tables.overall_cells, standing.overall())))
    best = standing.overall()[0]
    lines = tables.difference_lines(d for d in standing.differences() if d.first == best.agent)
    if lines:
        click.echo("\n" + "\n".join(lines))


def _journal(digest: str) -> Path:
    """Of a request whose runs nobody asked to keep: there while it is unfinished."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("triton-autokernel")) / f"evals-{digest}.jsonl"


def _check_writable(path: Path | None) -> None:
    if path is not None and not path.absolute().parent.is_dir():
        raise WrongUse(f"cannot write {path}: there is no folder {path.parent}")
