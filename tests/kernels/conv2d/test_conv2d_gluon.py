"""conv2d's family ``warp_specialized``: constraints and candidates, what the compiler makes of it, results on a GPU."""

from itertools import product

import pytest
import torch

from kernels import registry
from kernels.conv2d.config import Conv2dConfig
from kernels.conv2d.gluon_space import accumulator_registers, candidates, constraint, programs, shared_bytes, tiles
from kernels.gemm.gluon_space import BARRIERS_BYTES
from kernels.hardware import hardware_for, hardware_named
from tools.harness.checking.verify import fault

pytestmark = pytest.mark.compile

H200 = hardware_named("H200")
SPEC = registry.get("conv2d")


def problem(n=32, h=56, w=56, c=256, k=256, r=3, s=3, **options):
    return SPEC.parse_problem((n, h, w, c, k, r, s), options)


def config(bm=128, bn=256, bk=64, warps=8, stages=4, subtile=4, **fields):
    return Conv2dConfig(
        family="warp_specialized",
        BLOCK_M=bm,
        BLOCK_N=bn,
        BLOCK_K=bk,
        num_warps=warps,
        num_stages=stages,
        EPILOGUE_SUBTILE=subtile,
        **fields,
    )


ONE = config()
WHOLE = config(stages=3, subtile=1)
HALVES = config(CONSUMERS=2)
TALL = config(bm=256, bn=128, subtile=2, stages=3, CONSUMERS=2)
TURNS = config(bn=128, subtile=2, CONSUMERS=2)
NARROW = config(bm=64, bn=64, warps=4, subtile=1)
DEEP = config(bm=64, bn=128, bk=128, warps=4, subtile=2, stages=4)
VARIANTS = {
    "one": ONE, "whole": WHOLE, "halves": HALVES, "tall": TALL, "turns": TURNS, "narrow": NARROW, "deep": DEEP
}  # fmt: skip

SHAPES = {
    "whole": problem(4, 16, 16, 64, 256),
    "pointwise": problem(4, 16, 16, 128, 256, 1, 1, padding=0),
    "ragged": problem(3, 13, 11, 40, 72, bias=True),
    "no padding": problem(2, 9, 20, 96, 136, padding=0, bias=True, dtype="bf16"),
    "dilation": problem(2, 15, 14, 64, 64, dilation=2, padding=2, dtype="bf16"),
    "wide filter": problem(1, 6, 9, 16, 80, 2, 5, padding=4, bias=True),
    "one image": problem(1, 7, 7, 512, 256),
    "one pixel": problem(1, 1, 1, 8, 8, 1, 1, padding=0),
}


def test_a_descriptor_takes_no_stride_from_a_dimension_of_size_one():
    gluon = pytest.importorskip("kernels.conv2d.gluon")
    x = torch.empty(4, 16, 1, 1).half().permute(0, 2, 3, 1)
    assert x.is_contiguous()
    assert x.stride(2) == 1
    assert gluon.descriptor(x, [4, 1, 1, 16], [64, 1, 1, 32]).strides == [16, 16, 16, 1]


@pytest.mark.parametrize("hardware", ["A100", "B200", "MI300X"])
def test_other_gpus_are_a_named_constraint_and_have_no_candidates(hardware):
    h = hardware_named(hardware)
    assert SPEC.constraint(problem(), ONE, h).startswith("gluon_hardware: ")
    assert list(candidates(problem(), h)) == []
    assert SPEC.default_config(problem(), h).family == "pointer"


def test_a_triton_without_gluon_is_a_named_constraint(monkeypatch):
    monkeypatch.setattr("kernels.gemm.gluon_space.has_gluon", lambda: False)
    assert SPEC.constraint(problem(), ONE, H200).startswith("gluon_missing: ")
    assert SPEC.default_config(problem(), H200).family == "pointer"


@pytest.mark.parametrize(
    ("p", "broken", "name"),
    [
        (problem(stride=2), ONE, "box_stride"),
        (problem(c=100), ONE, "tma_alignment"),
        (problem(k=260), ONE, "tma_alignment"),
        (problem(), config(bk=16), "tile_K"),
        (problem(), config(bn=32, subtile=4), "subtile_width"),
        (problem(k=64), ONE, "tile_N"),
        (problem(1, 7, 7), config(bn=128, subtile=2), "tile_M"),
        (problem(), config(warps=2), "consumer_warps"),
        (problem(), config(bm=64), "consumer_rows"),
        (problem(), config(warps=4), "consumer_registers"),
        (problem(), config(bn=128, stages=1), "consumer_stages"),
        (problem(), config(stages=5), "shared_memory"),
        (problem(), Conv2dConfig(**{**ONE.model_dump(), "family": "pointer"}), "unused_field"),
        (problem(), Conv2dConfig(**{**TURNS.model_dump(), "family": "pointer", "EPILOGUE_SUBTILE": 1}), "unused_field"),
    ],
)
def test_what_the_family_cannot_do_has_a_name(p, broken, name):
    assert SPEC.constraint(p, broken, H200).startswith(f"{name}: ")


def test_what_is_no_matmul_of_a_legal_size_can_still_be_asked_about():
    huge = problem(2**9, 1024, 1024, 1024, 64, 64, 64, padding=32)
    assert huge.pixels * huge.terms > 2**40
    assert SPEC.constraint(huge, config(bn=64, subtile=1), H200) is None


