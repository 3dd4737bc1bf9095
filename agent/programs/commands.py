"""``python -m agent capture`` and ``captures``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from agent.errors import PROVEN, UsageError
from memory.command_line.strict_commands import StrictGroup, strict_command

capture_file = click.argument("file", type=click.Path(path_type=Path))
as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")


@strict_command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-o",
    "file",
    type=click.Path(path_type=Path),
    default=Path("run.capture"),
    metavar="FILE",
    help="The capture; an existing one is added to (run.capture).",
)
@click.option("--values", "values", flag_value="whole", help="Keep tensors' values too, token ids among them.")
@click.option("--no-values", "values", flag_value="no", help="Keep nothing of the tensors' values.")
@as_json
@click.argument("command", nargs=-1, required=True)
def capture(file: Path, values: str | None, json_: bool, command: tuple[str, ...]) -> int:
    """Run COMMAND, unchanged, and record every Triton launch of its processes.

    \b
    python -m agent capture -o run.capture -- python train.py --steps 3

    The table goes to stderr; stdout and exit code are the program's. By default FILE holds distributions of floats, and
    range and order of integers, but no integer's value."""
    from agent.programs.capture_table import as_json as described
    from agent.programs.capture_table import render
    from agent.programs.capturing import capture_program
    from kernels.capture.reading.captured_launches import read_capture

    code = capture_program(command, file, "summary" if values is None else values)  # type: ignore[arg-type]
    found = read_capture(str(file))
    click.echo(json.dumps(described(found)) if json_ else render(found), err=True)
    return code


@click.group(cls=StrictGroup)
def captures() -> None:
    """Read capture files."""


@captures.command()
@capture_file
@as_json
def show(file: Path, json_: bool) -> int:
    """What FILE holds: kernels, launches, GPU time, what is written, and what was not recorded."""
    from agent.programs.capture_table import as_json as described
    from agent.programs.capture_table import render
    from kernels.capture.capture_file import NotACapture
    from kernels.capture.reading.captured_launches import read_capture

    try:
        found = read_capture(str(file))
    except NotACapture as e:
        raise UsageError(str(e)) from e
    click.echo(json.dumps(described(found)) if json_ else render(found))
    return PROVEN
