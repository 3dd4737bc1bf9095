"""``python -m evals judge``: a kernel that somebody else wrote, against a reference that somebody else wrote."""

from __future__ import annotations

import json
from pathlib import Path

import click

from evals.commands.selection import UsageMistake, mistakes_as_usage_errors
from memory.command_line.strict_commands import FiniteRange, strict_command
from memory.terms import printable


@strict_command("judge")
@click.argument("reference", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("candidate", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--workload", type=click.Path(path_type=Path, dir_okay=False), help="For a definition: one workload a line."
)
@click.option("--device", default="auto", show_default=True, metavar="cpu|cuda:N", help="Where both run.")
@click.option("--deadline", type=FiniteRange(min=1), default=120.0, show_default=True, help="Seconds for one call.")
@click.option(
    "--max-seconds",
    type=FiniteRange(min=1),
    default=120.0,
    show_default=True,
    help="Begin no further kind of other inputs after so many seconds.",
)
@click.option("--no-sandbox", is_flag=True, help="Run both files with your own rights.")
@click.option("--text", "as_text", is_flag=True, help="Print lines for people instead of JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as without any option.")
def judge_command(
    reference: Path,
    candidate: Path,
    workload: Path | None,
    device: str,
    deadline: float,
    max_seconds: float,
    no_sandbox: bool,
    as_text: bool,
    as_json: bool,
) -> int:
    """Judge CANDIDATE against REFERENCE.

    Two .py files hold Model, get_inputs and get_init_inputs, and ModelNew (KernelBench). Two .json files are a
    definition and a solution (flashinfer-bench, SOL-ExecBench), with --workload. Both files run in processes of their
    own. Exit code 0 if the candidate is right, 3 if it is not or is the reference itself, 2 for files that
    cannot be judged."""
    from evals.judge.judging import Judging, Options
    from evals.judge.read_pairs import pairs
    from evals.judge.verdict import exit_code, render

    if as_text and as_json:
        raise UsageMistake("--text and --json exclude each other")
    with mistakes_as_usage_errors():
        found = pairs(reference, candidate, workload)
        options = Options(_device(device), deadline, max_seconds, not no_sandbox)
        if not no_sandbox:
            _require_sandbox()
        verdicts = []
        for pair in found:
            verdicts.append(Judging(pair, options).run())
            if as_text:
                lines = [*([""] if verdicts[1:] else []), *render(verdicts[-1]).splitlines()]
                click.echo("\n".join(printable(line, "?") for line in lines))
    if not as_text:
        rows = [v.model_dump(mode="json") for v in verdicts]
        click.echo(json.dumps(rows[0] if workload is None else {"verdicts": rows, "exit_code": exit_code(verdicts)}))
    return exit_code(verdicts)


def _device(name: str) -> str:
    """``cpu`` or ``cuda:N``; with ``auto`` the first GPU, if there is one."""
    from tools.harness.measuring.telemetry import gpus_present

    if name == "auto":
        return "cuda:0" if gpus_present() else "cpu"
    if name == "cpu":
        return name
    if not (name.startswith("cuda:") and name[5:].isdecimal()):
        raise UsageMistake(f"--device {name} is not known: write cpu, cuda:0, cuda:1, ...")
    if not gpus_present():
        raise UsageMistake(f"--device {name}: this machine has no GPU; --device cpu judges correctness alone")
    return name


def _require_sandbox() -> None:
    from tools.harness.process import sandbox

    why = sandbox.why_not()
    if why is not None:
        raise UsageMistake(
            f"this machine cannot shut a stranger's code in ({why}): --no-sandbox runs both files with your own rights"
        )
