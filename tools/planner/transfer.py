"""Transfers results of near problems: the cost model's error there is expected here too.

The times of a near problem are compared with the cost model's prediction for the near problem's shape and device. A
Gaussian process over parameters and the cost model's columns carries the difference over to this problem's configs. If
the kernel has no cost model, the times themselves are carried over, up to a factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernels.hardware import Hardware
from kernels.spec import Config, Problem
from tools.planner import surrogate
from tools.planner.cost.lookup import physics_of
from tools.planner.cost.physics import Physics
from tools.planner.cost.resources import Floats
from tools.planner.features import Encoder

HALF_TRUST = 10.0
"""Distance at which the residuals of a near problem count half."""


@dataclass(frozen=True)
class NearProblem:
    """A near problem that was searched before, on this device or another."""

    problem: Problem
    hardware: Hardware
    times: Mapping[Config, float]
    """ms by config."""
    distance: float
    """Computed by ``memory.queries.distance``."""


def estimate_correction(
    near_problems: Sequence[NearProblem], encoder: Encoder, space: Sequence[Config], physics: Physics | None
) -> Floats | None:
    """The correction of each config's predicted log(ms), shape (n,), from the near problems; ``None`` if none of them
    has enough measurements. `physics` is the cost model's estimate for `space`, ``None`` if no cost model covers the
    kernel."""
    found = [(near.distance, _residuals(near, encoder, physics is None)) for near in near_problems]
    usable = [(distance, pair) for distance, pair in found if pair is not None]
    if not usable:
        return None
    points = np.vstack([pair[0] for _, pair in usable])
    residuals = np.concatenate([0.5 ** (distance / HALF_TRUST) * pair[1] for distance, pair in usable])
    model = surrogate.fit(points, np.zeros(len(points)), residuals, informed=physics is not None)
    here = _points(encoder, space, physics)
    mean, _ = model.predict(here, np.zeros(len(here)))
    return mean - float(np.median(mean))


def _residuals(near: NearProblem, encoder: Encoder, blind: bool) -> tuple[Floats, Floats] | None:
    """Points and centred residuals of one near problem: log(ms) minus the cost model's prediction. If no cost model
    covers the kernel (`blind`), the residual is log(ms) itself."""
    configs = sorted(near.times, key=lambda c: c.key())
    there = None if blind else physics_of(near.problem, near.hardware, configs)
    if len(configs) < surrogate.FIT_FROM or (there is None) != blind:
        return None
    log_ms = np.log([near.times[c] for c in configs])
    if there is not None:
        slope, offset = surrogate.calibrate(np.log(there.ms), log_ms, surrogate.PRIOR_SPREAD)
        log_ms = log_ms - offset - slope * np.log(there.ms)
    return _points(encoder, configs, there), log_ms - float(np.median(log_ms))


def _points(encoder: Encoder, configs: Sequence[Config], known: Physics | None) -> Floats:
    raw = encoder.encode(configs)
    return raw if known is None else np.hstack([raw, known.columns])
