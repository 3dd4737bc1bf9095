"""What is tuned: fixed before the loop starts, out of a model's reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernels.hardware import Hardware
from kernels.spec import KernelSpec, Metric, Problem
from tools.harness.results import Regime

UNITS = {"tflops": "TFLOP/s", "gbps": "GB/s", "latency": "ms"}
ENERGY_UNITS = {"tflops_per_watt": "TFLOP/s per W", "gbps_per_watt": "GB/s per W", "joules": "mJ"}
"""TFLOP/s per watt is 10^12 operations per joule: the most of it is the least energy per launch."""


@dataclass(frozen=True)
class Task:
    """One kernel on one problem on one kind of device, judged by one metric."""

    spec: KernelSpec[Any, Any]
    problem: Problem
    hardware: Hardware
    metric: Metric = "tflops"
    regime: Regime = "burst"
    """Of the search; energy is always judged in the sustained one."""
    seed: int = 0
    energy: Metric | None = None
    """What finalists and the proof are judged by where the goal is energy: ``tflops_per_watt``, ``gbps_per_watt`` or
    ``joules``; the search goes by `metric`, a time, which costs a fiftieth of a reading of energy."""

    @classmethod
    def of(
        cls,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        hardware: Hardware,
        metric: Metric | None,
        regime: Regime = "burst",
        seed: int = 0,
    ) -> Task:
        """The task of a goal's `metric`, the kernel's own where it names none. Raises ValueError for one that means
        nothing for this kernel."""
        if metric not in ENERGY_UNITS:
            return cls(spec, problem, hardware, metric or spec.metric, regime, seed)
        if metric == "tflops_per_watt" and not spec.flops(problem):
            raise ValueError(f"{spec.name} counts no operations: ask for its GB/s per watt or its joules")
        return cls(spec, problem, hardware, spec.metric, regime, seed, metric)

    def value(self, ms: float) -> float:
        """`ms` per launch in the search's unit: TFLOP/s, GB/s or ms."""
        if self.metric == "tflops":
            return self.spec.flops(self.problem) / (ms * 1e-3) / 1e12
        if self.metric == "gbps":
            return self.spec.bytes(self.problem) / (ms * 1e-3) / 1e9
        return ms

    @property
    def unit(self) -> str:
        return UNITS[self.metric]

    def energy_value(self, joules: float) -> float:
        """`joules` per launch in the energy's unit: operations (or bytes) a joule, or mJ."""
        if self.energy == "tflops_per_watt":
            return self.spec.flops(self.problem) / joules / 1e12
        if self.energy == "gbps_per_watt":
            return self.spec.bytes(self.problem) / joules / 1e9
        return joules * 1e3

    @property
    def energy_unit(self) -> str:
        return ENERGY_UNITS.get(self.energy or "", "")
