"""Tables of many runs are compared: equal ones are counted, and only a tie may differ."""

from __future__ import annotations

import os

from tests.bench.bench_decisions import compare, cores_of, is_met, show
from tests.kernels.tuned.tables import row, table


def test_a_table_that_differs_in_a_tie_alone_is_allowed():
    most = table(row(), row("other", tie=True))
    differs = table(row(), row("other", constexprs={"BLOCK": 64}))
    found = compare([most] * 22 + [differs] * 2)
    assert found["alike"] == 22
    assert [[d["tie"] for d in rows] for rows in found["others"]] == [[True], [True]]
    assert is_met(found)
    assert not is_met(compare([most] * 21 + [differs] * 3))


def test_another_difference_a_missing_row_and_a_failed_run_miss_the_goal():
    most = table(row())
    for other in (table(row(constexprs={"BLOCK": 64})), table(row(), row("more", tie=True)), "exit code 1: no GPU"):
        found = compare([most] * 23 + [other])
        assert found["alike"] == 23
        assert not is_met(found)


def test_marks_of_ties_are_no_decisions():
    found = compare([table(row())] * 23 + [table(row(tie=True))])
    assert found["alike"] == 24
    assert found["others"] == []


def test_the_goal_is_stated_and_whether_any_row_is_proven(capsys):
    assert show(compare([table(row())] * 24), 24) == 0
    assert capsys.readouterr().out.endswith("24 of 24 tables have the same decisions; the goal is 22 of 24: met\n")
    assert show(compare([table(row(status="stock"))] * 23), 24) == 1
    said = capsys.readouterr().out
    assert "No row is proven, so this says nothing about whether proven rows repeat." in said
    assert said.endswith("23 of 23 tables have the same decisions; the goal is 22 of 24: missed\n")


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert [cores_of(i, 8) for i in (0, 7)] == [{0, 1}, {14, 15}]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3})
    assert [cores_of(i, 8) for i in (0, 1, 2)] == [{2}, {3}, {2}]
