"""What an agent is told of a landscape before it has measured anything: the space, not what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tools.harness.device import DeviceError
from tools.harness.landscapes.readings import Landscape

Values = dict[str, Any]
"""One config: parameter → value."""


@dataclass(frozen=True)
class Sheet:
    """Crosses to the agent's process, so it holds nothing that was measured."""

    name: str
    parameters: dict[str, tuple[Any, ...]]
    """Every parameter and its values, numbers in order."""
    configs: tuple[Values, ...]
    """The recorded space, in the file's order, failures among them."""
    kernel: str | None = None
    """A registered kernel with the same parameters; ``None`` for other people's spaces and for disguised ones."""
    problem: Values | None = None
    hardware: str | None = None
    device: str = "unknown"
    default: Values | None = None
    """What the kernel's author would write down first, where that was recorded."""


def sheet_of(landscape: Landscape, disguised: bool = False) -> Sheet:
    """The sheet of a landscape. A `disguised` one keeps to itself which kernel it is."""
    configs = tuple(e.config for e in landscape.entries.values())
    names = list(dict.fromkeys(name for c in configs for name in c))
    parameters = {n: _ordered([c[n] for c in configs if n in c]) for n in names}
    bare = Sheet(landscape.name, parameters, configs, device=landscape.device.name)
    return bare if disguised or landscape.problem is None else _known(landscape, bare)


def _known(landscape: Landscape, bare: Sheet) -> Sheet:
    """The sheet with its kernel, where this installation has that kernel and its configs."""
    from kernels.hardware import hardware_named
    from kernels.registry import get

    try:
        spec = get(landscape.kernel)
        problem = spec.problem_type.model_validate(landscape.problem)
        hardware = hardware_named(landscape.device.hardware or "")
        for config in bare.configs:
            spec.config_type.model_validate(config)
    except (ValueError, KeyError, ValidationError, DeviceError):
        return bare
    author = spec.default_config(problem, hardware)
    return Sheet(
        bare.name,
        bare.parameters,
        bare.configs,
        kernel=landscape.kernel,
        problem=landscape.problem,
        hardware=landscape.device.hardware,
        device=bare.device,
        default=author.model_dump(mode="json") if author.key() in landscape.entries else None,
    )


def identity(value: Any) -> str:
    """A value's text: 1, 1.0, true and "1" are four values, and NaN is one."""
    return f"{type(value).__name__} {value!r}"


def _ordered(values: list[Any]) -> tuple[Any, ...]:
    """Without repeats."""
    different = {identity(v): v for v in values}.values()
    if all(isinstance(v, int | float) for v in different):
        return tuple(sorted(different))
    return tuple(different)
