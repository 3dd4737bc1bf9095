"""The planner against spaces whose optimum is known: a matmul that deviates from the cost model, and foreign ones."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replaced
from itertools import product
from statistics import median
from typing import Literal

import numpy as np
import pytest
from pydantic import ValidationError

from kernels.gemm_space import GemmConfig, GemmProblem
from kernels.hardware import hardware_named
from kernels.registry import get
from kernels.spec import Config, Problem
from tools import suggest_configs
from tools.harness.landscape import find_landscape
from tools.harness.results import CheckResult, CompileResult, Measurement
from tools.planner import surrogate
from tools.planner.batch import pick_batch
from tools.planner.cost_model import estimate, multiply_adds_per_clock
from tools.planner.evidence import Evidence
from tools.planner.features import Encoder
from tools.planner.kin import Kin
from tools.planner.launch import read_launch, read_tiles
from tools.planner.propose import Planner
from tools.task import Task

H200 = hardware_named("H200")
SPEC = get("fused_matmul")
SQUARE = GemmProblem(M=4096, N=4096, K=4096)
BEST = GemmConfig(
    family="persistent_tma",
    BLOCK_M=128,
    BLOCK_N=256,
    BLOCK_K=64,
    GROUP_M=8,
    num_warps=8,
    num_stages=3,
    EPILOGUE_SUBTILE=2,
    FLATTEN=True,
)
"""The fastest of 780 configs measured on an H200 at 4096x4096x4096."""


class StrangeProblem(Problem):
    dims = ("length",)
    length: int = 1


class StrangeConfig(Config):
    """A kernel that the cost model has never heard of."""

    block_size_x: int
    unroll: int
    cache: Literal["none", "read", "write"]
    vector: bool


STRANGE = [
    StrangeConfig(block_size_x=x, unroll=u, cache=c, vector=v)
    for x, u, c, v in product(
        [32 * i for i in range(1, 17)], [1, 2, 4, 8, 16], ["none", "read", "write"], [False, True]
    )
]


def task(problem=SQUARE, hardware=H200, seed=0):
    return Task(SPEC, problem, hardware, seed=seed)


def wobble(config: Config, size: float) -> float:
    """A factor that is the config's own: what no model can know."""
    digest = hashlib.sha256(config.key().encode()).digest()
    return 1 + size * (int.from_bytes(digest[:4], "big") / 2**32 - 0.5)


def costs(configs, problem=SQUARE, hardware=H200, compiled=None):
    tiles = read_tiles(problem, configs)
    launch = read_launch(tiles, hardware, compiled or {})
    return estimate(tiles, launch, hardware, "fp16"), launch


def times(configs, problem=SQUARE, hardware=H200):
    cost, launch = costs(configs, problem, hardware)
    return np.where(launch.fits, cost.ms, np.inf)


def ms(config, problem=SQUARE, hardware=H200):
    return float(times([config], problem, hardware)[0])


def changed(config, **fields):
    return type(config).model_validate({**config.model_dump(), **fields})


def measured(config, time_ms):
    return Measurement(config=config.model_dump(), status="correct", ms=time_ms, regime="burst")


def failed(config, status="compile"):
    return Measurement(config=config.model_dump(), status=status, reason="no", regime="burst")


@dataclass
class Search:
    """The planner run against a function, as the loop of an agent would."""

    planner: Planner
    truth: Callable[[Config], Measurement]
    batch: int = 4

    def run(self, evaluations):
        seen = {}
        while len(seen) < evaluations:
            plan = self.planner.propose(Evidence(measured=seen), min(self.batch, evaluations - len(seen)))
            if not plan.proposals:
                break
            for p in plan.proposals:
                assert p.config not in seen
                seen[p.config] = self.truth(p.config)
        return seen


def best_of(seen):
    return min((m.ms for m in seen.values() if m.status == "correct"), default=math.inf)