@pytest.mark.parametrize("p", [problem(), *SHAPES.values()], ids=["default", *SHAPES])
def test_candidates_are_at_most_forty_different_configs_that_break_none_of_the_familys_constraints(p):
    found = list(candidates(p, H200))
    assert 0 < len(found) == len(set(found)) <= 40
    assert all(constraint(p, c, H200) is None for c in found)
    assert any(c in SPEC.space(p, H200) for c in found)


def test_a_stride_leaves_the_pointer_family_alone():
    p = problem(stride=2)
    assert {c.family for c in SPEC.space(p, H200)} == {"pointer"}
    assert SPEC.default_config(p, H200).family == "pointer"


def test_candidates_of_the_default_problem_hold_every_arrangement_and_the_default():
    found = set(candidates(problem(), H200))
    assert {ONE, WHOLE, HALVES} < found
    assert {c.BLOCK_M for c in found} == {64, 128, 256}
    assert SPEC.default_config(problem(), H200) in found


def test_a_default_tile_leaves_no_sm_idle_if_a_smaller_one_would_not():
    for p in (problem(), problem(8, 28, 28), problem(8, 28, 28, 64, 128)):
        assert tiles(p, SPEC.default_config(p, H200)) >= H200.sms
    assert SPEC.default_config(problem(1, 7, 7), H200).BLOCK_M == 64


def test_work_is_shared_out_by_tiles():
    assert tiles(problem(), ONE) == 784  # 32 x 7 x 7 / 2 boxes of 2 x 8 x 8 pixels
    assert programs(problem(), ONE, H200) == 131  # six rounds
    assert (accumulator_registers(ONE), accumulator_registers(TURNS)) == (128, 128)


def test_it_says_why_it_cannot_be_interpreted():
    assert "Gluon" in SPEC.interpretable(ONE)
    assert SPEC.interpretable(Conv2dConfig(BLOCK_M=64, BLOCK_N=64, BLOCK_K=64, num_warps=4, num_stages=3)) is None


CASES = {name: (problem(), c) for name, c in VARIANTS.items()}
CASES["bias"] = (problem(3, 13, 11, 40, 264, dilation=2, bias=True, dtype="bf16"), HALVES)


@pytest.fixture
def compiled(compile_pool):
    """A function: the config of a case and its figures."""

    def compile_(name):
        p, c = CASES[name]
        return c, compile_pool("H200").compile(SPEC, p, [c])[0]

    return compile_


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CASES)
def test_every_arrangement_compiles_to_asynchronous_matrix_instructions_without_spills(compiled, name):
    c, figures = compiled(name)
    assert figures.status == "correct", figures.reason
    assert (figures.tensor_core, figures.tma, figures.spill_bytes, figures.stack_bytes) == ("wgmma", True, 0, 0)
    assert not [w for w in figures.warnings if "C75" in w or "serialized" in w or "maxnreg" in w]
    assert figures.num_warps == c.num_warps + 4  # the producer's warp group


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CASES)
def test_shared_memory_is_that_of_the_ring_the_staging_buffers_and_the_barriers(compiled, name):
    c, figures = compiled(name)
    assert 0 < figures.shared_bytes - shared_bytes(c) <= BARRIERS_BYTES


@pytest.mark.long
def test_a_launch_on_meta_tensors_compiles_the_kernel_that_a_launch_on_data_needs(compiled_for):
    answer = compiled_for("H200", "conv2d", SHAPES["ragged"].model_dump(), TURNS.model_dump())
    assert (answer["name"], answer["same_with_data"]) == ("conv2d_warp_specialized", True)


@pytest.fixture(scope="module")
def ahead(compile_ahead):
    return compile_ahead(SPEC, product(SHAPES.values(), VARIANTS.values()))


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() != (9, 0), reason="needs a Hopper GPU"
)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", VARIANTS)
def test_results_are_those_of_the_reference_on_whole_and_ragged_shapes(ahead, name, shape):
    """Tiles much larger than the problem included: they are no choice, and right all the same."""
    hardware, p = hardware_for(torch.cuda.get_device_name()), SHAPES[shape]
    ahead.wait(p, VARIANTS[name])
    inputs = SPEC.inputs(p, torch.Generator("cuda").manual_seed(0), "cuda")
    out = SPEC.output(p, "cuda").fill_(float("nan"))
    SPEC.launch(p, VARIANTS[name], inputs, out, hardware)
    assert fault(SPEC, p, out, inputs)[0] == ""


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() != (9, 0), reason="needs a Hopper GPU"
)
def test_an_infinite_weight_of_the_next_tap_does_not_leak_past_the_last_channel():
    p, hardware = SHAPES["ragged"], hardware_for(torch.cuda.get_device_name())
    x, w, bias = SPEC.inputs(p, torch.Generator("cuda").manual_seed(0), "cuda")
    w[5, 2, 2] = float("inf")
    out = SPEC.output(p, "cuda")
    SPEC.launch(p, TURNS, (x, w, bias), out, hardware)
    finite = torch.arange(p.K, device="cuda") != 5
    assert out[..., finite].isfinite().all()
    inside = x[:, 1:, 1:].ne(0).all(-1)
    assert not out[:, :-1, :-1, 5][inside].isfinite().any()
