"""What is proposed, in what order, and why."""

from __future__ import annotations

import math
from dataclasses import replace as replaced

import pytest

from tests.tools.planner.problems import (
    BEST,
    H200,
    SPEC,
    SQUARE,
    STRANGE,
    StrangeConfig,
    StrangeProblem,
    changed,
    deviating,
    failed,
    measured,
    ms,
    strange,
    task,
    wobble,
)
from tools.harness.results import CheckResult, CompileResult
from tools.planner.evidence import Evidence
from tools.planner.propose import DRAWN, Planner
from tools.session.task import Task


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
    assert max(p.odds for p in proposals if p.config.FLATTEN) < 0.3
    assert min(p.odds for p in proposals if not p.config.FLATTEN) > 0.6


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
    one, other = (Planner(task(), space).propose(Evidence(measured=m), 8) for m in (seen, backwards))
    assert (one, one.effects) == (other, other.effects)


def test_an_unknown_kernel_starts_spread_out_by_the_seed():
    def start(seed):
        t = Task(SPEC, StrangeProblem(), H200, seed=seed)
        return [p.config for p in Planner(t, STRANGE).propose(Evidence(), 8).proposals]

    assert start(1) == start(1) != start(2)
    assert {c.cache for c in start(1)} == {"none", "read", "write"}
    assert {c.vector for c in start(1)} == {False, True}


def test_little_is_drawn_at_random():
    planner = Planner(Task(SPEC, StrangeProblem(), H200), STRANGE)
    seen = [Evidence(measured={c: strange(c) for c in STRANGE[:n]}) for n in range(DRAWN + 2)]
    worth = [planner.propose(evidence, 8).try_first for evidence in seen]
    assert worth == [*range(DRAWN, 0, -1), 8, 8]


def test_an_unknown_kernel_is_expected_to_be_slow_at_the_edges_until_measurements_show_otherwise():
    planner = Planner(Task(SPEC, StrangeProblem(), H200), STRANGE)
    edges = [c for c in STRANGE if c.block_size_x in (32, 512) and c.unroll in (1, 16)]
    few = planner.propose(Evidence(measured={c: measured(c, 1.0) for c in STRANGE[100:103]}), 8).proposals
    assert not {p.config for p in few} & set(edges)
    seen = {c: measured(c, 1.0 if c in edges[::2] else 3.0) for c in [*STRANGE[::8], *edges[::2]]}
    assert planner.propose(Evidence(measured=seen), 1).proposals[0].config in edges


@pytest.mark.parametrize("known", [False, True])
def test_a_patient_caller_decides_once_a_measurement_at_first(known):
    t, space = (task(), SPEC.space(SQUARE, H200)) if known else (Task(SPEC, StrangeProblem(), H200), STRANGE)
    truth = deviating if known else strange
    planner = Planner(t, space)
    few = Evidence(measured={c: truth(c) for c in space[:: len(space) // 8]})
    many = Evidence(measured={c: truth(c) for c in space[:: len(space) // 60]})
    assert planner.propose(few, 6).try_first == 6
    assert planner.propose(few, 6, patient=True).try_first == 1
    assert 2 <= planner.propose(many, 6, patient=True).try_first <= 3
    assert len(planner.propose(few, 6, patient=True).proposals) == 6


def test_measured_configs_outside_the_space_teach_but_are_not_proposed():
    space = [c for c in STRANGE if c.block_size_x <= 256]
    outside = StrangeConfig(block_size_x=512, unroll=1, cache="none", vector=True)
    t = Task(SPEC, StrangeProblem(), H200)
    plan = Planner(t, space).propose(Evidence(measured={outside: measured(outside, 3.0)}), 240)
    assert outside not in {p.config for p in plan.proposals}
    assert plan.proposals[0].predicted_ms == pytest.approx(3.0, rel=0.5)


def test_a_dtype_without_a_peak_has_no_cost_model_but_still_proposals():
    unknown = replaced(H200, peak={"fp8": 2e15})
    plan = Planner(task(hardware=unknown), SPEC.space(SQUARE, H200)).propose(Evidence(), 4)
    assert [p.predicted_ms for p in plan.proposals] == [None] * 4


def test_effects_name_the_parameter_that_matters():
    seen = {c: measured(c, 1 + math.log2(c.unroll)) for c in STRANGE[::7]}
    t = Task(SPEC, StrangeProblem(), H200)
    effects = Planner(t, STRANGE).propose(Evidence(measured=seen), 1).effects
    assert effects[0].name == "unroll"
    assert effects[0].change > 10 * max(e.change for e in effects if "unroll" not in e.parameters)


class Owned(type(SPEC)):
    """A kernel of which nobody knows a cost model, and whose owner knows where to begin."""

    def promising(self, problem, hardware):
        elsewhere = StrangeConfig(block_size_x=9, unroll=9, cache="none", vector=True)
        return [STRANGE[100], STRANGE[7], elsewhere, STRANGE[11]]


def test_the_owners_config_and_its_neighbours_are_measured_before_anything_is_drawn():
    planner = Planner(Task(Owned(), StrangeProblem(), H200), STRANGE)
    first = planner.propose(Evidence(), 8)
    assert [p.config for p in first.proposals][:3] == [STRANGE[100], STRANGE[7], STRANGE[11]]
    assert first.proposals[0].reason == "the owner's config"
    assert first.try_first == 3
    known = {c: measured(c, 1.0 + i / 10) for i, c in enumerate([STRANGE[100], STRANGE[7]])}
    second = planner.propose(Evidence(measured=known), 8)
    assert second.proposals[0].config == STRANGE[11]
    assert not {p.config for p in second.proposals} & set(known)
    with_seeds = planner.propose(Evidence(), 4, seeds=[STRANGE[50]])
    assert [p.config for p in with_seeds.proposals][:2] == [STRANGE[50], STRANGE[100]]
    assert with_seeds.proposals[0].reason == "won on a near problem"