# The cost model


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
    assert all(c.family == "persistent_tma" for c in top)
    assert ms(BEST) < 1.05 * ms(top[0])


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
    assert all(math.ceil(8192 / c.BLOCK_N) * math.ceil(64 / c.BLOCK_M) >= 100 for c in top)
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


def test_a_dtype_without_a_peak_has_no_cost_model_but_still_proposals():
    unknown = replaced(H200, peak={"fp8": 2e15})
    plan = Planner(task(hardware=unknown), SPEC.space(SQUARE, H200)).propose(Evidence(), 4)
    assert [p.predicted_ms for p in plan.proposals] == [None] * 4


# Features and surrogate


def test_encoding_spaces_powers_of_two_evenly_and_keeps_categories_equally_far():
    encoder = Encoder(STRANGE)
    a, b, c = encoder.encode([StrangeConfig(block_size_x=32, unroll=u, cache="none", vector=False) for u in (1, 2, 16)])
    assert np.linalg.norm(b - a) == pytest.approx(0.25)
    assert np.linalg.norm(c - a) == pytest.approx(1.0)
    caches = encoder.encode(
        [StrangeConfig(block_size_x=32, unroll=1, cache=k, vector=False) for k in ("none", "read", "write")]
    )
    assert [np.linalg.norm(caches[i] - caches[j]) for i, j in ((0, 1), (0, 2), (1, 2))] == pytest.approx([1, 1, 1])


def test_a_useless_cost_model_is_flattened_by_the_data():
    rng = np.random.default_rng(0)
    cost = rng.normal(0, 1, 60)
    useless, _ = surrogate.calibrate(cost, rng.normal(0, 0.2, 60), surrogate.PRIOR_SPREAD)
    right, offset = surrogate.calibrate(cost, cost + 0.3, surrogate.PRIOR_SPREAD)
    assert abs(useless) < 0.15
    assert right == pytest.approx(1, abs=0.02)
    assert offset == pytest.approx(0.3, abs=0.02)


def test_failures_lower_the_odds_of_what_resembles_them():
    points = np.array([[0.0], [0.1], [1.0]])
    odds = surrogate.success_odds(points, points[:1], np.array([False]), np.full(3, 0.9))
    assert odds[0] < 0.5
    assert odds[0] < odds[1] < odds[2]
    assert odds[2] > 0.75


def test_many_points_are_thinned_to_the_fastest_and_a_spread():
    rng = np.random.default_rng(1)
    points = rng.random((900, 2))
    log_ms = points.sum(1)
    began = time.perf_counter()
    model = surrogate.fit(points, np.zeros(900), log_ms, informed=False)
    found = model.predict(np.array([[0.05, 0.05], [0.95, 0.95]]), np.zeros(2))
    assert time.perf_counter() - began < 5
    means = [model.stretched(*pair)[0] for pair in zip(*map(list, found), strict=True)]
    assert means == pytest.approx([0.1, 1.9], abs=0.1)


# Proposals


def test_first_batch_is_diverse_and_contains_the_known_tile():
    plan = Planner(task(), SPEC.space(SQUARE, H200)).propose(Evidence(), 8)
    configs = [p.config for p in plan.proposals]
    assert len(set(configs)) == 8
    assert any((c.BLOCK_M, c.BLOCK_N, c.num_warps, c.family) == (128, 256, 8, "persistent_tma") for c in configs)
    assert len({(c.BLOCK_M, c.BLOCK_N, c.BLOCK_K, c.num_warps, c.family) for c in configs}) >= 4
    assert not plan.stop


def test_reasons_speak_of_registers_stages_and_the_limit():
    plan = Planner(task(), [BEST]).propose(Evidence(), 1)
    assert plan.proposals[0].reason == (
        "first look; 8 warps: 128x256 accumulators take 128 registers a thread; 3 stages of 48 KiB leave one CTA per "
        "SM; 512 tiles fill 4 waves to 97%; bound by tensor cores"
    )


