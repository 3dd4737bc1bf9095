"""A GPU without published facts, described by what its driver says: here a driver that is made up."""

from types import SimpleNamespace

import pytest

from kernels.hardware import ALL, hardware_for, hardware_named, kept_gpus
from kernels.hardware.architectures import ARCHITECTURES
from kernels.hardware.asked_gpu import DriverSilent, complete, describe
from kernels.hardware.gpu_facts import from_json, to_json
from kernels.registry import get, names


def properties(**other):
    """As ``torch.cuda.get_device_properties`` answers for an H20: 78 SMs of Hopper."""
    about = {
        "name": "NVIDIA H20", "major": 9, "minor": 0, "multi_processor_count": 78, "warp_size": 32,
        "max_threads_per_multi_processor": 2048, "shared_memory_per_multiprocessor": 233472,
        "regs_per_multiprocessor": 65536, "L2_cache_size": 62914560, "total_memory": 102_000_000_000,
    }  # fmt: skip
    return SimpleNamespace(**(about | other))


FIGURES = {"max_shared_mem": 232448, "sm_clock_rate": 1_980_000, "mem_clock_rate": 2_619_000, "mem_bus_width": 6144}
AMD = {"name": "AMD Radeon PRO W7900", "gcnArchName": "gfx1100:sramecc-", "warp_size": 32, "multi_processor_count": 48}
CEILINGS = {"copy_bytes_per_s": 3.5e12, "matmul_flops_per_s": 140e12}


@pytest.fixture
def nothing_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(kept_gpus, "folder", lambda: tmp_path / "gpus")


def test_what_the_driver_says_is_said_to_be_asked():
    h20 = describe(properties(), FIGURES)
    assert (h20.name, h20.arch, h20.sms, h20.blocks_per_sm, h20.has_tma) == ("NVIDIA H20", 90, 78, 32, True)
    assert h20.bandwidth == pytest.approx(4.02e12, rel=0.01)  # its data sheet: 4.0 TB/s
    assert h20.peak["fp16"] == pytest.approx(2 * 78 * 2048 * 1.98e9)
    assert h20.describe_origin("sms") == h20.describe_origin("bandwidth") == "asked of the driver"
    assert h20.describe_origin("bandwidth", "peak") == "asked of the driver, derived from the driver's figures"
    assert hardware_named("H200").describe_origin("bandwidth", "peak") == "H200 datasheet"


@pytest.mark.parametrize("known", ALL, ids=lambda h: h.name)
def test_published_facts_agree_with_those_of_the_architecture(known):
    """Limits are equal, and the clock that a peak implies is one that such chips run at, or half of it where a GeForce
    card accumulates in fp32."""
    architecture = ARCHITECTURES[known.arch]
    assert (known.blocks_per_sm, known.registers_per_sm) == (architecture.blocks, architecture.registers)
    for dtype, peak in known.peak.items():
        clock = peak / (2 * known.sms * architecture.multiply_adds[dtype])
        assert 0.8e9 < clock < 2.7e9, dtype


def test_what_was_measured_takes_the_place_of_what_the_driver_does_not_say():
    quiet = describe(properties(**AMD), {"max_shared_mem": 65536}, hip=True)
    assert (quiet.arch, quiet.bandwidth, quiet.peak) == ("gfx1100", 0, {})
    found = complete(quiet, CEILINGS)
    assert (found.bandwidth, found.peak) == (3.5e12, {"fp16": 140e12, "bf16": 140e12})
    assert found.describe_origin("bandwidth", "peak") == "measured on the card"
    assert "a copy at 3.5 TB/s, fp16 at 140 TFLOP/s" in found.sources[-1]


def test_a_driver_that_states_half_of_the_bandwidth_is_not_believed():
    found = complete(describe(properties(), FIGURES | {"mem_clock_rate": 1_300_000}), CEILINGS)
    assert (found.bandwidth, found.origin("bandwidth"), found.origin("peak")) == (3.5e12, "measured", "derived")


@pytest.mark.parametrize(
    ("change", "figures", "hip", "what"),
    [
        ({}, {}, False, "does not state its shared memory"),
        ({"multi_processor_count": 0}, FIGURES, False, "does not state its SMs"),
        ({"gcnArchName": ""}, FIGURES, True, "does not state its architecture"),
    ],
)
def test_a_driver_that_says_too_little_is_named(change, figures, hip, what):
    with pytest.raises(DriverSilent, match=f"the driver of NVIDIA H20 {what}"):
        describe(properties(**change), figures, hip)


def test_kept_facts_are_found_by_the_driver_s_name_alone(nothing_kept):
    found = complete(describe(properties(), FIGURES), CEILINGS)
    assert hardware_for("NVIDIA H20") is None
    kept_gpus.keep(found)
    assert hardware_for("NVIDIA H20") == hardware_named("NVIDIA H20") == found
    assert hardware_for("NVIDIA H20-3e") is None
    for path in kept_gpus.folder().iterdir():
        path.write_text(path.read_text()[:100])
    assert hardware_for("NVIDIA H20") is None


def test_facts_survive_json_and_others_are_refused():
    found = complete(describe(properties(), FIGURES), CEILINGS)
    assert from_json(to_json(found)) == found
    assert from_json(to_json(hardware_named("MI300X"))) == hardware_named("MI300X")
    for spoilt in ({}, to_json(found) | {"sms": 0}, to_json(found) | {"peak": None}, to_json(found) | {"new": 1}):
        with pytest.raises(ValueError, match=r"fields|above 0|NoneType|values"):
            from_json(spoilt)


@pytest.mark.parametrize("kernel", names())
@pytest.mark.parametrize("arch", [(7, 5), (8, 7), (12, 1), (13, 0)])
def test_every_kernel_has_a_legal_default_and_a_space_there(kernel, arch):
    hardware = describe(properties(major=arch[0], minor=arch[1]), FIGURES | {"max_shared_mem": 101376})
    spec = get(kernel)
    problem = spec.default_problem()
    assert spec.constraint(problem, spec.default_config(problem, hardware), hardware) is None
    assert next(iter(spec.candidates(problem, hardware)), None) is not None
