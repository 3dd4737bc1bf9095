"""What an agent knows of a landscape before it measures anything: the space, without its measurements."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from tools.harness.device import DeviceError
from tools.harness.landscapes.readings import Landscape, config_key
from tools.harness.landscapes.recorded_baselines import read_baseline_times

Values = dict[str, Any]
"""One config: parameter → value."""


@dataclass(frozen=True)
class Briefing:
    """A space without its measurements. It is sent to the agent's process."""

    name: str
    parameters: dict[str, tuple[Any, ...]]
    """Every parameter and its values, numbers in order."""
    configs: tuple[Values, ...]
    """The recorded space in the file's order, failing configs included."""
    kernel: str | None = None
    """A registered kernel with the same parameters; ``None`` for other people's spaces and for disguised ones."""
    problem: Values | None = None
    hardware: str | None = None
    device: str = "unknown"
    default: Values | None = None
    """The config that the kernel's author or owner launches, if it is known and was recorded; ``None`` for disguised
    spaces."""
    ceilings: dict[str, float] = field(default_factory=dict)
    """The rates that were measured on the GPU, by name; empty for disguised spaces."""
    baseline_ms: dict[str, float] = field(default_factory=dict)
    """Name of a PyTorch baseline → its time; empty for disguised spaces."""


def briefing_of(landscape: Landscape, disguised: bool = False) -> Briefing:
    """The briefing of a landscape. A `disguised` one does not name the kernel."""
    configs = tuple(e.config for e in landscape.entries.values())
    names = list(dict.fromkeys(name for c in configs for name in c))
    parameters = {n: _ordered([c[n] for c in configs if n in c]) for n in names}
    bare = Briefing(landscape.name, parameters, configs, device=landscape.device.name)
    if disguised:
        return bare
    if landscape.default is not None and config_key(landscape.default) in landscape.entries:
        bare = replace(bare, default=landscape.default)
    return bare if landscape.problem is None else _known(landscape, bare)


def _known(landscape: Landscape, bare: Briefing) -> Briefing:
    """The briefing with its kernel, if this installation has that kernel and its configs."""
    from kernels.registry import get
    from tools.harness.measuring.unlisted_gpu import adopt_facts

    try:
        spec = get(landscape.kernel)
        problem = spec.problem_type.model_validate(landscape.problem)
        hardware = adopt_facts(landscape.device)
        for config in bare.configs:
            spec.config_type.model_validate(config)
    except (ValueError, KeyError, ValidationError, DeviceError):
        return bare
    author = spec.default_config(problem, hardware)
    return replace(
        bare,
        kernel=landscape.kernel,
        problem=landscape.problem,
        hardware=landscape.device.hardware,
        default=author.model_dump(mode="json") if author.key() in landscape.entries else bare.default,
        ceilings=dict(landscape.ceilings),
        baseline_ms=read_baseline_times(landscape),
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
