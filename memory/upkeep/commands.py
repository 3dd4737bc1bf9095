"""Commands of ``python -m memory`` about the whole file: stats, report, metadata, export, import, merge, prune,
clean, recover."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from memory.command_line.output_files import check_output, write_output
from memory.command_line.strict_commands import FiniteRange, strict_command
from memory.file import MemoryFileError, default_path
from memory.terms import count_of

PATH = click.Path(path_type=Path)
memory_option = click.option(
    "--memory", "path", type=PATH, help="Memory file.  [default: in the user's data directory]"
)
FORMATS = ("t4", "kernel-tuner", "triton", "autotune", "best-config", "history-csv")


def open_to_read(path: Path | None) -> Any:
    """The memory; ``None`` if none was written yet. Raises MemoryFileError if `path` names a file that does not
    exist."""
    from memory.store import Memory

    memory = Memory.read(path)
    if memory is None and path is not None and not path.exists():
        raise MemoryFileError(f"{path} does not exist: give the path of a memory file, or leave --memory away")
    return memory


@strict_command()
@memory_option
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def stats(path: Path | None, as_json: bool) -> None:
    """How much is remembered, by device and status."""
    import json

    from memory.formats import tables

    memory = open_to_read(path)
    if memory is None:
        click.echo(f"The memory {path or default_path()} is empty.", err=True)
        if as_json:
            click.echo("{}")
        return
    names = ("runs", "attempts", "problems", "configs", "environments", "lessons")
    counts = {t: memory.ask(f"SELECT count(*) AS n FROM {t}")[0]["n"] for t in names}
    by_device = memory.ask(
        "SELECT e.device, a.kind AS step, a.status, count(*) AS attempts FROM attempts a "
        "JOIN environments e ON e.id = a.environment_id GROUP BY e.device, a.kind, a.status ORDER BY 1, 2, 4 DESC"
    )
    head = {"file": str(memory.path), "bytes": memory.path.stat().st_size, **counts}
    if as_json:
        click.echo(json.dumps(head | {"by_device": by_device}, indent=2))
        return
    click.echo("\n".join(f"{k:12} {v}" for k, v in head.items()))
    if by_device:
        click.echo("\n" + tables.table(by_device, ("device", "step", "status", "attempts")))


@strict_command()
@memory_option
@click.option("--html", "output", type=PATH, required=True, help="Page to write.")
def report(path: Path | None, output: Path) -> None:
    """A page over all runs: best per problem, learning curves, failures."""
    from memory.pages.memory_report import render
    from memory.store import Memory

    check_output(output, "--html", (path or default_path(),))
    memory = Memory.read(path)
    if memory is None:
        raise MemoryFileError(f"{path or default_path()} holds no memory: there is nothing to report")
    write_output(output, render(memory), "--html")
    click.echo(f"wrote {output}", err=True)


@strict_command()
@memory_option
def metadata(path: Path | None) -> None:
    """Titles and prepared queries for Datasette (`datasette FILE -m metadata.json`)."""
    import json

    from memory.formats.datasette import metadata as about

    click.echo(json.dumps(about(path or default_path()), indent=2))


@strict_command()
@memory_option
@click.option("--kernel", help="Only this kernel.")
@click.option("--problem", help="Only problems with this text in their label.")
@click.option("--device", help="Device, by number or a part of its name.")
@click.option("--regime", type=click.Choice(["burst", "sustained"]), help="Which times.")
@click.option("--format", "shape", type=click.Choice(FORMATS), default="t4", show_default=True, help="Whose form.")
@click.option("--output", type=PATH, help="File to write.  [default: standard output]")
def export(
    path: Path | None,
    kernel: str | None,
    problem: str | None,
    device: str | None,
    regime: str | None,
    shape: str,
    output: Path | None,
) -> None:
    """One problem on one device in another tool's format."""
    from memory.formats.export import FORMATS as WRITERS
    from memory.store import Memory
    from memory.subject import SubjectError, find

    check_output(output, "--output", (path or default_path(),))
    memory = Memory.read(path)
    if memory is None:
        raise MemoryFileError(f"{path or default_path()} holds no memory: there is nothing to export")
    try:
        text = WRITERS[shape](find(memory, kernel, problem, device, regime))
    except SubjectError as e:
        raise click.UsageError(str(e)) from e
    if output is None:
        click.echo(text)
        return
    write_output(output, text + "\n", "--output")


