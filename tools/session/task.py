"""What is tuned: fixed before the loop starts, out of a model's reach."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kernels.hardware import Hardware
from kernels.spec import KernelSpec, Problem
from memory.terms import ENERGY_UNITS, UNITS, Metric, Regime, energy_in, speed_in


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
    bitwise: bool = False
    """Whether only configs that give the bits of the owner's launch may be proven."""
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
        bitwise: bool = False,
    ) -> Task:
        """The task of a goal's `metric`, the kernel's own where it names none. Raises ValueError for one that means
        nothing for this kernel."""
        if metric not in ENERGY_UNITS:
            return cls(spec, problem, hardware, metric or spec.metric, regime, seed, bitwise)
        if metric == "tflops_per_watt" and not spec.flops(problem):
            raise ValueError(f"{spec.name} counts no operations: ask for its GB/s per watt or its joules")
        return cls(spec, problem, hardware, spec.metric, regime, seed, bitwise, metric)

    @cached_property
    def _flops(self) -> int:
        return self.spec.flops(self.problem)

    @cached_property
    def _bytes(self) -> int:
        return self.spec.bytes(self.problem)

    def value(self, ms: float) -> float:
        """`ms` per launch in the search's unit: TFLOP/s, GB/s or ms."""
        return speed_in(self.metric, ms, self._flops, self._bytes)

    @property
    def unit(self) -> str:
        return UNITS[self.metric]

    def energy_value(self, joules: float) -> float:
        """`joules` per launch in the energy's unit: operations (or bytes) a joule, or mJ."""
        return energy_in(self.energy, joules, self._flops, self._bytes)

    @property
    def energy_unit(self) -> str:
        return ENERGY_UNITS.get(self.energy or "", "")
