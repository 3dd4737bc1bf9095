"""Offline compilation: what the compiler makes of the kernels without a GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import registry
from kernels.gemm_space import GemmConfig, least_shared
from kernels.hardware import hardware_named

ROOT = Path(__file__).parents[2]


def config(family, bm=128, bn=256, bk=64, warps=8, stages=3, **fields):
    return GemmConfig(
        family=family, BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk, GROUP_M=8, num_warps=warps, num_stages=stages, **fields
    )


BEST_KNOWN = config("persistent_tma", EPILOGUE_SUBTILE=2, FLATTEN=True)


def compiled(hardware, cases, tmp_path):
    payload = {
        "hardware": hardware,
        "cases": [
            {"kernel": kernel, "problem": problem, "config": c.model_dump(), "allocate": problem["M"] <= 4096}
            for kernel, problem, c in cases
        ],
    }
    child = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compiled"],
        input=json.dumps(payload),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TRITON_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path)},
        timeout=300,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout)


@pytest.fixture(scope="module")
def hopper(tmp_path_factory):
    square = registry.get("fused_matmul").default_problem().model_dump()
    column = {**square, "b_layout": "col", "bias": True, "dtype": "bf16", "activation": "gelu"}
    cases = {
        "pointer": ("fused_matmul", square, config("pointer", 128, 128)),
        "tma": ("fused_matmul", square, config("tma")),
        "persistent_tma": ("fused_matmul", square, BEST_KNOWN),
        "column": ("fused_matmul", column, BEST_KNOWN),
        "huge": ("matmul", {"M": 2**16, "N": 2**16, "K": 64}, config("pointer", 128, 128)),
        "one": ("matmul", {"M": 1, "N": 1, "K": 1}, config("pointer", 64, 64, 32, 4, 2)),
    }
    answers = compiled("H200", cases.values(), tmp_path_factory.mktemp("cache"))
    return {label: (case, answer) for (label, case), answer in zip(cases.items(), answers, strict=True)}


@pytest.mark.parametrize("label", ["tma", "persistent_tma", "column"])
def test_descriptor_families_use_warp_group_instructions_and_tma(hopper, label):
    _, answer = hopper[label]
    assert answer["wgmma.mma_async"] > 0
    assert answer["cp.async.bulk.tensor"] > 0


def test_pointer_family_uses_warp_group_instructions_but_no_tma(hopper):
    _, answer = hopper["pointer"]
    assert answer["wgmma.mma_async"] > 0
    assert answer["cp.async.bulk.tensor"] == 0


@pytest.mark.parametrize("label", ["pointer", "tma", "persistent_tma", "column"])
def test_estimated_shared_memory_is_a_lower_bound_that_is_nearly_met(hopper, label):
    (_, _, c), answer = hopper[label]
    least = least_shared(c, hardware_named("H200"))
    assert least <= answer["shared"] <= least + 1024


@pytest.mark.parametrize("label", ["pointer", "tma", "persistent_tma", "column", "one"])
def test_a_launch_on_meta_tensors_compiles_the_kernel_that_a_launch_on_data_needs(hopper, label):
    assert hopper[label][1]["same_with_data"]


def test_offsets_beyond_31_bits_and_the_smallest_problem_compile(hopper):
    assert hopper["huge"][1]["name"] == hopper["one"][1]["name"] == "gemm_pointer"


def test_pointer_family_compiles_for_cdna3_with_matrix_instructions(tmp_path):
    problem = registry.get("fused_matmul").default_problem().model_dump()
    (answer,) = compiled("MI300X", [("fused_matmul", problem, config("pointer", 128, 128, stages=2))], tmp_path)
    assert answer["v_mfma"] > 0
    assert answer["shared"] <= hardware_named("MI300X").shared_per_block
