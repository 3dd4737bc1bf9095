"""A tree search guided by a random forest that tells good configs from the rest, in the manner of Helion's default.

1. Measure a random population. Its best become copies of the search, each with a config that it stands on.
2. Fit a random forest classifier on everything measured: the fastest tenth is good, weighted by how much faster than
   its threshold; all else, failures too, is not (likelihood-free Bayesian optimization, Song et al. 2022).
3. Each copy proposes neighbours of its config: those of the first generation differ in parameters drawn at random,
   later ones in the parameters on the config's path through one tree, each moved to what this tree likes best.
4. A tenth of these is measured: what the forest thinks good, and what lands in other leaves than the picks before.
5. A copy moves to its best neighbour. It ends after two generations without a gain; a search that ends begins anew.

The sizes are Helion's (``helion/autotuner``: LFBOTreeSearch and its effort profiles). What differs: block sizes and
warps are parameters like any other, because the names of a space mean nothing here, and only configs of the space are
proposed. Ranks order numbers; everything else is one-hot.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evals.contest.briefing import Values
from evals.contest.game import Game
from tools.harness.landscapes.readings import config_key

NEIGHBOURS = 200
"""Trials of proposing a neighbour, per copy and generation."""
SELECTED = 0.1
"""Share of the proposals that is measured."""
RADIUS = 2
"""Steps that a number may move at most, and parameters beyond the first that a random neighbour changes at most."""
GOOD = 0.1
"""Share of the measured configs that counts as good."""
TREES = 100
PATIENCE = 1
"""Generations without a gain that a copy survives."""
LEAST_GAIN = 0.001
"""Relative."""

Floats = np.ndarray[Any, np.dtype[np.float64]]
Place = tuple[int, ...]
"""A config as the ranks of its values."""


def run(game: Game, population: int, copies: int, generations: int) -> None:
    """Search until the evaluations are used up or every config was tried."""
    space = Space(game)
    while game.untried():
        untried = game.untried()
        for config in game.rng.sample(untried, min(population, len(untried))):
            space.measure(config)
        standing = [Copy(place) for place in sorted(space.times, key=lambda p: space.times[p])[:copies]]
        for generation in range(generations):
            forest = fit_forest(space)
            for copy in [c for c in standing if c.patience >= 0]:
                found = space.propose(copy.place, forest if generation else None)
                picked = select(space, forest, found, max(1, int(SELECTED * len(found)))) if found else []
                for place in picked:
                    space.measure(space.configs[place])
                copy.move(space.times, picked)
            if all(c.patience < 0 for c in standing):
                break


class Copy:
    """One of the places where the search goes on."""

    def __init__(self, place: Place) -> None:
        self.place, self.patience = place, PATIENCE

    def move(self, times: dict[Place, float], picked: list[Place]) -> None:
        """To the best of `picked`, if that is better. Without anything to pick the copy ends."""
        timed = [p for p in picked if p in times]
        best = min(timed, key=lambda p: times[p], default=self.place)
        gain = 1 - times[best] / times[self.place]
        if not picked:
            self.patience = -1
        elif gain < LEAST_GAIN:
            self.patience -= 1
        if gain > 0:
            self.place = best


class Space:
    """The game's configs by place, and what was measured."""

    def __init__(self, game: Game) -> None:
        self.game, self.names = game, list(game.parameters)
        self.configs = {self.place(c): c for c in game.configs}
        self.ordered = [all(_number(v) for v in game.parameters[n]) for n in self.names]
        self.levels = [game.levels(n) for n in self.names]
        self.tried: dict[Place, float | None] = {}
        """ms by place, ``None`` for a failure."""

    @property
    def times(self) -> dict[Place, float]:
        return {p: ms for p, ms in self.tried.items() if ms is not None}

    def place(self, config: Values) -> Place:
        return tuple(self.game.place(config, n) for n in self.names)

    def measure(self, config: Values) -> None:
        if config_key(config) not in self.game.seen:
            self.tried[self.place(config)] = self.game.measure(config).ms

    def encode(self, places: list[Place]) -> Floats:
        """Shape (len(places), columns): a number's rank, or a column for each category."""
        table = np.array(places, float).reshape(len(places), len(self.names))
        columns = [
            table[:, [j]] if self.ordered[j] else (table[:, [j]] == np.arange(self.levels[j])).astype(float)
            for j in range(len(self.names))
        ]
        return np.hstack(columns)

    def columns(self) -> list[int]:
        """The parameter of each encoded column."""
        return [j for j, n in enumerate(self.levels) for _ in range(1 if self.ordered[j] else n)]

    def steps(self, place: Place, j: int) -> list[int]:
        """Other ranks that parameter `j` may take."""
        near = RADIUS if self.ordered[j] else self.levels[j]
        return [r for r in range(self.levels[j]) if 0 < abs(r - place[j]) <= near]

    def propose(self, base: Place, forest: Any) -> list[Place]:
        """Untried configs around `base`, without repeats; drawn at random without a `forest`."""
        found: dict[Place, None] = {}
        for _ in range(NEIGHBOURS):
            drawn = self._draw(base) if forest is None else self._climb(base, self.game.rng.choice(forest.estimators_))
            if drawn in self.configs and drawn not in self.tried:
                found[drawn] = None
        return list(found)

    def _draw(self, base: Place) -> Place:
        changed = list(base)
        rng = self.game.rng
        for j in rng.sample(range(len(base)), min(len(base), rng.randint(1, 1 + RADIUS))):
            changed[j] = rng.choice(self.steps(base, j) or [base[j]])
        return tuple(changed)

    def _climb(self, base: Place, tree: Any) -> Place:
        """The parameters on the path of `base` through `tree`, and one drawn at random, moved one after another to what
        the tree likes best; ties are broken at random."""
        owners = self.columns()
        path = tree.decision_path(self.encode([base]).astype(np.float32)).indices
        features = [int(tree.tree_.feature[node]) for node in path]
        on_path = [owners[f] for f in features if f >= 0]
        place = base
        for j in dict.fromkeys([*on_path, self.game.rng.randrange(len(base))]):
            options = [place, *((*place[:j], rank, *place[j + 1 :]) for rank in self.steps(place, j))]
            good = tree.predict_proba(self.encode(options).astype(np.float32))[:, -1]
            place = options[self.game.rng.choice(np.flatnonzero(good == good.max()).tolist())]
        return place


