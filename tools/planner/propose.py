"""Proposes the configs to measure next: those with the highest expected improvement times probability of success.

1. The cost model estimates the time of every config from the config's fields or, after compilation, from the
   compiler's figures.
2. A Gaussian process learns from the measurements where the cost model is wrong. A failure lowers the probability that
   similar configs succeed.
3. A batch is picked so that near twins do not fill it (:mod:`tools.planner.batch`).
4. The planner advises to stop when no config is expected to gain what a measurement costs, and all untried ones
   together probably hold no more than 1 % (:mod:`tools.planner.stopping`). The caller may go on.

If no cost model covers the kernel, the planner measures a few configs first and then uses the data alone: those that
the kernel itself calls promising (its owner's config and the neighbours of it), else random ones that try every value
of a parameter about equally often but avoid the edges of the space, where the optimum seldom is. The surrogate expects
the same of the edges until measurements show otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from kernels.spec import Config
from tools.planner import surrogate
from tools.planner.batch import draw_balanced, pick_batch, shortlist
from tools.planner.compiled_columns import compiled_columns
from tools.planner.cost.lookup import Model, model_of
from tools.planner.cost.physics import Physics
from tools.planner.cost.resources import Flags, Floats, Indices
from tools.planner.evidence import Evidence
from tools.planner.features import Encoder
from tools.planner.parameter_effects import Effect, estimate_effects
from tools.planner.reasons import origin
from tools.planner.regret_estimate import READ, RIVALS, STRETCH, Regret, estimate_regret
from tools.planner.stopping import HONEST, advise, confirm
from tools.planner.transfer import NearProblem, estimate_correction
from tools.session.task import Task

SHORTLIST = 256
"""How many configs compete for a batch: those with the most expected improvement. Computing their joint covariance is
the slowest step."""
DRAWN = 2
"""Random measurements before the surrogate chooses, if there is neither a cost model nor a near problem. With EDGE two
do better than four on the spaces of docs/PLANNER.md: every further random config is one that the surrogate could
choose."""
EDGE = 0.25
"""If there is neither a cost model nor a near problem: how much larger the compressed log(ms) is expected to be of a
config whose ordered parameters all have their least or their largest value than of one in the middle. Whoever makes a
space includes values that are probably too small and too large, so that the best ones lie between."""
PROMISING = 8
"""Promising configs measured before the surrogate chooses: the owner's, and a step up and down in three parameters."""
PATIENT_SHARE = 0.05
"""If measuring in batches saves no time, the planner decides again after this share of the measurements made so far:
after every measurement at first, and less often later, so that decisions do not take most of the time."""
EFFECTS_FROM = 8
"""Correct measurements needed before the parameters' effects are estimated."""
FITS_ODDS, MISFIT_ODDS = 0.9, 0.02
"""Probability of success before any evidence, if the estimated shared memory fits an SM and if it does not."""


@dataclass(frozen=True)
class Proposal:
    config: Config
    predicted_ms: float | None
    """``None`` if there is no cost model and no measurement yet."""
    uncertainty: float | None
    """Relative standard deviation of the prediction: 0.1 means ±10 %."""
    odds: float
    """Probability that the config compiles, runs and is correct."""
    reason: str


@dataclass(frozen=True)
class Plan:
    proposals: list[Proposal]
    stop: bool
    """Advice only: a caller who wants to go on can still use the proposals."""
    why: str
    gain: float
    """Expected relative gain of the best next measurement."""
    try_first: int = 0
    """How many of the proposals to try before asking again: their results may change the rest."""
    regret: Regret | None = None
    """Of the fastest config measured, if the expected gain alone advises a stop; otherwise nobody needs it."""
    estimate_effects: Callable[[], list[Effect]] = field(default=list, compare=False)

    @cached_property
    def effects(self) -> list[Effect]:
        """What parameters and pairs of them change near the best, largest first. Empty until there are enough
        measurements. Estimated when first asked for: it takes as long as the proposals, and not everybody asks."""
        return self.estimate_effects()


@dataclass(frozen=True)
class _View:
    """Configs as arrays, and the cost model for them."""

    configs: Sequence[Config]
    index: dict[Config, int]
    raw: Floats
    extremity: Floats
    cost_model: Model | None


@dataclass(frozen=True)
class _Prediction:
    """What the planner predicts from the evidence. Arrays run over the space."""

    physics: Physics | None
    model: surrogate.Surrogate
    points: Floats
    mean: Floats
    deviation: Floats
    odds: Floats
    taught: bool
    """Whether near problems have corrected the prediction."""
    timed: int
    """Number of configs with a verified time."""
    leader: Config | None
    leader_log_ms: float

    @property
    def blind(self) -> bool:
        """Whether the prediction rests on this run's measurements alone."""
        return self.physics is None and not self.taught

    @property
    def draws(self) -> bool:
        """Whether the next config is drawn at random, because there are too few measurements to predict from."""
        return self.blind and self.timed < DRAWN


