"""Offline compilation of the default configs of the memory-bound kernels and attention, without spills."""

import pytest

from kernels import registry
from kernels.hardware import hardware_named
from tools.harness.compiling.compile_pool import LocalCompilePool

NAMES = ("softmax", "rms_norm", "layer_norm", "swiglu", "attention", "conv2d")


@pytest.fixture(scope="module", params=["H200", "MI300X"])
def compiled(request, tmp_path_factory):
    hardware = hardware_named(request.param)
    pool = LocalCompilePool(hardware, 1, tmp_path_factory.mktemp("cache"))
    found = {}
    for name in NAMES:
        spec = registry.get(name)
        problem = spec.default_problem()
        (found[name],) = pool.compile(spec, problem, [spec.default_config(problem, hardware)])
    yield hardware, found
    pool.close()


@pytest.mark.parametrize("name", NAMES)
def test_default_configs_compile_without_spills(compiled, name):
    _, found = compiled
    assert (found[name].status, found[name].spill_bytes) == ("correct", 0), found[name].reason


def test_attention_uses_matrix_instructions_and_tma_where_there_is_one(compiled):
    hardware, found = compiled
    assert found["attention"].tensor_core == ("wgmma" if hardware.has_tma else "mfma")
    assert found["attention"].tma is hardware.has_tma
