"""The matmul cost model against what is known of real cards."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest

from kernels.gemm.space import PERSISTENT, GemmConfig, GemmProblem, tiles
from kernels.hardware import hardware_named
from tests.bench.planner_spaces import PLAIN, load
from tests.tools.planner.problems import BEST, H200, SPEC, SQUARE, STRANGE, StrangeProblem, changed, costs, ms, times
from tools.harness.landscapes.named import find_landscape, folder
from tools.harness.results import CompileResult
from tools.planner.cost.launch_geometry import read_launch, read_tiles
from tools.planner.cost.lookup import physics_of
from tools.planner.cost.matmul_cost import multiply_adds_per_clock


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A100", 1024),
        ("H100", 2048),
        ("H200", 2048),
        ("B200", 4096),
        ("MI300X", 1024),
        ("L40S", 512),
        ("RTX 4090", 256),
    ],
)
def test_tensor_core_rate_follows_from_the_peak(name, expected):
    hardware = hardware_named(name)
    assert multiply_adds_per_clock(hardware.peak["fp16"], hardware.sms) == expected


def test_cost_model_ranks_the_known_hopper_winner_high():
    space = SPEC.space(SQUARE, H200)
    order = np.argsort(times(space), kind="stable")[:20]
    top = [space[i] for i in order]
    assert sum((c.BLOCK_M, c.BLOCK_N, c.BLOCK_K, c.num_warps) == (128, 256, 64, 8) for c in top) >= 5
    assert all(c.family in PERSISTENT for c in top)
    assert ms(BEST) < 1.06 * ms(top[0])


def test_absolute_time_is_within_a_third_of_what_was_measured():
    assert ms(BEST) == pytest.approx(0.1854, rel=0.33)
    decode = changed(BEST, family="tma", BLOCK_M=64, BLOCK_N=64, num_stages=6, EPILOGUE_SUBTILE=1, FLATTEN=False)
    assert ms(decode, GemmProblem(M=64, N=8192, K=8192)) == pytest.approx(0.0446, rel=0.33)


def test_no_estimate_is_below_the_physical_floor():
    for name in ("A100", "H200", "B200", "MI300X", "RTX 4090"):
        hardware = hardware_named(name)
        for problem in (SQUARE, GemmProblem(M=64, N=8192, K=8192), GemmProblem(M=1, N=1, K=1)):
            floor = 2e3 * problem.M * problem.N * problem.K / hardware.peak["fp16"]
            found = costs(SPEC.space(problem, hardware), problem, hardware)[0].ms
            assert np.all(found > floor), (name, problem)
            assert np.all(np.isfinite(found)), (name, problem)


def test_spilling_accumulators_are_slow_before_and_after_compilation():
    four_warps = changed(BEST, num_warps=4)
    assert ms(four_warps) > 1.25 * ms(BEST)
    figures = CompileResult(
        config=four_warps.model_dump(),
        status="correct",
        registers=255,
        spill_bytes=2056,
        shared_bytes=180_000,
        blocks_per_sm=1,
        warnings=["(C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized"],
    )
    known, _ = costs([four_warps], compiled={0: figures})
    assert known.ms[0] > 3 * ms(BEST)


def test_descriptors_beat_pointers_by_about_what_was_measured():
    tma = changed(BEST, family="tma", EPILOGUE_SUBTILE=1, FLATTEN=False)
    assert 1.05 < ms(changed(tma, family="pointer")) / ms(tma) < 1.3


def test_two_long_stages_are_slower_than_three_short_ones():
    assert ms(changed(BEST, BLOCK_K=128, num_stages=2, EPILOGUE_SUBTILE=4)) > 1.1 * ms(BEST)


def test_deeper_pipelines_never_hurt_while_they_fit():
    depths = [changed(BEST, BLOCK_M=64, BLOCK_N=64, num_stages=s) for s in (2, 3, 4, 5, 6)]
    found = times(depths, GemmProblem(M=64, N=8192, K=8192))
    assert np.all(np.diff(found) <= 0)


def test_a_tail_of_one_tile_costs_a_whole_wave():
    full, spilled_over = GemmProblem(M=128 * 12, N=256 * 11, K=4096), GemmProblem(M=128 * 12 + 1, N=256 * 11, K=4096)
    assert 132 == 12 * 11
    assert ms(BEST, spilled_over) > 1.5 * ms(BEST, full)


def test_small_blocks_without_warp_groups_lose_wgmma():
    narrow = changed(BEST, BLOCK_M=32, BLOCK_N=256, num_warps=4, family="tma", EPILOGUE_SUBTILE=1, FLATTEN=False)
    _, launch = costs([narrow, changed(narrow, BLOCK_M=64), changed(narrow, BLOCK_M=64, num_warps=2)])
    assert list(launch.tensor_core) == ["mma.sync", "wgmma", "mma.sync"]


def test_unaligned_rows_make_pointer_loads_slow():
    pointer = changed(BEST, family="pointer", EPILOGUE_SUBTILE=1, FLATTEN=False)
    assert ms(pointer, GemmProblem(M=4096, N=4095, K=4095)) > 1.5 * ms(pointer)


def test_decode_shape_prefers_little_padding_and_enough_blocks():
    problem = GemmProblem(M=64, N=8192, K=8192)
    space = SPEC.space(problem, H200)
    top = [space[i] for i in np.argsort(times(space, problem), kind="stable")[:10]]
    assert all(c.BLOCK_M <= 64 for c in top)
    assert all(tiles(64, 8192, c) * c.SPLIT_K >= 100 for c in top)
    assert median(c.num_stages for c in top) >= 4


def test_compile_figures_replace_estimates():
    known = CompileResult(
        config={}, status="correct", registers=200, spill_bytes=0, shared_bytes=90_000, blocks_per_sm=2
    )
    _, launch = costs([BEST, BEST], compiled={1: known})
    assert launch.registers[1] == 200 != launch.registers[0]
    assert list(launch.blocks_per_sm) == [1, 2]
    assert list(launch.compiled) == [False, True]


def test_failed_compilation_gives_no_figures():
    broken = CompileResult(config={}, status="compile", registers=10, shared_bytes=10)
    _, launch = costs([BEST], compiled={0: broken})
    assert not launch.compiled[0]


def test_foreign_configs_have_no_cost_model():
    assert read_tiles(StrangeProblem(), STRANGE) is None
    assert read_tiles(SQUARE, STRANGE) is None
    assert read_tiles(StrangeProblem(), [BEST]) is None


def test_shared_memory_of_the_landscape_is_foretold():
    """Every config that the compiler refused for want of shared memory, and no other."""
    landscape = find_landscape(None, SPEC.name, SPEC.default_problem())
    by_config = {GemmConfig.model_validate(e.config): e for e in landscape.entries.values()}
    fits = read_launch(read_tiles(SQUARE, list(by_config)), H200, {}).fits
    refused = [e.status == "compile" and "shared memory" in e.reason for e in by_config.values()]
    assert sum(refused) >= 10
    assert [not f for f in fits] == refused


def test_a_launch_of_one_wave_has_no_use_for_persistence():
    small = GemmProblem(M=1024, N=1024, K=1024)
    once = changed(BEST, family="tma", BLOCK_M=64, BLOCK_N=128, num_warps=4, EPILOGUE_SUBTILE=1, FLATTEN=False)
    assert ms(once, small) < ms(changed(once, family="persistent_tma"), small)


@pytest.mark.parametrize(
    "name",
    [
        "fused_matmul-4096x4096x4096-fp16-h200",
        "fused_matmul-4096x4096x4096-fp8-h200",
        "fused_matmul-8192x4096x4096-bf16-h200",
        "fused_matmul-64x8192x8192-bf16-h200",
        "fused_matmul-1024x1024x1024-fp16-h200",
        "rms_norm-32768x4096-fp16-h200",
        "attention-4x32x4096x128-fp16-h200",
    ],
)
def test_before_any_measurement_one_of_four_is_within_five_percent(name):
    space = load(folder() / f"{name}.json.gz", PLAIN)
    known = physics_of(space.task.problem, space.task.hardware, space.configs)
    first = np.argsort(known.ms, kind="stable")[:4]
    assert min(space.times[space.configs[i]] for i in first) < 1.05 * space.optimum
