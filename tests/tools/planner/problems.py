"""Spaces whose optimum is known, and what a search on them needs. Times here are functions, never measurements."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from kernels.gemm.space import GemmConfig, GemmProblem
from kernels.hardware import hardware_named
from kernels.registry import get
from kernels.spec import Config, Problem
from tools.harness.results import Measurement
from tools.planner.cost.launch_geometry import read_launch, read_tiles
from tools.planner.cost.matmul_cost import estimate
from tools.planner.evidence import Evidence
from tools.planner.propose import Planner
from tools.session.task import Task

H200 = hardware_named("H200")
SPEC = get("fused_matmul")
SQUARE = GemmProblem(M=4096, N=4096, K=4096)
BEST = GemmConfig(
    family="persistent_tma",
    BLOCK_M=128,
    BLOCK_N=256,
    BLOCK_K=64,
    GROUP_M=8,
    num_warps=8,
    num_stages=3,
    EPILOGUE_SUBTILE=2,
    FLATTEN=True,
)
"""The fastest of 780 configs measured on an H200 at 4096x4096x4096."""


class StrangeProblem(Problem):
    dims = ("length",)
    length: int = 1


class StrangeConfig(Config):
    """A kernel that the cost model has never heard of."""

    block_size_x: int
    unroll: int
    cache: Literal["none", "read", "write"]
    vector: bool


STRANGE = [
    StrangeConfig(block_size_x=x, unroll=u, cache=c, vector=v)
    for x, u, c, v in product(
        [32 * i for i in range(1, 17)], [1, 2, 4, 8, 16], ["none", "read", "write"], [False, True]
    )
]


def task(problem=SQUARE, hardware=H200, seed=0):
    return Task(SPEC, problem, hardware, seed=seed)


def wobble(config: Config, size: float) -> float:
    """A factor that is the config's own: what no model can know."""
    digest = hashlib.sha256(config.key().encode()).digest()
    return 1 + size * (int.from_bytes(digest[:4], "big") / 2**32 - 0.5)


def costs(configs, problem=SQUARE, hardware=H200, compiled=None):
    tiles = read_tiles(problem, configs)
    launch = read_launch(tiles, hardware, compiled or {})
    return estimate(tiles, launch, hardware, "fp16"), launch


def times(configs, problem=SQUARE, hardware=H200):
    cost, launch = costs(configs, problem, hardware)
    return np.where(launch.fits, cost.ms, np.inf)


def ms(config, problem=SQUARE, hardware=H200):
    return float(times([config], problem, hardware)[0])


def changed(config, **fields):
    return type(config).model_validate({**config.model_dump(), **fields})


def measured(config, time_ms):
    return Measurement(config=config.model_dump(), status="correct", ms=time_ms, regime="burst")


def failed(config, status="compile"):
    return Measurement(config=config.model_dump(), status=status, reason="no", regime="burst")


@dataclass
class Search:
    """The planner run against a function, as the loop of an agent would."""

    planner: Planner
    truth: Callable[[Config], Measurement]
    batch: int = 4

    def run(self, evaluations):
        seen = {}
        while len(seen) < evaluations:
            plan = self.planner.propose(Evidence(measured=seen), min(self.batch, evaluations - len(seen)))
            if not plan.proposals:
                break
            for p in plan.proposals[: plan.try_first]:
                assert p.config not in seen
                seen[p.config] = self.truth(p.config)
        return seen


def best_of(seen):
    return min((m.ms for m in seen.values() if m.status == "correct"), default=math.inf)


def deviating(config):
    """A card that disagrees with the cost model: flattening hurts, three stages beat four, wide groups help, and every
    config has 4 % of its own."""
    factor = 1.06 if config.FLATTEN else 1.0
    factor *= {2: 1.1, 3: 1.0, 4: 1.04}.get(config.num_stages, 1.08)
    factor *= {4: 1.02, 8: 1.01}.get(config.GROUP_M, 1.0)
    return measured(config, ms(config) ** 1.1 * factor * wobble(config, 0.04))


def strange(config):
    if config.vector and config.unroll == 16:
        return failed(config)
    x = math.log2(config.block_size_x / 160)
    y = math.log2(config.unroll / 4)
    penalty = {"none": 0.15, "read": 0.0, "write": 0.3}[config.cache]
    shape = 1 + 0.1 * x * x + 0.08 * y * y + 0.05 * x * y + penalty - (0.1 if config.vector else 0)
    return measured(config, shape * wobble(config, 0.01))
