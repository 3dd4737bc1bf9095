"""A live device on a GPU without published facts: a real child process plays the card, whose ceilings are measured
once."""

import json

import pytest

from kernels.hardware import hardware_named, kept_gpus
from kernels.hardware.asked_gpu import complete, describe
from kernels.hardware.gpu_facts import to_json
from memory.shared_models import DeviceInfo
from memory.store import Memory
from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tests.kernels.test_asked_gpu import CEILINGS, FIGURES, properties
from tools.harness.device import DeviceError
from tools.harness.devices.live import LiveDevice
from tools.harness.measuring.floor import implausible
from tools.harness.measuring.unlisted_gpu import adopt_facts, find_facts

ASKED = describe(properties(), FIGURES)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """How often the ceilings were measured."""
    monkeypatch.setattr(kept_gpus, "folder", lambda: tmp_path / "gpus")
    return []


def find(calls, asked=ASKED):
    answer = {"name": asked.name, "facts": to_json(asked)}
    return find_facts(answer, lambda: calls.append(1) or CEILINGS)


def test_ceilings_are_measured_once_and_kept(measured):
    found = find(measured)
    assert find(measured) == found == hardware_named("NVIDIA H20")
    assert len(measured) == 1


def test_a_driver_that_says_something_else_is_asked_and_the_card_measured_anew(measured):
    find(measured)
    other = find(measured, describe(properties(multi_processor_count=60), FIGURES))
    assert (other.sms, len(measured)) == (60, 2)
    slow = FIGURES | {"mem_clock_rate": 0}
    assert find(measured, describe(properties(), slow)).origin("bandwidth") == "measured"
    assert find(measured, describe(properties(), slow))
    assert len(measured) == 3


def test_a_card_with_published_facts_is_never_measured(measured):
    assert find_facts({"name": "NVIDIA H200"}, lambda: measured.append(1)).name == "H200"
    assert not measured


def test_ceilings_that_could_not_be_measured_end_the_start_with_their_reason(measured):
    answer = {"name": ASKED.name, "facts": to_json(ASKED)}
    with pytest.raises(DeviceError, match=r"ceilings of NVIDIA H20 could not be measured: out of memory"):
        find_facts(answer, lambda: {"status": "runtime", "reason": "out of memory"})


def test_facts_travel_with_a_reading_and_the_card_s_own_are_not_overwritten(measured, tmp_path):
    found = complete(ASKED, CEILINGS)
    info = DeviceInfo(kind="recorded", name=found.name, hardware=found.name, facts=to_json(found))
    assert adopt_facts(info) == found == hardware_named("NVIDIA H20")
    other = info.model_copy(update={"facts": to_json(found) | {"sms": 4}})
    assert adopt_facts(other) == found
    with Memory.open(tmp_path / "m.db").write():
        pass
    memory = Memory.open(tmp_path / "m.db")
    first = memory.environment(info.model_dump())
    assert memory.environment(other.model_dump()) == first  # measured: no part of what tells environments apart
    [row] = memory.ask("SELECT facts FROM environments")
    assert json.loads(row["facts"])["sms"] == 78


def test_a_time_is_implausible_by_what_is_known_of_the_card(measured):
    spec, problem = Faulty(), AxpyProblem(N=1 << 28)
    asked = complete(ASKED, CEILINGS)
    quiet = complete(describe(properties(), FIGURES | {"mem_clock_rate": 0}), CEILINGS)
    at = spec.bytes(problem) / 3.5e12 * 1e3  # as fast as a copy
    assert implausible(spec, problem, asked, at, "burst") is None
    assert implausible(spec, problem, quiet, 0.8 * at, "burst") is None  # a kernel that mostly reads beats a copy
    assert "measured on the card" in implausible(spec, problem, quiet, 0.7 * at, "burst")


@pytest.mark.process
def test_a_run_on_a_card_that_nobody_has_entered(measured, tmp_path):
    def opened():
        factory = "tests.tools.scripted_unlisted:unlisted"
        return LiveDevice.open("cuda:0", Faulty(), AxpyProblem(N=1 << 28), tmp_path / "cache", factory)

    live = opened()
    try:
        assert (live.info.hardware, live.info.facts["sms"]) == ("NVIDIA H20", 78)
        assert live.hardware.describe_origin("bandwidth", "peak").startswith("asked of the driver")
        assert live.measure([FaultyConfig()])[0].status == "correct"
        assert live.compile_pool().hardware == live.hardware
    finally:
        live.close()
    assert "measured on NVIDIA H20: a copy at 3.5 TB/s" in hardware_named("NVIDIA H20").sources[-1]
