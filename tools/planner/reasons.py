"""Describes in one line, in a performance engineer's words, why a config is proposed."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.spec import Config
from tools.planner.cost.launch_geometry import Launch, Tiles
from tools.planner.cost.matmul_cost import Cost

FEW = 2
"""A config that differs from the best in at most this many parameters is described by these parameters."""


def differences(config: Config, other: Config, parameters: Sequence[str]) -> list[str]:
    """The parameters in which `config` differs from `other`, each as ``num_stages 3 to 4``."""
    return [
        f"{p} {getattr(other, p)} to {getattr(config, p)}"
        for p in parameters
        if getattr(other, p) != getattr(config, p)
    ]


def origin(config: Config, best: Config | None, parameters: Sequence[str], deviation: float) -> str:
    """How the config relates to the best so far: the parameters that change, or how many do."""
    if best is None:
        return "first look"
    changed = differences(config, best, parameters)
    if 0 < len(changed) <= FEW:
        return "best so far with " + ", ".join(changed)
    return f"{len(changed)} parameters from the best so far, ±{deviation:.0%}"


def explain_launch(tiles: Tiles, launch: Launch, cost: Cost, i: int) -> str:
    """The cost model's figures for config `i`: registers, pipeline, waves, and the engine that bounds it."""
    m, n = int(tiles.block_m[i]), int(tiles.block_n[i])
    registers, spills = int(launch.registers[i]), int(launch.spill_bytes[i])
    tile = f"{int(tiles.warps[i])} warps: {m}x{n} accumulators take {launch.accumulators[i]:.0f}"
    if spills:
        tile += f" registers a thread and spill {spills} B"
    elif launch.compiled[i]:
        tile += f" of {registers} registers a thread"
    else:
        tile += " registers a thread"
    blocks = int(launch.blocks_per_sm[i])
    room = f"leave {'one CTA' if blocks == 1 else f'{blocks} CTAs'} per SM"
    if not launch.fits[i]:
        room = "may not fit shared memory"
    pipeline = f"{int(tiles.stages[i])} stages of {tiles.stage_bytes[i] / 1024:.0f} KiB {room}"
    rounds = "one wave" if cost.waves[i] == 1 else f"{cost.waves[i]:.0f} waves"
    count = "one tile fills" if tiles.count[i] == 1 else f"{tiles.count[i]:.0f} tiles fill"
    waves = f"{count} {rounds} to {cost.fill[i]:.0%}"
    return f"{tile}; {pipeline}; {waves}; bound by {cost.limiter(i)}"
