"""Two cards as one device: who measures what, on which scale, and what is lost when an actor dies."""

import os
from collections import Counter

import pytest

from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tests.tools.fleet.scripted import SLOWER
from tools.fleet.address import FleetAddress
from tools.fleet.device import FleetDevice, spread
from tools.harness.device import DeviceError

PROBLEM = AxpyProblem(N=1 << 28)


def opened(tmp_path, factory="worker", device_type=None, **more):
    address = FleetAddress(None, device_type)
    where = f"tests.tools.fleet.scripted:{factory}"
    return FleetDevice.open(address, Faulty(), PROBLEM, cache=tmp_path, factory=where, **more)


@pytest.fixture(scope="module")
def fleet(cluster, tmp_path_factory):
    device = opened(tmp_path_factory.mktemp("cache"), limit=2)
    yield device
    device.close()


def test_both_cards_work_and_answers_keep_the_order(fleet):
    configs = [FaultyConfig(n=n) for n in range(12)]
    found = fleet.measure(configs)
    assert [m.config["n"] for m in found] == list(range(12))
    assert len({m.how.split(" and ")[0] for m in found}) == 2


def test_readings_of_a_slower_card_are_brought_to_the_first_cards_scale(fleet):
    """Raw times of the two cards differ by 10 %, ten times what tells these configs apart."""
    assert spread(fleet.calibrate("burst")) == pytest.approx(SLOWER / ((1 + SLOWER) / 2) - 1, rel=1e-3)
    found = fleet.measure([FaultyConfig(n=n) for n in range(12)])
    times = [m.ms for m in found]
    assert times == sorted(times)
    assert found[5].ms == pytest.approx(1.005 * found[0].ms, rel=1e-3)
    assert {float(m.how.split("scaled by ")[1].split(",")[0]) for m in found} > {1.0}


def test_finalists_contend_and_are_proven_on_one_card(fleet):
    near, best = fleet.contend([FaultyConfig(n=1), FaultyConfig(n=0)])
    assert best.ms < near.ms
    assert near.how == best.how
    proof = fleet.prove(FaultyConfig(), max_seconds=2)
    assert proof.comparisons[0].speedup == pytest.approx(2.0, rel=1e-3)


def test_a_hang_costs_a_child_and_not_the_actor(cluster, tmp_path):
    device = opened(tmp_path, deadline_s=1.0)
    try:
        actors = [w.actor for w in device.fleet.workers]
        hung, good = device.measure([FaultyConfig(fault="never_ends"), FaultyConfig()])
        assert (hung.status, good.status) == ("timeout", "correct")
        assert "was killed" in hung.reason
        assert [w.actor for w in device.fleet.workers] == actors
    finally:
        device.close()


def test_an_actor_that_dies_costs_nothing_when_the_second_try_succeeds(fleet):
    configs = [FaultyConfig(n=100, fault="exit"), *(FaultyConfig(n=n) for n in range(8))]
    found = fleet.measure(configs)
    assert Counter(m.status for m in found) == {"correct": 9}
    assert fleet.fleet.deaths == 1


def test_a_config_that_kills_two_actors_is_infrastructure_and_the_others_are_measured(cluster, tmp_path, monkeypatch):
    device = opened(tmp_path, "deadly")
    try:
        found = device.measure([FaultyConfig(n=101, fault="exit"), *(FaultyConfig(n=n) for n in range(6))])
        assert [m.status for m in found] == ["infrastructure", *["correct"] * 6]
        assert "died 2 times" in found[0].reason
        assert device.fleet.deaths == 2
    finally:
        device.close()


def test_a_mixed_fleet_asks_for_the_type(cluster, tmp_path):
    with pytest.raises(DeviceError, match=r"1 NVIDIA H100 80GB HBM3, 1 NVIDIA H200.*--device-type"):
        opened(tmp_path, "mixed")
    with pytest.raises(DeviceError, match="no B200 in the fleet"):
        opened(tmp_path, "mixed", "B200")
    device = opened(tmp_path, "mixed", "h100")
    try:
        assert device.info.hardware == "H100"
        assert len(device.fleet.workers) == 1
    finally:
        device.close()


def test_a_stream_of_configs_is_drawn_from_as_workers_have_room(fleet):
    drawn = []

    def stream():
        for n in range(20):
            drawn.append(n)
            yield FaultyConfig(n=n)

    answers = fleet.measure_iter(stream())
    next(answers)
    assert len(drawn) < 20
    assert len(list(answers)) == 19


def test_no_free_gpu_is_one_sentence(cluster, fleet, tmp_path):
    device = opened(tmp_path)
    try:
        with pytest.raises(DeviceError, match="all 4 GPUs of the cluster are in use"):
            opened(tmp_path)
    finally:
        device.close()


def test_the_environment_is_the_one_of_a_single_gpu(fleet):
    assert (fleet.info.kind, fleet.info.name, fleet.hardware.name) == ("live", "NVIDIA H200", "H200")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
