"""The configs that may be tried in place of a captured one.

    1. The owner's config, first.
    2. The autotuner's own configs, then the product of their values.
    3. Neighbours: half and double of each constant that the grid follows.
    4. Of each of these, other ``num_warps`` and, where there is a loop to pipeline, ``num_stages``, one at a time;
       combined if the constants leave few choices. With as many warps or more, also fewer registers a thread.

A constant moves only if the program's grid function reads it, with the grid that this function returned for it, or if
the autotuner moves it itself. ``num_ctas`` stays as the owner has it. Hooks and pruning that no module holds cannot be
run again: then launch options alone move.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from kernels.capture.capture_file import Json
from kernels.capture.reading.captured_launches import CapturedLaunch

WARPS = (1, 2, 4, 8, 16, 32)
FURTHEST_WARPS = 8
"""Warps stay within this factor of the config beside them. With far fewer, each thread has more values than registers,
and what spills so much takes a minute to compile."""
STAGES = (1, 2, 3, 4, 5)
REGISTERS = (32, 64, 128)
"""Most registers of a thread (``maxnreg``, NVIDIA's alone). With fewer, more programs run at once."""
ALL_REGISTERS = 65_536
"""Of a multiprocessor; a block's threads divide no more among them, so that a looser limit is none."""
FEW = 4
"""Choices of constants up to which all launch options are combined with one another."""
MOST_PRODUCT = 512
"""Configs of the product; an autotuner with many values in each place would make millions."""
DEFAULTS = {"num_warps": 4, "num_stages": 3}
"""Of Triton, where neither launch nor config names them."""


@dataclass(frozen=True)
class LaunchConfig:
    """One way to launch."""

    values: tuple[tuple[str, Any], ...]
    """Constants that the config sets."""
    num_warps: int
    num_stages: int
    grid: tuple[int, ...]
    origin: str
    """``owner``, ``autotuner``, ``product``, ``neighbour`` or ``options``."""
    maxnreg: int | None = None


@dataclass(frozen=True)
class LaunchSpace:
    configs: tuple[LaunchConfig, ...]
    """The owner's first, none twice."""
    fixed: dict[str, str]
    """Constants that do not move, with the reason."""


def space_of(launch: CapturedLaunch, loops: bool = True) -> LaunchSpace:
    """The configs around a captured launch. `loops`: whether the kernel, or a function that it calls, has a loop;
    ``num_stages`` changes nothing in one that has none."""
    own = _own_values(launch)
    came_out = tuple(launch.grid["came_out"])
    why_not = _options_only(launch)
    movable = {} if why_not else _movable(launch)
    options = _option(launch, "num_warps"), _option(launch, "num_stages")
    found = [LaunchConfig(_frozen(own), *options, came_out, "owner", _registers(launch))]
    if not why_not:
        found += _autotuners(launch, own)
        found += _neighbours(launch, own, movable, found[0])
    few = len({c.values for c in found}) <= FEW
    warps = _choices(launch, "num_warps", WARPS)
    stages = _choices(launch, "num_stages", STAGES if loops else ())
    for config in list(found):
        found += _other_options(config, warps, stages, every=few)
        found += _fewer_registers(config) if _is_nvidia(launch) else ()
    fixed = {n: why_not or "the grid does not follow it" for n in _constants(launch) if n not in movable}
    seen: set[Any] = set()
    unique = []
    for c in found:
        key = (c.values, c.num_warps, c.num_stages, c.maxnreg)
        if key not in seen:
            seen.add(key)
            unique.append(c)
    return LaunchSpace(tuple(unique), fixed)


def _own_values(launch: CapturedLaunch) -> Json:
    return dict(launch.config["kwargs"]) if launch.config else {}


def _option(launch: CapturedLaunch, name: str) -> int:
    value = launch.options.get(name) or (launch.config or {}).get(name)
    return int(value) if value is not None else DEFAULTS[name]


def _choices(launch: CapturedLaunch, name: str, values: Sequence[int]) -> Sequence[int]:
    """Values of an option; none if the kernel has a parameter of this name that is passed by its place: the option
    cannot be passed beside it."""
    return values if name not in launch.arguments or name in launch.options else ()


def _registers(launch: CapturedLaunch) -> int | None:
    value = launch.options.get("maxnreg") or (launch.config or {}).get("maxnreg")
    return None if value is None else int(value)


def _is_nvidia(launch: CapturedLaunch) -> bool:
    """AMD's architectures have names."""
    return launch.device.get("kind") == "cuda" and isinstance(launch.device.get("arch"), int)


def _frozen(values: Json) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))


def _constants(launch: CapturedLaunch) -> list[str]:
    numbers = [n for n, a in launch.arguments.items() if a.get("constexpr") and a["type"] == "int"]
    return [n for n in numbers if n not in DEFAULTS]


