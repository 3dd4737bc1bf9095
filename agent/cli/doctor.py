"""``python -m agent doctor``: what this machine lacks for a run, and how to fix each thing."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from agent.errors import FAILED, PROVEN
from memory.command_line.strict_commands import strict_command

MARKS = {"ok": "ok", "note": "-", "missing": "MISSING"}


@strict_command()
@click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")
def doctor(json_: bool) -> int:
    """Check this machine: GPU, driver, packages, PyTorch, Triton, compilers, key, endpoint, memory, disk.

    Prints how to fix each thing that is missing. Exit code 0 if `python -m agent "maximise fused TFLOPS"` can run
    here, 1 if it cannot."""
    from agent.cli.checks import CHECKS

    findings = []
    for check in CHECKS:
        for finding in check():
            findings.append(finding)
            if not json_:  # at once: some checks take seconds
                fix = f"\n{'':23}-> {finding.mend}" if finding.mend else ""
                click.echo(f"{MARKS[finding.state]:8} {finding.name:13} {finding.said}{fix}")
    can_run = all(finding.state != "missing" for finding in findings)
    if json_:
        click.echo(json.dumps({"can_run": can_run, "findings": [asdict(finding) for finding in findings]}))
    else:
        click.echo(
            '\nReady: python -m agent "maximise fused TFLOPS"' if can_run else "\nNot ready: fix what is MISSING."
        )
    return PROVEN if can_run else FAILED
