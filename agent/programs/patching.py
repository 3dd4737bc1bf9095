"""``python -m agent patch``: a variant as a unified diff against its owner's file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from agent.errors import UsageError
from memory.command_line.strict_commands import strict_command


@strict_command()
@click.argument("variant", metavar="VARIANT")
@click.option("--kernel", required=True, metavar="NAME", help="The kernel that it is a variant of, as it was tuned.")
@click.option("--memory", type=click.Path(path_type=Path), metavar="PATH", help="The memory beside which it was kept.")
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="FILE", help="Write the diff here.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")
def patch(variant: str, kernel: str, memory: Path | None, output: Path | None, json_: bool) -> None:
    """Write a variant of device code as a patch.

    VARIANT is its hash, which the field `edit` of a config begins with. The owner's file is not changed: read the diff,
    and apply it with `patch -p1` or `git apply`. What it cannot say, such as a new grid, is printed to stderr."""
    from kernels.editing.editable import editable
    from kernels.editing.owner_launches import owner_function
    from kernels.editing.patch_file import patch_of
    from kernels.hardware import hardware_named
    from kernels.registry import get
    from kernels.spec import sentence
    from kernels.triton.stub_driver import DEFAULT
    from memory.command_line.output_files import check_output, write_output
    from memory.file import default_path
    from tools.harness.process.identity import describe

    hardware = hardware_named(DEFAULT)
    folder = (memory or default_path()).absolute().parent / "variants"
    try:
        spec = get(kernel)
        problem = spec.default_problem()
        kept = editable(spec, folder, describe(spec, problem)["kernel"])
        found = kept.variant(variant, problem, hardware)[0]  # type: ignore[attr-defined]
        config = kept.config_of_owner(found, problem, hardware)  # type: ignore[attr-defined]
        launch = owner_function(spec, problem, config, hardware, found.name)[1]
        made = patch_of(found, launch.function)
    except ValueError as e:
        raise UsageError(sentence(e)) from e
    if output is not None:
        check_output(output, "-o", (Path(made.path),))
        write_output(output, made.diff, "-o")
    if json_:
        click.echo(json.dumps({"file": str(made.path), "diff": made.diff, "notes": list(made.notes)}))
        return
    if output is None:
        click.echo(made.diff, nl=False)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
