"""How a card's figures decide the limit: together with the counts, and alone where the counts explain too little."""

from __future__ import annotations

import pytest

from tools.evidence.bottleneck import Model
from tools.evidence.measured import Measured, active_share, judge_measured

SMS, CLOCK = 132, 1.755e9


def judged(units, measured, blocks=1320, unknown=frozenset(), **losses):
    model = Model(units, launch=0.003, tail=losses.get("tail", 1.0), imbalance=losses.get("imbalance", 1.0))
    return judge_measured(model, measured, blocks, SMS, CLOCK, lambda name: "", unknown)


def test_counts_that_explain_the_time_decide_and_shares_are_of_the_measured_time():
    verdict = judged({"DRAM": 0.060, "issue slots": 0.02}, Measured(0.064, {"selected": 5000}))
    assert (verdict.limit.name, verdict.next.name) == ("DRAM", "issue slots")
    assert verdict.limit.share == pytest.approx(0.060 / 0.067)
    assert not verdict.unexplained


@pytest.mark.parametrize(
    ("units", "stalls", "limit"),
    [
        ({"spills": 0.54, "issue slots": 0.1}, {"long_scoreboard": 850, "lg_throttle": 110}, "spills"),
        ({"atomics": 0.07, "DRAM": 0.012}, {"drain": 430, "mio_throttle": 180}, "atomics"),
        ({"issue slots": 0.1, "special functions": 0.09}, {"mio_throttle": 900}, "special functions"),
        ({"issue slots": 0.1, "DRAM": 0.05, "latency": 0.04}, {"long_scoreboard": 900}, "latency"),
        ({"issue slots": 0.1, "DRAM": 0.05}, {"barrier": 900, "selected": 3}, "issue slots"),  # barriers say nothing
    ],
)
def test_what_warps_wait_for_decides_if_the_counts_explain_too_little(units, stalls, limit):
    many = {reason: 2000 * n for reason, n in stalls.items()}
    verdict = judged(units, Measured(1.5, many))
    assert verdict.unexplained
    assert verdict.limit.name == limit


def test_a_unit_that_data_decides_is_not_ruled_out_by_its_count():
    units = {"DRAM": 0.0118, "shared-memory port": 0.0022, "atomics": 0.0011}
    stalls = {"mio_throttle": 300_000, "barrier": 9}
    assert judged(units, Measured(1.2, stalls)).limit.name == "shared-memory port"
    assert judged(units, Measured(1.2, stalls), unknown=frozenset({"atomics"})).limit.name == "atomics"


def test_idle_multiprocessors_are_imbalance():
    measured = Measured(0.42, {"long_scoreboard": 2400, "selected": 300})
    assert active_share(measured, SMS, CLOCK) == pytest.approx(2700 * 1024 / (0.42e-3 * CLOCK * SMS))
    verdict = judged({"latency": 0.0019, "DRAM": 0.0001}, measured)
    assert (verdict.limit.name, verdict.limit.share > 0.9) == ("imbalance", True)


def test_a_kernel_shorter_than_its_launch_is_launch_overhead():
    assert judged({"latency": 0.0009 / SMS}, Measured(0.0011), blocks=1, tail=132.0).limit.name == "launch overhead"


def test_counters_take_the_place_of_counts_but_what_was_spilled_is_no_limit_of_l2():
    units = {"DRAM": 0.01, "L2 port": 0.02, "issue slots": 0.05}
    assert judged(units, Measured(0.064, counters={"L2 port": 0.9})).limit.name == "L2 port"
    spilling = units | {"spills": 0.04}
    assert judged(spilling, Measured(0.064, counters={"L2 port": 0.9})).limit.name != "L2 port"
