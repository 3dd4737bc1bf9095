"""The most that a run or a campaign may be given: beyond these a number is a slip of the hand."""

from __future__ import annotations

LARGEST_DIMENSION = 2**30
"""Of a shape. A kernel may allow less."""
LONGEST = 1e7
"""Seconds: four months."""
MOST = 10**6
"""Evaluations or model calls."""
MOST_DOLLARS = 1e6
