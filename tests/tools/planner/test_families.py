"""Families and dtypes beyond the plain tiled matmul: split K, warps with roles, fp8, convolutions."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.conv2d.space import Conv2dConfig, Conv2dProblem
from kernels.gemm.space import GemmConfig, GemmProblem
from kernels.gemm.stream_k_schedule import schedule
from kernels.grouped.config import GroupedProblem
from kernels.grouped.space import candidates
from kernels.grouped.trimmed_space import shared_bytes
from tests.tools.planner.problems import BEST, H200, SQUARE, changed, costs, ms
from tools.planner.cost.launch_geometry import BARRIER_BYTES, read_launch, read_tiles, shared_need
from tools.planner.cost.matmul_cost import estimate, memory_reads, sum_ms

LONG = GemmProblem(M=64, N=256, K=65536)
"""Four tiles of 64x64: alone they leave 128 of 132 SMs idle."""
SMALL_TILE = GemmConfig(family="tma", BLOCK_M=64, BLOCK_N=64, BLOCK_K=64, GROUP_M=8, num_warps=4, num_stages=5)
ROLES = changed(BEST, family="warp_specialized", FLATTEN=False, num_stages=4, EPILOGUE_SUBTILE=4)


def split(ways):
    return changed(SMALL_TILE, family="split_k", SPLIT_K=ways)


def fp8(**sizes):
    return GemmProblem(**sizes, dtype="fp8", b_layout="col")


def test_splitting_k_fills_idle_sms_and_stops_paying_once_they_are_full():
    found = [ms(SMALL_TILE, LONG), *(ms(split(ways), LONG) for ways in (2, 4, 8, 16))]
    assert found == sorted(found, reverse=True)
    assert found[0] > 4 * found[-1]
    assert ms(changed(BEST, family="split_k", SPLIT_K=4, EPILOGUE_SUBTILE=1, FLATTEN=False)) > 1.05 * ms(BEST)


def test_a_split_counts_its_programs_and_its_share_of_k():
    tiles = read_tiles(LONG, [SMALL_TILE, split(8)])
    assert list(tiles.count) == [4, 32]
    assert list(tiles.k_steps) == [1024, 128]
    cost = estimate(tiles, read_launch(tiles, H200, {}), H200, "fp16")
    assert cost.fill[1] == pytest.approx(8 * cost.fill[0], rel=0.5)


def test_shares_of_a_split_read_each_operand_once():
    tiles = read_tiles(LONG, [SMALL_TILE, split(16)])
    reads = memory_reads(tiles, np.minimum(132.0, tiles.count), H200.l2_bytes)
    assert reads[1] == pytest.approx((64 + 256) * 65536 * 2)


def test_the_second_kernel_of_a_split_costs_more_where_l2_cannot_hold_the_shares():
    wide = GemmProblem(M=8192, N=8192, K=8192)
    tiles = read_tiles(wide, [changed(BEST, EPILOGUE_SUBTILE=1), *(split(w) for w in (2, 4))])
    none, two, four = sum_ms(tiles, H200, 1.8e9)
    assert none == 0
    assert four > 1.5 * two > 0
    assert two > 8192 * 8192 * 4 * 2 / H200.bandwidth * 1e3


WIDE_TILE = changed(BEST, family="tma", num_stages=4, EPILOGUE_SUBTILE=1, FLATTEN=False)
STREAM = changed(WIDE_TILE, family="stream_k")


def test_streaming_pays_where_the_last_wave_is_unfilled_and_not_where_it_is_nearly_full():
    unfilled = GemmProblem(M=1536, N=1536, K=8192)
    """72 tiles for 132 SMs."""
    assert 1.3 < ms(WIDE_TILE, unfilled) / ms(STREAM, unfilled) < 132 / 72
    full = GemmProblem(M=1280, N=3328, K=1024)
    """130 tiles."""
    assert ms(STREAM, full) > ms(WIDE_TILE, full)


@pytest.mark.parametrize("sizes", [(1536, 1536, 8192), (3072, 3072, 3072), (3072, 3072, 1024), (4096, 4224, 4096)])
def test_arrays_stream_the_tiles_that_the_schedule_does(sizes):
    tiles = read_tiles(GemmProblem(**dict(zip("MNK", sizes, strict=True))), [WIDE_TILE, STREAM])
    streamed, programs = tiles.streamed(132)
    plan = schedule(*sizes, STREAM, 132)
    assert list(streamed) == [0, plan.streamed]
    assert list(programs) == [1, max(1, plan.programs)]


def test_a_streamed_tile_costs_its_parts_and_a_second_kernel():
    tiles = read_tiles(GemmProblem(M=1536, N=1536, K=8192), [WIDE_TILE, STREAM])
    none, some = sum_ms(tiles, H200, 1.8e9)
    assert none == 0
    assert 0.002 < some < 0.02


def test_warps_with_roles_are_launchable_and_a_little_faster_than_the_best_plain_kernel():
    """0.1824 ms against 0.1854 were measured of such a pair."""
    cost, launch = costs([BEST, ROLES])
    assert launch.fits.all()
    assert launch.blocks_per_sm[1] == 1
    assert launch.spill_bytes[1] == 0
    assert 0.93 < cost.ms[1] / cost.ms[0] < 1.02


def test_shared_memory_with_roles_is_what_the_kernel_allocates():
    from kernels.gemm.gluon_space import BARRIERS_BYTES, shared_bytes

    several = [
        ROLES,
        changed(ROLES, EPILOGUE_SUBTILE=1, num_stages=3),
        changed(ROLES, CONSUMERS=2),
        changed(ROLES, BLOCK_N=128, CONSUMERS=2, EPILOGUE_SUBTILE=2),
    ]
    _, launch = costs(several)
    assert list(launch.shared_bytes) == [shared_bytes(c) + BARRIERS_BYTES for c in several]


def test_two_consumers_cover_the_epilogue_but_not_the_last_one():
    turns = changed(ROLES, BLOCK_N=128, num_stages=5, EPILOGUE_SUBTILE=2, CONSUMERS=2)
    alone = changed(turns, CONSUMERS=1)
    many, one = SQUARE, GemmProblem(M=1024, N=1024, K=4096)
    assert ms(turns, many) < ms(alone, many)
    assert ms(turns, one) > 0.99 * ms(alone, one)


def test_fp8_takes_half_the_time_and_half_the_bytes():
    config = changed(BEST, BLOCK_K=128)
    halves = read_tiles(fp8(M=4096, N=4096, K=4096), [config])
    cost = estimate(halves, read_launch(halves, H200, {}), H200, "fp8")
    assert 0.45 < float(cost.ms[0]) / ms(BEST) < 0.6
    assert halves.stage_bytes[0] == read_tiles(SQUARE, [BEST]).stage_bytes[0]
    assert halves.result_bytes == 2


def test_a_convolution_is_a_matmul_that_reads_its_image_once():
    problem = Conv2dProblem()
    config = Conv2dConfig(BLOCK_M=128, BLOCK_N=128, BLOCK_K=64, num_warps=8, num_stages=4)
    tiles = read_tiles(problem, [config])
    assert (tiles.m, tiles.n, tiles.k) == (problem.pixels, 256, 9 * 256)
    assert tiles.a_share == pytest.approx(1 / 9)
    cost = estimate(tiles, read_launch(tiles, H200, {}), H200, "fp16")
    assert cost.ms[0] > 2e3 * problem.pixels * 256 * 9 * 256 / H200.peak["fp16"]
    assert not tiles.tma.any()


def test_a_convolution_with_roles_is_launchable_and_faster_than_one_by_pointers():
    from kernels.conv2d.gluon_space import shared_bytes
    from kernels.gemm.gluon_space import BARRIERS_BYTES

    problem = Conv2dProblem()
    plain = Conv2dConfig(BLOCK_M=128, BLOCK_N=256, BLOCK_K=64, num_warps=8, num_stages=4)
    roles = [
        changed(plain, family="warp_specialized", EPILOGUE_SUBTILE=4),
        changed(plain, family="warp_specialized", EPILOGUE_SUBTILE=4, CONSUMERS=2),
        changed(plain, family="warp_specialized", BLOCK_N=128, EPILOGUE_SUBTILE=2, CONSUMERS=2),
    ]
    tiles = read_tiles(problem, [plain, *roles])
    launch = read_launch(tiles, H200, {})
    cost = estimate(tiles, launch, H200, "fp16")
    assert list(tiles.tma) == list(tiles.persistent) == [False, True, True, True]
    assert launch.fits[1:].all()
    assert list(launch.shared_bytes[1:]) == [shared_bytes(c) + BARRIERS_BYTES for c in roles]
    assert (cost.ms[1:3] < cost.ms[0]).all()


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_the_grouped_family_trimmed_has_a_warp_that_loads_and_consumers_that_share_tiles(dtype):
    problem = GroupedProblem(align=1, dtype=dtype)
    configs = [c for c in candidates(problem, H200) if c.family == "trimmed"]
    tiles = read_tiles(problem, configs)
    assert tiles.tma.all()
    assert tiles.persistent.all()
    assert not tiles.takes_turns.any()
    exact = [shared_bytes(c, problem.torch_dtype.itemsize) for c in configs]
    need = shared_need(tiles, np.full(len(configs), "wgmma"))
    assert list(need - BARRIER_BYTES) == exact
