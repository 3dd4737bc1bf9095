"""Which finalist is tried next: every code has its turn, and a variant that was wrong has none again."""

from __future__ import annotations

import pytest

from agent.verdict.judgement import EVERY_BASELINE, count_alike, explain_failure
from agent.verdict.next_finalist import MOST_SPOILT, Order
from tests.agent.fake_actions import baseline

A, B, OWN = {"tile": 1, "edit": "aa T=1"}, {"tile": 1, "edit": "bb"}, {"tile": 2}
MANY = [A, {**A, "tile": 2}, {**A, "edit": "aa T=2"}, B, OWN, {"tile": 3}]


def sitting(config, status="correct", speedup=1.0):
    row = {"config": config, "status": status, "reason": "", "ms": 1.0, "ci_ms": (1.0, 1.0)}
    return row | {"comparisons": [baseline("owner", "the owner's", speedup, 1.0)], "how": "a sitting"}


def tried(finalists, said, close=None, most=16, **more):
    """The configs tried. `said`: by code, status and speed-up of its sittings."""
    order = Order(finalists, len(finalists) if close is None else close, most, **more)
    proofs = {}
    while (place := order.after(proofs)) is not None:
        config = finalists[place]
        proofs[place] = sitting(config, *said[str(config.get("edit", "")).partition(" ")[0]])
    return [finalists[place] for place in proofs]


WRONG, LEVEL, PROVEN, SLOWER = ("correctness",), ("correct", 1.0), ("correct", 1.2), ("correct", 0.8)


def test_a_wrong_variant_has_one_sitting():
    assert tried(MANY, {"aa": WRONG, "bb": PROVEN}) == [A, B]
    assert tried(MANY, {"aa": WRONG, "bb": WRONG, "": PROVEN}) == [A, B, OWN]
    assert tried(MANY[:3], {"aa": WRONG}) == [A]


def test_configs_of_the_owners_code_are_tried_one_after_another():
    own = [{"tile": n} for n in range(4)]
    assert tried(own, {"": WRONG}) == own


def test_a_run_by_the_older_rule_is_replayed_by_it():
    assert tried(MANY, {"aa": WRONG, "bb": PROVEN}, rule=EVERY_BASELINE) == MANY[:4]


@pytest.mark.parametrize("verdict", [LEVEL, SLOWER])
def test_after_a_variant_that_is_not_proven_comes_the_owners_code_however_far_behind(verdict):
    assert tried(MANY, {"aa": verdict, "": PROVEN}, close=1, most=2) == [A, OWN]
    assert tried(MANY, {"aa": verdict, "": PROVEN}, close=1, most=1) == [A]
    assert tried(MANY, {"aa": WRONG, "bb": verdict, "": LEVEL}, close=1, most=2) == [A, B, OWN]


def test_nothing_is_tried_after_a_proof():
    assert tried(MANY, {"aa": PROVEN}) == [A]


def test_without_variants_the_order_is_as_ever():
    own = [{"tile": n} for n in range(4)]
    assert tried(own, {"": LEVEL}, close=2) == own[:2]
    assert tried(own, {"": LEVEL}, close=4, most=3) == own[:3]
    assert tried(own, {"": ("infrastructure",)}) == own[:MOST_SPOILT]
    assert tried([], {}) == []


def test_alike_failures_are_counted_with_the_range_of_their_numbers():
    def told(error):
        return f"correctness: on tiny inputs: result loss_ptr: scale-relative error {error} is above the bound 1.62e-05"

    errors = ["3.21e-05", "2.77e-05", "4.5e-05"]
    assert count_alike(["1b10"] * 3, [told(e) for e in errors]) == [
        "3 configs of variant 1b10: correctness: on tiny inputs: result loss_ptr: scale-relative error "
        "2.77e-05 to 4.5e-05 is above the bound 1.62e-05"
    ]
    assert count_alike(["", "", "1b10"], ["timeout: 4 s", "timeout: 4 s", told(1)]) == [
        "2 configs of the owner: timeout: 4 s",
        told(1),
    ]
    proofs = [{"config": A, "status": "correctness", "reason": f"off by {n}"} for n in (1, 3, 2)]
    assert explain_failure(proofs) == (
        "no finalist passed the final sitting (3 configs of variant aa: correctness: off by 1 to 3)"
    )
    assert "off by 1; correctness: off by 3" in explain_failure(proofs, EVERY_BASELINE)
