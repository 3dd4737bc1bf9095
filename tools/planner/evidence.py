"""The results of a run so far: of compiling, checking and measuring each config."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from kernels.spec import Config
from tools.harness.measuring.statistics import Z
from tools.harness.results import CheckResult, CompileResult, Measurement


def _variance(m: Measurement) -> float:
    if m.ci_ms is None or not m.ms or not 0 < m.ci_ms[0] <= m.ci_ms[1] < math.inf:
        return 0.0
    return float((math.log(m.ci_ms[1] / m.ci_ms[0]) / (2 * Z)) ** 2)


@dataclass(frozen=True)
class Evidence:
    compiled: Mapping[Config, CompileResult] = field(default_factory=dict)
    checked: Mapping[Config, CheckResult] = field(default_factory=dict)
    measured: Mapping[Config, Measurement] = field(default_factory=dict)
    declined: Set[Config] = frozenset()
    """Configs that the user does not want to run."""

    def times(self) -> dict[Config, float]:
        """Verified ms per launch."""
        reported = {c: m.ms for c, m in self.measured.items() if m.status == "correct" and m.ms is not None}
        return {c: ms for c, ms in reported.items() if 0 < ms < math.inf}

    def variances(self) -> dict[Config, float]:
        """Variance of log(ms) of each verified time, as far as its own samples show: from the interval of their median;
        0 without one. Sittings differ by more than that."""
        return {c: _variance(self.measured[c]) for c in self.times()}

    def settled(self) -> set[Config]:
        """Configs that need no further work: they were measured with any outcome, they failed before that, or the
        user declined them."""
        failed = {c for results in (self.compiled, self.checked) for c, r in results.items() if r.status != "correct"}
        return failed | set(self.measured) | self.declined

    def verdicts(self) -> dict[Config, bool]:
        """Whether each tried config passed all its tests. A failure of the infrastructure does not count against it."""
        verdicts: dict[Config, bool] = {}
        for results in (self.compiled, self.checked, self.measured):
            for config, result in results.items():
                if result.status != "infrastructure":
                    verdicts[config] = result.status == "correct" and verdicts.get(config, True)
        return verdicts
