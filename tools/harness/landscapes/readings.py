"""A landscape: the measurements of a whole space of configurations on one named GPU.

Every config was read in two passes, A and B, each in its own random order; beside every reading stands a reading of
the reference (the eager baseline) made in the same breath. A card drifts by several per cent with heat and power while
a space is recorded; the reference drifts with it, so it can be divided out::

    ms(c, S) = median(samples of c in S) * R / median(reference readings beside them)

with R the median, over the whole file, of the reference's medians. R cancels in every ratio and keeps the unit.

A search sees set A. Set B is for proofs and scores: a lucky minimum in A earns nothing there.
"""

from __future__ import annotations

import math
from functools import cached_property
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from memory.shared_models import DeviceInfo
from memory.terms import Regime, Status, canonical
from tools.harness.device import DeviceError
from tools.harness.results import CompileResult, Measurement, Telemetry

SetName = Literal["A", "B"]
LEAST_MS, MOST_MS = 1e-9, 1e20
"""What is shorter or longer is no time of a kernel, and ratios of such numbers overflow."""
Seconds = Annotated[float, Field(ge=0, lt=MOST_MS)]


class LandscapeError(DeviceError):
    """A landscape that cannot be found, read or trusted; one sentence naming the file and what is wrong."""


def config_key(values: dict[str, Any]) -> str:
    """Canonical JSON of a config, the same text as its ``key()``."""
    return canonical(values, finite=False)


def is_time(ms: float) -> bool:
    """Whether `ms` can be the time of a launch."""
    return LEAST_MS <= ms < MOST_MS


def require_times(samples_ms: list[float]) -> list[float]:
    """Raises ValueError if one of them is no time."""
    if not all(map(is_time, samples_ms)):
        raise ValueError(f"a reading is not a positive time between {LEAST_MS:g} and {MOST_MS:g} ms")
    return samples_ms


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ReadingSet(_Record):
    """One sitting of one config, and the reference read in the same breath."""

    samples_ms: list[float]
    reference_ms: list[float] = Field(default_factory=list)
    """Empty in other people's files: no drift correction is possible there."""
    order: int | None = None
    """Place in its pass, from 0."""
    at: float | None = None
    """Seconds since the recording began."""
    seconds: Seconds = 0.0
    """Wall time the sitting took on the device."""
    telemetry: Telemetry | None = None

    @model_validator(mode="after")
    def _readings_are_times(self) -> ReadingSet:
        if not self.samples_ms:
            raise ValueError("a reading set has no samples")
        require_times([*self.samples_ms, *self.reference_ms])
        return self

    @property
    def raw_ms(self) -> float:
        """Median as read, drift included."""
        return median(self.samples_ms)


class Entry(_Record):
    """What became of one config. A failed config has a status, a reason and no readings."""

    config: dict[str, Any]
    status: Status
    reason: str = ""
    sets: dict[SetName, ReadingSet] = Field(default_factory=dict)
    compiled: CompileResult | None = None
    error: float | None = None
    """Scale-relative, on the GPU at the true shape; the worse of the two passes."""
    bound: float | None = None
    timestamp: str | None = None
    compile_seconds: Seconds = 0.0
    check_seconds: Seconds = 0.0
    run_seconds: Seconds = 0.0
    stated_ms: float | None = None
    """Other people's files state one time per config; it is taken at its word."""

    @model_validator(mode="after")
    def _correct_means_measured(self) -> Entry:
        if self.status == "correct" and "A" not in self.sets and self.stated_ms is None:
            raise ValueError("a correct config has no readings")
        return self

    @property
    def key(self) -> str:
        return config_key(self.config)

    @property
    def seconds(self) -> float:
        """What it cost to find out: compile, check and run."""
        return self.compile_seconds + self.check_seconds + self.run_seconds


class Round(_Record):
    """One reading of one baseline between the configs."""

    number: int
    """Baselines with the same number were read right after one another."""
    regime: Regime
    samples_ms: Annotated[list[float], Field(min_length=1), AfterValidator(require_times)]
    at: float | None = None
    telemetry: Telemetry | None = None
    joules: float | None = None