def test_reason_names_the_step_from_the_best():
    other = changed(BEST, num_stages=2)
    plan = Planner(task(), [BEST, other]).propose(Evidence(measured={BEST: measured(BEST, 0.19)}), 1)
    assert plan.proposals[0].reason.startswith("best so far with num_stages 3 to 2;")


def test_proposals_never_repeat_what_was_measured_or_failed():
    space = SPEC.space(SQUARE, H200)
    planner = Planner(task(), space)
    first = [p.config for p in planner.propose(Evidence(), 12).proposals]
    compiled = {c: CompileResult(config=c.model_dump(), status="compile") for c in first[:4]}
    seen = {
        c: failed(c, s)
        for c, s in zip(first[4:8], ("runtime", "timeout", "infrastructure", "correctness"), strict=True)
    }
    seen |= {c: measured(c, 0.2) for c in first[8:]}
    again = [p.config for p in planner.propose(Evidence(compiled, {}, seen), 32).proposals]
    assert len(again) == 32
    assert not set(again) & set(first)


def test_a_compiled_config_may_still_be_proposed():
    planner = Planner(task(), [BEST])
    compiled = {BEST: CompileResult(config=BEST.model_dump(), status="correct", registers=168, spill_bytes=0)}
    assert [p.config for p in planner.propose(Evidence(compiled), 8).proposals] == [BEST]


def test_infrastructure_failures_are_not_held_against_neighbours():
    space = SPEC.space(SQUARE, H200)
    planner = Planner(task(), space)
    first = [p.config for p in planner.propose(Evidence(), 8).proposals]
    clean = planner.propose(Evidence(measured={c: failed(c, "infrastructure") for c in first}), 4)
    blamed = planner.propose(Evidence(measured={c: failed(c, "runtime") for c in first}), 4)
    assert min(p.odds for p in clean.proposals) == pytest.approx(0.9)
    assert max(p.odds for p in blamed.proposals) < 0.9


def test_a_switch_that_always_fails_is_learnt():
    space = SPEC.space(SQUARE, H200)
    slow = sorted(space, key=ms)[300::25]
    seen = {c: failed(c) if c.FLATTEN else measured(c, ms(c)) for c in slow}
    proposals = Planner(task(), space).propose(Evidence(measured=seen), 250).proposals
    assert not proposals[0].config.FLATTEN
    assert max(p.odds for p in proposals if p.config.FLATTEN) < 0.2
    assert min(p.odds for p in proposals if not p.config.FLATTEN) > 0.6


def test_a_batch_does_not_bet_twice_on_the_same_doubt():
    model = surrogate.fit(np.zeros((0, 1)), np.zeros(0), np.zeros(0), informed=True)
    apart, raw = np.array([[0.0], [50.0], [100.0]]), np.array([[0.0], [0.0], [9.0]])
    mean = np.array([0.0, 0.01, 0.02])
    doubtful, sure = np.full(3, 0.2), np.full(3, 1.0)
    assert pick_batch(model, apart, raw, mean, doubtful, 0.0, 2) == [0, 2]
    assert pick_batch(model, apart, raw, mean, sure, 0.0, 2) == [0, 1]


def test_a_batch_prefers_another_config_to_a_twin_of_its_first():
    model = surrogate.fit(np.zeros((0, 1)), np.zeros(0), np.zeros(0), informed=True)
    points, mean = np.array([[0.0], [0.1], [4.0]]), np.array([0.0, 0.01, 0.05])
    assert pick_batch(model, points, points, mean, np.ones(3), 0.0, 3) == [0, 2, 1]


def test_a_failure_of_the_check_settles_a_config():
    verdict = CheckResult(config=BEST.model_dump(), status="correctness", error=1.0)
    assert Planner(task(), [BEST]).propose(Evidence(checked={BEST: verdict}), 1).stop


