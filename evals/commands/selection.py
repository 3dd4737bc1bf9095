"""Which agents and landscapes the commands of ``python -m evals`` work on, and how they print scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evals.progress_bar import ProgressBar
from memory.command_line.output_files import check_output, write_output
from memory.terms import printable

if TYPE_CHECKING:
    from evals.contest.ledger import Ledger
    from evals.contest.live_referee import GpuBench
    from evals.scoring.score import Board
    from evals.scoring.score_tables import Standing
    from tools.harness.landscapes.readings import Landscape


class RunProgress(ProgressBar):
    """Shows how many runs have ended, and reports those that failed."""

    def __init__(self, total: int, finished: int) -> None:
        super().__init__(finished)
        self._total, self._done = total, finished

    def __call__(self, ledger: Ledger) -> None:
        from evals.contest.ledger import FAILED

        self._done += 1
        if ledger.end in (*FAILED, "stalled"):
            which = f"{ledger.agent} on {ledger.landscape}, seed {ledger.seed}"
            click.echo(printable(f"{which}, {ledger.end}: {ledger.why}", "?"), err=True)
        self.show("runs", self._done, self._total)


def check_live(live: bool, device: str | None, variant: str, workers: int | None) -> None:
    """Raises UsageMistake for options that do not go together, and for a live contest without a GPU."""
    from tools.harness.measuring.telemetry import gpus_present

    if not live and device is not None:
        raise UsageMistake("--device belongs to --live: recorded landscapes need no GPU")
    if live and variant != "plain":
        raise UsageMistake(
            f"--live and --variant {variant} exclude each other: a GPU runs configs under their own names"
        )
    if live and workers not in (None, 1):
        raise UsageMistake("--live times one run after another: leave --workers out")
    if device is not None and not (device.startswith("cuda:") and device[5:].isdecimal()):
        raise UsageMistake(f"--device {device} is not a GPU: write cuda:0, cuda:1, ...")
    if live and not gpus_present():
        raise UsageMistake("--live measures on a GPU, and this machine has none: leave --live out to look times up")


@contextmanager
def open_gpu_bench(device: str | None) -> Iterator[GpuBench | None]:
    """The GPU of a live contest; ``None`` if no device is given."""
    if device is None:
        yield None
        return
    from evals.contest.live_referee import GpuBench

    bench = GpuBench(device)
    try:
        yield bench
    finally:
        bench.close()


@contextmanager
def mistakes_as_usage_errors() -> Iterator[None]:
    """An error that the user can correct becomes one sentence and exit code 2."""
    from agent.errors import UsageError
    from evals.errors import EvalsError
    from tools.harness.landscapes.readings import LandscapeError

    try:
        yield
    except (EvalsError, LandscapeError, UsageError) as e:
        raise UsageMistake(str(e)) from e


class UsageMistake(click.ClickException):
    """One sentence and exit code 2."""

    exit_code = 2


def choose_agents(text: str, models: Sequence[str] = ()) -> list[str]:
    """The agents of ``--agents`` and those of ``--model``. Raises EvalsError for an unknown one."""
    from evals.agents import registry
    from evals.errors import EvalsError, Missing

    named = [a.strip() for a in text.split(",") if a.strip()]
    wanted = list(dict.fromkeys([*named, *(registry.MODEL + m.strip() for m in models)]))
    if not wanted:
        raise EvalsError(f"--agents names nobody: choose among {', '.join(registry.names())}")
    if "all" not in wanted:
        for agent in wanted:
            registry.check(agent)
        return wanted
    others = [a for a in wanted if a != "all" and a not in registry.names()]
    for agent in others:
        registry.check(agent)
    chosen = others
    for agent in registry.names():
        try:
            registry.check(agent)
            chosen.append(agent)
        except Missing as e:
            click.echo(f"left out: {e}", err=True)
    return chosen


def find_landscapes(names: Sequence[str]) -> list[tuple[Landscape, str]]:
    """Each landscape, with the name or path that finds it again; all that come with the project if `names` is empty."""
    from evals.errors import EvalsError
    from tools.harness.landscapes.named import list_landscapes, named_landscape

    if not names:
        found = [(x, x.name) for x in list_landscapes()]
        if not found:
            raise EvalsError("no landscape comes with this installation: give a file with --landscape")
        return found
    chosen: dict[str, tuple[Landscape, str]] = {}
    for name in dict.fromkeys(names):
        landscape = named_landscape(name)
        source = str(Path(name).expanduser().resolve()) if Path(name).expanduser().is_file() else name
        chosen.setdefault(landscape.file, (landscape, source))
    make_names_unique(list(chosen.values()))
    return list(chosen.values())


def make_names_unique(found: Sequence[tuple[Landscape, str]]) -> None:
    """Landscapes whose files have the same name (``gemm/A100.json``, ``conv/A100.json``) get the names of their folders
    before theirs, as many as make them different."""
    from evals.errors import EvalsError

    parts = [(*Path(source).parts[:-1], landscape.name) for landscape, source in found]
    for own, (landscape, _) in zip(parts, found, strict=True):
        tails = (own[-k:] for k in range(1, len(own) + 1))
        tail = next((t for t in tails if sum(p[-len(t) :] == t for p in parts) == 1), None)
        if tail is None:
            raise EvalsError(f"two landscapes are called {landscape.name}: rename one of the files")
        landscape.name = "/".join(tail)


def make_boards(landscapes: Sequence[Landscape]) -> dict[str, Board]:
    from evals.scoring.score import Board

    return {x.name: Board(x) for x in landscapes}


def read_kept_runs(results: Sequence[Path], agents: str | None) -> Standing:
    """The runs of result files, scored on their landscapes."""
    from evals.contest.run_files import read_results
    from evals.errors import EvalsError
    from tools.harness.landscapes.named import named_landscape

    # Runs stand in a file in the order in which they ended, which is never the same twice.
    ledgers = sorted(read_results(*results), key=lambda x: (x.file, x.agent, x.variant, x.seed))
    if agents is not None:
        wanted = [a.strip() for a in agents.split(",") if a.strip()]
        there = {x.agent for x in ledgers}
        unknown = [a for a in wanted if a not in there]
        if unknown:
            raise EvalsError(f"there is no run of {', '.join(unknown)}; there are runs of {', '.join(sorted(there))}")
        ledgers = [x for x in ledgers if x.agent in wanted]
        if not ledgers:
            raise EvalsError(f"--agents names nobody: there are runs of {', '.join(sorted(there))}")
    landscapes: dict[str, tuple[Landscape, str]] = {}
    for ledger in ledgers:
        if ledger.file not in landscapes:
            landscapes[ledger.file] = (named_landscape(ledger.source), ledger.source)
        if landscapes[ledger.file][0].file != ledger.file:
            raise EvalsError(f"{ledger.landscape} has changed since {ledger.agent} ran on it: run it again")
    make_names_unique(list(landscapes.values()))
    for ledger in ledgers:
        ledger.landscape = landscapes[ledger.file][0].name
    return score_runs(ledgers, make_boards([x for x, _ in landscapes.values()]))


def score_runs(ledgers: Sequence[Ledger], boards: dict[str, Board]) -> Standing:
    from evals.scoring.score_tables import standing

    return standing(ledgers, boards)


def print_standing(standing: Standing, as_json: bool, html: Path | None, leaderboard: Path | None) -> None:
    from evals.scoring import score_tables
    from evals.scoring.leaderboard import render as render_leaderboard
    from evals.scoring.report_page import render as render_report
    from memory.formats.tables import ruled

    writers: list[tuple[Path | None, Callable[[Standing], str]]] = [
        (html, render_report),
        (leaderboard, render_leaderboard),
    ]
    for path, render in writers:
        if path is not None:
            write_output(path, render(standing))
            click.echo(f"wrote {path}", err=True)
    if as_json:
        click.echo(json.dumps(score_tables.as_json(standing)))
        return
    right = [False, *[True] * (len(score_tables.COLUMNS) - 1)]
    cells = [score_tables.overall_cells(a) for a in standing.overall()]
    click.echo(ruled(cells, score_tables.COLUMNS, right))
    for about in (score_tables.unscored_lines(standing), score_tables.failure_lines(standing)):
        if about:
            click.echo("\n" + "\n".join(about))
    best = standing.overall()[0]
    lines = score_tables.difference_lines(d for d in standing.differences() if d.first == best.agent)
    if lines:
        click.echo("\n" + "\n".join(lines))


def unfinished_journal(digest: str) -> Path:
    """The file of a request without ``--out``; it is deleted when the request is finished."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("triton-autokernel")) / f"evals-{digest}.jsonl"


def check_writable(inputs: Sequence[Path] = (), **outputs: Path | None) -> None:
    """Check the files that options name before any time is spent. Raises OutputError, and UsageMistake for one file
    that two options name."""
    named: dict[Path, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        check_output(path, f"--{name}", tuple(inputs), replaced_repeatedly=name == "out")
        other = named.setdefault(path.resolve(), name)
        if other != name:
            raise UsageMistake(f"--{other} and --{name} both name {path}: give two files")
