"""Offline compilation of the default configs of the memory-bound kernels and attention, without spills."""

import pytest

from kernels import registry
from kernels.hardware import hardware_named

pytestmark = pytest.mark.compile

NAMES = ("softmax", "rms_norm", "layer_norm", "swiglu", "attention", "conv2d")


GPUS = ("H200", "MI300X")


@pytest.fixture
def compiled(compile_pool):
    """A function: the hardware of that name, and what a kernel's default config becomes there."""

    def compile_(gpu, name):
        hardware, spec = hardware_named(gpu), registry.get(name)
        problem = spec.default_problem()
        return hardware, *compile_pool(gpu).compile(spec, problem, [spec.default_config(problem, hardware)])

    return compile_


@pytest.mark.sampled(3)
@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("name", NAMES)
def test_default_configs_compile_without_spills(compiled, name, gpu):
    _, figures = compiled(gpu, name)
    assert (figures.status, figures.spill_bytes) == ("correct", 0), figures.reason


@pytest.mark.parametrize("gpu", GPUS)
def test_attention_uses_matrix_instructions_and_tma_where_there_is_one(compiled, gpu):
    hardware, figures = compiled(gpu, "attention")
    assert figures.tensor_core == ("wgmma" if hardware.has_tma else "mfma")
    assert figures.tma is hardware.has_tma
