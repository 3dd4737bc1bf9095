"""What a device and a compile pool offer to the tools, live or recorded."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from memory.shared_models import DeviceInfo
from memory.terms import Regime
from tools.harness.results import Bits, CheckResult, CompileResult, Figure, Measurement, Proof, StressResult

if TYPE_CHECKING:
    from kernels.spec import Config, KernelSpec, Problem
    from tools.harness.process.prestart import Prestart


class DeviceError(RuntimeError):
    """The device cannot be used; the message is one sentence for the user."""


class MachineTrouble(DeviceError):
    """This machine cannot compile, check or measure anything as it is: a full disk, a missing tool, a GPU that left. No
    config is to blame, and there is no point in trying the next one."""


@dataclass(frozen=True)
class CompileLimit:
    """How long a batch of compilations may take."""

    batch_s: float = math.inf
    """Seconds for all, from when the first process is ready to compile: what it takes to start is no config's time."""
    ends_at: float = math.inf
    """``time.monotonic()`` after which nothing is waited for any more, if one of the configs has compiled."""
    latest: float = math.inf
    """The same, whether or not one has compiled."""


NO_LIMIT = CompileLimit()


class CompilePool(Protocol):
    """Compiles configs for the device's GPU model."""

    parallel: bool
    """Whether a batch takes about as long as one config. If not, nothing is gained by compiling many at a time."""

    def compile(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], limit: CompileLimit = NO_LIMIT
    ) -> list[CompileResult]:
        """Compile all; results in the order of `configs`, a failure as its status. A config that takes longer than
        the pool's own deadline, or than the whole batch may take, is given up (``timeout``). One that had less time,
        because others came before it or the time was up, is not to blame (``infrastructure``). Raises
        MachineTrouble."""
        ...

    def close(self) -> None: ...


class Device(Protocol):
    """Bound to one kernel and problem. Results come in the order of the configs; a failure is a result. What runs
    configs raises MachineTrouble if no config can be run any more."""

    info: DeviceInfo

    def compiled_with(self) -> DeviceInfo:
        """``info`` with the versions that compile here: others than those of a recording made under an older Triton."""
        ...

    def gpus(self) -> int:
        """How many GPUs measure at the same time."""
        ...

    def compile_pool(self, prestart: Prestart | None = None) -> CompilePool:
        """A pool that compiles for this device, to be closed by the caller; it may use the processes of `prestart`.

        Raises DeviceError if the compile cache cannot be written."""
        ...

    def expect_measurements(self) -> None:
        """Measurements will be asked for: a device may begin in the background what they need."""
        ...

    def expect_proof(self) -> None:
        """A proof will be asked for: a device may begin in the background what it needs. Later calls do nothing."""
        ...

    def configs(self) -> Container[Config] | None:
        """The configs that can be measured here; ``None`` if any config can."""
        ...

    def check(self, configs: Sequence[Config]) -> list[CheckResult]:
        """Whether each config computes the right thing."""
        ...

    def stress(self, config: Config, most_s: float | None = None, decided_by: float = math.inf) -> StressResult:
        """Whether `config` computes the right thing on inputs and shapes that nobody chose. `most_s`: seconds after
        which no further kind of inputs is begun. `decided_by`: ``time.monotonic()`` until which a float64 reference may
        be waited for. ``infrastructure`` if nothing was found out."""
        ...

    def measure(self, configs: Sequence[Config], regime: Regime = "burst") -> list[Measurement]:
        """Verified timings."""
        ...

    def contend(self, configs: Sequence[Config], regime: Regime = "burst", figure: Figure = "ms") -> list[Measurement]:
        """Rank close configs: time them interleaved with one another and drop those that are certainly worse. Empty if
        there are no readings beyond those of ``measure``."""
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

    def no_bits(self) -> str | None:
        """Why results cannot be compared bit by bit here; ``None`` if they can."""
        ...

    def compare_bits(self, config: Config) -> tuple[Bits | None, str]:
        """Whether `config` gives the bits of the owner's launch, the kernel's default config; in what they differ, or
        why that is not known. Asked only if ``no_bits`` gives ``None``."""
        ...

    def no_energy(self) -> str | None:
        """Why joules cannot be read here, in which case ``figure="joules"`` has no answers; ``None`` if they can."""
        ...

    def ceilings(self) -> dict[str, float]:
        """Measured rates, ``copy_bytes_per_s`` and ``matmul_flops_per_s`` (FLOP/s); empty if there are none."""
        ...

    def baseline_times(self) -> dict[str, float]:
        """Name → ms per launch of the baselines whose times are known without running them."""
        ...

    def close(self) -> None: ...
