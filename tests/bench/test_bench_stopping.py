"""The bench of stops: who reads, who judges, what is counted."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.bench.bench_stopping import main, reading, summary
from tests.bench.planner_spaces import load
from tools.harness.landscapes.named import folder

ATTENTION = folder() / "attention-4x32x4096x128-fp16-h200.json.gz"


def row(**about):
    return {"view": "plain", "gain_stop": 12, "gain_regret": 0.02, "end": 20, "end_regret": 0.004} | about


@pytest.mark.parametrize("which", ["A", "B"])
def test_one_set_is_read_and_the_other_judges(which):
    fresh = load(ATTENTION, "raw")
    space, judged = reading(load(ATTENTION, "raw"), which)
    other = {"A": "B", "B": "A"}[which]
    read = {c.key(): e for c, e in space.entries.items()}
    judge = {c.key(): ms for c, ms in judged.items()}
    for config in list(fresh.times)[:20]:  # each load makes a type of its own
        entry = fresh.entries[config]
        assert read[config.key()].sets["A"] == entry.sets[which]
        assert judge[config.key()] == fresh.landscape.ms(entry, other)


def test_stops_are_counted_by_what_they_promised():
    rows = [
        row(stop=20, bound=0.01, held=True),
        row(stop=30, bound=0.01, held=False),
        row(stop=40, bound=0.02, held=True),
        row(),  # it never stopped
    ]
    found = summary("plain", rows)
    assert (found["searches"], found["stops"], found["stops_within_1_percent"]) == (4, 3, 2)
    assert (found["held"], found["true"], found["evaluations"]) == (0.6667, 0.5, 30)
    assert found["by_gain_within_1_percent"] == 0


def test_the_same_command_goes_on_and_then_only_counts(tmp_path):
    out = tmp_path / "stops.jsonl"
    arguments = [str(ATTENTION), "--json", str(out), "--seeds", "1"]
    first = CliRunner().invoke(main, arguments, catch_exceptions=False)
    kept = out.read_text()
    assert [json.loads(line)["reads"] for line in kept.splitlines()] == ["A", "B"]
    again = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert (again.stdout, out.read_text()) == (first.stdout, kept)
    for line in map(json.loads, kept.splitlines()):
        assert 12 <= line["stop"] <= 60
        assert line["held"] == (line["end_regret"] <= line["bound"])