class BaselineReadings(_Record):
    """A PyTorch baseline and all its rounds, or why it could not run."""

    name: str
    title: str
    equivalent: bool = True
    missing: str | None = None
    rounds: list[Round] = Field(default_factory=list)


class Landscape(_Record):
    """A recorded space. `entries` is in the order of the space, by :func:`config_key`."""

    name: str
    """File name without ``.json`` or ``.json.gz``."""
    kernel: str
    source: str | None = None
    """The kernel's ``source_hash`` when it was recorded."""
    problem: dict[str, Any] | None = None
    """``None`` in other people's files, which do not say it in a way we could check."""
    label: str = ""
    """The problem for people."""
    device: DeviceInfo
    regime: Regime = "burst"
    reference: str | None = None
    """Name of the baseline that was read beside every config."""
    recorded_at: str | None = None
    seed: int | None = None
    space: int | None = None
    """Size of the space; more than the entries where only a part was recorded."""
    seconds: float = 0.0
    """Wall time of the whole recording."""
    default: dict[str, Any] | None = None
    """The config that the kernel's owner launches, where it is known."""
    baselines: list[BaselineReadings] = Field(default_factory=list)
    ceilings: dict[str, float] = Field(default_factory=dict)
    entries: dict[str, Entry]
    notes: list[str] = Field(default_factory=list)
    """What the reader had to forgive in a file that is not ours."""
    file: str = ""
    """File name and checksum it was read from."""

    @cached_property
    def reference_ms(self) -> float | None:
        """R of the drift correction; ``None`` where no reference was read."""
        medians = [median(s.reference_ms) for e in self.entries.values() for s in e.sets.values() if s.reference_ms]
        return median(medians) if medians else None

    def drift(self, readings: ReadingSet) -> float:
        """Factor that takes `readings` to the file's common scale; 1 where there was no reference beside them."""
        if self.reference_ms is None or not readings.reference_ms:
            return 1.0
        return self.reference_ms / median(readings.reference_ms)

    def ms(self, entry: Entry, which: SetName = "A") -> float | None:
        """Drift-corrected time of `entry` in one set, ms; ``None`` where it failed or was not read."""
        if entry.status != "correct":
            return None
        if entry.stated_ms is not None and which == "A":
            return entry.stated_ms
        readings = entry.sets.get(which)
        return None if readings is None else readings.raw_ms * self.drift(readings)

    def pairs(self) -> list[tuple[float, float]]:
        """(A, B) times of every correct config that has both: what two sittings of the same config make of it."""
        both = ((self.ms(e, "A"), self.ms(e, "B")) for e in self.correct())
        return [(a, b) for a, b in both if a is not None and b is not None]

    @cached_property
    def scatter(self) -> float:
        """Relative standard deviation of one sitting's drift-corrected time, from A against B over the whole file:
        ``1.4826 * median |ln(A/B)| / sqrt(2)`` (the median absolute deviation, robust against outliers)."""
        logs = [abs(math.log(a / b)) for a, b in self.pairs()]
        return 1.4826 * median(logs) / math.sqrt(2) if logs else 0.0

    def correct(self) -> list[Entry]:
        """Entries that computed the right thing, in order."""
        return [e for e in self.entries.values() if e.status == "correct"]

    def baseline(self, name: str) -> BaselineReadings | None:
        return next((b for b in self.baselines if b.name == name), None)


def reading_set(m: Measurement, reference: Measurement, order: int, at: float) -> ReadingSet:
    """A sitting as the live device reported it, to five digits: a GPU's event clock resolves no more."""
    return ReadingSet(
        samples_ms=[significant(t) for t in m.samples_ms],
        reference_ms=[significant(t) for t in reference.samples_ms],
        order=order,
        at=round(at, 2),
        seconds=significant(m.seconds),
        telemetry=m.telemetry,
    )


def significant(x: float, digits: int = 5) -> float:
    """`x` to so many significant digits."""
    return float(f"{x:.{digits}g}")
