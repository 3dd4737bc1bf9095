"""``python -m agent campaign FILE.toml``."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.errors import PROVEN, UNPROVEN, AgentError, UsageError
from memory.command_line.strict_commands import strict_command
from memory.terms import printable

if TYPE_CHECKING:
    from agent.campaign.campaign_report import Report
    from agent.campaign.schedule import Standing


@strict_command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.toml")
@click.option("--device", metavar="DEVICE", help="In the place of the file's: auto, cuda:N, cuda:all, recorded.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="For report and tuned.json.")
@click.option("--memory", type=click.Path(path_type=Path), metavar="PATH", help="The SQLite file of all attempts.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of text.")
def campaign(file: Path, device: str | None, out: Path | None, memory: Path | None, json_: bool) -> int:
    """Tune the problems of FILE.toml, those first that can save the most of a forward pass.

    The same command continues a campaign that was stopped or killed. It leaves report.html, report.json and tuned.json,
    which kernels.ops.use() reads. Exit code 0 where a win is proven, 3 where none is, 2 where no problem can be
    tuned as the file says."""
    from agent.campaign.campaign_report import render, report_of
    from agent.campaign.campaign_runs import conduct
    from agent.campaign.plan import read_campaign
    from agent.loop.progress import LineWatch

    plan = read_campaign(file)
    if device is not None:
        plan = plan.model_copy(update={"device": device})
    folder = out or Path(f"campaign-{plan.name}")
    create_folder(folder)

    def write(standings: list[Standing]) -> None:
        write_report(folder, report_of(plan, standings))

    watch = LineWatch(lambda line: click.echo(_printable(line), err=True))
    try:
        with redirect_stdout(sys.stderr):  # what a kernel's own code prints is no result
            standings = conduct(plan, memory, watch, write)
    except AgentError as e:
        why = str(e).partition("; nothing is lost")[0].rstrip(".")
        raise type(e)(f"{why}; nothing is lost: the same command goes on with the campaign.") from e
    if all(s.failed and not s.outcomes for s in standings):
        which = f" ({standings[0].job.label})" if len({s.failed for s in standings}) > 1 else ""
        raise UsageError(f"No problem of {file} can be tuned: {standings[0].failed.rstrip('.')}{which}.")
    report = report_of(plan, standings)
    write_report(folder, report)
    click.echo(report.model_dump_json() if json_ else f"{render(report)}\nfiles      {folder}/report.html, tuned.json")
    return PROVEN if report.proven else UNPROVEN


def create_folder(folder: Path) -> None:
    """Create the folder before anything is spent on results that could not be written. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise UsageError(f"Cannot write into {folder} ({e.strerror}): choose another with --out.") from e


def write_report(folder: Path, report: Report) -> None:
    """Write the three files. Raises UsageError."""
    from agent.campaign.campaign_page import page
    from agent.campaign.campaign_report import tuned

    try:
        (folder / "report.html").write_text(page(report), encoding="utf-8")
        (folder / "report.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / "tuned.json").write_text(json.dumps(tuned(report), indent=1) + "\n", encoding="utf-8")
    except OSError as e:
        raise UsageError(f"Cannot write into {folder} ({e.strerror}): choose another with --out.") from e


def _printable(line: str) -> str:
    return printable(line, "?")
