"""Which configs to measure next: expected improvement times the odds that the config works, spread over a batch.

1. The cost model says what every config should take, from its fields or, once compiled, from the compiler's figures.
2. A Gaussian process learns from the measurements where the cost model is wrong; failures lower the odds of whatever
   resembles them.
3. A batch is picked so that near twins do not fill it (:mod:`tools.planner.batch`).
4. The search stops where no config is expected to gain what a measurement costs. A caller may go on nevertheless.

A kernel that the cost model does not know starts from configs drawn at random (a design that spreads them out tries the
corners of the space, where optima seldom are) and goes by the data alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kernels.spec import Config
from tools.planner import surrogate
from tools.planner.batch import pick_batch, shortlist
from tools.planner.cost_model import estimate
from tools.planner.evidence import Evidence
from tools.planner.features import Encoder, physics_columns
from tools.planner.kin import Kin, Physics, lesson, physics
from tools.planner.launch import Floats, Tiles, read_launch, read_tiles
from tools.planner.reasons import explain_launch, origin
from tools.task import Task

SHORTLIST = 256
"""Configs with the most expected improvement that compete for a batch: their joint covariance is what costs time."""
WORTH_A_MEASUREMENT = 0.0005
"""Expected relative gain below which a measurement is not worth its time: 0.05 %, a sixth of the 0.3 % within which
repeated readings of one config agree."""
MEASURED_BEFORE_STOP = 12
"""Correct measurements before the surrogate's opinion of what is left is trusted."""
TAUGHT_BEFORE_STOP = 6
"""The same after near problems have corrected the prediction."""
IMPORTANCE_FROM = 8
"""Correct measurements before parameter importance says anything."""
FITS_ODDS, MISFIT_ODDS = 0.9, 0.1
"""Odds before any evidence, where the estimated shared memory fits an SM and where it does not."""


@dataclass(frozen=True)
class Proposal:
    config: Config
    predicted_ms: float | None
    """``None`` where nothing predicts yet: an unknown kernel without a measurement."""
    uncertainty: float | None
    """Relative standard deviation of the prediction: 0.1 means ±10 %."""
    odds: float
    """That it compiles, runs and is correct."""
    reason: str


@dataclass(frozen=True)
class Plan:
    proposals: list[Proposal]
    stop: bool
    """Advice: the proposals stand for a caller who wants to go on."""
    why: str
    gain: float
    """Expected relative gain of the best next measurement."""
    importance: dict[str, float] = field(default_factory=dict)
    """Share of the variation of log(ms) over the space that each parameter explains alone (first-order Sobol index,
    of the prediction), largest first. Empty before there are enough measurements."""


@dataclass(frozen=True)
class _View:
    """Configs as arrays: raw parameters, and tiles where they are a matmul's."""

    configs: Sequence[Config]
    places: dict[Config, int]
    raw: Floats
    tiles: Tiles | None


@dataclass(frozen=True)
class _Outlook:
    """What the evidence lets expect; arrays run over the space."""

    physics: Physics | None
    model: surrogate.Surrogate
    points: Floats
    mean: Floats
    deviation: Floats
    odds: Floats
    taught: bool
    """Whether near problems have corrected the prediction."""
    timed: int
    """Configs with a verified time."""
    leader: Config | None
    leader_log_ms: float

    @property
    def blind(self) -> bool:
        """Whether neither physics nor near problems nor enough measurements say where to look."""
        return self.physics is None and not self.taught and self.timed < surrogate.FIT_FROM