def test_seeds_come_first_in_their_order_and_only_untried():
    space = SPEC.space(SQUARE, H200)
    seeds = [space[500], space[3], space[77]]
    outside = changed(BEST, num_warps=16, BLOCK_M=64, BLOCK_N=64)
    plan = Planner(task(), space).propose(Evidence(measured={seeds[1]: measured(seeds[1], 0.3)}), 4, [outside, *seeds])
    assert [p.config for p in plan.proposals][:2] == [seeds[0], seeds[2]]
    assert plan.proposals[0].reason.startswith("won on a near problem;")
    assert "near problem" not in plan.proposals[2].reason


def test_the_same_evidence_gives_the_same_plan_in_any_order():
    space = SPEC.space(SQUARE, H200)
    seen = {c: measured(c, ms(c) * wobble(c, 0.1)) for c in space[::60]}
    backwards = dict(reversed(seen.items()))
    assert Planner(task(), space).propose(Evidence(measured=seen), 8) == Planner(task(), space).propose(
        Evidence(measured=backwards), 8
    )


def test_an_unknown_kernel_starts_spread_out_by_the_seed():
    def start(seed):
        t = Task(SPEC, StrangeProblem(), H200, seed=seed)
        return [p.config for p in Planner(t, STRANGE).propose(Evidence(), 8).proposals]

    assert start(1) == start(1) != start(2)
    assert {c.cache for c in start(1)} == {"none", "read", "write"}
    assert {c.vector for c in start(1)} == {False, True}


def test_measured_configs_outside_the_space_teach_but_are_not_proposed():
    space = [c for c in STRANGE if c.block_size_x <= 256]
    outside = StrangeConfig(block_size_x=512, unroll=1, cache="none", vector=True)
    t = Task(SPEC, StrangeProblem(), H200)
    plan = Planner(t, space).propose(Evidence(measured={outside: measured(outside, 3.0)}), 240)
    assert outside not in {p.config for p in plan.proposals}
    assert plan.proposals[0].predicted_ms == pytest.approx(3.0, rel=0.5)


def test_an_exhausted_or_empty_space_stops():
    seen = {c: measured(c, 1.0) for c in STRANGE}
    t = Task(SPEC, StrangeProblem(), H200)
    assert Planner(t, STRANGE).propose(Evidence(measured=seen), 8).stop
    empty = Planner(t, []).propose(Evidence(), 8)
    assert empty.stop
    assert not empty.proposals


def test_it_stops_when_the_rest_cannot_win_and_not_while_it_may():
    space = SPEC.space(SQUARE, H200)
    ranked = sorted(space, key=ms)
    planner = Planner(task(), space)
    settled = planner.propose(Evidence(measured={c: measured(c, ms(c)) for c in ranked[:80] + ranked[80::20]}), 4)
    assert settled.stop, settled.why
    assert settled.proposals, "a caller may go on"
    unsettled = planner.propose(Evidence(measured={c: measured(c, ms(c)) for c in ranked[-80:]}), 4)
    assert not unsettled.stop


# Searches


def deviating(config):
    """A card that disagrees with the cost model: flattening hurts, three stages beat four, wide groups help, and every
    config has 4 % of its own."""
    factor = 1.06 if config.FLATTEN else 1.0
    factor *= {2: 1.1, 3: 1.0, 4: 1.04}.get(config.num_stages, 1.08)
    factor *= {4: 1.02, 8: 1.01}.get(config.GROUP_M, 1.0)
    return measured(config, ms(config) ** 1.1 * factor * wobble(config, 0.04))


def test_matmul_search_needs_few_evaluations():
    space = SPEC.space(SQUARE, H200)
    optimum = min(deviating(c).ms for c in space)
    seen = Search(Planner(task(), space), deviating).run(24)
    spent = list(seen.values())
    assert best_of(dict(enumerate(spent[:4]))) < 1.10 * optimum
    assert best_of(seen) < 1.015 * optimum


