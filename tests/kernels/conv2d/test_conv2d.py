"""conv2d: space, reference and tolerance on the CPU, the kernel in Triton's interpreter, and offline compilation."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from kernels import registry
from kernels.conv2d.space import Conv2dConfig
from kernels.hardware import ALL, hardware_named

pytestmark = pytest.mark.compile

SPEC = registry.get("conv2d")
H200 = hardware_named("H200")
SMALL = {"BLOCK_M": 32, "BLOCK_N": 32, "BLOCK_K": 16, "num_warps": 4, "num_stages": 2}
SHAPES = {
    "3x3": ((2, 7, 5, 20, 24, 3, 3), {}),
    "stride": ((1, 9, 8, 3, 17, 5, 3), {"stride": 2, "padding": 0, "bias": True}),
    "dilation": ((3, 6, 6, 33, 40, 3, 3), {"dilation": 2, "padding": 2, "dtype": "bf16", "bias": True}),
    "one": ((1, 1, 1, 1, 1, 1, 1), {"padding": 0}),
    "pointwise": ((2, 8, 8, 16, 16, 1, 1), {"padding": 0, "stride": 3, "dtype": "bf16"}),
    "wide padding": ((1, 2, 3, 16, 32, 2, 5), {"padding": 4}),
}


def problem(shape, options):
    return SPEC.parse_problem(shape, options)


def error(out, reference):
    return ((out.double() - reference).abs().max() / reference.abs().max()).item()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", SHAPES)
def test_the_kernel_is_within_the_tolerance_and_leaves_its_inputs(interpreted, name):
    answer = interpreted("conv2d", problem(*SHAPES[name]).model_dump(), SMALL, seed=list(SHAPES).index(name))
    assert answer["error"] <= answer["bound"], answer
    assert answer["unchanged"]


@pytest.mark.parametrize("name", SHAPES)
def test_the_reference_is_pytorchs_convolution_and_eager_passes(name):
    p = problem(*SHAPES[name])
    inputs = SPEC.inputs(p, torch.Generator().manual_seed(3), "cpu")
    x, w, bias = (None if t is None else t.double() for t in inputs)
    expected = F.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), bias, p.stride, p.padding, p.dilation)
    reference, bound = SPEC.reference(p, inputs), SPEC.tolerance(p)
    torch.testing.assert_close(reference, expected.permute(0, 2, 3, 1), rtol=1e-12, atol=1e-12)
    assert SPEC.output(p, "meta").shape == reference.shape == SPEC.eager(p, inputs).shape
    for baseline in SPEC.baselines(p)[::2]:
        assert error(baseline.prepare(p, inputs)(), reference) <= bound
    assert error(reference.to(p.torch_dtype), reference) <= bound
    assert error(torch.zeros_like(reference), reference) > bound


def test_the_searched_baseline_leaves_cudnn_on(monkeypatch):
    seen = []
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(type(SPEC), "eager", lambda self, p, inputs: seen.append((cudnn.enabled, cudnn.benchmark)))
    (searched,) = (b for b in SPEC.baselines(problem(*SHAPES["3x3"])) if b.name == "cudnn")
    searched.prepare(problem(*SHAPES["3x3"]), ())()
    assert seen == [(True, True)] * 2


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_a_forgotten_tap_bias_or_edge_is_rejected(dtype):
    p = problem((2, 9, 9, 32, 24, 3, 3), {"dtype": dtype, "bias": True})
    x, w, bias = SPEC.inputs(p, torch.Generator().manual_seed(4), "cpu")
    reference, bound = SPEC.reference(p, (x, w, bias)), SPEC.tolerance(p)
    without_tap = w.clone()
    without_tap[:, 0, 2] = 0
    wrapped = F.pad(x.double().permute(0, 3, 1, 2), (1, 1, 1, 1), mode="circular")
    wrapped = F.conv2d(wrapped, w.double().permute(0, 3, 1, 2), bias.double()).permute(0, 2, 3, 1)
    assert error(SPEC.reference(p, (x, without_tap, bias)), reference) > bound
    assert error(SPEC.reference(p, (x, w.flip(1), bias)), reference) > bound
    assert error(SPEC.reference(p, (x, w, torch.zeros_like(bias))), reference) > bound
    assert error(wrapped, reference) > bound


@pytest.mark.parametrize("hardware", ALL, ids=lambda h: h.name)
def test_every_space_is_of_a_size_to_search_and_the_default_is_legal(hardware):
    for shape, options in [*SHAPES.values(), ((32, 56, 56, 256, 256, 3, 3), {}), ((1, 7, 7, 512, 512, 3, 3), {})]:
        p = problem(shape, options)
        space = SPEC.space(p, hardware)
        assert 0 < len(space) <= 400
        assert len(space) == len(set(space))
        assert SPEC.constraint(p, SPEC.default_config(p, hardware), hardware) is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"BLOCK_M": 256}, "tile_M"),
        ({"BLOCK_N": 128}, "tile_N"),
        ({"BLOCK_K": 128}, "tile_K"),
        ({"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64, "num_warps": 2, "num_stages": 1}, None),
    ],
)
def test_each_broken_constraint_is_named(changed, says):
    p = problem((1, 8, 8, 64, 64, 3, 3), {})
    reason = SPEC.constraint(p, Conv2dConfig(**{**SMALL, **changed}), H200)
    assert (reason or "").startswith(f"{says}: ") if says else reason is None


def test_registers_threads_and_shared_memory_are_limits():
    p = SPEC.default_problem()
    big = {"BLOCK_M": 256, "BLOCK_N": 128, "BLOCK_K": 128}
    assert "accumulator_registers" in SPEC.constraint(p, Conv2dConfig(**big, num_warps=2, num_stages=2), H200)
    assert "shared_memory" in SPEC.constraint(p, Conv2dConfig(**big, num_warps=8, num_stages=4), H200)
    assert SPEC.constraint(p, Conv2dConfig(**big, num_warps=8, num_stages=3), H200) is None


def test_a_filter_that_does_not_fit_and_a_problem_too_large_are_refused():
    with pytest.raises(ValidationError, match="does not fit 2x2 pixels"):
        problem((1, 2, 2, 8, 8, 5, 5), {"padding": 1})
    with pytest.raises(ValidationError, match="make N, H, W, C or K smaller"):
        problem((2**20, 1024, 1024, 8, 8, 3, 3), {})


def test_work_is_counted_by_hand():
    p = problem((2, 5, 7, 16, 32, 3, 3), {"stride": 2, "padding": 0, "bias": True})
    assert (p.P, p.Q, p.pixels, p.terms) == (2, 3, 12, 144)
    assert SPEC.flops(p) == 2 * 12 * 32 * 144
    assert SPEC.bytes(p) == 2 * (2 * 5 * 7 * 16 + 32 * 144 + 12 * 32 + 32)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 0}, {"dilation": 3, "padding": 3}])
def test_a_reduced_problem_keeps_edges_and_is_small(options):
    p = problem((32, 57, 55, 200, 250, 3, 3), options)
    for config in SPEC.space(p, H200)[::7]:
        small = SPEC.reduced(p, config)
        assert small.pixels > config.BLOCK_M or small.N == p.N
        assert small.pixels <= 3 * config.BLOCK_M
        assert (small.H + 2 * p.padding) % p.stride == (p.H + 2 * p.padding) % p.stride
        assert small.C % config.BLOCK_K == p.C % config.BLOCK_K
        assert small.K % config.BLOCK_N == p.K % config.BLOCK_N


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["H200", "MI300X"])
def test_the_default_config_and_its_pointer_twin_compile_without_spills_to_matrix_instructions(name, compile_pool):
    hardware = hardware_named(name)
    p = SPEC.default_problem()
    pointer = Conv2dConfig(BLOCK_M=128, BLOCK_N=128, BLOCK_K=64, num_warps=8, num_stages=3)
    made = compile_pool(name).compile(SPEC, p, [SPEC.default_config(p, hardware), pointer])
    for figures in made:
        assert (figures.status, figures.spill_bytes) == ("correct", 0), figures.reason
        assert figures.tensor_core == ("wgmma" if hardware.has_tma else "mfma")
    assert [figures.tma for figures in made] == [hardware.has_tma, False]
