"""Made-up spaces of kernels that memory bounds: ``python -m tests.bench.plateau_spaces FOLDER``.

Softmax, norms and gated activations read and write every element once: many configs reach the bandwidth and are equal
up to a few per mille, the others are slow for different reasons. A space ``plateau_SEED`` draws its own parameters,
machine and kernel. A space ``rows_KERNEL-SHAPE`` is one of this project's kernels, with parameters that only some of
its families have, and times that the cost model estimates. Nothing of a recorded landscape is in them.

The files are landscapes with two sets of readings. A reading scatters within a sitting and between sittings; what a
config is worth beyond the model differs from its neighbours' by a ripple that both sets share.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np

from kernels.hardware import hardware_named
from kernels.registry import get
from memory.shared_models import DeviceInfo
from tools.harness.landscapes.files import write_landscape
from tools.harness.landscapes.readings import Entry, Landscape, ReadingSet, SetName, config_key
from tools.planner.cost.lookup import model_of

SPACES = 8
ROWS = (
    ("softmax", 16384, 2048),
    ("softmax", 4096, 16384),
    ("layer_norm", 8192, 8192),
    ("layer_norm", 65536, 1024),
    ("rms_norm", 8192, 16384),
    ("rms_norm", 131072, 512),
)
RIPPLE = 0.003
"""Relative: how far configs that a cost model cannot tell apart differ."""
SAMPLES = 20
SITTING = 0.003
"""Relative scatter between sittings, as of repeated readings on a GPU."""
WITHIN = 0.004
"""Relative scatter of launches within a sitting."""
SM_THREADS, SM_REGISTERS, PROCESSORS = 2048, 65536, 132
CACHE_HINTS = ("none", "stream", "keep")

Values = dict[str, Any]


def plateau(seed: int) -> Landscape:
    """The space of one seed."""
    rng = np.random.default_rng([seed, 7])
    levels: dict[str, list[Any]] = {
        "BLOCK": [2**i for i in range(8, 14 - int(rng.integers(2)))],
        "num_warps": [1, 2, 4, 8, 16, 32][int(rng.integers(2)) :],
        "num_stages": [1, 2, 3, 4, 5][: int(rng.integers(2, 6))],
    }
    if rng.random() < 0.6:
        levels["ROWS"] = [1, 2, 4, 8]
    if rng.random() < 0.6:
        levels["HINT"] = list(CACHE_HINTS)
    if rng.random() < 0.5:
        levels["PERSISTENT"] = [0, 1]
    kernel = _Kernel(rng)
    configs = [dict(zip(levels, values, strict=True)) for values in product(*levels.values())]
    return _record(f"plateau_{seed}", configs, [kernel.microseconds(c) for c in configs], kernel.ripple, rng)


def rows(kernel: str, m: int, n: int) -> Landscape:
    """The space of a kernel over `m` rows of `n` elements."""
    spec, hardware = get(kernel), hardware_named("H200")
    problem = spec.problem_type.model_validate({"M": m, "N": n})
    configs = list(spec.space(problem, hardware))
    model = model_of(problem, configs)
    estimate = None if model is None else model(problem.dtype, hardware, {})
    if estimate is None:
        raise ValueError(f"no cost model covers {kernel}")
    us = [1e3 * float(ms) if fits else None for ms, fits in zip(estimate.ms, estimate.fits, strict=True)]
    name = f"rows_{kernel}-{m}x{n}"
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return _record(name, [c.model_dump(mode="json") for c in configs], us, RIPPLE, rng)


def _record(
    name: str, configs: Sequence[Values], us: Sequence[float | None], ripple: float, rng: np.random.Generator
) -> Landscape:
    entries = {config_key(c): _read(c, t, ripple, rng) for c, t in zip(configs, us, strict=True)}
    device = DeviceInfo(kind="recorded", name="made up", hardware=None)
    return Landscape(name=name, kernel="made_up", device=device, entries=entries)


class _Kernel:
    """The machine and the kernel of one space: what bounds a config."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.columns = int(2 ** rng.integers(10, 14))
        self.rows = int(2**27 / self.columns / 2 ** rng.integers(0, 3))
        self.in_flight = float(rng.uniform(6e3, 32e3))
        """Bytes that an SM must have under way to reach the bandwidth."""
        self.ways = int(rng.integers(2, 4))
        """How often an element crosses the memory's port."""
        self.registers = float(rng.uniform(0.7, 2.0))
        """Registers that a thread needs for an element."""
        self.barrier_us = float(rng.uniform(0.02, 0.3))
        """Of a reduction, for each doubling of the warps."""
        self.start_us = float(rng.uniform(0.1, 0.8))
        self.hints = dict(zip(CACHE_HINTS, (0.0, *rng.normal(0.0, 0.01, 2)), strict=True))
        self.pipelined = float(rng.uniform(0.0, 0.7))
        """How much of a further stage counts as bytes under way."""
        self.ripple = float(rng.uniform(0.001, 0.004))

    def microseconds(self, config: Values) -> float | None:
        """Without ripple and scatter; ``None`` if the config cannot run."""
        block, warps, stages = config["BLOCK"], config["num_warps"], config["num_stages"]
        rows = config.get("ROWS", 1)
        threads, elements = 32 * warps, block * rows
        turns = math.ceil(self.columns / block)
        needed = 24 + self.registers * elements / threads
        resident = int(min(32, SM_THREADS / threads, SM_REGISTERS / (threads * min(255.0, needed))))
        if resident == 0 or elements * 4 * stages > 220_000:
            return None
        spilled = max(0.0, needed - 255) / 255
        wasted = turns * block / self.columns
        depth = 1 + self.pipelined * (min(stages, turns) - 1)
        under_way = resident * elements * 2 * depth * min(1.0, threads / elements * 8)
        bytes_moved = 2.0 * self.rows * self.columns * self.ways
        share = 1 / (1 + (self.in_flight / under_way) ** 4) ** (1 / 4)
        memory = bytes_moved / (4.0e6 * share)
        programs = self.rows / rows
        rounds = programs / (PROCESSORS * resident)
        persistent = config.get("PERSISTENT", 0)
        tail = math.ceil(rounds) / rounds if rounds < 8 and not persistent else 1.0
        starts = (rounds if not persistent else 1.0) * self.start_us
        reductions = rounds * turns * self.barrier_us * (1 + math.log2(warps))
        work = bytes_moved * wasted / 9.0e6 * (1 + 4 * spilled) + starts + reductions
        time = (memory**6 + (work * tail) ** 6) ** (1 / 6)
        return float(time * (1 + self.hints[config.get("HINT", "none")]))


def _read(config: Values, us: float | None, ripple: float, rng: np.random.Generator) -> Entry:
    """Both sets of readings of a config that takes `us` microseconds, less or more a ripple of its own."""
    drawn = rng.standard_normal((3, SAMPLES + 1))
    if us is None:
        return Entry(config=config, status="runtime", reason="out of resources")
    ms = us / 1e3 * math.exp(ripple * drawn[0, 0])
    names: tuple[SetName, SetName] = ("A", "B")
    sets = {
        name: ReadingSet(samples_ms=[float(f"{t:.5g}") for t in ms * np.exp(SITTING * d[0] + WITHIN * d[1:])])
        for name, d in zip(names, drawn[1:], strict=True)
    }
    return Entry(config=config, status="correct", sets=sets)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--spaces", default=SPACES, help="How many that draw their kernel.")
def main(folder: Path, spaces: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for landscape in [*map(plateau, range(spaces)), *(rows(*row) for row in ROWS)]:
        write_landscape(landscape, folder / f"{landscape.name}.json.gz")


if __name__ == "__main__":
    main()
