"""The problem of a captured launch: which launch it is, and what a survey of the owner's launch found out about it.

The survey (``tools/harness/checking/owner_survey.py``) runs the launch once before it is tuned. Its findings are fields
of the problem because every process that compiles, checks or times needs them. Numbers are rounded, so that two
surveys of one launch give one problem.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from kernels.spec import Problem


class CapturedProblem(Problem):
    """One launch. A capture holds its shapes, so there are no dimensions to choose."""

    dims: ClassVar[tuple[str, ...]] = ()
    dtype: str = "fp32"  # type: ignore[assignment]
    """Of the largest tensor of floats that PyTorch multiplies, for the report."""
    launch: str = ""
    """Digest of the launch in its capture."""
    what: str = ""
    """Shapes of the arguments, for people."""
    moved: int = 1
    """Fewest bytes that the launch moves through device memory; 1 if nothing is known."""
    overwritten: str = ""
    """Paths of the tensors that the owner's launch overwrites whole without reading them, separated by spaces. They are
    poisoned before a launch; all others are restored."""
    unchanged: str = ""
    """Paths of tensors that the code may write and the owner's launch leaves as they are. A config must do so too."""
    damped: int = 0
    """Floats that are drawn anew are ``STEP ** -damped`` times as large as those in the program
    (``kernels/capture/reading/rebuilt_arguments.py``): drawn independently, they may overflow where the program's do
    not."""
    bounds: str = ""
    """``path=bound`` of each result, separated by spaces: the largest scale-relative difference from the owner's
    launch. Empty before the survey."""

    def label(self) -> str:
        return f"{self.launch[:8]} {self.what}".strip()

    def paths(self, field: str) -> tuple[str, ...]:
        """The paths in ``overwritten`` or ``unchanged``."""
        return tuple(str(getattr(self, field)).split())

    def bound_of(self) -> dict[str, float]:
        pairs = (item.rpartition("=") for item in self.bounds.split())
        return {path: float(bound) for path, _, bound in pairs}


def written_bounds(bounds: Mapping[str, float]) -> str:
    """The text of ``bounds``."""
    return " ".join(f"{path}={bound!r}" for path, bound in sorted(bounds.items()))


def rounded_up(x: float) -> float:
    """The next power of two: two surveys differ a little, and their problems must not."""
    return 2.0 ** math.ceil(math.log2(x)) if x > 0 else 0.0
