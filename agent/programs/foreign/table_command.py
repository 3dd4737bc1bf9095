"""``python -m agent table``: tables of tuned configs in other projects' formats."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from agent.errors import PROVEN, UsageError
from memory.command_line.strict_commands import StrictGroup

FILE = click.Path(path_type=Path)
capture_option = click.option(
    "--capture", "capture_", type=FILE, required=True, help="Says which launches the program makes."
)
kernel_option = click.option("--kernel", required=True, metavar="NAME", help="The Triton function.")
size_option = click.option(
    "--size",
    metavar="ARGUMENT",
    help="Which argument is M, in tables over M; ARGUMENT.0 is a tensor's first dimension.",
)
output_option = click.option("-o", "output", type=FILE, required=True, metavar="PATH", help="What to write.")


@click.group(cls=StrictGroup)
def table() -> None:
    """Read and write tables of tuned configs: vLLM, SGLang, Hugging Face's kernels, AITER, Megatron-LM, fla, Triton."""


@table.command()
@click.argument("file", type=FILE)
def show(file: Path) -> int:
    """What FILE holds, as one JSON object: format, head, rows."""
    from agent.programs.foreign.foreign_formats import FORMATS, read_foreign

    form, found = read_foreign(file)
    rows = [{"key": r.key, "config": r.config, **({"ms": r.ms} if r.ms else {})} for r in found.rows]
    click.echo(json.dumps({"format": form, "title": FORMATS[form].title, "about": found.about, "rows": rows}))
    return PROVEN


@table.command("import")
@capture_option
@kernel_option
@size_option
@output_option
@click.argument("file", type=FILE)
def import_(capture_: Path, kernel: str, size: str | None, output: Path, file: Path) -> int:
    """Add the configs of FILE to a table, as unproven rows for the launches of a capture.

    `agent apply` uses them only with --unproven."""
    from agent.programs.applying import usable_table
    from agent.programs.foreign.foreign_formats import read_foreign
    from agent.programs.foreign.rows_from_table import rows_from_table
    from agent.programs.improvement.wanted_launches import open_capture
    from agent.programs.programs_assembler import programs_assembler
    from kernels.tuned.tuned_file import alone, write_table
    from kernels.tuned.tuned_table import TunedTable
    from memory.command_line.output_files import check_output

    check_output(output, "-o", (capture_, file), replaced_repeatedly=True)
    form, found = read_foreign(file)
    launches = open_capture(capture_)
    with programs_assembler(launches, partial(click.echo, err=True)):
        imported = rows_from_table(form, found, launches, kernel, size)
    if not imported.rows and not imported.skipped:
        raise UsageError(f"{capture_} has no launch of {kernel}: `python -m agent captures show` lists its kernels")
    with alone(output):
        made = usable_table(output) if output.exists() else TunedTable()
        known = {row.name for row in made.rows}
        new = [row for row in imported.rows if row.name not in known]
        for row in new:
            try:
                made.add(row)
            except ValueError as e:
                raise UsageError(f"{file}: {e}") from e
        made.untuned += [s for s in imported.skipped if s not in made.untuned]
        try:
            write_table(made, output)
        except OSError as e:
            raise UsageError(f"{output} cannot be written ({e.strerror}): name another file by -o") from e
    kept = len(imported.rows) - len(new)
    click.echo(
        f"{output}: {len(new)} unproven rows added, {kept} keys have a row already, {len(imported.skipped)} skipped."
    )
    for skip in imported.skipped:
        click.echo(f"skipped {skip['kernel']}: {skip['reason']}.", err=True)
    return PROVEN


@table.command()
@capture_option
@kernel_option
@size_option
@output_option
@click.option(
    "--as", "form", type=click.Choice(["moe", "aiter", "megatron", "fla"]), required=True, help="Whose form of table."
)
@click.option(
    "--about", multiple=True, metavar="NAME=VALUE", help="A field of the file's name or head, in their order."
)
@click.option("--unproven", is_flag=True, help="Write rows that nobody proved, too.")
@click.argument("file", type=FILE)
def export(
    capture_: Path,
    kernel: str,
    size: str | None,
    output: Path,
    form: str,
    about: tuple[str, ...],
    unproven: bool,
    file: Path,
) -> int:
    """Write the rows of FILE (tuned.json) in another project's format into the folder -o.

    \b
    python -m agent table export tuned.json --capture run.capture --kernel fused_moe_kernel --as moe --size M \\
        --about E=8 --about N=7168 --about device_name=NVIDIA_H200 -o configs/"""
    from agent.programs.applying import usable_table
    from agent.programs.foreign.foreign_formats import FORMATS
    from agent.programs.foreign.rows_from_table import NoConfig
    from agent.programs.foreign.table_from_rows import table_from_rows
    from agent.programs.improvement.wanted_launches import open_capture

    fields = dict(part.partition("=")[::2] for part in about)
    if form == "fla":
        fields = {"kernel_name": kernel, **fields}
    needed = {"moe": ("device_name",), "aiter": ("arch", "operation"), "megatron": ("arch", "triton"), "fla": ()}[form]
    lacking = [n for n in needed if not fields.get(n)]
    if lacking:
        raise UsageError(f"the file's name or head needs {lacking[0]}: add --about {lacking[0]}=…")
    try:
        made = table_from_rows(form, usable_table(file), open_capture(capture_), kernel, fields, size, unproven)
        name, text = FORMATS[form].write(made)
        output.mkdir(parents=True, exist_ok=True)
        (output / name).write_text(text, encoding="utf-8")
    except NoConfig as e:
        raise UsageError(f"{file} cannot be written as {form}: {e}") from e
    except OSError as e:
        raise UsageError(f"{output} cannot be written ({e.strerror}): name another folder by -o") from e
    click.echo(str(output / name))
    return PROVEN
