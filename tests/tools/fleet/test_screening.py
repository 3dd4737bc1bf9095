"""A sweep over a fleet with every attempt in memory."""

import pytest

from memory.store import Memory
from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tests.tools.fleet.test_fleet_device import opened
from tools.fleet.screening import screen
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task

pytestmark = pytest.mark.process

PROBLEM = AxpyProblem(N=1 << 28)


@pytest.fixture
def session(cluster, tmp_path):
    device = opened(tmp_path, limit=2)
    memory = Memory.open(tmp_path / "memory.db")
    ids = Ids.of(memory, device.info, Faulty(), PROBLEM)
    memory.start_run("sweep", "sweep", {}, "none", ids.environment, ids.problem, {})
    task = Task(Faulty(), PROBLEM, device.hardware, "gbps")
    pool = LocalCompilePool(device.hardware, workers=1, cache=tmp_path)
    yield Session(task, device, pool, memory, ids, "sweep", Budget(), lambda line: None)
    device.close()
    pool.close()
    memory.close()


def statuses(memory):
    return {r["status"]: r["n"] for r in memory.ask("SELECT status, count(*) AS n FROM attempts GROUP BY status")}


def test_every_attempt_has_its_row_and_a_config_may_come_twice(session):
    configs = [FaultyConfig(n=n % 20) for n in range(40)]
    found = list(screen(session, session.device, configs, "sweep"))
    assert len(found) == 40
    assert statuses(session.memory) == {"correct": 40}


def test_rows_are_pending_before_and_what_was_answered_is_kept_when_the_sweep_is_left(session):
    answers = screen(session, session.device, (FaultyConfig(n=n) for n in range(40)), "sweep")
    next(answers)
    assert statuses(session.memory)["pending"] >= 1
    answers.close()
    assert statuses(session.memory)["correct"] == 1


def test_a_session_spreads_a_batch_over_the_cards(session):
    assert session.gpus == 2
    found = session.device.measure([FaultyConfig(n=n) for n in range(10)])
    assert len({m.how.split(" and ")[0] for m in found}) == 2
