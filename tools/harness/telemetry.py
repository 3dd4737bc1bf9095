"""The card's own figures through NVML: clocks, power, temperature, throttle reasons, energy. No CUDA context.

Where there is no NVML (AMD, no driver) every figure is ``None``: absent is said, not faked.
"""

from __future__ import annotations

from typing import Any

from tools.harness.results import Telemetry

_REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}
"""NVML clocks-event reasons that mean the card is slower than asked (nvml.h, nvmlClocksEventReason*)."""


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
