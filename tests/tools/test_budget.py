"""More budget never gives less: evaluations of a small budget are a prefix of a large one's, and no proof gets lost.

``python -m tests.bench.bench_budget`` shows it over all landscapes, budgets of 1 to 64 and twenty seeds."""

from __future__ import annotations

import pytest

from tests.bench.bench_budget import faults_of
from tests.tools.budgets import play
from tools.harness.landscapes.named import named_landscape

BUDGETS = (1, 3, 8)


@pytest.mark.parametrize("name", ["fused_matmul-64x8192x8192-bf16-h200", "rms_norm-32768x4096-fp16-h200"])
def test_more_evaluations_never_give_less(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    landscape = named_landscape(name)
    runs = {budget: play(landscape, budget, 0, tmp_path) for budget in BUDGETS}
    assert [len(run.measured) for run in runs.values()] == [*BUDGETS]
    assert faults_of(runs) == []


def test_the_check_finds_a_budget_that_gives_less(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    landscape = named_landscape("fused_matmul-64x8192x8192-bf16-h200")
    one, two = (play(landscape, budget, seed, tmp_path) for budget, seed in ((1, 0), (2, 0)))
    assert faults_of({1: two, 2: one}) != []