def strange(config):
    if config.vector and config.unroll == 16:
        return failed(config)
    x = math.log2(config.block_size_x / 160)
    y = math.log2(config.unroll / 4)
    penalty = {"none": 0.15, "read": 0.0, "write": 0.3}[config.cache]
    shape = 1 + 0.1 * x * x + 0.08 * y * y + 0.05 * x * y + penalty - (0.1 if config.vector else 0)
    return measured(config, shape * wobble(config, 0.01))


def test_foreign_search_beats_random_by_far():
    optimum = min(m.ms for c in STRANGE if (m := strange(c)).status == "correct")
    found, drawn = [], []
    for seed in range(5):
        t = Task(SPEC, StrangeProblem(), H200, seed=seed)
        found.append(best_of(Search(Planner(t, STRANGE), strange).run(30)) / optimum - 1)
        draws = np.random.default_rng(seed).choice(len(STRANGE), 30, replace=False)
        drawn.append(best_of({i: strange(STRANGE[i]) for i in draws}) / optimum - 1)
    assert median(found) < 0.012
    assert median(found) < 0.3 * median(drawn)


def test_importance_names_the_parameter_that_matters():
    seen = {c: measured(c, 1 + math.log2(c.unroll)) for c in STRANGE[::7]}
    t = Task(SPEC, StrangeProblem(), H200)
    importance = Planner(t, STRANGE).propose(Evidence(measured=seen), 1).importance
    assert next(iter(importance)) == "unroll"
    assert importance["unroll"] > 0.8
    assert sum(importance.values()) <= 1.01


def test_a_decision_over_ten_thousand_candidates_takes_under_a_fifth_of_a_second():
    fields = product(
        ["pointer", "tma", "persistent_tma"],
        *[[16, 32, 64, 128, 256]] * 2,
        [32, 64, 128],
        [1, 2, 4, 8, 16],
        [4, 8],
        [2, 3, 4, 5, 6],
    )
    names = ("family", "BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP_M", "num_warps", "num_stages")
    space = [GemmConfig(**dict(zip(names, values, strict=True))) for values in fields]
    assert len(space) > 10_000
    planner = Planner(task(), space)
    seen = {c: measured(c, ms(c) * wobble(c, 0.1)) for c in space[::250]}
    planner.propose(Evidence(measured=seen), 8)
    spent = []
    for _ in range(5):
        began = time.process_time()
        planner.propose(Evidence(measured=seen), 8)
        spent.append(time.process_time() - began)
    assert min(spent) < 0.2


def test_what_a_neighbour_taught_moves_the_first_proposals():
    neighbour = GemmProblem(M=2048, N=4096, K=4096)
    there = [c for c in SPEC.space(neighbour, H200) if math.isfinite(ms(c, neighbour))]
    fastest = sorted(there, key=lambda c: ms(c, neighbour))[:80]
    lossy = {c: ms(c, neighbour) * (1.2 if c.num_stages == 4 else 1.0) for c in fastest}
    space = SPEC.space(SQUARE, H200)
    alone = Planner(task(), space).propose(Evidence(), 24)
    taught = Planner(task(), space, [Kin(neighbour, H200, lossy, 1.0)]).propose(Evidence(), 24)
    assert sum(p.config.num_stages == 4 for p in alone.proposals) >= 6
    assert sum(p.config.num_stages == 4 for p in taught.proposals) <= 2


def test_a_neighbour_tells_an_unknown_kernel_where_to_begin():
    t = Task(SPEC, StrangeProblem(length=2), H200)
    times = {c: m.ms for c in STRANGE[::5] if (m := strange(c)).status == "correct"}
    optimum = min(m.ms for c in STRANGE if (m := strange(c)).status == "correct")
    taught = Planner(t, STRANGE, [Kin(StrangeProblem(), H200, times, 1.0)]).propose(Evidence(), 4)
    found = [m.ms for p in taught.proposals if (m := strange(p.config)).status == "correct"]
    assert min(found) < 1.02 * optimum


