"""The times of a recording's baselines, for whoever plays it and wants to know what there is to beat."""

from __future__ import annotations

from statistics import median

from tools.harness.landscapes.readings import BaselineReadings, Landscape
from tools.harness.measuring.choices import split_name


def read_baseline_times(landscape: Landscape) -> dict[str, float]:
    """Name → ms per launch, of the fastest preparation, at the recording's scale: medians over the rounds that read
    baseline and reference one after another, times the reference's time beside the configs. Baselines that could not
    run are left out."""
    reference = landscape.baseline(landscape.reference or "")
    scale = landscape.reference_ms
    if reference is None or scale is None:
        return {}
    beside = read_rounds(reference, landscape)
    found: dict[str, float] = {}
    for baseline in landscape.baselines:
        own = read_rounds(baseline, landscape)
        ratios = [own[number] / beside[number] for number in own.keys() & beside.keys()]
        if ratios:
            name, ms = split_name(baseline.name)[0], scale * median(ratios)
            found[name] = min(ms, found.get(name, ms))
    return found


def read_rounds(baseline: BaselineReadings, landscape: Landscape) -> dict[int, float]:
    """Number of the round → median ms, in the recording's regime."""
    return {r.number: median(r.samples_ms) for r in baseline.rounds if r.regime == landscape.regime}
