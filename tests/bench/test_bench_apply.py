"""Rounds share the launches of a figure, and end when the time is up."""

from __future__ import annotations

import pytest

from tests.bench.bench_apply import ROUNDS, measure


class Clock:
    """Each launch takes 1 ms of it."""

    now = 0.0

    def way(self, us):
        def run(count):
            self.now += count * 1e-3
            return us

        return run

    def __call__(self):
        return self.now


@pytest.mark.parametrize("launches", [1, ROUNDS, 1005])
def test_all_launches_are_made_and_the_least_counts(launches):
    clock = Clock()
    least, made = measure({"bare": clock.way(3.0), "applied": clock.way(4.0)}, launches, 1e9, clock)
    assert made == launches
    assert clock.now == pytest.approx(2 * launches * 1e-3)
    assert least == {"bare": 3.0, "applied": 4.0}


def test_the_least_of_the_rounds_counts():
    readings = iter([5.0, 2.0, 7.0] + [9.0] * ROUNDS)
    assert measure({"bare": lambda count: next(readings)}, 30 * ROUNDS, 1e9)[0] == {"bare": 2.0}


def test_no_round_is_begun_that_would_end_too_late_but_the_first():
    clock = Clock()
    _, made = measure({"bare": clock.way(1.0)}, 10_000, 3.5, clock)
    assert made == 3 * 10_000 // ROUNDS
    assert clock.now <= 3.5
    assert measure({"bare": clock.way(1.0)}, 10_000, 0.0, clock)[1] == 10_000 // ROUNDS
