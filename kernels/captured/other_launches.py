"""Other captured launches of one function, which stand for shapes that nobody chose.

A config that is found for one launch is launched on the arguments of the others too. Launch options move there as they
do here, and so do the constants that the owner's autotuner chooses, because it may choose any of them for any key.
Other constants belong to a launch: a block that holds a whole row is another one for longer rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kernels.capture.reading.captured_launches import Capture, CapturedLaunch
from kernels.capture.reading.rebuilt_arguments import described_tensors

MOST_OTHERS = 3
"""Launches of other shapes that a finalist is tried on; what is launched most comes first."""

AS_OWNED = "the config is the owner's there"


@dataclass(frozen=True)
class OtherLaunch:
    """A launch, and what a config is there."""

    name: str
    spec: Any
    problem: Any
    config: Any
    """``None`` if the config cannot be launched there."""
    why_not: str = ""


def others_of(capture: Capture, launch: CapturedLaunch) -> Iterator[str]:
    """Digests of launches of the same function with other shapes, none twice, the costliest first."""
    seen = {_shapes(launch)}
    for other in capture.launches:
        if other.function is launch.function and _shapes(other) not in seen:
            seen.add(_shapes(other))
            yield other.digest


def config_there(config: Any, spec: Any, options: tuple[str, ...]) -> tuple[Any, str]:
    """`config` as the captured launch `spec` has it, or None and why it cannot be launched there."""
    own = spec.owner_config().model_dump()
    chosen = {name for row in (spec.captured.autotune or {"configs": ()})["configs"] for name in row["kwargs"]}
    values = {n: v for n, v in config.model_dump().items() if n in options or n in chosen}
    unknown = [n for n, v in values.items() if n not in own and v is not None]
    if unknown:
        return None, f"{unknown[0]} does not move there"
    try:
        found = spec.config_type.model_validate({**own, **{n: v for n, v in values.items() if n in own}})
    except ValueError:
        return None, f"there is no config with {_shown(values)}"
    if found == spec.owner_config():
        return None, AS_OWNED
    why = spec.constraint(spec.default_problem(), found, None)
    return (None, why) if why else (found, "")


def _shapes(launch: CapturedLaunch) -> tuple[Any, ...]:
    return tuple((path, *t["shape"]) for path, t in described_tensors(launch))


def _shown(values: Mapping[str, Any]) -> str:
    return " ".join(f"{n}={v}" for n, v in values.items() if v is not None)
