"""What becomes of a launch: the accepted differences, the comparison with float64, the verdict."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest

from agent.programs.improvement.improve_plan import SHORTEST_S, Job, function_of, plan, seconds_for, seconds_to_search
from agent.programs.improvement.preparing.surveys import wait_until_done
from agent.programs.improvement.time_left import READING_S, SITTING_S, TimeLeft
from agent.programs.improvement.tuned_rows import beyond_float64, bounds_of, decision_of, judge, with_unmeasured
from kernels.capture.reading.captured_launches import read_capture
from kernels.hardware import hardware_named
from tests.captures import GPU, as_if_on
from tools.harness.checking.float64.float64_errors import INFINITE
from tools.harness.checking.owner_survey import Survey
from tools.harness.checking.verify import BLIND, WROTE_BESIDE

ROUNDING = 2.0**-9


def survey(repeat=0.0, error=None, integers=()):
    errors = {} if error is None else {"out": error}
    return Survey(None, (), (), {"out": repeat}, errors, {"out": ROUNDING}, integers)


@pytest.mark.parametrize(
    ("found", "bound"),
    [
        (survey(), ROUNDING),
        (survey(error=1e-4), ROUNDING),  # the owner is as near to float64 as rounding allows
        (survey(error=0.02), 0.0625),  # a mean near zero in bf16: three times its error, the next power of two
        (survey(repeat=0.007), 0.03125),  # atomics in any order
        (survey(error=0.4), ROUNDING),  # a reference that is far from the owner's launch says nothing
        (survey(repeat=0.2), "differ by 0.2 of the largest value of out"),
        (survey(repeat=1e-9, integers=("out",)), "different whole numbers to out"),
        (survey(integers=("out",)), 0.0),
        (Survey(None), "changes nothing"),
    ],
)
def test_accepted_differences(found, bound):
    made = bounds_of(found)
    if isinstance(bound, str):
        assert bound in made
    else:
        assert made == {"out": bound}


@pytest.mark.parametrize(
    ("owner", "config", "wrong"),
    [
        (0.02, 0.039, False),
        (0.02, 0.041, True),
        (1e-4, ROUNDING * 0.99, False),
        (1e-4, ROUNDING * 1.01, True),
        (1e-4, INFINITE, True),
        (0.3, 0.9, False),
    ],
)
def test_a_config_may_be_twice_as_far_from_float64_as_the_owner(owner, config, wrong):
    found = beyond_float64(survey(error=owner), {"out": config})
    assert (found is not None) == wrong


OWN = {"BLOCK": 128, "num_warps": 4, "num_stages": 2}
OTHER = {"BLOCK": 64, "num_warps": 8, "num_stages": 2}


def outcome(proven=True, kinds=("large", "tiny", "negative"), config=OTHER, low=1.1, level=()):
    baselines = [SimpleNamespace(ci=(low, low + 0.01)), SimpleNamespace(ci=None), SimpleNamespace(ci=(1.5, 1.6))]
    return SimpleNamespace(
        proven=proven,
        best=SimpleNamespace(config=config),
        survived=list(kinds),
        why="1.2x over owner",
        wrong=[],
        baselines=baselines,
        level=level or [config],
    )


def test_a_result_that_is_rounded_inside_is_allowed_what_that_explains():
    def bound(error, coarsest, rounding=1e-5):
        return bounds_of(Survey(None, (), (), {"dg": 0.0}, {"dg": error}, {"dg": rounding}, (), 0.1, coarsest))["dg"]

    assert bound(6.5e-4, 2.0**-6) == 2.0**-6  # 12 of 512 programs of a fp32 result of bf16 arguments
    assert bound(2.1e-3, 2.0**-6) == 2.0**-6
    assert bound(5e-5, 2.0**-6) == 2.0**-10  # 16 times the error, and no more
    assert bound(9e-6, 2.0**-6) == 2.0**-15  # the owner rounds to fp32 alone
    assert bound(6.5e-4, 1e-5) == 2.0**-9  # nothing among the arguments explains it: three times the error
    assert bound(0.02, 2.0**-6) == 2.0**-4


def test_a_config_has_to_save_time_in_one_process_with_the_owners_launch_too():
    def beside(cold, warm):
        found = {"cold": cold, "warm": warm}
        return {n: {"owner_ms": 0.1, "ms": 0.1, "saved_ms": [1e-3 * x for x in s]} for n, s in found.items()}

    judged = judge(outcome(), None, OWN, beside((0.9, 0.8, 1.0), (0.0, -0.1, 0.1)))
    assert (judged.status, judged.config) == ("proven", OTHER)
    told = "0.90 us [0.80, 1.00] with a cold L2 and 0.00 us [-0.10, 0.10] with a warm L2"
    assert judged.why == f"1.2x over owner; in one process with the owner's launch it saves {told}"
    for times in (beside((0.9, 0.8, 1.0), (-0.2, -0.3, -0.1)), beside((-0.2, -0.3, -0.1), (0.9, 0.8, 1.0))):
        judged = judge(outcome(), None, OWN, times)
        assert (judged.status, judged.config) == ("stock", None)
        assert "but it loses in one process with the owner's launch: it saves" in judged.why
    judged = judge(outcome(), None, OWN, beside((0.1, -0.1, 0.3), (0.9, 0.8, 1.0)))
    assert (judged.status, judged.config) == ("stock", None)
    assert "but it is level in one process with the owner's launch: it saves 0.10 us [-0.10, 0.30]" in judged.why
    judged = judge(outcome(), None, OWN, {}, same_code=True)
    assert (judged.status, judged.why) == (
        "stock",
        "1.2x over owner, but its machine code is that of the owner's config",
    )
    judged = judge(outcome(), None, OWN, {"missing": "it hung"})
    assert (judged.status, judged.config) == ("stock", None)
    assert judged.why == "1.2x over owner, but it could not be timed in one process with the owner's launch (it hung)"


def test_if_the_owners_own_config_gives_wrong_results_no_config_is_blamed():
    failed = outcome(proven=False)
    why = "result out: scale-relative error 1 is above the bound 4e-06"
    failed.wrong = [{"config": OTHER, "reason": why}]
    assert judge(failed, None, OWN).why == failed.why
    failed.wrong.append({"config": OWN, "reason": why})
    judged = judge(failed, None, OWN)
    assert (judged.status, judged.config) == ("stock", None)
    assert judged.why.startswith("the owner's own launch disagrees with the reference on arguments made anew")
    assert judged.why.endswith(f"({why})")
    for reason, words in (
        (BLIND, "on arguments made anew its results"),
        (WROTE_BESIDE, "the program passes only a part"),
    ):
        failed.wrong[1]["reason"] = f"{reason}: more"
        assert judge(failed, None, OWN).why.startswith(f"no config was judged, because {words}")
    failed.wrong[1]["reason"] = why
    one_right = outcome()
    one_right.wrong = failed.wrong
    assert judge(one_right, None, OWN) == judged  # that another config is right proves nothing then


def test_verdicts():
    assert judge(outcome(), None, OWN).status == "proven"
    assert judge(outcome(proven=False), None, OWN).status == "stock"
    few = judge(outcome(kinds=("large", "tiny")), None, OWN)
    assert few.status == "unproven"
    assert few.config == OTHER
    assert "large, tiny" in few.why
    wrong = judge(outcome(), "its out is 0.1 off float64", OWN)
    assert (wrong.status, wrong.config) == ("stock", None)
    decision = decision_of(few.config)
    assert (decision.constexprs, decision.options) == ({"BLOCK": 64}, {"num_warps": 8, "num_stages": 2})


def test_the_owners_config_and_what_two_processes_differ_by_are_no_gain():
    same = judge(outcome(config=OWN), None, OWN)
    assert (same.status, same.config) == ("stock", None)
    assert "owner's config" in same.why
    near = judge(outcome(low=1.004), None, OWN)
    assert (near.status, near.config) == ("stock", None)
    assert "two processes" in near.why
    assert judge(outcome(low=1.006), None, OWN).status == "proven"


def test_a_row_names_the_variants_that_were_made_and_not_measured():
    judged = judge(outcome(), None, OWN)
    assert with_unmeasured(judged, SimpleNamespace(unmeasured=[])) is judged
    late = SimpleNamespace(unmeasured=["6f4b49bff13a"], stopped="the time is used up (50 s)")
    told = "; variant 6f4b49bff13a was made and not measured: the time is used up (50 s)"
    assert with_unmeasured(judged, late).why == judged.why + told


def test_what_another_run_may_decide_otherwise_is_a_tie():
    assert judge(outcome(level=[OTHER, OWN]), None, OWN).tie
    assert not judge(outcome(), None, OWN).tie
    assert not judge(outcome(level=[OWN, {**OTHER, "num_warps": 2}]), None, OWN).tie  # the one tried after them


@pytest.mark.process
def test_what_can_save_the_most_comes_first(captured_example, tmp_path):
    slow = read_capture(str(as_if_on(GPU, captured_example, tmp_path / "slow.capture", ms=0.5)))
    found = plan(slow, 1.0, None, GPU, hardware_named("H200"))
    gains = [j.gain_ms for j in found.jobs]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == pytest.approx(2 * 0.5, rel=0.01)  # two launches; their bytes need next to nothing
    assert not found.untuned
    assert [j.launch.name for j in plan(slow, 1.0, "gated", GPU, None).jobs] == ["gated", "gated"]
    assert len(plan(slow, 0.4, None, GPU, None).jobs) == 1


@pytest.mark.process
def test_launches_that_the_table_does_not_tell_apart_count_together(captured_example, tmp_path):
    slow = read_capture(str(as_if_on(GPU, captured_example, tmp_path / "slow.capture", ms=0.5)))
    first, *others = plan(slow, 1.0, None, GPU, None).jobs
    twins = [replace(x, digest=f"{i:08}{x.digest[8:]}", count=1) for i, x in enumerate(slow.launches)]
    slow.launches += twins  # as if the key did not hold what they differ in
    again = plan(slow, 1.0, None, GPU, None)
    assert len(again.jobs) == 1 + len(others)
    assert again.jobs[0].launch is first.launch
    assert again.jobs[0].gain_ms == pytest.approx(first.gain_ms * (1 + 1 / first.launch.count))
    (most,) = plan(slow, 0.1, None, GPU, None).jobs
    beyond = " ".join(x.kernel for x in plan(slow, 0.1, None, GPU, None).untuned)
    assert [x in twins for x in most.shares] == [True]
    assert most.shares[0].digest[:8] not in beyond


@pytest.mark.process
def test_a_launch_of_which_it_is_known_what_it_writes_stands_for_the_others_of_its_row(captured_example, tmp_path):
    """In the interpreter nobody saw the stores of a launch whose grid function returned another grid than before."""
    slow = read_capture(str(as_if_on(GPU, captured_example, tmp_path / "slow.capture", ms=0.5)))
    known = slow.launches[0]
    observed = {n: v for n, v in known.observed.items() if n not in ("writes", "changed")}
    late = replace(known, digest=f"{0:08}{known.digest[8:]}", count=100 * known.count, observed=observed)
    slow.launches = [late, known]
    found = plan(slow, 1.0, None, GPU, None)
    assert [(j.launch is known, j.shares[0] is late) for j in found.jobs] == [(True, True)]
    assert not found.untuned


@pytest.mark.process
@pytest.mark.parametrize(
    ("place", "rows"),
    [({"module": "another"}, 2), ({"qualname": "another"}, 2), ({"module": "__mp_main__"}, 1)],
)
def test_functions_that_apply_tells_apart_have_rows_of_their_own(captured_example, tmp_path, place, rows):
    slow = read_capture(str(as_if_on(GPU, captured_example, tmp_path / "slow.capture", ms=0.5)))
    slow.launches = slow.launches[:1]
    slow.launches += [replace(x, function={**x.function, **place}) for x in slow.launches]
    found = plan(slow, 1.0, None, GPU, None)
    assert len(found.jobs) == rows
    assert sum(len(job.shares) for job in found.jobs) == 2 - rows
    for job in found.jobs:
        for launch in (job.launch, *job.shares):
            function = launch.function
            assert function_of(job.launch).is_named(function["module"], function["qualname"])


def test_seconds_are_divided_by_what_a_launch_promises():
    jobs = [Job(None, None, "", {}, gain) for gain in (6.0, 3.0, 1.0)]
    assert seconds_for(jobs[0], jobs, 100.0) == pytest.approx(SHORTEST_S + 0.6 * (100.0 - 3 * SHORTEST_S))
    assert sum(seconds_for(job, jobs, 100.0) for job in jobs) == pytest.approx(100.0)
    most = 1.9 * SHORTEST_S
    assert seconds_for(jobs[0], jobs, most) == most, "less than a short search finds out nothing"
    assert seconds_for(jobs[0], jobs, 2.5 * SHORTEST_S) == pytest.approx(SHORTEST_S * (1 + 0.5 * 6 / 9))
    assert seconds_for(jobs[2], jobs[2:], 5.0) == 5.0
    assert seconds_for(Job(None, None, "", {}, 0.0), [Job(None, None, "", {}, 0.0)] * 2, 40.0) == 20.0


@pytest.mark.parametrize(("part", "search"), [(4.0, 2.0), (SHORTEST_S, 6.0), (15.0, 10.0), (60.0, 40.0)])
def test_a_search_leaves_time_for_its_proof(part, search):
    assert seconds_to_search(part, 5.0) == pytest.approx(search)


def test_what_a_proof_needs_is_learnt_from_earlier_ones():
    time_left = TimeLeft(time.monotonic(), 60.0)
    assert time_left.proof_s == SITTING_S + READING_S
    for sitting, reading in ((20.0, 3.0), (8.0, 2.0), (9.0, 2.5)):
        time_left.note_sitting(sitting)
        time_left.note_reading(reading)
    assert time_left.proof_s == 8.0 + 3.0
    assert 59.0 < time_left.left() <= 60.0
    assert TimeLeft(time.monotonic() - 61.0, 60.0).left() == 0.0


def test_nobody_waits_for_compilations_that_are_cancelled():
    pool, free = ThreadPoolExecutor(1), threading.Event()
    futures = [pool.submit(free.wait, 30.0) for _ in range(3)]
    waiting = threading.Thread(target=wait_until_done, args=(futures,))
    waiting.start()
    pool.shutdown(wait=False, cancel_futures=True)
    free.set()
    waiting.join(5.0)
    assert not waiting.is_alive()
