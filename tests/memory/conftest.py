"""A real memory file, filled through the public API with a small space whose rules the tests know."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from memory.store import Begin, Figures, Finish, Kind, Memory, Status

H200 = {"kind": "live", "name": "NVIDIA H200", "hardware": "H200", "torch": "2.11", "triton": "3.6.0"}
RECORDED = {"kind": "recorded", "name": "NVIDIA H200", "hardware": "H200", "landscape": "fused.json.gz sha256:ab"}
SQUARE = {"M": 4096, "N": 4096, "K": 4096, "dtype": "fp16", "activation": "leaky_relu"}


class Filled(NamedTuple):
    memory: Memory
    environment: int
    kernel: int
    problem: int
    configs: list[dict[str, Any]]


def begin(memory: Memory, run: str, call: str, environment: int, problem: int, config: str, kind: Kind) -> int:
    """Write one pending attempt; its id."""
    return memory.begin_attempts([Begin(run, call, environment, problem, config, kind)])[0]


def finish(memory: Memory, attempt: int, status: Status, **figures: Any) -> None:
    """Write what became of one attempt."""
    memory.finish_attempts([Finish(attempt, status, cast(Figures, figures))])


def space() -> list[dict[str, Any]]:
    return [
        {"BLOCK_M": m, "BLOCK_K": k, "num_warps": w, "num_stages": s}
        for m, k, w, s in itertools.product((64, 128), (64, 128), (4, 8), (3, 4))
    ]


def outcome(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """BLOCK_K=128 with 4 stages does not fit; 8 warps are 10 % faster; the 128-row tile is twice as fast."""
    if config["BLOCK_K"] == 128 and config["num_stages"] == 4:
        return "compile", {"reason": f"shared memory {config['BLOCK_M'] * 2048} B over 232448 B"}
    ms = 0.4 / (config["BLOCK_M"] / 64) / (1.1 if config["num_warps"] == 8 else 1.0)
    ms *= 1.0 + 0.01 * (config["num_stages"] == 3) + 0.02 * (config["BLOCK_K"] == 64)
    return "correct", {"ms": ms, "samples": [ms] * 3, "regime": "burst", "value": 137.4 / ms, "unit": "TFLOP/s"}


def fill(memory: Memory, info: dict[str, Any] = H200, problem: dict[str, Any] = SQUARE, run: str = "run-1") -> Filled:
    environment = memory.environment(info)
    kernel = memory.kernel("fused_matmul", "source-1")
    label = "x".join(str(problem[d]) for d in "MNK") + f" {problem['dtype']} {problem['activation']}"
    number = memory.problem(kernel, problem, label)
    memory.start_run(run, "maximise fused TFLOPS", {"metric": "tflops"}, "embedded", environment, number, {}, None)
    configs = space()
    ids = memory.configs(kernel, configs)
    attempts = memory.begin_attempts([Begin(run, "call-1", environment, number, i, "benchmark") for i in ids])
    memory.finish_attempts(
        [Finish(a, *outcome(c)) for a, c in zip(attempts, configs, strict=True)]  # type: ignore[arg-type]
    )
    memory.finish_run(run, "proven", {"evaluations": len(configs), "seconds": 1.5})
    return Filled(memory, environment, kernel, number, configs)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


@pytest.fixture
def filled(path: Path) -> Filled:
    return fill(Memory.open(path))
