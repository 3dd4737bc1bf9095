"""Offline compilation: what the compiler makes of the kernels without a GPU."""

import pytest

from kernels import registry
from kernels.gemm.space import GemmConfig, least_shared
from kernels.hardware import hardware_named

pytestmark = pytest.mark.compile


def config(family, bm=128, bn=256, bk=64, warps=8, stages=3, **fields):
    return GemmConfig(
        family=family, BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk, GROUP_M=8, num_warps=warps, num_stages=stages, **fields
    )


BEST_KNOWN = config("persistent_tma", EPILOGUE_SUBTILE=2, FLATTEN=True)
SPLIT = config("split_k", 64, 128, 128, 4, 4, SPLIT_K=2)


SQUARE = registry.get("fused_matmul").default_problem().model_dump()
FP8 = {**SQUARE, "dtype": "fp8", "b_layout": "col", "scales": "row"}
DECODE = {"M": 64, "N": 8192, "K": 8192, "dtype": "bf16", "bias": True, "activation": "silu"}
COLUMN = {**SQUARE, "b_layout": "col", "bias": True, "dtype": "bf16", "activation": "gelu"}
FP8_ODD = {"M": 77, "N": 300, "K": 333, "dtype": "fp8", "b_layout": "col"}
CASES = {
    "pointer": ("fused_matmul", SQUARE, config("pointer", 128, 128)),
    "tma": ("fused_matmul", SQUARE, config("tma")),
    "overlap": ("fused_matmul", SQUARE, config("tma", OVERLAP=True)),
    "persistent_tma": ("fused_matmul", SQUARE, BEST_KNOWN),
    "column": ("fused_matmul", COLUMN, BEST_KNOWN),
    "split_k": ("fused_matmul", DECODE, SPLIT),
    "split_odd": ("matmul", {"M": 64, "N": 4097, "K": 4097}, SPLIT),
    "split_row": ("matmul", {"M": 1, "N": 8192, "K": 8192}, config("split_k", 16, 64, 128, 4, 3, SPLIT_K=16)),
    "fp8": ("fused_matmul", FP8, config("persistent_tma", bk=128, EPILOGUE_SUBTILE=2, FLATTEN=True)),
    "fp8_narrow": ("fused_matmul", {**FP8, "M": 16}, config("tma", 16, 64, 128, 4, 4)),
    "fp8_split": ("fused_matmul", {**FP8, "M": 64}, config("split_k", 64, 256, 128, 8, 4, SPLIT_K=4)),
    "fp8_odd": ("matmul", FP8_ODD, config("pointer", 64, 64)),
    "huge": ("matmul", {"M": 2**16, "N": 2**16, "K": 64}, config("pointer", 128, 128)),
    "one": ("matmul", {"M": 1, "N": 1, "K": 1}, config("pointer", 64, 64, 32, 4, 2)),
}


@pytest.fixture
def hopper(compiled_for):
    """A function: a case by its label, and what the compiler makes of it for an H200."""

    def compiled(label):
        kernel, problem, c = CASES[label]
        return CASES[label], compiled_for("H200", kernel, problem, c.model_dump())

    return compiled


@pytest.mark.sampled(3)
@pytest.mark.parametrize("label", ["tma", "persistent_tma", "column", "split_k", "fp8", "fp8_split"])
def test_descriptor_families_use_warp_group_instructions_and_tma(hopper, label):
    _, answer = hopper(label)
    assert answer["wgmma.mma_async"] > 0
    assert answer["cp.async.bulk.tensor"] > 0


def test_pointer_family_uses_warp_group_instructions_but_no_tma(hopper):
    _, answer = hopper("pointer")
    assert answer["wgmma.mma_async"] > 0
    assert answer["cp.async.bulk.tensor"] == 0


@pytest.mark.sampled(2)
@pytest.mark.parametrize("label", ["split_k", "split_odd", "split_row", "fp8_split"])
def test_a_split_tile_is_two_launches_and_the_second_waits_for_the_first(hopper, label):
    (_, problem, _), answer = hopper(label)
    assert answer["launches"] == ["split_k_pointer" if problem["N"] % 8 else "split_k_tma", "sum_shares"]
    assert answer["waits_first"]


def test_a_launch_that_may_start_early_waits_for_the_one_before_and_no_other_does(hopper):
    assert hopper("overlap")[1]["waits_first"]
    assert not hopper("tma")[1]["waits_first"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("label", ["fp8", "fp8_split", "fp8_odd"])
def test_fp8_operands_are_multiplied_as_they_are(hopper, label):
    assert hopper(label)[1]["e4m3.e4m3"] > 0


def test_fp8_tiles_that_are_too_low_for_warp_groups_compile(hopper):
    assert hopper("fp8_narrow")[1]["mma.sync"] > 0


@pytest.mark.sampled(3)
@pytest.mark.parametrize("label", ["pointer", "tma", "persistent_tma", "column", "split_k", "fp8", "fp8_split"])
def test_estimated_shared_memory_is_a_lower_bound_that_is_nearly_met(hopper, label):
    (_, problem, c), answer = hopper(label)
    least = least_shared(c, hardware_named("H200"), 1 if problem.get("dtype") == "fp8" else 2)
    assert least <= answer["shared"] <= least + 1024


@pytest.mark.sampled(3)
@pytest.mark.parametrize("label", ["pointer", "tma", "persistent_tma", "column", "one", "split_k", "fp8"])
def test_a_launch_on_meta_tensors_compiles_the_kernel_that_a_launch_on_data_needs(hopper, label):
    assert hopper(label)[1]["same_with_data"]


def test_offsets_beyond_31_bits_and_the_smallest_problem_compile(hopper):
    assert hopper("huge")[1]["name"] == hopper("one")[1]["name"] == "gemm_pointer"


def test_pointer_family_compiles_for_cdna3_with_matrix_instructions(compiled_for):
    answer = compiled_for("MI300X", "fused_matmul", SQUARE, config("pointer", 128, 128, stages=2).model_dump())
    assert answer["v_mfma"] > 0
    assert answer["shared"] <= hardware_named("MI300X").shared_per_block
