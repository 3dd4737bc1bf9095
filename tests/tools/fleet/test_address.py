"""How several GPUs are named, and what is said where they cannot be had."""

import sys

import pytest

from agent.models.base import Done
from agent.models.embedded import next_move
from tools.fleet.address import FleetAddress, connect, named, parse
from tools.harness.device import DeviceError
from tools.harness.open_device import check_device, open_device


@pytest.mark.parametrize(
    ("device", "address"),
    [
        ("cuda:all", FleetAddress(None, None)),
        ("cuda:all,type=H200", FleetAddress(None, "H200")),
        ("ray:auto", FleetAddress("auto", None)),
        ("ray:10.0.0.1:6379,type=h100", FleetAddress("10.0.0.1:6379", "h100")),
        ("ray:ray://head:10001", FleetAddress("ray://head:10001", None)),
        ("cuda:0", None),
        ("recorded", None),
        ("auto", None),
    ],
)
def test_a_device_string_names_a_fleet_or_not(device, address):
    assert parse(device) == address


def test_options_make_the_device_string():
    assert named(None, "10.0.0.1:6379", "H200") == "ray:10.0.0.1:6379,type=H200"
    assert named("cuda:all", None, "H200") == "cuda:all,type=H200"
    assert named("cuda:0", None, None) == "cuda:0"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("cuda:0", "auto", None), "leave out --device cuda:0"),
        (("cuda:0", None, "H200"), "goes with --ray or --device cuda:all"),
        ((None, None, "H200"), "goes with --ray or --device cuda:all"),
    ],
)
def test_options_that_contradict_are_one_sentence(options, said):
    with pytest.raises(DeviceError, match=said):
        named(*options)


@pytest.mark.parametrize("device", ["ray:", "cuda:all,type="])
def test_half_a_name_is_one_sentence(device):
    with pytest.raises(DeviceError, match=r"write e\.g\."):
        open_device(device, None, None)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match=r"pip install 'triton-autokernel\[ray\]'"):
        connect(FleetAddress(None, None))


def test_without_a_gpu_the_cure_is_not_to_install_ray(monkeypatch):
    monkeypatch.setattr("tools.harness.measuring.telemetry.gpus_present", lambda: 0)
    with pytest.raises(DeviceError, match="no GPU on this machine: use --device recorded"):
        check_device("cuda:all")


def test_a_type_is_a_part_of_the_name_in_any_case():
    assert FleetAddress(None, "h200").fits("NVIDIA H200")
    assert not FleetAddress(None, "h100").fits("NVIDIA H200")


def test_the_planner_fills_every_gpu_and_no_call_beyond_its_limit():
    asked = [Done("query_history", {}, {})]
    counts = [next_move(asked, 100, gpus=n)[1][0]["function"]["arguments"] for n in (1, 2, 8)]
    assert [c.split(": ")[1].rstrip("}") for c in counts] == ["8", "16", "32"]
