"""``python -m agent apply``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from agent.errors import PROVEN, UsageError
from memory.command_line.strict_commands import strict_command


@strict_command()
@click.option("--unproven", is_flag=True, help="Apply rows that nobody proved, too.")
@click.option("--yes", is_flag=True, help="Apply edited device code without asking: you have read it.")
@click.option("--report", is_flag=True, help="Print at the end which rows were used how often, and what missed.")
@click.option("--json", "json_", is_flag=True, help="Print the report as one JSON object.")
@click.option(
    "--verify-ranks",
    is_flag=True,
    help="End the program, once torch.distributed has started, if its ranks read other tables.",
)
@click.option("--path", "path_", is_flag=True, help="Print the folder for PYTHONPATH that AUTOKERNEL_APPLY needs.")
@click.option("--install", "install_", is_flag=True, help="Write a .pth file instead, so that no PYTHONPATH is needed.")
@click.option("--uninstall", "uninstall_", is_flag=True, help="Remove that file.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.argument("command", nargs=-1)
def apply(
    unproven: bool,
    yes: bool,
    report: bool,
    json_: bool,
    verify_ranks: bool,
    path_: bool,
    install_: bool,
    uninstall_: bool,
    file: Path | None,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND, unchanged, with the tuned configs of FILE.

    \b
    python -m agent apply tuned.json --report -- python train.py
    PYTHONPATH=$(python -m agent apply --path) AUTOKERNEL_APPLY=tuned.json python train.py

    A launch that no row fits is made as the program has it, with one line on stderr for each reason. stdout and exit
    code are the program's."""
    from agent.programs import applying
    from agent.programs.edited_rows import ask_for_edits

    if path_ or install_ or uninstall_:
        from kernels.tuned.applying.begin_apply import site_file

        done = site_file().parent if path_ else applying.install() if install_ else applying.uninstall()
        click.echo(str(done))
        return PROVEN
    if file is None or not command:
        raise UsageError("apply needs a table and a command: python -m agent apply tuned.json -- python train.py")
    from kernels.tuned.applying.apply_report import add_up, render_report

    edits = yes or ask_for_edits(file)
    code, parts, unreported = applying.apply_to_program(command, file, unproven, verify_ranks, edits)
    if report or json_:
        click.echo(json.dumps(add_up(parts, unreported)) if json_ else render_report(parts, unreported), err=True)
    return code