def fit_forest(space: Space) -> Any:
    """A classifier of good configs; ``None`` if everything measured is alike."""
    from sklearn.ensemble import RandomForestClassifier

    places, times = list(space.tried), space.times
    if not times:
        return None
    threshold = float(np.quantile(list(times.values()), GOOD))
    good = np.array([p in times and times[p] <= threshold for p in places])
    if good.all():
        return None
    weight = np.ones(len(places))
    ahead = np.array([max(1e-5, threshold - times[p]) for p, is_good in zip(places, good, strict=True) if is_good])
    weight[good] = ahead / ahead.mean()
    forest = RandomForestClassifier(TREES, criterion="log_loss", random_state=space.game.seed, n_jobs=1)
    return forest.fit(space.encode(places), good, sample_weight=weight)


def select(space: Space, forest: Any, found: list[Place], count: int) -> list[Place]:
    """`count` of `found`, one after another: the probability of being good, less the mean share of trees in which a
    place lies in one leaf with those picked before. At random without a `forest`."""
    if forest is None:
        return space.game.rng.sample(found, min(count, len(found)))
    points = space.encode(found)
    good, leaves = forest.predict_proba(points)[:, -1], forest.apply(points)
    alike, picked = np.zeros(len(found)), list[int]()
    while len(picked) < min(count, len(found)):
        value = good - alike / max(1, len(picked))
        value[picked] = -np.inf
        picked.append(int(np.argmax(value)))
        alike += (leaves == leaves[picked[-1]]).mean(1)
    return [found[i] for i in picked]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
