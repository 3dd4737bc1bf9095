"""The leaderboard states how many runs its rows stand for."""

import pytest

from evals.scoring.leaderboard import describe_seeds


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ([5, 5], "5 seeds each."),
        ([1, 1], "1 seed each."),
        ([5, 1, 5], "1 to 5 seeds each: the column runs"),
        ([], "0 seeds"),
    ],
)
def test_seeds_of_agents_that_differ_are_not_told_as_the_most(counts, says):
    assert describe_seeds(counts).startswith(says)
