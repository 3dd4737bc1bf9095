"""What the harness says of a configuration. Every answer carries a status; a failed configuration is data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kernels.launches.domain import SHAPES, SHAPES_OF
from memory.terms import Regime, Status

Figure = Literal["ms", "joules"]
"""What configs are ranked and compared by, per launch; less is better."""

Bits = Literal["same", "differ"]
"""Whether results are those of the owner's launch, bit by bit."""

UNDECIDED = "float64 has to decide, and the time was up before"
"""Why a config has no verdict on inputs that nobody chose."""

ConfigDictT = dict[str, Any]


class Result(BaseModel):
    """Common part: which config, what became of it, and one line why."""

    model_config = ConfigDict(extra="forbid")

    config: ConfigDictT
    status: Status
    reason: str = ""
    """One line for a failure; empty for ``correct``."""


class CompileResult(Result):
    """What the compiler made of a config for the objective's target; ``correct`` means compiled and launchable."""

    seconds: float = 0.0
    registers: int | None = None
    """Per thread."""
    spill_bytes: int | None = None
    stack_bytes: int | None = None
    shared_bytes: int | None = None
    """Per block."""
    num_warps: int | None = None
    """As launched; above the requested number where the compiler added producer warps."""
    tensor_core: str | None = None
    """The matrix instruction found in the code: ``wgmma``, ``mma.sync``, ``tcgen05``, ``mfma``."""
    tma: bool | None = None
    blocks_per_sm: int | None = None
    """Resident blocks per SM that registers, shared memory and threads allow."""
    occupancy: float | None = None
    """Resident warps over the SM's maximum."""
    limited_by: str | None = None
    """Which resource sets ``blocks_per_sm``."""
    warnings: list[str] = Field(default_factory=list)
    fingerprint: str | None = None
    """Equal for configs that launch the same machine code on the same grid; ``None`` where the grid is not known."""


class CheckResult(Result):
    """Verdict on the output. `error` and `bound` are scale-relative: max|out - ref| / max|ref|."""

    error: float | None = None
    bound: float | None = None
    where: str = ""
    """``gpu 4096x4096x4096 fp16`` or ``interpreter 129x257x96 fp16``."""
    programs: str | None = None
    """Which programs of an interpreted launch were compared, if not all: ``16 of 132 programs``."""
    seconds: float = 0.0


class StressResult(CheckResult):
    """Verdict on a finalist's outputs for inputs that nobody chose."""

    tried: list[str] = Field(default_factory=list)
    """Kinds of inputs on which the config was right."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Kinds on which it was not tried, and why."""
    by_float64: dict[str, str] = Field(default_factory=dict)
    """Kinds on which it differs from the owner's launch and is no further from float64: the numbers."""
    bits: Bits | None = None
    """``None`` if they were not compared."""
    bits_why: str = ""
    """In what they differ, or why they were not compared."""

    def summary(self) -> str:
        """One line for the verdict."""
        shapes = [kind for kind in self.tried if kind in SHAPES or kind.startswith(SHAPES_OF)]
        values = [kind for kind in self.tried if kind not in shapes]
        found = [*([f"{', '.join(values)} inputs"] if values else []), *shapes]
        right = f"right on {', '.join(found)} too" if found else "tried on nominal inputs alone"
        kinds: dict[str, list[str]] = {}
        for kind, why in self.left_out.items():
            kinds.setdefault(why.partition(" (")[0], []).append(kind)
        left = "; ".join(f"{', '.join(names)}: {why}" for why, names in kinds.items())
        if self.by_float64:
            right += f", by float64 where the owner's launch is imprecise: {', '.join(self.by_float64)}"
        return f"{right} (left out: {left})" if left else right


class Telemetry(BaseModel):
    """The card around one reading; ``None`` where the driver does not say."""

    model_config = ConfigDict(extra="forbid")

    sm_mhz: float | None = None
    memory_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle: list[str] = Field(default_factory=list)


class Measurement(Result):
    """Verified launch times of one config. `samples_ms` are single launches (burst) or means of windows (sustained)."""

    regime: Regime = "burst"
    samples_ms: list[float] = Field(default_factory=list)
    ms: float | None = None
    """Median of the samples."""
    ci_ms: tuple[float, float] | None = None
    """95 % bootstrap interval of the median."""
    error: float | None = None
    bound: float | None = None
    telemetry: Telemetry | None = None
    joules: float | None = None
    """Per launch: mean power by the device's energy counter times `ms`; sustained regime only, ``None`` where there is
    no counter or it did not move."""
    how: str | None = None
    """Where this time comes from, if not from a launch of its own."""
    seconds: float = 0.0
    """Wall time this measurement took on the device (recorded devices: took when it was recorded)."""


class Comparison(BaseModel):
    """A config against one baseline, timed interleaved in one sitting."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    equivalent: bool
    regime: Regime
    ms: float | None = None
    """Median of the baseline in this sitting."""
    speedup: float | None = None
    """Median over rounds of baseline time / config time."""
    ci: tuple[float, float] | None = None
    """95 % bootstrap interval of `speedup`."""
    joules: float | None = None
    """Median of the baseline's joules per launch in this sitting; sustained regime on a card with a counter."""
    saving: float | None = None
    """Median over rounds of baseline joules / config joules."""
    saving_ci: tuple[float, float] | None = None
    """95 % bootstrap interval of `saving`."""
    rounds: int = 0
    choice: str | None = None
    """The preparation that this is, the fastest of ``choices``; ``None`` for a baseline that chooses nothing."""
    choices: dict[str, float] = Field(default_factory=dict)
    """Preparation → its median in this sitting, ms."""
    ran: list[str] = Field(default_factory=list)
    """Names of the GPU kernels that one call started, where they were read."""
    missing: str | None = None
    """Why this baseline could not run here."""
    spoilt: bool = False
    """Whether it is missing through a failure of our machinery, so that nothing is known of it."""


class Proof(Result):
    """The final interleaved sitting: the config, its time there, and one comparison per baseline."""

    ms: float | None = None
    ci_ms: tuple[float, float] | None = None
    samples_ms: list[float] = Field(default_factory=list)
    joules: float | None = None
    """Median over rounds of the joules per launch; sustained regime on a card with a counter."""
    ci_joules: tuple[float, float] | None = None
    regime: Regime = "burst"
    comparisons: list[Comparison] = Field(default_factory=list)
    error: float | None = None
    bound: float | None = None
    telemetry: Telemetry | None = None
    how: str = ""
    """One line: how this sitting was made (live interleaved rounds, or recorded readings of which set)."""
    survived: list[str] = Field(default_factory=list)
    """Kinds of inputs and shapes beside the nominal ones on which the config was right."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Kinds on which it was not tried, and why: what the kernel's domain does not hold is among them."""
    by_float64: dict[str, str] = Field(default_factory=dict)
    """As in StressResult."""
    bits: Bits | None = None
    """Whether the config's results are those of the owner's launch; ``None`` if they were not compared."""
    bits_why: str = ""
    """In what they differ, or why they were not compared."""
