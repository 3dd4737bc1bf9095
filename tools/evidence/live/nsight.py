"""Asks NVIDIA Nsight Compute (``ncu``) for a kernel's counters, where it is installed and permitted.

``ncu --clock-control none`` leaves the clocks as they are in any run. It repeats each kernel some twenty times and
restores its memory in between: seconds for a config, so it is asked for by ``--ncu`` alone."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.evidence.live.profiler_errors import meaning
from tools.harness.process.own_packages import ROOT, paths_for_children

Json = dict[str, Any]
DEADLINE_S = 30.0
"""Of one config."""
SECTIONS = ("SpeedOfLight", "MemoryWorkloadAnalysis", "SchedulerStats", "WarpStateStats")
METRICS = (
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "lts__lts2xbar_cycles_active.avg.pct_of_peak_sustained_elapsed",
    "lts__t_tag_requests.avg.pct_of_peak_sustained_elapsed",
    "l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed",
    "l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum",
    "l1tex__lsu_writeback_active.avg.pct_of_peak_sustained_elapsed",
    "sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_elapsed",
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed",
    "sm__inst_executed_pipe_xu.avg.pct_of_peak_sustained_elapsed",
    "sm__inst_executed_pipe_alu.avg.pct_of_peak_sustained_elapsed",
    "sm__inst_executed_pipe_fma.avg.pct_of_peak_sustained_elapsed",
    "sm__pipe_fma_cycles_active.avg.pct_of_peak_sustained_elapsed",
    "smsp__issue_active.avg.pct_of_peak_sustained_elapsed",
    "sm__cycles_active.avg",
    "sm__cycles_active.max",
    "sm__cycles_elapsed.max",
    "gpu__time_duration.sum",
    "lts__t_sector_hit_rate.pct",
    "l1tex__t_sector_hit_rate.pct",
    "smsp__inst_executed_op_local_ld.sum",
    "lts__t_sectors_op_atom.sum",
    "lts__t_sectors_op_red.sum",
)
"""Beside what :data:`SECTIONS` bring. If ncu cannot find some on this GPU, it is asked again without them."""
NO_METRIC = re.compile(r"Failed to find metric|Invalid metric|not supported.*metric", re.IGNORECASE)


@dataclass(frozen=True)
class Counted:
    """A kernel's counters, by ncu's names of them."""

    kernel: str
    metrics: dict[str, float]

    def share(self, name: str) -> float | None:
        """A counter of per cent as a share of 1."""
        value = self.metrics.get(name)
        return None if value is None else value / 100


class NoNcu(RuntimeError):
    """ncu gave nothing; the message is one sentence."""


def find_ncu() -> str:
    """The path of ncu: of ``NCU``, on the path, or where CUDA is installed. Raises NoNcu."""
    given = os.environ.get("NCU")
    places = [Path(given)] if given else []
    if not given:
        places += [Path(found)] if (found := shutil.which("ncu")) else []
        places += sorted(Path("/usr/local").glob("cuda*/bin/ncu"), reverse=True)
        places += sorted(Path("/opt/nvidia/nsight-compute").glob("*/ncu"), reverse=True)
    for place in places:
        if place.exists():
            return str(place)
    raise NoNcu(f"ncu was not found{f' at {given}' if given else ''}: install Nsight Compute or set NCU to its path")


def count(
    jobs: list[Json],
    index: int,
    lock: Path,
    environment: dict[str, str],
    deadline_s: float = DEADLINE_S,
    ncu: str | None = None,
) -> list[Counted]:
    """The counters of every kernel that `jobs` launch, in order. Raises NoNcu."""
    program = ncu or find_ncu()
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "jobs.json"
        given.write_text(json.dumps({"index": index, "lock": str(lock), "jobs": jobs}), encoding="utf-8")
        log = Path(folder) / "ncu.csv"
        metrics = list(METRICS)
        while True:
            try:
                return _run(program, given, log, metrics, environment, deadline_s)
            except NoNcu as e:
                if not metrics or not NO_METRIC.search(str(e)):
                    raise
                known = [name for name in metrics if name not in str(e)]
                metrics = known if len(known) < len(metrics) else []


def _run(
    ncu: str, jobs: Path, log: Path, metrics: list[str], environment: dict[str, str], deadline_s: float
) -> list[Counted]:
    wanted = [flag for section in SECTIONS for flag in ("--section", section)]
    wanted += ["--metrics", ",".join(metrics)] if metrics else []
    command = [ncu, "--clock-control", "none", "--profile-from-start", "off", "--csv", "--page", "raw"]
    command += ["--log-file", str(log), *wanted, sys.executable, "-P", "-m", "tools.evidence.live.launch_program"]
    paths = os.pathsep.join([str(ROOT), *paths_for_children()])
    try:
        process = subprocess.Popen(
            [*command, str(jobs)],
            env={**os.environ, **environment, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as e:
        raise NoNcu(f"{ncu} cannot be run: {e.strerror}") from e
    try:
        printed, _ = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired as e:
        raise NoNcu(f"ncu did not end within {deadline_s:g} s and was killed") from e
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    found = read_csv(text)
    if not found:
        raise NoNcu(why_nothing(f"{text}\n{printed}", process.returncode))
    return found


def why_nothing(printed: str, code: int | None) -> str:
    """One sentence on why ncu profiled nothing."""
    errors = [line.removeprefix("==ERROR==").strip() for line in printed.splitlines() if line.startswith("==ERROR==")]
    missing = [json.loads(line)["missing"] for line in printed.splitlines() if '"missing"' in line and line[:1] == "{"]
    if errors:
        return f"ncu: {meaning(' '.join(errors))[:300]}"
    if missing:
        return f"ncu profiled nothing: {missing[0]}"
    last = [line.strip() for line in printed.splitlines() if line.strip()][-1:]
    return f"ncu ended with exit code {code} and profiled no kernel{': ' + last[0][:200] if last else ''}"


def read_csv(text: str) -> list[Counted]:
    """The rows of ``--csv --page raw``: a header, a row of units, then one row a kernel. Numbers have commas between
    thousands; what is no number is left out. Times are given in ms, whatever unit ncu chose."""
    lines = [line for line in text.splitlines() if line and not line.startswith(("==", "{"))]
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return []
    header, units, *rows = list(csv.reader(lines[start:])) or [[], []]
    found = []
    for row in rows:
        if len(row) != len(header):
            continue
        metrics = {}
        for name, unit, cell in zip(header, units, row, strict=False):
            value = _number(cell)
            if value is not None and "__" in name:
                metrics[name] = value * TO_MS.get(unit, 1.0)
        found.append(Counted(row[header.index("Kernel Name")], metrics))
    return found


TO_MS = {"ns": 1e-6, "nsecond": 1e-6, "us": 1e-3, "usecond": 1e-3, "ms": 1.0, "msecond": 1.0, "s": 1e3, "second": 1e3}


def _number(cell: str) -> float | None:
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return None


def match(counted: list[Counted], expected: list[list[str]]) -> list[list[Counted]]:
    """For each job the rows of its own kernels, `expected` by name and in order; other kernels (fills, copies) are
    passed over."""
    waiting = list(counted)
    found: list[list[Counted]] = []
    for names in expected:
        mine: list[Counted] = []
        for name in names:
            at = next((i for i, row in enumerate(waiting) if row.kernel.split("(")[0].split("<")[0] == name), None)
            if at is None:
                break
            mine.append(waiting[at])
            waiting = waiting[at + 1 :]
        found.append(mine)
    return found
