"""What a run knows so far: what was compiled, checked and measured, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from kernels.spec import Config
from tools.harness.results import CheckResult, CompileResult, Measurement


@dataclass(frozen=True)
class Evidence:
    compiled: Mapping[Config, CompileResult] = field(default_factory=dict)
    checked: Mapping[Config, CheckResult] = field(default_factory=dict)
    measured: Mapping[Config, Measurement] = field(default_factory=dict)
    declined: Set[Config] = frozenset()
    """Configs that the user does not want to run."""

    def times(self) -> dict[Config, float]:
        """Verified ms per launch."""
        stated = {c: m.ms for c, m in self.measured.items() if m.status == "correct" and m.ms is not None}
        return {c: ms for c, ms in stated.items() if 0 < ms < math.inf}

    def settled(self) -> set[Config]:
        """Configs that need no further look: measured with any outcome, failed before that, or declined."""
        failed = {c for seen in (self.compiled, self.checked) for c, r in seen.items() if r.status != "correct"}
        return failed | set(self.measured) | self.declined

    def verdicts(self) -> dict[Config, bool]:
        """Whether each tried config works, by all its tests. A failure of our own machinery is no verdict."""
        found: dict[Config, bool] = {}
        for seen in (self.compiled, self.checked, self.measured):
            for config, result in seen.items():
                if result.status != "infrastructure":
                    found[config] = result.status == "correct" and found.get(config, True)
        return found
