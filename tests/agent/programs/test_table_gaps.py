"""Which launches are held out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agent.programs.improvement import table_gaps


@pytest.mark.parametrize("count", [7, 10**9, 10**30])
def test_more_held_out_launches_than_there_are_is_every_second_one(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(table_gaps, "families", lambda jobs: [list(jobs)])
    monkeypatch.setattr(table_gaps, "split_sizes", lambda key: ((), key))
    monkeypatch.setattr(table_gaps, "lies_between", lambda low, at, high: low < at < high)
    jobs = [SimpleNamespace(key=place) for place in range(7)]
    assert [job.key for job in table_gaps.hold_out(jobs, count)] == [1, 3, 5]
