"""The best proof of an earlier run, which is shown beside a worse new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from agent.verdict.judgement import Judgement
from agent.verdict.speedup import Speedup


class Earlier(BaseModel):
    """A better proof than this run's, made before on the same problem in the same environment."""

    model_config = ConfigDict(extra="forbid")

    run: str
    at: str
    """ISO 8601, UTC."""
    config: dict[str, Any]
    ms: float
    against: str
    """The strongest baseline of its sitting."""
    ratio: float
    """Over ``against``: a speed-up, or a saving in joules where the goal is energy."""
    ci: tuple[float, float]

    def describe(self) -> str:
        """``1.224x [1.210, 1.238] over compiled, 0.1850 ms, by run R: BLOCK_M=128 …``."""
        interval = f"[{self.ci[0]:.3f}, {self.ci[1]:.3f}]"
        config = " ".join(f"{key}={value}" for key, value in self.config.items())
        return f"{self.ratio:.3f}x {interval} over {self.against}, {self.ms:.4f} ms, proven by run {self.run}: {config}"


def better_proof(
    earlier: dict[str, Any] | None, judged: Judgement, baselines: Sequence[Speedup], energy: str | None
) -> Earlier | None:
    """`earlier` if this run proved nothing or less."""
    if earlier is None:
        return None
    rival = next((row for row in baselines if row.name == judged.against), None)
    ratio = None if rival is None else rival.saving if energy else rival.speedup
    found = Earlier.model_validate(earlier)
    return found if not judged.proven or ratio is None or ratio < found.ratio else None