class Planner:
    """Proposes configs of one space for one task. Holds what does not change during a run; evidence is passed in."""

    def __init__(self, task: Task, space: Sequence[Config], kin: Sequence[Kin] = ()) -> None:
        """`kin`: near problems that were searched before."""
        self.task = task
        self.space = list(dict.fromkeys(space))
        self.encoder = Encoder(self.space)
        self._view = self._look(self.space)
        self._levels = self.encoder.level_indices(self.space)
        with surrogate.one_thread():
            own = physics(task.problem, task.hardware, self.space, self._view.tiles) if kin else None
            self._lesson = lesson(kin, self.encoder, self.space, own) if kin and self.space else None

    def propose(self, evidence: Evidence, count: int, seeds: Sequence[Config] = ()) -> Plan:
        """The next `count` configs, best first, none of which was measured or failed before.

        `seeds` are winners of near problems: those of the space that are untried come first, in their order."""
        with surrogate.one_thread():
            return self._propose(evidence, count, seeds)

    def _propose(self, evidence: Evidence, count: int, seeds: Sequence[Config]) -> Plan:
        free = np.ones(len(self.space), bool)
        free[[self._view.places[c] for c in evidence.settled() if c in self._view.places]] = False
        if not free.any():
            return Plan([], True, "every config of the space was tried", 0.0)
        seen = self._outlook(evidence)
        best = seen.leader_log_ms if seen.leader is not None else float(seen.mean[free].min())
        gain = surrogate.expected_improvement(seen.mean, seen.deviation, best) * seen.odds
        ranking = np.where(free, 0.0 if seen.blind else gain, -np.inf)
        wanted = dict.fromkeys(self._view.places[c] for c in seeds if c in self._view.places)
        first = [i for i in wanted if free[i]][:count]
        short = shortlist(ranking, count if seen.blind else SHORTLIST, first, self.task.seed)
        picks = pick_batch(
            seen.model,
            seen.points[short],
            self._view.raw[short],
            seen.mean[short],
            seen.odds[short],
            best,
            count,
            range(len(first)),
        )
        top = float(gain[free].max())
        enough = TAUGHT_BEFORE_STOP if seen.taught else MEASURED_BEFORE_STOP
        return Plan(
            proposals=[self._proposal(short[j], seen, j < len(first)) for j in picks],
            stop=seen.timed >= enough and top < WORTH_A_MEASUREMENT,
            why=_why(top, seen.timed),
            gain=top,
            importance=self._importance(seen.mean) if seen.timed >= IMPORTANCE_FROM else {},
        )

    def _look(self, configs: Sequence[Config]) -> _View:
        places = {c: i for i, c in enumerate(configs)}
        return _View(configs, places, self.encoder.encode(configs), read_tiles(self.task.problem, configs))

    def _outlook(self, evidence: Evidence) -> _Outlook:
        times, verdicts = evidence.times(), evidence.verdicts()
        # Measured configs that are not in the space teach, but are not proposed.
        strangers = [c for c in verdicts if c in evidence.measured and c not in self._view.places]
        view = self._look([*self.space, *strangers]) if strangers else self._view
        physics = self._compiled(view, evidence)
        columns = [view.raw] if physics is None else [view.raw, physics_columns(physics.cost, physics.launch)]
        points = np.hstack(columns)
        log_cost = np.zeros(len(points)) if physics is None else np.log(physics.cost.ms)
        if self._lesson is not None:
            log_cost[: len(self.space)] += self._lesson

        rows = sorted(view.places[c] for c in times)
        log_ms = np.log(np.array([times[view.configs[i]] for i in rows], dtype=float))
        taught = self._lesson is not None
        model = surrogate.fit(points[rows], log_cost[rows], log_ms, physics is not None or taught, taught)
        fastest = int(np.argmin(log_ms)) if rows else None

        tried = sorted(view.places[c] for c in verdicts if c in view.places)
        worked = np.array([verdicts[view.configs[i]] for i in tried], bool)
        prior = np.full(len(points), FITS_ODDS)
        if physics is not None:
            prior[~physics.launch.fits] = MISFIT_ODDS
        odds = surrogate.success_odds(view.raw, view.raw[tried], worked, prior)

        size = len(self.space)
        mean, deviation = model.predict(points[:size], log_cost[:size])
        return _Outlook(
            physics=physics,
            model=model,
            points=points[:size],
            mean=mean,
            deviation=deviation,
            odds=odds[:size],
            taught=taught,
            timed=len(rows),
            leader=None if fastest is None else view.configs[rows[fastest]],
            leader_log_ms=0.0 if fastest is None else float(log_ms[fastest]),
        )

    def _compiled(self, view: _View, evidence: Evidence) -> Physics | None:
        if view.tiles is None:
            return None
        compiled = {view.places[c]: r for c, r in evidence.compiled.items() if c in view.places}
        launch = read_launch(view.tiles, self.task.hardware, compiled)
        cost = estimate(view.tiles, launch, self.task.hardware, self.task.problem.dtype)
        return None if cost is None else Physics(view.tiles, launch, cost)

    def _proposal(self, i: int, seen: _Outlook, seeded: bool) -> Proposal:
        predicts = seen.physics is not None or seen.timed > 0
        log_ms, deviation = seen.model.stretched(float(seen.mean[i]), float(seen.deviation[i]))
        reason = (
            "won on a near problem" if seeded else origin(self.space[i], seen.leader, self.encoder.varying, deviation)
        )
        if seen.physics is not None:
            reason += "; " + explain_launch(seen.physics.tiles, seen.physics.launch, seen.physics.cost, i)
        return Proposal(
            config=self.space[i],
            predicted_ms=float(np.exp(log_ms)) if predicts else None,
            uncertainty=deviation if predicts else None,
            odds=float(seen.odds[i]),
            reason=reason,
        )

    def _importance(self, mean: Floats) -> dict[str, float]:
        total = float(mean.var())
        if total <= 0:
            return {}
        shares = {}
        for name, levels in self._levels.items():
            sizes = np.bincount(levels)
            middles = np.bincount(levels, weights=mean) / sizes
            shares[name] = float(sizes @ (middles - mean.mean()) ** 2 / len(mean)) / total
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _why(gain: float, timed: int) -> str:
    if not timed:
        return "nothing is measured yet"
    return f"the best next measurement is expected to gain {gain:.2%}; one pays from {WORTH_A_MEASUREMENT:.2%} on"
