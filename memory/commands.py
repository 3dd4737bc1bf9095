"""``python -m memory``: what the memory knows, as tables, JSON or CSV, and the file's upkeep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from memory.attempt import Row
from memory.command_line.command_errors import run_command_line
from memory.command_line.strict_commands import StrictGroup, WholeRange
from memory.file import default_path
from memory.upkeep import commands

F = TypeVar("F", bound=Callable[..., Any])

BEST = ("kernel", "problem", "device", "env", "regime", "ms", "value", "unit", "proven", "tried", "config")
FAILURES = ("kernel", "problem", "device", "env", "pattern")
HISTORY = ("created_at", "run_id", "problem", "device", "step", "status", "ms", "value", "unit", "config", "reason")
RUNS = ("run_id", "started_at", "goal", "model", "kernel", "problem", "device", "outcome", "attempts", "best_ms")
LESSONS = ("created_at", "kernel", "problem", "device", "text")


def query_options(f: F) -> F:
    """Adds the options of the commands that print rows."""
    f = click.option("--csv", "shape", flag_value="csv", help="CSV instead of a table.")(f)
    f = click.option("--json", "shape", flag_value="json", help="JSON instead of a table.")(f)
    f = click.option("--limit", type=WholeRange(1), default=20, show_default=True, help="Rows at most.")(f)
    f = click.option("--problem", help="Problems with this text in their label, e.g. 4096x4096x4096.")(f)
    f = click.option("--kernel", help="Only this kernel.")(f)
    return commands.memory_option(f)


def open_filled(path: Path | None) -> Any:
    """The memory; if it is empty, prints that and returns ``None``."""
    memory = commands.open_to_read(path)
    if memory is None or not memory.ask("SELECT 1 FROM attempts LIMIT 1"):
        return report_empty(path or default_path())
    return memory


def report_empty(path: Path) -> None:
    click.echo(f'The memory {path} is empty: `python -m agent "maximise fused TFLOPS"` fills it.', err=True)


def find_problems(memory: Any, kernel: str | None, problem: str | None) -> list[Row]:
    """The problems that the options name. Raises click.UsageError if there are none."""
    from memory import queries

    found = queries.problems(memory, kernel, problem)
    if not found:
        if kernel is not None and not queries.problems(memory, kernel):
            names = [r["name"] for r in memory.ask("SELECT DISTINCT name FROM kernels ORDER BY name LIMIT 20")]
            raise click.UsageError(f"the memory has no kernel {kernel!r}; it has {', '.join(names)}")
        labels = list(dict.fromkeys(p["label"] for p in queries.problems(memory, kernel)))
        raise click.UsageError(f"the memory has no problem {problem!r}; it has e.g. {', '.join(labels[:5])}")
    return found


def print_rows(rows: Sequence[Row], columns: Sequence[str], shape: str | None, nothing: str) -> None:
    from memory.formats import tables

    if shape == "json":
        click.echo(tables.as_json(rows))
    elif shape == "csv":
        click.echo(tables.as_csv(rows, columns))
    elif rows:
        click.echo(tables.table(rows, columns))
    if nothing and not rows:
        click.echo(nothing, err=True)


@click.group(cls=StrictGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """What every run ever tried: ask it, export it, share it."""


@cli.command()
@query_options
def best(path: Path | None, kernel: str | None, problem: str | None, limit: int, shape: str | None) -> None:
    """Fastest verified configs: one per problem and device, or --limit of them if the options name one problem."""
    from memory import queries

    memory = open_filled(path)
    rows: list[Row] = []
    problems = find_problems(memory, kernel, problem) if memory else []
    for p in problems:
        for row in queries.best(memory, p["id"], limit=limit if len(problems) == 1 else 1):
            rows.append({"kernel": p["kernel"], "problem": p["label"], "source_hash": p["source_hash"]} | row)
        if len(problems) > 1 and len(rows) >= limit:
            rows = rows[:limit]
            break
    rows = [row | {"env": row["environment_id"], "tried": row["attempts"]} for row in rows]
    print_rows(rows, BEST, shape, "No verified measurement yet." if memory else "")


@cli.command()
@query_options
def failures(path: Path | None, kernel: str | None, problem: str | None, limit: int, shape: str | None) -> None:
    """What failed and why, as patterns per problem and device."""
    from memory import queries

    memory = open_filled(path)
    rows: list[Row] = []
    for p in find_problems(memory, kernel, problem) if memory else []:
        if len(rows) < limit:
            found = queries.failures(memory, p["id"], limit=limit - len(rows))
            rows += [{"kernel": p["kernel"], "problem": p["label"], "env": f["environment_id"]} | f for f in found]
    print_rows(rows[:limit], FAILURES, shape, "No failures." if memory else "")


@cli.command()
@query_options
def history(path: Path | None, kernel: str | None, problem: str | None, limit: int, shape: str | None) -> None:
    """The newest attempts."""
    from memory import queries

    memory = open_filled(path)
    rows: list[Row] = []
    if memory:
        ids = [p["id"] for p in find_problems(memory, kernel, problem)] if kernel or problem else None
        rows = queries.history(memory, ids, limit)
    print_rows(rows, HISTORY, shape, "No attempts." if memory else "")


@cli.command()
@commands.memory_option
@click.option("--limit", type=WholeRange(1), default=20, show_default=True, help="Rows at most.")
@click.option("--json", "shape", flag_value="json", help="JSON instead of a table.")
@click.option("--csv", "shape", flag_value="csv", help="CSV instead of a table.")
def runs(path: Path | None, limit: int, shape: str | None) -> None:
    """The newest runs."""
    from memory import queries

    memory = open_filled(path)
    print_rows(queries.runs(memory, limit) if memory else [], RUNS, shape, "")


@cli.command()
@query_options
@click.argument("words", nargs=-1)
def lessons(
    path: Path | None,
    kernel: str | None,
    problem: str | None,
    limit: int,
    shape: str | None,
    words: tuple[str, ...],
) -> None:
    """What agents wrote down, by WORDS or the newest."""
    from memory import queries

    memory = commands.open_to_read(path)
    found = queries.lessons(memory, " ".join(words), kernel, limit, problem) if memory else []
    print_rows(found, LESSONS, shape, "No lessons.")


for _command in commands.COMMANDS:
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 for a disk that is full; 2 with one sentence for wrong arguments and files; 130 for Ctrl-C; 141 if
    stdout is closed."""
    return run_command_line(cli, "python -m memory", arguments)


if __name__ == "__main__":
    sys.exit(main())
