"""What set B can say about a regret: it is the ratio of two configs' readings, and readings scatter.

The readings of the incumbent and of the best config by set B are resampled (percentile bootstrap of medians, Efron
1979), and each sitting is moved by the scatter between sittings that the file shows: readings of one sitting agree
better with each other than with the next sitting's (so does ``RecordedDevice.prove``). The best config stays the one
that set B names: a minimum taken anew over noisy readings would lie below every true time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tools.harness.landscapes.readings import Entry, Landscape
from tools.harness.measuring.statistics import RESAMPLES

Floats = np.ndarray[Any, np.dtype[np.float64]]


def resample_time(landscape: Landscape, entry: Entry) -> Floats:
    """Drift-corrected time of a correct `entry` in set B, ms, for RESAMPLES resamples of its readings; shape
    (RESAMPLES,). Files without a set B: of set A; files that state one time per config: that time, without scatter."""
    readings = entry.sets.get("B")
    if readings is None and entry.stated_ms is not None:
        return np.full(RESAMPLES, entry.stated_ms)
    readings = readings or entry.sets["A"]
    rng = np.random.default_rng([0, zlib.crc32(entry.key.encode())])  # the same bytes every time, whoever asks first
    drift = np.ones(RESAMPLES)
    if landscape.reference_ms is not None and readings.reference_ms:
        drift = landscape.reference_ms / _medians(rng, readings.reference_ms)
    sittings = np.exp(rng.normal(0.0, landscape.scatter, RESAMPLES))
    return np.asarray(_medians(rng, readings.samples_ms) * drift * sittings)


def regret_interval(landscapes: Sequence[Sequence[Floats]]) -> tuple[float, float]:
    """95 % interval of the mean over landscapes of their runs' mean regret. `landscapes` holds, for each landscape, one
    array (RESAMPLES,) per run: the run's regret for every resample of the readings.

    Landscapes are resampled first, then the runs on them, then the readings. All runs of one landscape see the same
    resample of the readings: they are compared with the same best config."""
    rng = np.random.default_rng(0)
    tables = [np.stack(runs) for runs in landscapes]
    means = np.zeros(RESAMPLES)
    for places in rng.integers(len(tables), size=(len(tables), RESAMPLES)):
        for i, table in enumerate(tables):
            here = np.flatnonzero(places == i)
            runs = rng.integers(len(table), size=(len(here), len(table)))
            means[here] += table[runs, rng.integers(RESAMPLES, size=(len(here), 1))].mean(1) / len(tables)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _medians(rng: np.random.Generator, samples: Sequence[float]) -> Floats:
    return np.asarray(np.median(rng.choice(np.asarray(samples, float), (RESAMPLES, len(samples))), axis=1))
