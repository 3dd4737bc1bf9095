"""The commands on traces: runs, show, replay, fork, export."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from agent.cli import completion
from agent.cli.terminal import Loudness, Terminal
from agent.errors import PROVEN, UNPROVEN, UsageError
from agent.models.apis import API_CHOICES, ApiChoice
from agent.models.effort import EFFORTS, read_effort
from memory.command_line.output_files import check_output, is_stream, write_output
from memory.command_line.strict_commands import WholeRange, strict_command

FORMATS = {
    "html": ("agent.export.pages.run_page", ".html"),
    "atif": ("agent.export.atif", ".atif.json"),
    "otel": ("agent.export.otel", ".otel.json"),
}
"""Module that writes the format, and how the file's name ends."""
LINES = ("triton", "autotune", "json")
"""Formats of ``agent.export.snippets``."""
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress, only the result.")
as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")
trace_argument = click.argument("trace", metavar="TRACE", shell_complete=completion.traces)


def loudness_of(quiet: bool) -> Loudness:
    return "quiet" if quiet else "normal"


def find_trace(trace: str) -> Path:
    """The trace of a path or of a run's id. Raises UsageError for an unknown id, and for a path that names no file."""
    from agent.trace.paths import trace_path

    path = Path(trace).expanduser()
    if not path.name:
        raise UsageError(f"{trace!r} names no trace: give a file or a run, python -m agent runs lists the runs.")
    if path.exists() or len(path.parts) != 1 or path.suffix:
        return path
    try:
        known = trace_path(trace)
    except UsageError:
        return path
    if not known.exists():
        raise UsageError(f"There is no trace and no run {trace}: python -m agent runs lists the runs.")
    return known


@strict_command()
@as_json
def runs(json_: bool) -> int:
    """List the runs, the latest first, and which can be resumed."""
    from agent.trace import runs
    from agent.trace.paths import trace_folder

    rows = runs.runs(trace_folder())
    click.echo(json.dumps([vars(row) for row in rows]) if json_ else runs.table(rows))
    return PROVEN


@strict_command()
@trace_argument
@click.option("--all", "everything", is_flag=True, help="Every turn of a long run.")
@as_json
def show(trace: str, everything: bool, json_: bool) -> int:
    """Describe a run: what it tried, why, what happened, what turned its course.

    TRACE is a file or a run's id."""
    from agent.cli.show import as_json as whole
    from agent.cli.show import show as render
    from agent.export.reader import read_story
    from agent.trace.trace import read_trace

    path = find_trace(trace)
    story = read_story(read_trace(path))
    click.echo(json.dumps(whole(story)) if json_ else render(story, str(path), everything))
    return PROVEN


@strict_command()
@trace_argument
@click.option("--live-tools", is_flag=True, help="The same decisions, the tools run again on this machine.")
@click.option("--device", metavar="DEVICE", help="With --live-tools: auto (default), cuda:N, recorded[:LANDSCAPE].")
@click.option("--memory", type=click.Path(path_type=Path), metavar="PATH", help="With --live-tools: the SQLite file.")
@quiet
@as_json
def replay(trace: str, live_tools: bool, device: str | None, memory: Path | None, quiet: bool, json_: bool) -> int:
    """Repeat a run from its trace, step by step.

    The same loop runs with the recorded model and the recorded tools, without a GPU, a key or a network, and stops at
    the first step that differs. With --live-tools the tools run again here, and a table lists what differs; exit code
    3 if the winner no longer wins."""
    from agent.cli.result_panel import print_result

    path = find_trace(trace)
    if live_tools:
        from agent.replay import drift

        with Terminal(loudness_of(quiet)) as terminal:
            again = drift.remeasure(path, terminal, device or "auto", memory)
        click.echo(json.dumps(drift.as_json(again)) if json_ else drift.render(again))
        return PROVEN if again.wins else UNPROVEN
    if device is not None or memory is not None:
        raise UsageError("--device and --memory say where tools run again: add --live-tools.")
    from agent.replay.replay import replay as run_again

    with Terminal(loudness_of(quiet)) as terminal:
        ended = run_again(path, terminal)
    return print_result(ended, json_)


@strict_command()
@trace_argument
@click.option("--at", type=WholeRange(1), required=True, metavar="N", help="The turn to take again, as show counts.")
@click.option("--model", metavar="NAME", help="Who decides from there on (as before).")
@click.option("--base-url", metavar="URL", help="A server that speaks the OpenAI protocol.")
@click.option("--effort", type=click.Choice(EFFORTS), help="How hard the model thinks from there on (as before).")
@click.option(
    "--api", type=click.Choice(API_CHOICES), help="Which of OpenAI's APIs (as before; auto for another model)."
)
@click.option("--say", "words", metavar="WORDS", help="A message from the user before that turn.")
@click.option("--seed", type=WholeRange(0, 2**32 - 1), metavar="N", help="Another seed.")
@click.option("--memory", type=click.Path(path_type=Path), metavar="PATH", help="The SQLite file of all attempts.")
@quiet
@as_json
def fork(
    trace: str,
    at: int,
    model: str | None,
    base_url: str | None,
    effort: str | None,
    api: ApiChoice | None,
    words: str | None,
    seed: int | None,
    memory: Path | None,
    quiet: bool,
    json_: bool,
) -> int:
    """Take another turn from step N of a run: another model, another seed, or a word from you.

    What the run did before is kept and not repeated; the new run records its parent. N one above the last turn
    continues after the run's end."""
    from agent.cli.environment import read_env
    from agent.cli.result_panel import print_result
    from agent.replay.fork import fork as branch
    from agent.trace.trace import read_trace

    read_env()
    with Terminal(loudness_of(quiet)) as terminal:
        ended = branch(
            read_trace(find_trace(trace)),
            at,
            watch=terminal,
            model=model,
            base_url=base_url,
            effort=read_effort(effort) if effort else None,
            api=api,
            say=words,
            seed=seed,
            memory=memory,
            ask=terminal.ask,
        )
    return print_result(ended, json_)


@strict_command()
@trace_argument
@click.option(
    "--format",
    "--as",
    "format_",
    type=click.Choice([*FORMATS, *LINES]),
    default="html",
    show_default=True,
    help="What to write it as.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="- is stdout.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def export(trace: str, format_: str, output: Path | None, force: bool) -> int:
    """Write a run as one web page, for other tools, or its result as a line to paste.

    html is a single file that works offline; atif the Agent Trajectory Interchange Format; otel OpenTelemetry spans
    by its GenAI conventions, as OTLP JSON: they are written beside the trace. triton is a `triton.Config` line,
    autotune an `@triton.autotune` line, json the result as --json printed it: they go to stdout. All that is known of
    a problem goes out as T4, Kernel Tuner cache or tables with `python -m memory export`."""
    import importlib

    from agent.export import snippets
    from agent.export.reader import read_story
    from agent.trace.trace import read_trace

    path = find_trace(trace)
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    to_stdout = str(output) == "-" or (output is None and format_ in LINES)
    target = output or path.with_name(stem + FORMATS.get(format_, ("", ""))[1])
    if not to_stdout:
        if target.is_file() and not is_stream(target) and not force:
            raise UsageError(f"{target} exists already: choose another with --output, or add --force.")
        check_output(target, "--output", (path,))
    story = read_story(read_trace(path))
    if format_ in LINES:
        text = snippets.FORMATS[format_](story)
    else:
        text = importlib.import_module(FORMATS[format_][0]).export(story)
    if to_stdout:
        sys.stdout.write(text)
        return PROVEN
    write_output(target, text, "--output")
    click.echo(target)
    return PROVEN
