"""Which configs to measure next: expected improvement times the odds that the config works, spread over a batch.

1. The cost model says what every config should take, from its fields or, once compiled, from the compiler's figures.
2. A Gaussian process learns from the measurements where the cost model is wrong; failures lower the odds of whatever
   resembles them.
3. A batch is picked so that near twins do not fill it (:mod:`tools.planner.batch`).
4. The search stops where no config is expected to gain what a measurement costs (:mod:`tools.planner.stopping`). A
   caller may go on nevertheless.

A kernel that no cost model knows starts from a few configs drawn at random (a design that spreads them out tries the
corners of the space, where optima seldom are) and goes by the data alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kernels.spec import Config
from tools.planner import surrogate
from tools.planner.batch import pick_batch, shortlist
from tools.planner.cost.lookup import Model, model_of
from tools.planner.cost.physics import Physics
from tools.planner.cost.resources import Floats
from tools.planner.evidence import Evidence
from tools.planner.features import Encoder
from tools.planner.reasons import origin
from tools.planner.stopping import advise
from tools.planner.transfer import NearProblem, estimate_correction
from tools.session.task import Task

SHORTLIST = 256
"""Configs with the most expected improvement that compete for a batch: their joint covariance is what costs time."""
DRAWN = 4
"""Measurements at random where nothing predicts, before the data say where to look. Of 2 to 8, this did best on the
spaces of docs/PLANNER.md: what is drawn more is not chosen."""
PATIENT_SHARE = 0.05
"""Where nothing is gained by trying many at a time, as many are tried before the next decision as this share of what is
measured already: early decisions are one a measurement, and late ones do not take for ever."""
IMPORTANCE_FROM = 8
"""Correct measurements before parameter importance says anything."""
FITS_ODDS, MISFIT_ODDS = 0.9, 0.02
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
    worth: int = 0
    """How many of the proposals to try before asking again: what they teach may change the rest."""
    importance: dict[str, float] = field(default_factory=dict)
    """Share of the variation of log(ms) over the space that each parameter explains alone (first-order Sobol index,
    of the prediction), largest first. Empty before there are enough measurements."""


@dataclass(frozen=True)
class _View:
    """Configs as arrays, and the cost model that has read them."""

    configs: Sequence[Config]
    places: dict[Config, int]
    raw: Floats
    cost_model: Model | None


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
        """Whether nothing but this run's measurements says where to look."""
        return self.physics is None and not self.taught

    @property
    def draws(self) -> bool:
        """Whether there are not even enough of these."""
        return self.blind and self.timed < DRAWN


class Planner:
    """Proposes configs of one space for one task. Holds what does not change during a run; evidence is passed in."""

    def __init__(self, task: Task, space: Sequence[Config], near_problems: Sequence[NearProblem] = ()) -> None:
        """`near_problems`: those that were searched before."""
        self.task = task
        self.space = list(dict.fromkeys(space))
        self.encoder = Encoder(self.space)
        self._view = self._look(self.space)
        self._levels = self.encoder.level_indices(self.space)
        with surrogate.one_thread():
            own = self._compiled(self._view, Evidence()) if near_problems else None
            self._correction = (
                estimate_correction(near_problems, self.encoder, self.space, own)
                if near_problems and self.space
                else None
            )

    def propose(self, evidence: Evidence, count: int, seeds: Sequence[Config] = (), patient: bool = False) -> Plan:
        """The next `count` configs, best first, none of which was measured or failed before.

        `seeds` are winners of near problems: those of the space that are untried come first, in their order. `patient`:
        nothing is gained by trying many at a time."""
        with surrogate.one_thread():
            return self._propose(evidence, count, seeds, patient)

    def _propose(self, evidence: Evidence, count: int, seeds: Sequence[Config], patient: bool) -> Plan:
        free = np.ones(len(self.space), bool)
        free[[self._view.places[c] for c in evidence.settled() if c in self._view.places]] = False
        if not free.any():
            return Plan([], True, "every config of the space was tried", 0.0)
        seen = self._outlook(evidence)
        best = seen.leader_log_ms if seen.leader is not None else float(seen.mean[free].min())
        gain = surrogate.expected_improvement(seen.mean, seen.deviation, best) * seen.odds
        ranking = np.where(free, 0.0 if seen.draws else gain, -np.inf)
        wanted = dict.fromkeys(self._view.places[c] for c in seeds if c in self._view.places)
        first = [i for i in wanted if free[i]][:count]
        short = shortlist(ranking, count if seen.draws else SHORTLIST, first, self.task.seed)
        picks = list(range(min(count, len(short))))
        if not seen.draws:
            shortlisted = (seen.points[short], self._view.raw[short], seen.mean[short], seen.odds[short])
            picks = pick_batch(seen.model, *shortlisted, best, count, range(len(first)))
        top = float(gain[free].max())
        advice = advise(evidence, seen.model.surprise, top, seen.blind, seen.taught)
        return Plan(
            proposals=[self._proposal(short[j], seen, j < len(first)) for j in picks],
            stop=advice.stop,
            why=advice.why,
            gain=top,
            worth=min(len(picks), _worth(seen, patient)),
            importance=self._importance(seen.mean) if seen.timed >= IMPORTANCE_FROM else {},
        )

    def _look(self, configs: Sequence[Config]) -> _View:
        places = {c: i for i, c in enumerate(configs)}
        return _View(configs, places, self.encoder.encode(configs), model_of(self.task.problem, configs))

    def _outlook(self, evidence: Evidence) -> _Outlook:
        times, verdicts = evidence.times(), evidence.verdicts()
        # Measured configs that are not in the space teach, but are not proposed.
        strangers = [c for c in verdicts if c in evidence.measured and c not in self._view.places]
        view = self._look([*self.space, *strangers]) if strangers else self._view
        physics = self._compiled(view, evidence)
        columns = [view.raw] if physics is None else [view.raw, physics.columns]
        points = np.hstack(columns)
        log_cost = np.zeros(len(points)) if physics is None else np.log(physics.ms)
        if self._correction is not None:
            log_cost[: len(self.space)] += self._correction

        rows = sorted(view.places[c] for c in times)
        log_ms = np.log(np.array([times[view.configs[i]] for i in rows], dtype=float))
        taught = self._correction is not None
        model = surrogate.fit(points[rows], log_cost[rows], log_ms, physics is not None or taught, taught)
        fastest = int(np.argmin(log_ms)) if rows else None

        tried = sorted(view.places[c] for c in verdicts if c in view.places)
        worked = np.array([verdicts[view.configs[i]] for i in tried], bool)
        prior = np.full(len(points), FITS_ODDS)
        if physics is not None:
            prior[~physics.fits] = MISFIT_ODDS
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
        if view.cost_model is None:
            return None
        compiled = {view.places[c]: r for c, r in evidence.compiled.items() if c in view.places}
        return view.cost_model(self.task.problem.dtype, self.task.hardware, compiled)

    def _proposal(self, i: int, seen: _Outlook, seeded: bool) -> Proposal:
        predicts = seen.physics is not None or seen.timed > 0
        log_ms, deviation = seen.model.stretched(float(seen.mean[i]), float(seen.deviation[i]))
        reason = (
            "won on a near problem" if seeded else origin(self.space[i], seen.leader, self.encoder.varying, deviation)
        )
        if seen.physics is not None:
            reason += "; " + seen.physics.explain(i)
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


def _worth(seen: _Outlook, patient: bool) -> int:
    if seen.draws:
        return DRAWN - seen.timed
    return max(1, int(PATIENT_SHARE * seen.timed)) if patient else len(seen.mean)
