"""Runs on a GPU: the referee compiles and measures instead of looking up.

The landscape still gives the space, the scale and what a config is worth: a live reading chooses the incumbent, the
recorded set B, which the run has not seen and which was made on a card of the same kind, says how good it is. A reading
is brought to the landscape's scale by the reference beside it, as recording does. The clock is the wall's: compilation
side by side on every core, then the readings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from evals.contest.briefing import briefing_of
from evals.contest.ledger import PASSES, Ledger, Referee, Row
from evals.errors import EvalsError
from kernels.registry import get
from kernels.spec import Config, KernelSpec, Problem
from memory.shared_models import DeviceInfo
from memory.terms import Status
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.device import DeviceError
from tools.harness.devices.live import LiveDevice
from tools.harness.landscapes.readings import Entry, Landscape, reading_set
from tools.harness.results import CheckResult, CompileResult, Measurement

SAMPLES = 5
"""Readings of a config, and of the reference beside it."""


class Compiler(Protocol):
    """:class:`tools.harness.compiling.compile_pool.LocalCompilePool`, as far as a referee needs it."""

    def compile(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config]
    ) -> list[CompileResult]: ...

    def close(self) -> None: ...


class Gpu(Protocol):
    """:class:`tools.harness.devices.live.LiveDevice`, as far as a referee needs it."""

    info: DeviceInfo

    def check(self, configs: Sequence[Config]) -> list[CheckResult]: ...

    def measure_beside(self, config: Config, reference: str, samples: int) -> tuple[Measurement, Measurement]: ...

    def close(self) -> None: ...


class GpuBench:
    """A GPU and a compile pool, opened for one landscape after another."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._open: tuple[str, Gpu, Compiler] | None = None

    def referee(self, landscape: Landscape, ledger: Ledger, names: dict[str, str] | None) -> LiveReferee:
        """Raises EvalsError if runs on this landscape cannot be made on this GPU."""
        if self._open is None or self._open[0] != landscape.name:
            self.close()
            self._open = (landscape.name, *_opened(landscape, self._device))
        return LiveReferee(landscape, ledger, *self._open[1:])

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open[2].close()
            self._open = None


def check_live_landscape(landscape: Landscape) -> None:
    """Raises EvalsError if live runs on a landscape are impossible, whatever the GPU."""
    if briefing_of(landscape).kernel is None or landscape.reference is None:
        raise EvalsError(
            f"{landscape.name} cannot be played live: that takes a landscape of a kernel of ours, recorded with "
            "`python -m evals record`"
        )


def _opened(landscape: Landscape, device: str) -> tuple[LiveDevice, LocalCompilePool]:
    spec = get(landscape.kernel)
    problem = spec.problem_type.model_validate(landscape.problem)
    try:
        gpu = LiveDevice.open(device, spec, problem)
    except DeviceError as e:
        raise EvalsError(str(e)) from e
    if gpu.info.name != landscape.device.name:
        gpu.close()
        raise EvalsError(
            f"{landscape.name} was recorded on {landscape.device.name}, this is {gpu.info.name}: a live run is scored "
            "on the same kind of card; record the landscape here, or choose another --landscape"
        )
    return gpu, LocalCompilePool(gpu.hardware, None)


class LiveReferee(Referee):
    """Answers from a GPU and keeps the ledger."""

    def __init__(self, landscape: Landscape, ledger: Ledger, gpu: Gpu, compiler: Compiler) -> None:
        super().__init__(landscape, ledger)
        self._gpu, self._compiler = gpu, compiler
        self._spec = get(landscape.kernel)
        self._problem = self._spec.problem_type.model_validate(landscape.problem)
        self._entries: dict[str, Entry] = {}

    def compile(self, configs: Sequence[dict[str, Any]]) -> list[Entry | None]:
        found = [self._find(c) for c in configs]
        missing = {k: self._config(e) for k, e in found if e is not None and k not in self._entries}
        if missing:
            began = time.perf_counter()
            results = self._compiler.compile(self._spec, self._problem, list(missing.values()))
            self.ledger.seconds += time.perf_counter() - began
            for (key, config), result in zip(missing.items(), results, strict=True):
                values = config.model_dump(mode="json")
                # Until it has run, a config that compiled is neither correct nor wrong.
                status = "infrastructure" if result.status == "correct" else result.status
                self._entries[key] = Entry(config=values, status=status, reason=result.reason, compiled=result)
        return [self._compile(key, self._entries[key] if e is not None else None) for key, e in found]

    def check(self, configs: Sequence[dict[str, Any]]) -> list[Status]:
        self.compile(configs)
        return [self._check_live(*self._find(config)) for config in configs]

    def _check_live(self, key: str, recorded: Entry | None) -> Status:
        if recorded is None:
            return super()._check(key, recorded)
        if key in self._known or key in self._checked:
            self._wait()
            return self._known[key].status if key in self._known else "correct"
        entry, began = self._entries[key], time.perf_counter()
        [found] = self._gpu.check([self._config(entry)])
        self.ledger.seconds += time.perf_counter() - began
        if found.status != "infrastructure":
            self._checked.add(key)
        if found.status not in PASSES:
            self._entries[key] = Entry(
                config=entry.config, compiled=entry.compiled, status=found.status, reason=found.reason
            )
            super()._write(key, self._entries[key])
        return found.status

    def entry(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def measure(self, config: dict[str, Any]) -> Row:
        key, recorded = self._find(config)
        if key in self._known or recorded is None:
            return super().measure(config)
        self.compile([config])
        if key in self._known:  # it did not compile
            return self._known[key]
        return self._write(key, self._entries[key])

    def _write(self, key: str, entry: Entry) -> Row:
        self._within_budget()
        if entry.compiled is not None and entry.compiled.status == "correct":
            entry = self._entries[key] = self._read(key, entry)
        return super()._write(key, entry)

    def _read(self, key: str, entry: Entry) -> Entry:
        assert self.landscape.reference is not None
        began = time.perf_counter()
        m, reference = self._gpu.measure_beside(self._config(entry), self.landscape.reference, SAMPLES)
        outcome: dict[str, Any] = {"status": m.status, "reason": m.reason, "run_seconds": time.perf_counter() - began}
        if m.status == "correct" and reference.status != "correct":
            outcome |= {"status": "infrastructure", "reason": f"the reference failed beside it: {reference.reason}"}
        elif m.status == "correct":
            outcome |= {"sets": {"A": reading_set(m, reference, len(self.ledger.rows), self.ledger.seconds)}}
        return Entry(config=entry.config, compiled=entry.compiled, error=m.error, bound=m.bound, **outcome)

    def _config(self, entry: Entry) -> Config:
        config: Config = self._spec.config_type.model_validate(entry.config)
        return config
