"""The card's own figures through NVML: clocks, power, temperature, throttle reasons, energy. No CUDA context.

Where there is no NVML (AMD, no driver) every figure is ``None``: absent is said, not faked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from tools.harness.results import Telemetry

_REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}
"""NVML clocks-event reasons that mean the card is slower than asked (nvml.h, nvmlClocksEventReason*)."""


POLL_S = 0.002
"""Between two looks at the energy counter; it moves every 20 to 100 ms, depending on the card."""
LEAST_COVER = 0.4
"""Share of a stretch of work that the counter's movements must span, so that they speak for all of it."""


class Meter:
    """Watts over a stretch of steady work: ``with Meter(nvml.joules) as meter: ...; meter.watts()``.

    The counter moves in steps, so a difference between two looks is wrong by up to a step at either end, 6 % of two
    seconds. Here a thread notes when the counter moves, and power is the energy between the first movement and the last
    over the time between them: wrong by two polls, some 0.3 % of a second and a half. The whole card is metered:
    whatever else runs on it counts too."""

    def __init__(self, joules: Callable[[], float | None], poll_s: float = POLL_S) -> None:
        self._joules, self._poll_s = joules, poll_s
        self._moves: list[tuple[float, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self._seconds = time.perf_counter() - self._began

    def _watch(self) -> None:
        last = self._joules()
        while last is not None and not self._done.wait(self._poll_s):
            now = self._joules()
            if now is not None and now != last:
                self._moves.append((time.perf_counter(), now))
                last = now

    def watts(self) -> float | None:
        """After the ``with``: mean power, or ``None`` where the counter is missing, stands still or moves too seldom
        for so short a stretch."""
        if len(self._moves) < 2:
            return None
        (began, first), (ended, last) = self._moves[0], self._moves[-1]
        if last <= first or ended - began < LEAST_COVER * self._seconds:
            return None
        return (last - first) / (ended - began)


class Nvml:
    """One GPU as NVML sees it; ``open`` gives ``None`` where NVML or the GPU is missing."""

    def __init__(self, pynvml: Any, handle: Any) -> None:
        self._nvml, self._handle = pynvml, handle

    @classmethod
    def open(cls, uuid: str) -> Nvml | None:
        """`uuid` as torch reports it (without the ``GPU-`` prefix): indices differ under CUDA_VISIBLE_DEVICES."""
        import pynvml

        try:
            pynvml.nvmlInit()
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
        except pynvml.NVMLError:
            return None

    def _ask(self, name: str, *args: Any) -> Any:
        try:
            return getattr(self._nvml, name)(self._handle, *args)
        except self._nvml.NVMLError:
            return None

    def read(self) -> Telemetry:
        power = self._ask("nvmlDeviceGetPowerUsage")
        bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return Telemetry(
            sm_mhz=self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM),
            memory_mhz=self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_MEM),
            power_w=None if power is None else power / 1e3,
            temperature_c=self._ask("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU),
            throttle=[name for bit, name in _REASONS.items() if bits & bit],
        )

    def joules(self) -> float | None:
        """Energy since the driver was loaded."""
        mj = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if mj is None else mj / 1e3

    def power_limit_w(self) -> float | None:
        mw = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        return None if mw is None else mw / 1e3

    def driver(self) -> str | None:
        version = self._nvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else version


def gpus_present() -> int:
    """How many GPUs this machine has, without creating a context: NVML's count, else AMD's kernel nodes."""
    from pathlib import Path

    import pynvml

    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return len(list(Path("/sys/class/drm").glob("renderD*"))) if Path("/dev/kfd").exists() else 0