def test_a_neighbour_with_a_few_times_or_none_teaches_nothing():
    space = SPEC.space(SQUARE, H200)
    few = Kin(GemmProblem(M=2048, N=4096, K=4096), H200, dict.fromkeys(space[:3], 1.0), 1.0)
    assert Planner(task(), space, [few]).propose(Evidence(), 8) == Planner(task(), space).propose(Evidence(), 8)
    assert Planner(task(), [], [few]).propose(Evidence(), 8).stop


def test_shared_memory_of_the_landscape_is_foretold():
    """Every config that the compiler refused for want of shared memory, and no other."""
    landscape = find_landscape(None, SPEC.name, SPEC.default_problem())
    by_config = {GemmConfig.model_validate(e.config): e for e in landscape.entries.values()}
    tiles = read_tiles(SQUARE, list(by_config))
    fits = read_launch(tiles, H200, {}).fits
    refused = [e.status == "compile" and "shared memory" in e.reason for e in by_config.values()]
    assert sum(refused) >= 10
    assert [not f for f in fits] == refused


def test_failures_that_one_value_explains_are_not_held_against_others():
    """Column 0 fails always; column 1 was only ever tried with it."""
    seen = np.array([[1.0, 1.0]] * 5 + [[0.0, 0.0]] * 5)
    worked = np.array([False] * 5 + [True] * 5)
    odds = surrogate.success_odds(np.array([[1.0, 0.0], [0.0, 1.0]]), seen, worked, np.full(2, 0.9))
    assert odds[0] < 0.35
    assert odds[1] > 0.6


def test_how_slow_the_slow_are_does_not_blur_the_fast():
    points = np.linspace(0, 1, 12)[:, None]
    log_ms = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 3, 4, 4.0])
    model = surrogate.fit(points, np.zeros(12), log_ms, informed=False)
    mean, deviation = model.predict(points, np.zeros(12))
    back = [model.stretched(float(m), float(d))[0] for m, d in zip(mean, deviation, strict=True)]
    assert back[:4] == pytest.approx(log_ms[:4], abs=0.02)
    assert back[-1] == pytest.approx(4.0, rel=0.25)


def test_scikit_learn_is_not_imported_before_the_first_decision():
    code = "import sys, tools.suggest_configs; sys.exit('sklearn' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The tool


class FakeSession:
    """The part of a session that the tool reads: a real task and real results."""

    def __init__(self, seen=None):
        self.task, self.compiled, self.checked, self.measured = task(), {}, {}, seen or {}
        self.seeds, self.kin, self.planner, self.space = [], [], None, SPEC.space(SQUARE, H200)


def test_tool_answers_small_json():
    args = suggest_configs.arguments(SPEC)(count=8)
    answer = suggest_configs.run(FakeSession(), args, "call")
    assert set(answer) == {"proposals", "stop", "why"}
    assert [set(p) for p in answer["proposals"]] == [{"config", "predicted_ms", "uncertainty", "reason"}] * 8
    assert all(GemmConfig.model_validate(p["config"]) for p in answer["proposals"])
    assert max(len(p["reason"]) for p in answer["proposals"]) < 260


def test_tool_reports_importance_once_there_is_evidence():
    space = SPEC.space(SQUARE, H200)
    seen = {c: measured(c, ms(c)) for c in space[::100]}
    answer = suggest_configs.run(FakeSession(seen), suggest_configs.SuggestConfigs(count=1), "call")
    assert set(answer["importance"]) <= set(GemmConfig.model_fields)
    assert len(answer["importance"]) <= suggest_configs.TOP_PARAMETERS


@pytest.mark.parametrize("bad", [{"count": 0}, {"count": 33}, {"count": 2.5}, {"number": 3}])
def test_tool_refuses_other_arguments(bad):
    with pytest.raises(ValidationError):
        suggest_configs.arguments(SPEC).model_validate(bad)
