"""Promises of a table and savings of pairs are summed with their intervals, and runs take turns."""

from __future__ import annotations

import math
import sys
import time

import pytest

from agent.programs.comparing.paired import Interval
from agent.programs.comparing.program_runs import Plan, ProgramRun
from agent.programs.improvement.tuned_rows import TWO_PROCESSES
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import TunedTable
from tests.bench.bench_llama import compared, each_pair, overlap, promises, saved_in_a_launch, savings, total_of
from tests.kernels.tuned.tables import row

USED = {"kernel": "swiglu", "row": "", "status": "proven", "launches": 200}


def pair(without, with_):
    """Two runs by GPU time of their kernels; the one with the table used the row 100 times."""
    return ProgramRun(False, 2.0, 1.0, without), ProgramRun(True, 1.9, 1.0, with_)


def a_table():
    table, r = TunedTable(), row("swiglu")
    owner = {"name": "owner", "ms": 0.11, "speedup": 1.1, "ci": [1.08, 1.12]}
    table.add(r, {"best": {"ms": 0.1}, "baselines": [owner]})
    return table, r.name


def test_a_promise_is_launches_times_the_proofs_saving():
    table, name = a_table()
    pairs = [pair({"swiglu": 12.0, "gemm": 50.0}, {"swiglu": 11.0 + n / 10, "gemm": 50.0 + n}) for n in (-1, 0, 1)]
    for _, run in pairs:
        reported = {**USED, "row": name, "launches": 100}
        missed = [{"kernel": "swiglu", "reason": "no row", "launches": 20}]
        empty = {"digest": "d", "missed": missed, "faults": [], "compiled": {"rows": [], "left": [], "launched": []}}
        run.reports = [{"used": [reported], **empty}]
    made = type("Made", (), {"table": table})()
    report, found = compared(made, pairs, Plan(("program",), None), 10)
    (promise,) = promises(table, found)
    assert promise["launches"] == 100
    two = 100 * TWO_PROCESSES * 0.11
    assert promise["saved_ms"] == pytest.approx([1.0, 1 - math.hypot(0.2, two), 1 + math.hypot(0.2, two)])
    assert promise["a launch in the proof, ms"] == 0.11
    assert promise["a launch in the program, ms"] == pytest.approx(12.0 / 120)  # those without a row among them
    assert report["promised in a step, ms"] == pytest.approx(0.1)
    assert report["saved by the kernels with rows, ms"]["value"] == pytest.approx(1.0)
    assert report["the promise lies in the interval of"] == {"the kernels with rows": True, "all kernels": True}


def test_a_promise_holds_what_two_processes_differ_by_and_every_reading():
    owner = {"ms": 0.1, "speedup": 1.1, "ci": [1.08, 1.12]}
    evidence = {"best": {"ms": 0.0909}, "baselines": [owner]}
    (value, low, high), how = saved_in_a_launch(evidence, owner)
    apart = TWO_PROCESSES * 0.1
    assert value == pytest.approx(0.0909 * 0.1)
    assert value - low == high - value == pytest.approx(math.hypot(0.0909 * 0.02, apart))
    assert how == "by the proof, L2 cold"
    evidence["side_by_side"] = {
        "cold": {"owner_ms": 0.1, "ms": 0.09, "saved_ms": [0.01, 0.009, 0.011]},
        "warm": {"owner_ms": 0.06, "ms": 0.056, "saved_ms": [0.004, 0.003, 0.005]},
    }
    (value, low, high), how = saved_in_a_launch(evidence, owner)
    assert value == pytest.approx(0.007)
    assert (value - low, high - value) == pytest.approx((math.hypot(0.004, apart),) * 2)
    assert how == "in one process, L2 cold and warm"
    assert saved_in_a_launch({**evidence, "side_by_side": {"missing": "it hung"}}, owner)[1] == "by the proof, L2 cold"


def test_half_widths_of_promises_add_in_quadrature():
    total = total_of([{"saved_ms": [1.0, 0.7, 1.3]}, {"saved_ms": [2.0, 1.6, 2.4]}])
    assert (total.value, total.low, total.high) == pytest.approx((3.0, 2.5, 3.5))


def test_savings_are_those_of_the_named_kernels():
    pairs = [pair({"a": 3.0, "b": 9.0}, {"a": 2.0, "b": 9.0})] * 2
    assert savings(pairs, {"a"}).value == 1.0
    assert savings(pairs, {"b"}).value == 0.0
    assert overlap(Interval(1, 0.9, 1.1), Interval(1.2, 1.1, 1.3))
    assert not overlap(Interval(1, 0.9, 1.1), Interval(1.3, 1.2, 1.4))


@pytest.mark.process
def test_pairs_come_in_order_until_the_time_is_up_and_a_failed_one_is_told(tmp_path):
    table = tmp_path / "tuned.json"
    write_table(TunedTable(), table)
    count = tmp_path / "runs"
    code = (
        "import sys; f = open(sys.argv[1], 'a'); f.write('.'); f.flush(); n = f.tell(); "
        "sys.exit('lost') if n in (3, 4) else print('step 2.5 ms')"
    )
    plan = Plan((sys.executable, "-S", "-c", code, str(count)), table, 4, r"step ([\d.]+) ms")
    (tmp_path / "a").mkdir()
    found = list(each_pair(plan, tmp_path / "a", time.monotonic() + 60))
    failed = [f for f in found if isinstance(f, str)]
    assert len(found) == 4
    assert 1 <= len(failed) <= 2
    assert all("lost" in f for f in failed)
    assert all(run.figure == 2.5 for f in found if not isinstance(f, str) for run in f)
    (tmp_path / "b").mkdir()
    assert list(each_pair(plan, tmp_path / "b", time.monotonic() - 1)) == []
