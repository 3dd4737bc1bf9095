"""What a goal wants most or least of, and in which direction it wants to go."""

from __future__ import annotations

from collections.abc import Sequence

from agent.errors import UsageError
from agent.goal.objective import Target
from agent.goal.words.text import Text
from agent.goal.words.vocabulary import DOWNWARD, METRICS, UPWARD, WEAK_METRICS, longest_first
from memory.terms import Metric

LESS_IS_BETTER: tuple[Metric, ...] = ("latency", "joules")
ENERGY: tuple[Metric, ...] = ("joules", "tflops_per_watt", "gbps_per_watt")
EFFICIENCIES = ("efficiency", "efficient", "performance per watt", "per watt")
"""Weak words of the metric joules of which more is better."""


def read_metric(text: Text, targets: Sequence[Target]) -> Metric | None:
    """The unit that the goal names, failing that a weak word's (``fastest``), failing that its first target's.

    Raises UsageError if it names several, or wants less of what shall grow."""
    named = [metric for metric, ways in METRICS.items() if sum(text.says(way) for way in longest_first(ways))]
    weak = [word for word in longest_first(WEAK_METRICS) if text.says(word)]
    if len(named) > 1:
        raise UsageError(f"The goal names more than one metric ({', '.join(named)}): say one.")
    wanted = [target.metric for target in targets if target.metric is not None]
    metric = named[0] if named else next((WEAK_METRICS[word] for word in weak), None)
    growing = not named and any(word.endswith(EFFICIENCIES) or word == "throughput" for word in weak)
    up = [word for word in UPWARD if text.says(word)]
    down = [word for word in DOWNWARD if text.says(word)]
    what = named[0] if named else weak[0] if weak else ""
    if what:
        less = (metric in LESS_IS_BETTER) and not growing
        wrong = up if less else down
        if wrong and what != "fastest":
            verb, word = ("minimise", "less") if less else ("maximise", "more")
            raise UsageError(f"The goal says {wrong[0]!r} of {what}, of which {word} is better: say {verb} {what}.")
    elif down and not any(target in LESS_IS_BETTER for target in wanted):
        raise UsageError(f"The goal says {down[0]!r} and not of what: say latency or joules, or maximise a rate.")
    metric = metric or (next(iter(wanted), None) if not weak else None)
    lost = next((target for target in targets if target.metric in ENERGY and metric not in ENERGY), None)
    if lost is not None:
        raise UsageError(
            f"The target {lost.words!r} is energy, which is measured if the goal is energy: say least joules or TFLOPS "
            "per watt as the metric."
        )
    return metric
