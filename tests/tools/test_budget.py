"""More budget never gives less: evaluations of a small budget are a prefix of a large one's, and no proof gets lost.

``python -m tests.bench.bench_budget`` shows it over all landscapes, budgets of 1 to 64 and twenty seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.loop.progress import Watch
from agent.replay.replay import replay
from kernels.hardware import hardware_named
from kernels.registry import get
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


def test_a_run_without_time_has_the_default_config_and_replays(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    outcome = play(named_landscape("rms_norm-32768x4096-fp16-h200"), 8, 0, tmp_path, seconds=1e-6).outcome
    assert (outcome.turns, outcome.evaluations, outcome.evaluations_left) == (0, 1, 7)
    assert outcome.best is not None
    spec = get("rms_norm")
    default = spec.default_config(spec.default_problem(), hardware_named("H200"))
    assert outcome.best.config == default.model_dump(mode="json")
    assert replay(Path(outcome.trace), Watch()).outcome == outcome


def test_the_check_finds_a_budget_that_gives_less(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    landscape = named_landscape("fused_matmul-64x8192x8192-bf16-h200")
    one, two = (play(landscape, budget, seed, tmp_path) for budget, seed in ((1, 0), (2, 0)))
    assert faults_of({1: two, 2: one}) != []
