"""Runs a program with and without a table, in turns."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.errors import AgentError, UsageError
from agent.programs.applying import variables

LEAST_PAIRS = 5


class ProgramFailed(AgentError):
    """The program ended with an error, or without its metric."""


@dataclass(frozen=True)
class Plan:
    """What is run, and what is read from it."""

    command: tuple[str, ...]
    table: Path
    pairs: int = LEAST_PAIRS
    metric: str | None = None
    """A regular expression whose first group is a number in the program's output; the last match counts. None: wall
    time."""
    saved: Path | None = None
    """What the program writes, kept of each run."""
    kernels: bool = False
    """Whether GPU time by kernel is read, too."""
    cold: bool = False
    """Whether each run begins with an empty compile cache of Triton; otherwise one run of each kind warms it."""
    unproven: bool = False
    edits: bool = False
    """Rows with edited device code, which a person has read."""


@dataclass
class ProgramRun:
    """One run."""

    tuned: bool
    figure: float
    """The metric, or seconds."""
    seconds: float
    kernels: dict[str, float] = field(default_factory=dict)
    """GPU time in ms by kernel."""
    reports: list[dict[str, Any]] = field(default_factory=list)
    """What each process used and missed."""
    saved: Path | None = None


def order_of(pairs: int) -> list[tuple[bool, bool]]:
    """Of each pair, which run has the table: A B, B A, A B, …"""
    return [(False, True) if i % 2 == 0 else (True, False) for i in range(pairs)]


def run_pairs(
    plan: Plan, folder: Path, progress: Callable[[str], None] = lambda line: None
) -> list[tuple[ProgramRun, ProgramRun]]:
    """(without, with) of each pair. `folder` holds what is kept until it is compared.

    Raises UsageError, and ProgramFailed if a run fails."""
    pattern = metric_of(plan)
    if plan.saved is not None:
        _check_saved(plan.saved, plan.table)
    if not plan.cold:
        for tuned in (False, True):
            progress(f"warm-up {'with' if tuned else 'without'}")
            run_once(plan, tuned, pattern, folder / f"warm-up-{tuned}")
    pairs = []
    for i, order in enumerate(order_of(plan.pairs)):
        runs = {tuned: run_once(plan, tuned, pattern, folder / f"{i}-{tuned}") for tuned in order}
        progress(f"pair {i + 1} of {plan.pairs}: without {runs[False].figure:.6g}, with {runs[True].figure:.6g}")
        pairs.append((runs[False], runs[True]))
    return pairs


def metric_of(plan: Plan) -> re.Pattern[str] | None:
    """What finds the plan's metric; None for wall time. Raises UsageError."""
    metric = plan.metric
    if metric is None:
        return None
    try:
        pattern = re.compile(metric, re.MULTILINE)
    except re.error as e:
        raise UsageError(f"--metric '{metric}' is no regular expression ({e})") from e
    if pattern.groups < 1:
        raise UsageError(f"--metric '{metric}' has no group: put the number in parentheses, as in 'step ([\\d.]+) ms'")
    return pattern


def run_once(plan: Plan, tuned: bool, pattern: re.Pattern[str] | None, folder: Path) -> ProgramRun:
    """One run of the program, `tuned` with the table. `pattern`: :func:`metric_of`. `folder` does not exist yet.

    Raises UsageError and ProgramFailed."""
    from kernels.capture.kernel_times import VARIABLE, read_times
    from kernels.capture.start import run_captured

    folder.mkdir()
    report, times = folder / "report", folder / "kernels"
    given = _arm(plan, tuned, folder, report)
    if plan.kernels:
        given[VARIABLE] = str(times)
    if plan.cold:
        given["TRITON_CACHE_DIR"] = str(folder / "cache")
    kind, saved = "with" if tuned else "without", None
    with nullcontext() if plan.saved is None else _out_of_the_way(plan.saved):
        started = time.perf_counter()
        try:
            done = run_captured(plan.command, given)
        except OSError as e:
            raise UsageError(f"{plan.command[0]} cannot be started ({e.strerror}): check the command behind --") from e
        seconds = time.perf_counter() - started
        if plan.saved is not None and done.returncode == 0:
            saved = _keep(plan.saved, folder / "saved", kind)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["it printed nothing"])[-1]
        raise ProgramFailed(f"the program ended with code {done.returncode} {kind} the table: {last[:300]}")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    figure = seconds if pattern is None else _figure(pattern, done.stdout + "\n" + done.stderr, kind)
    run = ProgramRun(tuned, figure, seconds, saved=saved)
    if plan.kernels:
        run.kernels = read_times(str(times))
    if report.exists():
        run.reports = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    return run


def _check_saved(saved: Path, table: Path) -> None:
    """Raises UsageError if the file cannot be what a program writes."""
    if saved.is_dir():
        raise UsageError(f"--same {saved} is a folder: give the path of a file that the program writes")
    if saved.exists() and table.exists() and saved.samefile(table):
        raise UsageError(f"--same {saved} is the table: give the path of a file that the program writes")


@contextmanager
def _out_of_the_way(saved: Path) -> Iterator[None]:
    """What is at `saved` lies beside it inside the block, so that what is there afterwards is the program's. It comes
    back if the program writes nothing there: the user may have named a wrong file."""
    aside = saved.with_name(f".{saved.name}.before-compare")
    try:
        with suppress(FileNotFoundError):
            os.replace(saved, aside)
    except OSError as e:
        raise UsageError(f"--same {saved} cannot be written ({e.strerror}): check the path") from e
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            if saved.exists():
                os.unlink(aside)
            else:
                os.replace(aside, saved)


def _arm(plan: Plan, tuned: bool, folder: Path, report: Path) -> dict[str, str]:
    """The variables of a run. Under the interpreter the run without the table applies an empty one, because Triton's
    autotuner and driver need what comes with it."""
    if tuned:
        return variables(plan.table, plan.unproven, report=str(report), edits=plan.edits)
    if os.environ.get("TRITON_INTERPRET") != "1":
        return dict.fromkeys(variables(plan.table), "")
    from kernels.tuned.tuned_file import write_table
    from kernels.tuned.tuned_table import TunedTable

    write_table(TunedTable(), folder / "empty.json")
    return variables(folder / "empty.json")


def _figure(pattern: re.Pattern[str], output: str, kind: str) -> float:
    found = pattern.findall(output)
    if not found:
        raise ProgramFailed(f"nothing in the program's output {kind} the table matches '{pattern.pattern}'")
    text = found[-1][0] if isinstance(found[-1], tuple) else found[-1]
    try:
        figure = float(text.replace(",", ""))
    except ValueError:
        raise ProgramFailed(f"{text!r}, which '{pattern.pattern}' matches, is no number") from None
    if not 0 < figure < float("inf"):
        raise ProgramFailed(f"the metric is {figure:g} {kind} the table: a ratio needs a number above 0")
    return figure


def _keep(path: Path, target: Path, kind: str) -> Path:
    try:
        shutil.copyfile(path, target)
    except OSError as e:
        raise ProgramFailed(f"the program did not write {path} {kind} the table ({e.strerror})") from e
    return target
