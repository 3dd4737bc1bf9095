"""The rules by which times of a GPU count, on answers that a script gives: nothing here is measured."""

import time

import pytest

from evals.judge.judge_clock import time_in_turns
from evals.judge.rooms import Failed


class Scripted:
    """One side whose calls take `ms` by its events, `steady_ms` back to back, `host_ms` to enqueue, and the judge
    `late` times as long to wait for."""

    device_name, result_bytes = "NVIDIA H200", 1 << 20

    def __init__(self, ms, steady_ms=None, host_ms=0.001, late=1.0, wrong=False):
        self.ms, self.steady_ms, self.host_ms = ms, ms if steady_ms is None else steady_ms, host_ms
        self.late, self.wrong = late, wrong

    def time(self, seeds):
        return [self.ms * (1 + 0.001 * i) for i in range(len(seeds))]

    def steady(self, calls):
        took = self.steady_ms * calls
        if calls > 10:
            time.sleep(took * self.late / 1e3)
        return [took, self.host_ms]

    def hand_over(self, sample):
        return {"results": []}

    def compare_timed(self, seed, results):
        return {"reason": "wrong" if self.wrong else ""}


def test_a_faster_candidate_is_called_faster():
    timing = time_in_turns(Scripted(2.0), Scripted(1.0))
    assert timing.verdict == "faster"
    assert timing.ci[0] < timing.speedup < timing.ci[1]
    assert timing.speedup == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(
    ("reference", "candidate", "verdict"),
    [
        (Scripted(1.0), Scripted(1.0), "no difference"),
        (Scripted(1.0), Scripted(2.0), "slower"),
        (Scripted(1.0, 1.0), Scripted(0.5, 2.0, host_ms=2.0), "no difference"),
    ],
)
def test_what_is_not_faster(reference, candidate, verdict):
    assert time_in_turns(reference, candidate).verdict == verdict


@pytest.mark.parametrize(
    ("reference", "candidate", "status"),
    [
        (Scripted(1.0), Scripted(0.1, late=4.0), "clock"),
        (Scripted(1.0), Scripted(0.2, steady_ms=1.0), "clock"),
        (Scripted(1.0), Scripted(0.0), "implausible"),
        (Scripted(1.0, wrong=True), Scripted(0.5), "correctness"),
    ],
)
def test_times_that_cannot_be_true(reference, candidate, status):
    with pytest.raises(Failed) as e:
        time_in_turns(reference, candidate)
    assert e.value.status == status


def test_a_result_that_the_card_cannot_have_written():
    reference = Scripted(1.0)
    reference.result_bytes = 4 << 30
    with pytest.raises(Failed, match="H200 needs to write"):
        time_in_turns(reference, Scripted(0.5))
