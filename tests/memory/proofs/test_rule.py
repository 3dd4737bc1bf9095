"""The rule of what is proven, over the rows of a final sitting."""

from __future__ import annotations

from itertools import pairwise

import pytest

from memory.proofs.rule import OWN, judge_rows, widened


def row(name, ratio=None, half=0.01, equivalent=True, missing=None, spoilt=False, saving=None):
    about = {"name": name, "equivalent": equivalent, "missing": missing, "spoilt": spoilt}
    about |= {"speedup": ratio, "ci": None if ratio is None else (ratio - half, ratio + half)}
    return about | {"saving": saving, "saving_ci": None if saving is None else (saving - half, saving + half)}


@pytest.mark.parametrize(
    ("rows", "word", "against"),
    [
        ([row("unfused", 1.206), row("compiled", 0.981)], "slower", "compiled"),
        ([row("unfused", 1.206), row("compiled", 1.005)], "level", "compiled"),
        ([row("unfused", 1.206), row("compiled", 1.05)], "proven", "compiled"),
        ([row("unfused", 1.02), row("compiled", 1.3)], "proven", "unfused"),
        ([row("unfused", 1.01), row("compiled", 1.3)], "level", "unfused"),
        ([row("unfused", 1.1), row("cublas", 0.9, equivalent=False)], "proven", "unfused"),
        ([row("unfused", 1.1), row(OWN, 0.9)], "proven", "unfused"),
        ([row("unfused", 1.1), row("launch", 0.95, half=0.1)], "level", "launch"),
        ([row("unfused", 0.7, half=0.5), row("compiled", 0.95)], "slower", "compiled"),
        ([row("unfused", 1.1), row("compiled", missing="no compiler")], "proven", "unfused"),
        ([row("unfused", 1.1), row("compiled", missing="timeout", spoilt=True)], "unknown", None),
        ([row("unfused", 0.9), row("compiled", missing="timeout", spoilt=True)], "slower", "unfused"),
        ([row("unfused", 1.1), row("compiled")], "unknown", None),
        ([row("unfused", missing="no GPU")], "unknown", None),
        ([row("cublas", 1.5, equivalent=False)], "unknown", None),
        ([], "unknown", None),
    ],
)
def test_a_win_is_proven_over_every_rival_or_over_none(rows, word, against):
    found = judge_rows(rows)
    assert (found.word, found.against and found.against.name) == (word, against)
    assert found.proven is (word == "proven")
    assert judge_rows(rows[::-1]).word == word, "the order of the rows says nothing"


def test_only_the_rivals_asked_for_count_and_the_others_are_still_told():
    rows = [row("unfused", 1.206), row("compiled", 0.981)]
    found = judge_rows(rows, against=["unfused"])
    assert (found.word, found.against.name) == ("proven", "unfused")
    assert [ratio.name for ratio in found.left_out] == ["compiled"]
    assert judge_rows(rows, against=["compiled"]).word == "slower"


def test_a_goal_of_energy_is_judged_by_joules():
    rows = [row("unfused", 1.2, saving=0.9), row("compiled", 0.8, saving=1.2)]
    assert (judge_rows(rows, energy=True).word, judge_rows(rows, energy=True).against.name) == ("slower", "unfused")
    assert judge_rows([row("unfused", 1.2)], energy=True).word == "unknown"


def test_who_tries_several_configs_needs_a_wider_interval():
    assert widened(1.02, (1.01, 1.03), 1) == (1.01, 1.03)
    ends = [widened(1.02, (1.001, 1.03), tried) for tried in (1, 2, 4, 16)]
    assert all(a[0] > b[0] and a[1] < b[1] for a, b in pairwise(ends))
    assert widened(1.02, (1.001, 1.03), 2)[0] < 1 < widened(1.02, (1.01, 1.03), 16)[0]
    assert widened(0.0, (0.0, 1.0), 5) == (0.0, 1.0)