@strict_command("import")
@memory_option
@click.option("--kernel", help="Kernel's name, for a file that does not say it.")
@click.option("--problem", help="Problem as a JSON object or a label, for a file that does not say it.")
@click.option("--device", help="GPU's name, for a file that does not say it.")
@click.argument("files", nargs=-1, required=True, type=PATH)
def import_(
    path: Path | None, kernel: str | None, problem: str | None, device: str | None, files: tuple[Path, ...]
) -> None:
    """Take in T4 results files and Kernel Tuner caches; a second time changes nothing."""
    from memory.formats.t4_import import ImportFileError, load
    from memory.store import Memory

    memory = Memory.open(path)
    for each in files:
        try:
            done = load(memory, each, kernel, problem, device)
        except ImportFileError as e:
            raise click.UsageError(str(e)) from e
        click.echo(f"{each}: {done.results} results for {done.label}, {done.new} of them new")


@strict_command()
@memory_option
@click.argument("others", nargs=-1, required=True, type=PATH)
def merge(path: Path | None, others: tuple[Path, ...]) -> None:
    """Take in what OTHERS (memory files) know; a second time changes nothing."""
    from memory.store import Memory
    from memory.upkeep import merge as merging

    memory = Memory.open(path)
    for other in others:
        new = ", ".join(f"{n} {table}" for table, n in merging.merge(memory, other).items() if n)
        click.echo(f"{other}: {f'new are {new}' if new else 'nothing new'}")


@strict_command()
@memory_option
@click.option("--older-than", "days", type=FiniteRange(0, 1e5), required=True, help="Days.")
@click.option("--all", "everything", is_flag=True, help="Also the last word on a config.")
@click.option("--yes", is_flag=True, help="Do it; without this only say what would go.")
def prune(path: Path | None, days: float, everything: bool, yes: bool) -> None:
    """Forget old attempts that later ones of the same config superseded."""
    from memory.store import Memory
    from memory.upkeep import prune as pruning

    if Memory.read(path) is None:
        raise MemoryFileError(f"{path or default_path()} holds no memory: there is nothing to prune")
    done = pruning.prune(Memory.open(path), days, everything, yes)
    verb = f"are gone, {done.bytes_freed} bytes freed" if yes else "would go; add --yes to do it"
    click.echo(f"{count_of(done.attempts, 'attempt')} and {count_of(done.runs, 'run')} {verb}")


@strict_command()
@memory_option
def clean(path: Path | None) -> None:
    """Remove failures that the machine caused, such as a full disk or a missing compiler; no config is to blame."""
    from memory.store import Memory
    from memory.upkeep import spoilt

    if Memory.read(path) is None:
        raise MemoryFileError(f"{path or default_path()} holds no memory: there is nothing to clean")
    gone = spoilt.clean(Memory.open(path))
    click.echo(f"{gone} failures that the machine caused are gone" if gone else "no failure was caused by the machine")


@strict_command()
@click.argument("damaged", type=PATH)
@click.option("--output", type=PATH, help="New file.  [default: DAMAGED with .recovered.db]")
def recover(damaged: Path, output: Path | None) -> None:
    """Save what is readable in a damaged memory into a new file."""
    from memory.upkeep import recover as recovering

    target = output or damaged.with_name(damaged.stem + ".recovered.db")
    check_output(target, "--output" if output else "the new file", (damaged,), replaced_repeatedly=True)
    done = recovering.recover(damaged, target)
    counts: dict[str, Any] = {t: n for t, n in done.saved.items() if n}
    lost = f"; {done.orphans} more belong to something that is lost" if done.orphans else ""
    click.echo(f"{target}: {', '.join(f'{n} {t}' for t, n in counts.items()) or 'nothing'} saved{lost}")
    click.echo(f"{damaged} was left as it is")


COMMANDS = (stats, report, metadata, export, import_, merge, prune, clean, recover)
