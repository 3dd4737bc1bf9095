"""Nominated configs are read again and proven before others that lie within noise; nothing of it is charged."""

from __future__ import annotations

import pytest

from evals.tasks.worlds import open_recorded_session
from tests.tools.test_session import Clockwork
from tools import registry
from tools.harness.landscapes.named import named_landscape
from tools.harness.landscapes.recorded_baselines import read_baseline_times
from tools.harness.measuring.choices import split_name
from tools.session import nominate_finalists
from tools.session.space_description import describe_fields, describe_rules

LANDSCAPE = "rms_norm-32768x4096-fp16-h200"


@pytest.fixture
def session(tmp_path):
    session = open_recorded_session(named_landscape(LANDSCAPE), tmp_path / "memory.db", "run", 60, 0)
    ids = session.ids
    session.memory.start_run("run", "", {}, "m", ids.environment, ids.problem, {})
    yield session
    session.close()


def nominate(session, *configs):
    values = [c.model_dump(mode="json") for c in configs]
    return registry.tools_for(session)["nominate_finalists"].call(session, {"configs": values}, "call")


def measured(session, count=60):
    session.measure(session.space[:count], "call")
    return [session.config(m.config) for m in session.ranked()]


def test_a_nominated_config_within_noise_is_proven_first_and_costs_nothing(session):
    ranked = measured(session)
    found, level = session.finalists(60)
    second = next(c for c in found[1:level] if c != ranked[0])
    spent = session.budget.evals
    answer = nominate(session, second)
    assert session.budget.evals == spent
    assert {row.get("beside") for row in answer["finalists"]} == {None, "the fastest"}
    assert session.finalists(4)[0][0] == second != found[0]


def test_a_nominated_config_that_is_certainly_slower_goes_behind(session):
    ranked, before = measured(session), session.finalists(4)
    nominate(session, ranked[-1])
    assert session.finalists(4) == before
    assert ranked[-1] not in session.finalists(4)[0]


def test_what_was_not_measured_is_refused_by_name(session):
    measured(session, 5)
    answer = nominate(session, session.space[20], session.space[1])
    [refused] = answer["refused"]
    assert refused["config"] == session.space[20].model_dump(mode="json")
    assert "run_benchmark" in refused["reason"]
    assert list(session.nominated) == [session.space[1]]


def test_nothing_measured_nominates_nothing(session):
    assert nominate(session, session.space[0])["finalists"] == []


class Live(Clockwork):
    """A GPU on which the second look turns the order round."""

    def contend(self, configs, regime="burst", figure="ms"):
        self.again = configs
        return super().contend(configs, regime, figure)


def test_on_a_gpu_the_nominated_are_timed_again_beside_the_fastest(tmp_path):
    from memory.store import Memory
    from tests.exploits.axpy import AxpyProblem
    from tests.faults.broken import Faulty, FaultyConfig
    from tests.tools.test_session import H200
    from tools.harness.results import CompileResult
    from tools.session.budget import Budget
    from tools.session.session import Ids, Session
    from tools.session.task import Task

    store = Memory.open(tmp_path / "memory.db")
    device, spec, problem = Live(store), Faulty(), AxpyProblem()
    ids = Ids.of(store, device.info, spec, problem)
    store.start_run("run", "", {}, "m", ids.environment, ids.problem, {})
    session = Session(Task(spec, problem, H200, "latency", "burst", 0), device, None, store, ids, "run", Budget(9, 60))
    configs = [FaultyConfig(BLOCK=block) for block in (256, 512, 1024)]
    for config in configs:
        session.compiled[config] = CompileResult(config=config.model_dump(mode="json"), status="correct")
    session.measure(configs, "call")
    found = session.nominate([configs[2]])
    assert device.again == [configs[2], configs[0]]  # the fastest is timed beside it
    assert [session.config(m.config) for m in found] == [configs[2], configs[0]]
    assert session.finalists(3)[0][0] == configs[2]
    assert nominate_finalists.DECLARATION.on_device


def test_the_recorded_baselines_are_at_the_recordings_scale():
    landscape = named_landscape(LANDSCAPE)
    times = read_baseline_times(landscape)
    assert times["unfused"] == pytest.approx(landscape.reference_ms)
    assert set(times) == {split_name(b.name)[0] for b in landscape.baselines if b.rounds}


def test_a_field_with_one_value_is_not_explained_and_no_rule_is_cut_in_a_word(session):
    task, kept = session.task, [c for c in session.space if c.PER_SM == 0]
    assert "PER_SM" in describe_fields(task.spec.config_type, session.space)
    assert "PER_SM" not in describe_fields(task.spec.config_type, kept)
    rules = describe_rules(task.spec, task.problem, task.hardware, session.space)
    assert rules
    assert not [r for r in rules if len(r) > 160]
