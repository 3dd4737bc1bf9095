"""What a device offers to the tools, live or recorded."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Protocol

from memory.shared_models import DeviceInfo
from memory.terms import Regime
from tools.harness.results import CheckResult, Figure, Measurement, Proof

if TYPE_CHECKING:
    from kernels.spec import Config


class DeviceError(RuntimeError):
    """The device cannot be used; the message is one sentence for the user."""


class Device(Protocol):
    """Bound to one kernel and problem. Results come in the order of the configs; a failure is a result."""

    info: DeviceInfo

    def configs(self) -> Container[Config] | None:
        """The configs that can be measured here; ``None`` where any can."""
        ...

    def check(self, configs: Sequence[Config]) -> list[CheckResult]:
        """Whether each config computes the right thing."""
        ...

    def measure(self, configs: Sequence[Config], regime: Regime = "burst") -> list[Measurement]:
        """Verified timings."""
        ...

    def contend(self, configs: Sequence[Config], regime: Regime = "burst", figure: Figure = "ms") -> list[Measurement]:
        """Tell close configs apart: time them interleaved with one another, dropping what is worse beyond doubt.
        Empty where there are no readings beyond those of ``measure``."""
        ...

    def prove(
        self,
        config: Config,
        regime: Regime = "burst",
        max_seconds: float = 30.0,
        figure: Figure = "ms",
        beside: Config | None = None,
    ) -> Proof:
        """Time `config` interleaved with every baseline of the kernel, and the config `beside`, until the intervals of
        `figure` are narrow or time is up."""
        ...

    def no_energy(self) -> str | None:
        """Why joules cannot be read here, after which ``figure="joules"`` has no answers; ``None`` where they can."""
        ...

    def ceilings(self) -> dict[str, float]:
        """Measured rates where there are any: ``copy_bytes_per_s``, ``matmul_flops_per_s``; empty otherwise."""
        ...

    def close(self) -> None: ...
