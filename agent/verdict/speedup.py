"""The best config against one baseline, as the outcome of a run holds it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from memory.proofs.rule import widen_row


class Speedup(BaseModel):
    """The best config against one baseline, timed interleaved in one sitting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    equivalent: bool
    """False if the baseline computes less: a ceiling, not a rival."""
    ms: float | None
    """Time of the baseline; ``None`` if it could not be timed, which ``missing`` explains."""
    speedup: float | None
    """Time of the baseline over the config's."""
    ci: tuple[float, float] | None
    """95 % interval of ``speedup``; wider for a config that was not the first to be tried."""
    missing: str | None
    spoilt: bool = False
    """Whether it is missing through a failure of our machinery, so that nothing is known of it."""
    choice: str | None = None
    """The preparation that this is, the fastest of ``choices``; ``None`` for a baseline that chooses nothing."""
    choices: dict[str, float] = Field(default_factory=dict)
    """Preparation → its time in the sitting, ms."""
    ran: list[str] = Field(default_factory=list)
    """Names of the GPU kernels that one call started, where they were read."""
    joules: float | None = None
    """Of the baseline, per launch."""
    saving: float | None = None
    """Joules of the baseline over the config's."""
    saving_ci: tuple[float, float] | None = None
    """95 % interval of ``saving``, widened as ``ci``."""

    @property
    def value(self) -> float | None:
        """``speedup``."""
        return self.speedup

    @property
    def low(self) -> float | None:
        """Lower end of ``ci``."""
        return self.ci[0] if self.ci else None

    @property
    def high(self) -> float | None:
        """Upper end of ``ci``."""
        return self.ci[1] if self.ci else None

    def __str__(self) -> str:
        if self.speedup is None or self.ci is None:
            return f"not timed against {self.name}: {self.missing or 'no reading'}"
        return f"{self.speedup:.3f}x [{self.ci[0]:.3f}, {self.ci[1]:.3f}] over {self.name}"

    @classmethod
    def of(cls, row: dict[str, Any], tried: int = 1) -> Speedup:
        """From a ``Comparison`` of the config that was tried as number `tried`. Older traces lack some fields."""
        found = widen_row(row, tried)
        return cls.model_validate({name: found[name] for name in cls.model_fields if name in found})
