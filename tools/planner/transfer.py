"""What near problems teach: where the cost model was wrong there, it is expected to be wrong here.

A neighbour's times are compared with what the cost model says of *its* shape and device; a Gaussian process over
parameters and physics carries the difference over to this problem's configs. Of a kernel without a cost model the times
themselves are carried over, up to a factor.
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
"""Distance at which a neighbour's lesson counts half."""


@dataclass(frozen=True)
class Kin:
    """A near problem that was searched before, on this device or another."""

    problem: Problem
    hardware: Hardware
    times: Mapping[Config, float]
    """ms by config."""
    distance: float
    """As ``memory.queries.distance`` counts it."""


def lesson(kin: Sequence[Kin], encoder: Encoder, space: Sequence[Config], own: Physics | None) -> Floats | None:
    """What to add to log(ms) of each config of `space` (n,), by the nearest neighbours; ``None`` where none teaches."""
    found = [(relative.distance, _residuals(relative, encoder, own is None)) for relative in kin]
    taught = [(distance, pair) for distance, pair in found if pair is not None]
    if not taught:
        return None
    points = np.vstack([pair[0] for _, pair in taught])
    residuals = np.concatenate([0.5 ** (distance / HALF_TRUST) * pair[1] for distance, pair in taught])
    model = surrogate.fit(points, np.zeros(len(points)), residuals, informed=own is not None)
    here = _points(encoder, space, own)
    mean, _ = model.predict(here, np.zeros(len(here)))
    return mean - float(np.median(mean))


def _residuals(kin: Kin, encoder: Encoder, blind: bool) -> tuple[Floats, Floats] | None:
    """Points and log(ms) less what the cost model says, about zero; of a kernel that it does not know, log(ms)."""
    configs = sorted(kin.times, key=lambda c: c.key())
    there = None if blind else physics_of(kin.problem, kin.hardware, configs)
    if len(configs) < surrogate.FIT_FROM or (there is None) != blind:
        return None
    log_ms = np.log([kin.times[c] for c in configs])
    if there is not None:
        slope, offset = surrogate.calibrate(np.log(there.ms), log_ms, surrogate.PRIOR_SPREAD)
        log_ms = log_ms - offset - slope * np.log(there.ms)
    return _points(encoder, configs, there), log_ms - float(np.median(log_ms))


def _points(encoder: Encoder, configs: Sequence[Config], known: Physics | None) -> Floats:
    raw = encoder.encode(configs)
    return raw if known is None else np.hstack([raw, known.columns])
