"""The forest's tree search: where it looks, what it picks, how it goes on."""

from __future__ import annotations

import json
from multiprocessing import Pipe
from threading import Thread

import numpy as np
import pytest

from evals.agents import forest_search
from evals.agents.forest_search import Copy, Space, fit_forest, select
from evals.contest.briefing import briefing_of
from evals.contest.contest import Job, run_jobs
from evals.contest.game import Game
from evals.contest.ledger import Ledger, Over, Referee
from evals.scoring.score import Board
from tests.evals.spaces import BEST, BROKEN, honest


@pytest.fixture
def game():
    """A game of 60 hills, answered in a thread."""
    landscape = honest()
    ledger = Ledger("forest", landscape.name, "", "", "plain", 0, 60)
    referee, (ours, theirs) = Referee(landscape, ledger), Pipe()

    def answer() -> None:
        while True:
            try:
                _, config = json.loads(ours.recv_bytes())
                row = referee.measure(config)
                ours.send_bytes(json.dumps({"status": row.status, "ms": row.ms}).encode())
            except Over as e:
                ours.send_bytes(json.dumps({"over": str(e)}).encode())
            except EOFError:
                return

    thread = Thread(target=answer)
    thread.start()
    yield Game(briefing_of(landscape), 0, 60, theirs)
    theirs.close()
    thread.join()


def test_neighbours_are_untried_configs_of_the_space_a_few_steps_away(game):
    space = Space(game)
    base = space.place(BEST)
    found = space.propose(base, None)
    assert len(found) > 10
    assert base not in space.tried
    for place in found:
        assert place in space.configs
        assert all(abs(a - b) <= forest_search.RADIUS for a, b, n in zip(place, base, space.ordered, strict=True) if n)
    space.measure(space.configs[found[0]])
    assert found[0] not in space.propose(base, None)


def test_the_forest_tells_good_configs_from_slow_ones_and_from_failures(game):
    space = Space(game)
    for config in game.configs:
        space.measure(config)
    forest = fit_forest(space)
    good = dict(zip(space.configs, forest.predict_proba(space.encode(list(space.configs)))[:, -1], strict=True))
    slowest = max(space.times, key=lambda p: space.times[p])
    assert good[space.place(BEST)] > 0.5 > good[slowest]
    assert good[space.place(BROKEN)] < 0.2


def test_a_path_through_a_tree_never_leads_to_what_the_tree_likes_less(game):
    space = Space(game)
    for config in game.configs[::2]:
        space.measure(config)
    gained = 0
    for tree in fit_forest(space).estimators_[:30]:
        for base in list(space.tried)[:5]:
            ends = space.encode([base, space._climb(base, tree)]).astype(np.float32)
            before, after = tree.predict_proba(ends)[:, -1]
            assert after >= before
            gained += after > before
    assert gained > 10


def test_picks_lie_in_other_leaves_than_the_most_likely_ones(game):
    space = Space(game)
    for config in game.configs[::2]:
        space.measure(config)
    forest, places = fit_forest(space), list(space.configs)
    picked, leaves = select(space, forest, places, 8), forest.apply(space.encode(places))
    good = forest.predict_proba(space.encode(places))[:, -1]
    likely = np.argsort(-good, kind="stable")[:8]
    alike = [
        np.mean([(leaves[i] == leaves[j]).mean() for i in rows for j in rows if i != j])
        for rows in ([places.index(p) for p in picked], likely)
    ]
    assert alike[0] < 0.8 * alike[1]
    assert places.index(picked[0]) == likely[0]
    assert len(set(picked)) == 8


def test_a_copy_moves_to_what_is_better_and_ends_after_two_generations_without_a_gain():
    times = {(0,): 2.0, (1,): 1.0, (2,): 1.5}
    copy = Copy((0,))
    copy.move(times, [(1,), (2,)])
    assert (copy.place, copy.patience) == ((1,), forest_search.PATIENCE)
    copy.move(times, [(2,)])
    assert (copy.place, copy.patience >= 0) == ((1,), True)
    copy.move(times, [(2,)])
    assert copy.patience < 0
    nowhere = Copy((0,))
    nowhere.move(times, [])
    assert nowhere.patience < 0


@pytest.mark.long
@pytest.mark.process
def test_it_plays_to_the_end_the_same_way_each_time():
    landscape, ledgers = honest(), []
    jobs = [Job("forest_tree_quick", landscape, "hills", "plain", 3, 50)] * 2
    run_jobs(jobs, 1, ledgers.append)
    first, second = ([row.config for row in x.rows] for x in ledgers)
    assert (ledgers[0].end, len(first)) == ("budget", 50), ledgers[0].why
    assert first == second
    assert Board(landscape).score(ledgers[0]).passed