def _options_only(launch: CapturedLaunch) -> str | None:
    """Why constants may not move, or None."""
    for decorator in launch.decorators:
        hooks = [decorator.get("pre_hook"), decorator.get("post_hook"), *decorator.get("values", {}).values()]
        hooks += [c.get("pre_hook") for c in decorator.get("configs", ())]
        local = next((h["local"] for h in hooks if h and "local" in h), None)
        if local is not None:
            return f"{local} is a function that no module holds, so it cannot be run for another config"
    if launch.grid.get("changes") or "cannot_be_asked" in launch.grid:
        return "the program's grid function cannot be asked"
    return None


def _movable(launch: CapturedLaunch) -> dict[str, str]:
    """Constants that may take other values, and why."""
    reads = set(launch.grid.get("reads", ())) & set(_constants(launch))
    found = dict.fromkeys(reads, "the grid follows it")
    if launch.autotune:
        tuned = {n for c in launch.autotune["configs"] for n in c["kwargs"]}
        found |= dict.fromkeys(tuned - reads, "the autotuner moves it")
    return found


def _grid_for(launch: CapturedLaunch, values: Json) -> tuple[int, ...] | None:
    """The grid for other values; None if the program's function was not asked for them, or refused."""
    if not launch.grid["callable"]:
        return tuple(launch.grid["came_out"])
    read = set(launch.grid.get("reads", ()))
    own = {**{n: a.get("value") for n, a in launch.arguments.items()}, **_own_values(launch)}
    wanted = {n: v for n, v in {**own, **values}.items() if n in read}
    if all(own.get(n) == v for n, v in wanted.items()):
        return tuple(launch.grid["came_out"])
    for row in launch.grid.get("table", ()):
        asked = {n: v for n, v in {**own, **row["values"]}.items() if n in read}
        if asked == wanted and "grid" in row:
            return tuple(row["grid"])
    return None


def _autotuners(launch: CapturedLaunch, own: Json) -> Iterator[LaunchConfig]:
    tuner = launch.autotune
    if tuner is None:
        return
    rows = [(c["kwargs"], c["num_warps"], c["num_stages"]) for c in tuner["configs"]]
    registers = [c.get("maxnreg") for c in tuner["configs"]]
    names = list(own)
    choices = [list(dict.fromkeys(r[0].get(n) for r in rows)) for n in names]
    warps, stages = (list(dict.fromkeys(r[i] for r in rows)) for i in (1, 2))
    for (values, w, s), limit in zip(rows, registers, strict=True):
        grid = _grid_for(launch, values)
        if grid is not None:
            yield LaunchConfig(_frozen(values), w, s, grid, "autotuner", limit)
    for i, combination in enumerate(product(*choices, warps, stages)):
        if i >= MOST_PRODUCT:
            return
        *chosen, w, s = combination
        values = dict(zip(names, chosen, strict=True))
        grid = _grid_for(launch, values)
        if grid is not None:
            yield LaunchConfig(_frozen(values), w, s, grid, "product", _registers(launch))


def _neighbours(
    launch: CapturedLaunch, own: Json, movable: dict[str, str], beside: LaunchConfig
) -> Iterator[LaunchConfig]:
    for name in movable:
        value = own.get(name, launch.arguments.get(name, {}).get("value"))
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or value & (value - 1):
            continue
        for other in (value // 2, value * 2):
            values = {**own, name: other}
            grid = _grid_for(launch, values) if other else None
            if grid is not None:
                yield replace(beside, values=_frozen(values), grid=grid, origin="neighbour")


def _other_options(
    config: LaunchConfig, warps: Sequence[int], stages: Sequence[int], every: bool
) -> Iterator[LaunchConfig]:
    """One option at a time: the product of all would be most of a large space, and far from what anybody chose. With
    `every`, the product too."""
    own = config.num_warps
    warps = [w for w in warps if max(w, own) <= FURTHEST_WARPS * min(w, own)]
    pairs = [(w, config.num_stages) for w in warps] + [(own, s) for s in stages]
    for w, s in pairs + (list(product(warps, stages)) if every else []):
        yield replace(config, num_warps=w, num_stages=s, origin="options")


def _fewer_registers(config: LaunchConfig) -> Iterator[LaunchConfig]:
    """The config with a limit of its registers, also with more warps; what limits them already is left alone."""
    for warps in (config.num_warps, config.num_warps * 2) if config.maxnreg is None else ():
        for limit in REGISTERS:
            if warps <= WARPS[-1] and limit * warps * 32 < ALL_REGISTERS:
                yield replace(config, num_warps=warps, maxnreg=limit, origin="options")
