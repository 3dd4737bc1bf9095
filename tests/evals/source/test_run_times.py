"""What a run is likely to take: by its kind, by the machine's pace, and by the runs of its kind that were proven."""

import json

import pytest

from evals.source.run_times import LIKELY, RunTimes, kind_of
from evals.source.source_runs import SourceRun
from evals.source.source_tasks import ALL
from tests.docs.pages import ROOT

LIKELIEST = {"products": 100.0, "attention": 90.0, "rows": 80.0, "traps": 70.0, "layouts": 20.0}


def times(*ended):
    """`ended`: task, player, seconds, and whether it was proven on the other shape."""
    found = RunTimes(40.0, LIKELIEST)
    for task, player, seconds, proven in ended:
        found.add(SourceRun(task=task, player=player, elsewhere=(8, 8) if proven else ()), seconds)
    return found


def test_every_task_has_a_kind_whose_time_is_known():
    assert {kind_of(task) for task in ALL} == set(LIKELY)


def test_the_times_of_kinds_are_those_of_the_measured_files():
    beside: dict[str, float] = {}
    for name in ("written", "embedded"):
        for run in json.loads((ROOT / "docs" / "data" / f"{name}-source-h200.json").read_text())["runs"]:
            kind = kind_of(run["task"])
            beside[kind] = max(beside.get(kind, 0.0), run["whole_seconds"] - 45)
    assert beside == {kind: pytest.approx(seconds, abs=1.0) for kind, seconds in LIKELY.items()}
    assert all(LIKELY[kind] >= seconds for kind, seconds in beside.items())


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ([], 120.0),
        # A long product says nothing of rows unless it is longer than products are.
        ([("unswizzled", "a", 140.0, True)], 120.0),
        ([("unswizzled", "a", 155.0, True)], 135.0),
        # One proven run of the kind may be a short one.
        ([("scalar_loop", "a", 60.0, True)], 120.0),
        ([("scalar_loop", "a", 60.0, True), ("small_rows", "a", 65.0, True)], 65.0),
        # Runs without a claim have no proof on the other shape. They count if they were long.
        ([("scalar_loop", "a", 60.0, False), ("small_rows", "a", 65.0, False)], 120.0),
        ([("scalar_loop", "a", 60.0, True), ("small_rows", "a", 65.0, True), ("second_pass", "a", 90.0, False)], 90.0),
        # Another player says something only as long as the player's own runs say nothing.
        ([("scalar_loop", "b", 60.0, True), ("small_rows", "b", 65.0, True)], 120.0),
        ([("unswizzled", "b", 155.0, True)], 135.0),
        ([("unswizzled", "b", 155.0, True), ("unswizzled", "a", 120.0, True)], 120.0),
    ],
)
def test_a_run_on_rows_is_expected_to_take(ended, expected):
    assert times(*ended).expected("padding", "a") == expected


def test_runs_that_failed_are_no_yardstick_of_their_kind():
    found = times()
    for task in ("scalar_loop", "small_rows"):
        found.add(SourceRun(task=task, player="a", elsewhere=(8, 8), unplayed="no GPU"), 5.0)
    assert found.expected("padding", "a") == 120.0
