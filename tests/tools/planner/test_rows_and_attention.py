"""Cost models of kernels over rows and of attention: orders that follow from how such kernels work."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.hardware import hardware_named
from kernels.registry import get
from tests.tools.planner.problems import H200, STRANGE, StrangeProblem
from tools.harness.results import CompileResult
from tools.planner.cost.lookup import model_of, physics_of
from tools.planner.cost.physics import PHYSICS_WEIGHT
from tools.planner.evidence import Evidence
from tools.planner.propose import Planner
from tools.session.task import Task


def known(name, hardware=H200, **fields):
    spec = get(name)
    problem = spec.problem_type(**fields)
    space = spec.space(problem, hardware)
    return problem, space, physics_of(problem, hardware, space)


@pytest.mark.parametrize("name", ["softmax", "rms_norm", "layer_norm", "attention", "conv2d", "matmul"])
@pytest.mark.parametrize("gpu", ["H200", "A100", "MI300X"])
def test_every_kernel_has_finite_times_above_its_floor_and_bounded_columns(name, gpu):
    hardware, spec = hardware_named(gpu), get(name)
    problem = spec.default_problem()
    _, space, found = known(name, hardware, **problem.model_dump())
    floor = max(spec.bytes(problem) / hardware.bandwidth, spec.flops(problem) / hardware.peak["fp16"]) * 1e3
    assert len(space) == len(found.ms)
    assert np.all(np.isfinite(found.ms))
    assert np.all(found.ms > 0.99 * floor)
    assert found.columns.min() >= 0
    assert found.columns.max() <= PHYSICS_WEIGHT
    assert all(0 < len(found.explain(i)) < 200 for i in range(0, len(space), 40))


def row(name, **fields):
    _, space, found = known(name)
    for i, c in enumerate(space):
        if all(getattr(c, k) == v for k, v in fields.items()):
            return float(found.ms[i])
    raise AssertionError(f"no config has {fields}")


def test_few_bytes_in_flight_are_slow():
    starved = row("rms_norm", family="loop", BLOCK_N=512, ROWS=1, num_warps=8, num_stages=1)
    assert starved > 1.05 * row("rms_norm", family="row", ROWS=1, num_warps=8)


def test_reading_rows_twice_is_slower_where_the_caches_are_not_told():
    for block in (1024, 2048, 4096):
        config = {"family": "loop", "BLOCK_N": block, "ROWS": 1, "num_warps": 8}
        assert row("softmax", **config, STREAM=0) > 1.02 * row("softmax", **config, STREAM=1)
    assert row("softmax", **config, STREAM=0) > row("softmax", family="row", ROWS=1, num_warps=8)


def test_most_time_over_rows_is_near_the_copy():
    problem, _, found = known("softmax")
    copy = get("softmax").bytes(problem) / 4.27e12 * 1e3
    assert float(found.ms.min()) == pytest.approx(copy, rel=0.15)


def test_by_hand_exponentials_run_beside_products():
    _, space, found = known("attention")
    alike = {"BLOCK_M": 128, "BLOCK_N": 128, "num_warps": 8, "num_stages": 2}
    by_family = {c.family: ms for c, ms in zip(space, found.ms, strict=True) if alike.items() <= c.model_dump().items()}
    assert by_family["warp_specialized"] < 0.85 * by_family["tma"]


def test_more_groups_of_warps_than_rows_send_weights_through_shared_memory():
    _, space, found = known("attention")
    by_warps = {
        c.num_warps: ms
        for c, ms in zip(space, found.ms, strict=True)
        if (c.family, c.BLOCK_M, c.BLOCK_N, c.num_stages) == ("tma", 64, 64, 2)
    }
    assert by_warps[4] < 0.8 * by_warps[8]


def test_one_stage_of_keys_exposes_the_load():
    _, space, found = known("attention")
    by_config = dict(zip(space, found.ms, strict=True))
    two = [c for c in space if c.family == "warp_specialized" and c.num_stages == 2]
    assert all(by_config[c.model_copy(update={"num_stages": 1})] > 1.1 * by_config[c] for c in two)


def test_half_of_a_causal_problem_is_left_out():
    _, _, causal = known("attention", causal=True)
    _, _, full = known("attention", causal=False)
    assert 1.6 < float(np.median(full.ms / causal.ms)) < 2.1


@pytest.mark.parametrize("name", ["softmax", "attention"])
def test_the_compiler_corrects_registers_and_spills(name):
    spec = get(name)
    problem = spec.default_problem()
    space = spec.space(problem, H200)
    spilt = CompileResult(
        config=space[0].model_dump(), status="correct", registers=255, spill_bytes=4000, shared_bytes=1000
    )
    model = model_of(problem, space)
    before, after = (model("fp16", H200, compiled) for compiled in ({}, {0: spilt}))
    assert after.ms[0] > 1.2 * before.ms[0]
    assert np.array_equal(after.ms[1:], before.ms[1:])


def test_a_first_batch_over_rows_is_chosen_and_says_why():
    spec = get("rms_norm")
    problem = spec.default_problem()
    plan = Planner(Task(spec, problem, H200), spec.space(problem, H200)).propose(Evidence(), 8)
    assert len(plan.proposals) == 8
    assert all(p.predicted_ms is not None for p in plan.proposals)
    assert all("in flight" in p.reason for p in plan.proposals)


def test_no_model_claims_a_kernel_it_does_not_know():
    assert model_of(StrangeProblem(), STRANGE) is None
    assert model_of(get("softmax").default_problem(), STRANGE) is None
    assert model_of(get("attention").default_problem(), STRANGE) is None
    assert model_of(get("swiglu").default_problem(), STRANGE) is None
