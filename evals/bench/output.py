"""Output, files and error messages of ``python -m kernels``; ``python -m evals`` reads its arguments the same way."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from memory.command_line.output_files import write_output
from memory.terms import printable

Row = dict[str, Any]


def read_shape(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``4096x4096x512`` as numbers; the callback of a ``--shape`` option."""
    if value is None:
        return None
    parts = value.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.UsageError(f"--shape {value} is not a shape: write e.g. 4096x4096x4096")
    return tuple(map(int, parts))


def read_options(context: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    """Texts of the form ``NAME=VALUE`` by name; the callback of an ``--option`` option."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise click.UsageError(f"--option {pair} is not NAME=VALUE")
        if name in found:
            raise click.UsageError(f"--option {name} is given twice: give it once")
        found[name] = value
    return found


class Refused(click.ClickException):
    """A request that cannot be carried out: one sentence and exit code 2."""

    exit_code = 2


class mistakes_as_refusals:
    """Turns errors that the user can correct into one sentence and exit code 2."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        from tools.harness.device import DeviceError, MachineTrouble

        if isinstance(error, MachineTrouble):
            raise Refused(str(error)) from error
        if isinstance(error, DeviceError):
            raise Refused(f"{error}; `list` and `validate --device interpreter` need no GPU") from error
        if isinstance(error, ValueError):
            from kernels.spec import sentence

            raise Refused(sentence(error)) from error


def write(out: Path | None, rows: list[Row]) -> None:
    store(out, {"rows": rows})


def store(out: Path | None, found: Row) -> None:
    """Write `found` as JSON, atomically: if the command is stopped, the file is still complete."""
    if out is not None:
        write_output(out, json.dumps(found, indent=1) + "\n", "--out")


def print_progress(line: str) -> None:
    line = printable(line, "?")
    click.echo(f"\r\033[K{line}" if sys.stderr.isatty() else line, err=True, nl=not sys.stderr.isatty())


def print_table(rows: list[Row], columns: tuple[str, ...]) -> None:
    from memory.formats.tables import ruled

    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
    cells = [[cell(r.get(c)) for c in columns] for r in rows]
    click.echo(ruled(cells, columns))


def cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def short(config: Row) -> str:
    return " ".join(str(v) if isinstance(v, str) else f"{k}={v}" for k, v in config.items())


def share(row: Row) -> float | None:
    return None if row["error"] is None or not row["bound"] else row["error"] / row["bound"]


def speedups(row: Row) -> Row:
    return {
        f"vs {b['name']}": b["missing"] or f"{b['speedup']:.3f} [{b['ci'][0]:.3f}, {b['ci'][1]:.3f}]"
        for b in row.get("baselines", [])
    }
