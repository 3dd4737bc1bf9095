"""What is tuned: fixed before the loop starts, out of a model's reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernels.hardware import Hardware
from kernels.spec import KernelSpec, Metric, Problem
from tools.harness.results import Regime


@dataclass(frozen=True)
class Task:
    """One kernel on one problem on one kind of device, judged by one metric."""

    spec: KernelSpec[Any, Any]
    problem: Problem
    hardware: Hardware
    metric: Metric = "tflops"
    regime: Regime = "burst"
    seed: int = 0

    def value(self, ms: float) -> float:
        """`ms` per launch in the task's unit: TFLOP/s, GB/s or ms."""
        if self.metric == "tflops":
            return self.spec.flops(self.problem) / (ms * 1e-3) / 1e12
        if self.metric == "gbps":
            return self.spec.bytes(self.problem) / (ms * 1e-3) / 1e9
        return ms

    @property
    def unit(self) -> str:
        return {"tflops": "TFLOP/s", "gbps": "GB/s", "latency": "ms"}[self.metric]
