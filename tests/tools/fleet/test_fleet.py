"""The driver's books, with actors that hang, vanish or never come up."""

import os
import time

import pytest

from tools.fleet.fleet import Fleet, Job, Worker

ray = pytest.importorskip("ray", reason="several GPUs need triton-autokernel[ray]")


class Actor:
    """Does as it is told."""

    def __init__(self, comes_up=True):
        if not comes_up:
            os._exit(1)

    def hello(self):
        return {"card": "none"}

    def answer(self, n):
        return {"n": n}

    def hang(self):
        time.sleep(600)

    def vanish(self):
        os._exit(1)

    def fail(self):
        raise KeyError("our own mistake")


@pytest.fixture
def fleet(cluster):
    actor = ray.remote(num_cpus=0)(Actor)
    fleet = Fleet(ray, [Worker(actor.remote) for _ in range(2)])
    fleet.greet(60)
    yield fleet
    fleet.close()


def test_an_actor_that_hangs_is_replaced_and_its_job_is_infrastructure(fleet):
    jobs = [Job("hang", (), 1.0), *(Job("answer", (n,), 60.0) for n in range(20))]
    found = dict(fleet.run(jobs))
    assert found[jobs[0]]["status"] == "infrastructure"
    assert "did not answer in time" in found[jobs[0]]["reason"]
    assert [found[j]["n"] for j in jobs[1:]] == list(range(20))
    assert fleet.deaths == 2


def test_jobs_that_end_every_actor_end_and_the_fleet_lives(fleet):
    jobs = [Job("vanish", (), 60.0) for _ in range(3)]
    assert {answer["status"] for _, answer in fleet.run(jobs)} == {"infrastructure"}
    [(_, answer)] = fleet.run([Job("answer", (7,), 60.0)])
    assert answer == {"n": 7}


def test_a_mistake_of_ours_is_raised(fleet):
    with pytest.raises(RuntimeError, match="our own mistake"):
        list(fleet.run([Job("fail", (), 60.0)]))


def test_what_a_caller_left_behind_is_not_anothers_answer(fleet):
    answers = fleet.run(Job("answer", (n,), 60.0) for n in range(10))
    next(answers)
    answers.close()
    assert [a["n"] for _, a in fleet.run([Job("answer", (99,), 60.0)])] == [99]


def test_without_any_actor_every_job_is_answered(cluster):
    actor = ray.remote(num_cpus=0)(Actor)
    fleet = Fleet(ray, [Worker(lambda: actor.remote(False))])
    fleet.greet(60)
    answers = [a for _, a in fleet.run(Job("answer", (n,), 60.0) for n in range(3))]
    assert [a["status"] for a in answers] == ["infrastructure"] * 3
    assert "no worker" in answers[0]["reason"]
