"""What a GPU model is: its facts, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Origin = Literal["known", "asked", "derived", "measured"]
"""Where a fact comes from: a published source, the GPU's driver, a published rate times figures of the driver, or a
measurement on the card."""
WORDS: dict[Origin, str] = {
    "known": "datasheet",
    "asked": "asked of the driver",
    "derived": "derived from the driver's figures",
    "measured": "measured on the card",
}


@dataclass(frozen=True)
class Hardware:
    """One GPU model. Rates are peaks for dense operands at boost clock, whatever the power limit allows."""

    name: str
    """Short name used in options and files, e.g. ``H200``; of a GPU without a published source the driver's name."""
    device_names: tuple[str, ...]
    """Names that the driver reports for it."""
    backend: Literal["cuda", "hip"]
    arch: int | str
    """Triton's target: compute capability times ten (90) or the gfx name."""
    warp_size: int
    sms: int
    """Streaming multiprocessors (compute units on AMD)."""
    shared_per_block: int
    """Largest shared memory of one block, bytes (opt-in limit)."""
    shared_per_sm: int
    registers_per_sm: int
    threads_per_sm: int
    blocks_per_sm: int
    l2_bytes: int
    memory_bytes: int
    bandwidth: float
    """Device memory, bytes/s."""
    peak: dict[str, float] = field(hash=False)
    """FLOP/s by dtype name, fp32 accumulation, dense."""
    sources: tuple[str, ...]
    origins: dict[str, Origin] = field(default_factory=dict, hash=False)
    """Field → where its value comes from, for those that have no published source."""

    @property
    def has_tma(self) -> bool:
        """Whether the chip has the tensor memory accelerator: compute capability 9.0 and later."""
        return isinstance(self.arch, int) and self.arch >= 90

    def origin(self, fact: str) -> Origin:
        """Where the value of a field comes from."""
        return self.origins.get(fact, "known")

    def describe_origin(self, *facts: str) -> str:
        """Where these facts come from, for people: ``H200 datasheet``, or ``asked of the driver``."""
        found = dict.fromkeys(self.origin(fact) for fact in facts)
        return ", ".join(f"{self.name} datasheet" if origin == "known" else WORDS[origin] for origin in found)


def to_json(hardware: Hardware) -> dict[str, Any]:
    return asdict(hardware)


def from_json(values: Mapping[str, Any]) -> Hardware:
    """The inverse of :func:`to_json`. Raises ValueError for anything else."""
    names = {f.name for f in fields(Hardware)}
    try:
        if set(values) != names:
            raise ValueError(f"its fields are {', '.join(sorted(values))}")
        lists = {name: tuple(map(str, values[name])) for name in ("device_names", "sources")}
        found = Hardware(**{**values, **lists})
        numbers = (found.sms, found.warp_size, found.shared_per_block, found.threads_per_sm, *found.peak.values())
        if not all(isinstance(n, int | float) and n > 0 for n in numbers) or found.bandwidth < 0:
            raise ValueError("a number is missing or not above 0")
    except (TypeError, AttributeError) as e:
        raise ValueError(str(e)) from e
    return found
