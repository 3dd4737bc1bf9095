"""Readings of different cards on one scale.

Two cards of one model differ by some per cent, and each drifts with its heat. Every worker therefore reads one and the
same reference, PyTorch's eager baseline, between its configs, and what crosses cards is the ratio::

    ms = R * (median of the config's samples) / (median of the reference's samples around them, on the same card)

R is the reference's time on the first card when the session began: it cancels in every comparison and keeps the unit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

from memory.terms import Regime
from tools.harness.results import Measurement

EVERY_S: dict[Regime, float] = {"burst": 2.0, "sustained": 15.0}
"""Age at which the last reading of the reference is too old. A card's clock follows its temperature within some ten
seconds (landscapes are recorded with the same period in mind); at 2 s a reading costs 1 % of a screening."""
WINDOW_S: dict[Regime, float] = {"burst": 6.0, "sustained": 45.0}
"""Readings pooled into one value: the noise of the reference is shared by every config it divides."""

Read = Callable[[Regime], Measurement]


class ReferenceFailed(RuntimeError):
    """The reference cannot be read on this card; the message is one sentence."""


class Reference:
    """The reference's readings on one card."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._readings: dict[Regime, deque[tuple[float, list[float]]]] = {"burst": deque(), "sustained": deque()}

    def ms(self, regime: Regime) -> float:
        """Median of the readings of the last WINDOW_S; a new one is made where the last is older than EVERY_S.

        Raises ReferenceFailed."""
        readings = self._readings[regime]
        if not readings or self._clock() - readings[-1][0] > EVERY_S[regime]:
            m = self._read(regime)
            if m.status != "correct":
                raise ReferenceFailed(f"the reference failed beside it: {m.status}: {m.reason}")
            readings.append((self._clock(), m.samples_ms))
        while readings[-1][0] - readings[0][0] > WINDOW_S[regime]:
            readings.popleft()
        return median(sample for _, samples in readings for sample in samples)


def to_scale(m: Measurement, reference_ms: float, scale_ms: float, card: str) -> Measurement:
    """`m`, read on `card` where the reference took `reference_ms`, on the scale where it takes `scale_ms`."""
    if m.status != "correct":
        return m
    factor = scale_ms / reference_ms
    ms = None if m.ms is None else m.ms * factor
    ci = None if m.ci_ms is None else (m.ci_ms[0] * factor, m.ci_ms[1] * factor)
    samples = [sample * factor for sample in m.samples_ms]
    how = f"read on {card} and scaled by {factor:.4f}, the reference's time over its time there"
    return m.model_copy(update={"samples_ms": samples, "ms": ms, "ci_ms": ci, "how": how})
