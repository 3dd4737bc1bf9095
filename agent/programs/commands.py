"""``python -m agent capture``, ``captures`` and ``improve``."""

from __future__ import annotations

import json
import signal
import time
from functools import partial
from pathlib import Path

import click

from agent.errors import FAILED, PROVEN, UNPROVEN, UsageError
from memory.command_line.strict_commands import StrictGroup, WholeRange, strict_command

STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a program that was asked to end."""
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
@click.argument("command", nargs=-1)
def capture(file: Path, values: str | None, json_: bool, command: tuple[str, ...]) -> int:
    """Run COMMAND, unchanged, and record every Triton launch of its processes.

    \b
    python -m agent capture -o run.capture -- python train.py --steps 3

    The table goes to stderr; stdout and exit code are the program's. By default FILE holds distributions of floats, and
    range and order of integers, but no integer's value."""
    if not command:
        raise UsageError("capture needs a command: python -m agent capture -o run.capture -- python train.py")
    from agent.programs.capture_table import as_json as described
    from agent.programs.capture_table import render
    from agent.programs.capturing import capture_program
    from agent.programs.improvement.wanted_launches import open_capture

    code = capture_program(command, file, "summary" if values is None else values)  # type: ignore[arg-type]
    try:
        found = open_capture(file)
    except UsageError as e:
        if not code:
            raise
        click.echo(f"error: {e}", err=True)  # a program that failed may have removed the file: its code says more
        return code
    ended = "was stopped" if code in STOPPED else f"ended with exit code {code}" if code else ""
    click.echo(json.dumps(described(found)) if json_ else render(found, ended), err=True)
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
    from agent.programs.improvement.wanted_launches import open_capture

    found = open_capture(file)
    click.echo(json.dumps(described(found)) if json_ else render(found))
    return PROVEN


KERNEL_HELP = "Only these kernels: name, module:NAME or a launch's digest, with commas between them."


@captures.command(name="compile")
@capture_file
@click.option("--for", "target", metavar="GPU", help="A GPU model such as H200; the one of the capture by default.")
@click.option("--kernel", metavar="NAME", help=KERNEL_HELP)
@click.option("--configs", type=WholeRange(1), default=1, metavar="N", help="Of each launch, the owner's first (1).")
@as_json
def compile_(file: Path, target: str | None, kernel: str | None, configs: int, json_: bool) -> int:
    """Compile the launches of FILE for a GPU model; this machine needs no GPU.

    \b
    python -m agent captures compile run.capture --for H200

    Prints registers, spills, shared memory and occupancy of each config, or why it does not compile. Exit code 1 if one
    does not."""
    from agent.programs.compile_captured import COMPILES, compile_captured, render_compiled

    found = compile_captured(file, kernel, target, configs, partial(click.echo, err=True))
    click.echo(json.dumps(found) if json_ else render_compiled(found))
    return PROVEN if all(row["status"] == COMPILES for row in found["compiled"]) else FAILED


@strict_command()
@capture_file
@click.option("--kernel", metavar="NAME", help=KERNEL_HELP)
@click.option("--device", default="auto", metavar="DEVICE", help="auto, cuda:N, or interpreter: check, time nothing.")
@click.option("--max-seconds", type=float, default=600.0, metavar="S", help="Time of all launches together (600).")
@click.option("--share", type=float, default=0.95, metavar="X", help="Part of the GPU time that is looked at (0.95).")
@click.option("-o", "out", type=click.Path(path_type=Path), default=Path("tuned.json"), help="The table (tuned.json).")
@click.option("--model", metavar="NAME", help="Who decides: embedded (default, no key), or a model's name.")
@click.option("--base-url", metavar="URL", help="A server that speaks the OpenAI protocol.")
@click.option("--memory", type=click.Path(path_type=Path), metavar="PATH", help="The SQLite file of all attempts.")
@click.option("--cold", is_flag=True, help="Start without what earlier commands know.")
@click.option(
    "--bitwise", is_flag=True, help="Prove, and keep of what was proven before, only what gives the owner's bits."
)
@click.option(
    "--held-out",
    type=WholeRange(0),
    default=0,
    metavar="N",
    help="Launches of a kernel that are not tuned: the table's answers between rows are timed on them (0).",
)
@click.option("--edit", is_flag=True, help="Device code may be edited too: by known rewrites, or by the model.")
@as_json
def improve(
    file: Path,
    kernel: str | None,
    device: str,
    max_seconds: float,
    share: float,
    out: Path,
    model: str | None,
    base_url: str | None,
    memory: Path | None,
    cold: bool,
    bitwise: bool,
    held_out: int,
    edit: bool,
    json_: bool,
) -> int:
    """Tune the launches of FILE, a capture, and prove what is faster.

    \b
    python -m agent improve run.capture
    python -m agent improve run.capture --kernel geglu_forward --max-seconds 60

    What can save the most comes first. The table holds one row for each launch: a config that was proven faster than
    the launch as captured and than the autotuner's choice, or the owner's config. Exit code 0 if a row is proven, 3 if
    none is."""
    began = time.monotonic()  # to load PyTorch takes seconds, and they count
    import sys
    from contextlib import redirect_stdout

    from agent.cli.environment import read_env
    from agent.goal.limits import LONGEST
    from agent.programs.improvement.wanted_launches import open_capture, select_launches

    if not 0 < max_seconds <= LONGEST:
        raise UsageError(f"--max-seconds {max_seconds:g} is not a number of seconds above 0 and up to {LONGEST:g}.")
    if not 0 < share <= 1:
        raise UsageError(f"--share {share:g} is no part of the GPU time: give a number above 0 and up to 1.")
    select_launches(open_capture(file), kernel)  # before PyTorch is loaded
    if device == "interpreter" and (model or base_url):
        raise UsageError(
            "--model decides what is timed next, and the interpreter times nothing: leave one of them out."
        )

    from agent.loop.progress import LineWatch
    from agent.models.choose import model_name
    from agent.programs.improvement.improve_request import Request
    from agent.programs.improvement.improve_table import as_json as described
    from agent.programs.improvement.improve_table import render
    from agent.programs.improvement.improving import improve as improve_capture
    from memory.terms import printable

    read_env()
    request = Request(
        file,
        out,
        kernel,
        device,
        max_seconds,
        share,
        model_name(model, base_url),
        base_url,
        memory,
        cold,
        bitwise=bitwise,
        edit=edit,
        held_out=held_out,
        began=began,
    )
    watch = LineWatch(lambda line: click.echo(printable(line, "?"), err=True))
    with redirect_stdout(sys.stderr):  # what a kernel's own code prints is no result
        made = improve_capture(request, watch)
    click.echo(json.dumps(described(made, str(out))) if json_ else render(made, str(out)))
    return PROVEN if made.proven else UNPROVEN