class Planner:
    """Proposes configs of one space for one task. It holds what does not change during a run; evidence is passed in."""

    def __init__(self, task: Task, space: Sequence[Config], near_problems: Sequence[NearProblem] = ()) -> None:
        """`near_problems` are the near problems that earlier runs searched."""
        self.task = task
        self.space = list(dict.fromkeys(space))
        self.encoder = Encoder(self.space)
        self._view = self._read(self.space)
        promising = task.spec.promising(task.problem, task.hardware) if self.space else []
        self._promising = [c for c in promising if c in self._view.index][:PROMISING]
        self._levels = self.encoder.level_indices(self.space)
        with surrogate.one_thread():
            own = self._estimate_cost(self._view, Evidence()) if near_problems else None
            self._correction = (
                estimate_correction(near_problems, self.encoder, self.space, own)
                if near_problems and self.space
                else None
            )

    def propose(self, evidence: Evidence, count: int, seeds: Sequence[Config] = (), patient: bool = False) -> Plan:
        """The next `count` configs, best first. No config is proposed that was measured or that failed before.

        `seeds` are winners of near problems. Those that are in the space and untried come first, in their order.
        `patient` means that measuring in batches saves no time."""
        with surrogate.one_thread():
            return self._propose(evidence, count, seeds, patient)

    def _propose(self, evidence: Evidence, count: int, seeds: Sequence[Config], patient: bool) -> Plan:
        free = np.ones(len(self.space), bool)
        free[[self._view.index[c] for c in evidence.settled() if c in self._view.index]] = False
        if not free.any():
            return Plan([], True, "every config of the space was tried", 0.0)
        prediction = self._predict(evidence)
        best = prediction.leader_log_ms if prediction.leader is not None else float(prediction.mean[free].min())
        gain = surrogate.expected_improvement(prediction.mean, prediction.deviation, best) * prediction.odds
        said = dict.fromkeys(self._view.index[c] for c in self._promising if prediction.blind)
        seed_indices = dict.fromkeys(self._view.index[c] for c in seeds if c in self._view.index)
        first = [i for i in {**seed_indices, **said} if free[i]][:count]
        if prediction.draws:
            short = self._draw(evidence, free, count, first)
            picks = list(range(len(short)))
        else:
            short = shortlist(np.where(free, gain, -np.inf), SHORTLIST, first, self.task.seed)
            shortlisted = (
                prediction.points[short],
                self._view.raw[short],
                prediction.mean[short],
                prediction.odds[short],
            )
            picks = pick_batch(prediction.model, *shortlisted, best, count, range(len(first)))
        top = float(gain[free].max())
        advice = advise(evidence, prediction.model.surprise, top, prediction.blind, prediction.taught)
        regret = self._estimate_regret(evidence, prediction, np.flatnonzero(free), gain) if advice.stop else None
        if regret is not None:
            advice = confirm(advice, regret)
        return Plan(
            proposals=[self._proposal(short[j], prediction, short[j] in seed_indices) for j in picks],
            stop=advice.stop,
            why=advice.why,
            gain=top,
            regret=regret,
            try_first=min(len(picks), max(len(first), _batch_size(prediction, patient))),
            estimate_effects=partial(self._estimate_effects, evidence, prediction.mean, prediction.timed),
        )

    def _draw(self, evidence: Evidence, free: Flags, count: int, first: Sequence[int]) -> list[int]:
        tried = sorted(self._view.index[c] for c in evidence.settled() if c in self._view.index)
        levels = np.stack([*self._levels.values()], 1) if self._levels else np.zeros((len(self.space), 1), np.intp)
        return draw_balanced(levels, self._view.extremity, tried, free, count, first, self.task.seed)

    def _read(self, configs: Sequence[Config]) -> _View:
        index = {c: i for i, c in enumerate(configs)}
        raw, extremity = self.encoder.encode(configs), self.encoder.extremity(configs)
        cost_model = model_of(self.task.problem, configs)
        if cost_model is None:  # the terms of one know what a 0 means
            raw = np.hstack([raw, self.encoder.off(configs)])
        return _View(configs, index, raw, extremity, cost_model)

    def _predict(self, evidence: Evidence) -> _Prediction:
        times, verdicts = evidence.times(), evidence.verdicts()
        # The surrogate also learns from measured configs outside the space, but the planner does not propose them.
        outsiders = [c for c in verdicts if c in evidence.measured and c not in self._view.index]
        view = self._read([*self.space, *outsiders]) if outsiders else self._view
        physics = self._estimate_cost(view, evidence)
        figures = {view.index[c]: r for c, r in evidence.compiled.items() if c in view.index}
        said = compiled_columns(view.raw, figures, self.task.hardware) if physics is None else physics.columns
        columns = [view.raw, said]
        points = np.hstack(columns)
        taught = self._correction is not None
        guess = np.zeros(len(points)) if taught else EDGE * view.extremity
        log_cost = guess if physics is None else np.log(physics.ms)
        if self._correction is not None:
            log_cost[: len(self.space)] += self._correction

        rows = sorted(view.index[c] for c in times)
        log_ms = np.log(np.array([times[view.configs[i]] for i in rows], dtype=float))
        own = evidence.variances()
        variances = np.array([own[view.configs[i]] for i in rows], dtype=float)
        model = surrogate.fit(points[rows], log_cost[rows], log_ms, physics is not None or taught, taught, variances)
        fastest = int(np.argmin(log_ms)) if rows else None

        tried = sorted(view.index[c] for c in verdicts if c in view.index)
        worked = np.array([verdicts[view.configs[i]] for i in tried], bool)
        prior = np.full(len(points), FITS_ODDS)
        if physics is not None:
            prior[~physics.fits] = MISFIT_ODDS
        odds = surrogate.success_odds(view.raw, view.raw[tried], worked, prior)

        size = len(self.space)
        mean, deviation = model.predict(points[:size], log_cost[:size])
        return _Prediction(
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

    def _estimate_regret(
        self, evidence: Evidence, prediction: _Prediction, free: Indices, gain: Floats
    ) -> Regret | None:
        """Of the fastest config measured in the space; ``None`` if all that was measured lies outside. `free` are the
        untried configs' indices, `gain` (n,) the expected improvement of each config."""
        times = {self._view.index[c]: ms for c, ms in evidence.times().items() if c in self._view.index}
        if not times:
            return None
        read = sorted(times, key=lambda i: (prediction.mean[i], i))[:READ]
        leader = min(times, key=lambda i: times[i])
        untried = [int(i) for i in free[np.argsort(-gain[free], kind="stable")][:RIVALS]]
        surprise = prediction.model.surprise
        return estimate_regret(
            prediction.model, prediction.points, prediction.mean, prediction.odds,
            [leader, *(i for i in read if i != leader)], untried, max(STRETCH, surprise if surprise > HONEST else 0.0),
        )  # fmt: skip

    def _estimate_cost(self, view: _View, evidence: Evidence) -> Physics | None:
        if view.cost_model is None:
            return None
        compiled = {view.index[c]: r for c, r in evidence.compiled.items() if c in view.index}
        return view.cost_model(self.task.problem.dtype, self.task.hardware, compiled)

    def _proposal(self, i: int, prediction: _Prediction, seeded: bool) -> Proposal:
        predicts = prediction.physics is not None or prediction.timed > 0
        log_ms, deviation = prediction.model.stretched(float(prediction.mean[i]), float(prediction.deviation[i]))
        reason = (
            "won on a near problem"
            if seeded
            else "the owner's config"
            if self._promising[:1] == [self.space[i]]
            else origin(self.space[i], prediction.leader, self.encoder.varying, deviation)
        )
        if prediction.physics is not None:
            reason += "; " + prediction.physics.explain(i)
        return Proposal(
            config=self.space[i],
            predicted_ms=float(np.exp(log_ms)) if predicts else None,
            uncertainty=deviation if predicts else None,
            odds=float(prediction.odds[i]),
            reason=reason,
        )

    def _estimate_effects(self, evidence: Evidence, mean: Floats, timed: int) -> list[Effect]:
        """From the measured times, `timed` of them, and the predicted `mean` (n,) of all other configs."""
        if timed < EFFECTS_FROM:
            return []
        times = {self._view.index[c]: ms for c, ms in evidence.times().items() if c in self._view.index}
        measured, log_ms = np.zeros(len(self.space), bool), mean.copy()
        measured[list(times)] = True
        log_ms[list(times)] = np.log(list(times.values()))
        works = np.ones(len(self.space), bool)
        works[[self._view.index[c] for c, ok in evidence.verdicts().items() if not ok and c in self._view.index]] = (
            False
        )
        return estimate_effects(self._levels, log_ms, measured, works)


def _batch_size(prediction: _Prediction, patient: bool) -> int:
    if prediction.draws:
        return DRAWN - prediction.timed
    return max(1, int(PATIENT_SHARE * prediction.timed)) if patient else len(prediction.mean)
