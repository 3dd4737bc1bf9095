"""``python -m agent compare``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from agent.errors import FAILED, PROVEN, UNPROVEN, UsageError
from memory.command_line.strict_commands import FiniteRange, WholeRange, strict_command


@strict_command()
@click.option("--pairs", type=WholeRange(5), default=5, metavar="N", help="Pairs of runs (5, the least).")
@click.option("--metric", metavar="REGEX", help="A number in the program's output, in the first group; the last match.")
@click.option("--higher-is-better", is_flag=True, help="The metric is a rate, such as tokens per second.")
@click.option("--kernels", is_flag=True, help="GPU time by kernel, too; the profiler runs in both kinds of runs.")
@click.option(
    "--same", "saved", type=click.Path(path_type=Path), metavar="FILE", help="Compare what the program saves."
)
@click.option(
    "--tolerance",
    type=FiniteRange(0),
    default=0.0,
    metavar="R",
    help="Of saved tensors: largest difference over the largest value of a tensor (0).",
)
@click.option("--cold", is_flag=True, help="Each run begins with an empty compile cache; no warm-up runs.")
@click.option("--unproven", is_flag=True, help="Apply rows that nobody proved, too.")
@click.option("--yes", is_flag=True, help="Apply edited device code without asking: you have read it.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("command", nargs=-1)
def compare(
    pairs: int,
    metric: str | None,
    higher_is_better: bool,
    kernels: bool,
    saved: Path | None,
    tolerance: float,
    cold: bool,
    unproven: bool,
    yes: bool,
    json_: bool,
    file: Path,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND without and with the table FILE, in turns, and say what the table changes.

    \b
    python -m agent compare tuned.json --metric 'step ([\\d.]+) ms' -- python train.py --steps 20

    Without --metric, wall time counts. Exit code 0 if the program is faster with the table, 3 if there is no difference
    or it is slower, 1 if the table changes what it saves or a run fails."""
    from agent.programs.applying import usable_table
    from agent.programs.comparing.comparison import compare_pairs, render_comparison
    from agent.programs.comparing.program_runs import Plan, run_pairs
    from agent.programs.edited_rows import ask_for_edits

    if not command:
        raise UsageError("compare needs a command: python -m agent compare tuned.json -- python train.py")
    usable_table(file)
    edits = yes or ask_for_edits(file)
    plan = Plan(command, file, pairs, metric, saved, kernels, cold, unproven, edits)
    with tempfile.TemporaryDirectory(prefix="autokernel-compare-") as folder:
        ran = run_pairs(plan, Path(folder), lambda line: click.echo(f"compare: {line}", err=True))
        found = compare_pairs(ran, plan, higher_is_better, tolerance)
    click.echo(json.dumps(found.as_json()) if json_ else render_comparison(found))
    if found.broken:
        return FAILED
    return PROVEN if found.word == "faster" else UNPROVEN
