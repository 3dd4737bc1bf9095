"""Small landscapes whose optimum is known, as files of ours."""

from __future__ import annotations

import random
from pathlib import Path

from memory.shared_models import DeviceInfo
from tools.harness.landscapes.named import write_landscape
from tools.harness.landscapes.readings import Entry, Landscape, ReadingSet, config_key

BEST = {"BLOCK": 64, "num_warps": 4, "order": "row"}
LUCKY = {"BLOCK": 16, "num_warps": 4, "order": "row"}
"""The best in set A by luck; in set B it is slow."""
BROKEN = {"BLOCK": 256, "num_warps": 1, "order": "row"}


def hills(name: str = "hills", seed: int = 0) -> Landscape:
    """60 configs around one optimum of 1 ms. An evaluation costs 1 s of compiling and 0.5 s of running."""
    rng = random.Random(seed)
    entries = {}
    for block in (16, 32, 64, 128, 256):
        for warps in (1, 2, 4, 8, 16, 32):
            for order in ("row", "column"):
                config = {"BLOCK": block, "num_warps": warps, "order": order}
                entry = entry_of(config, rng)
                entries[config_key(config)] = entry
    return Landscape(
        name=name, kernel="hills", device=DeviceInfo(kind="live", name="a GPU", hardware=None), entries=entries
    )


def entry_of(config: dict, rng: random.Random) -> Entry:
    if config["num_warps"] == 1 and config["BLOCK"] == 256:
        return Entry(config=config, status="compile", reason="no registers left", compile_seconds=1.0)
    away = abs(config["BLOCK"].bit_length() - 7) + abs(config["num_warps"].bit_length() - 3)
    ms = 1.0 + 0.2 * away + (0.1 if config["order"] == "column" else 0.0) + rng.uniform(0, 0.01) * (config != BEST)
    a = 0.5 if config == LUCKY else ms
    sets = {s: ReadingSet(samples_ms=[t, t], seconds=0.5) for s, t in (("A", a), ("B", ms))}
    return Entry(config=config, status="correct", sets=sets, compile_seconds=1.0, run_seconds=0.5)


def honest() -> Landscape:
    """Hills in which set A is true."""
    made = hills("honest")
    for entry in made.entries.values():
        if entry.sets:
            entry.sets["A"] = entry.sets["B"]
    return made


def written(landscape: Landscape, folder: Path) -> Path:
    path = folder / f"{landscape.name}.json.gz"
    write_landscape(landscape, path)
    return path
