"""``python -m agent doctor``: what this machine lacks for a run, each with its mend."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from agent.cli.checks import CHECKS, State

MARKS: dict[State, str] = {"ok": "ok", "note": "-", "missing": "MISSING"}


def report(as_json: bool) -> bool:
    """Print what was found; whether the main job can run here. A finding is shown as soon as it is made."""
    findings = []
    for check in CHECKS:
        for finding in check():
            findings.append(finding)
            if not as_json:
                mend = f"\n{'':23}-> {finding.mend}" if finding.mend else ""
                click.echo(f"{MARKS[finding.state]:8} {finding.name:13} {finding.said}{mend}")
    fit = all(finding.state != "missing" for finding in findings)
    if as_json:
        click.echo(json.dumps({"can_run": fit, "findings": [asdict(finding) for finding in findings]}))
    else:
        click.echo('\nReady: python -m agent "maximise fused TFLOPS"' if fit else "\nNot ready: mend what is MISSING.")
    return fit
