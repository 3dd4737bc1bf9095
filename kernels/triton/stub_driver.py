"""Stands in for Triton's driver while a compiler warms up a launch, and while a file is imported that needs
a driver to be imported.

Many files ask for the active driver when they are imported (``driver.active.get_active_torch_device()`` is the first
line of Triton's tutorials). The stub answers what can be known of a GPU that is not here, and refuses the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from kernels.hardware import Hardware, hardware_named

DEFAULT = "H200"
"""The GPU model that a file finds where none is chosen yet: that of the recorded devices."""


class StubUtils:
    """``driver.active.utils``."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware

    def get_device_properties(self, device: int = 0) -> dict[str, int]:
        """What Triton's own driver says of a GPU, as far as the data sheet has it."""
        h = self._hardware
        return {
            "max_shared_mem": h.shared_per_block,
            "max_num_regs": h.registers_per_sm,
            "multiprocessor_count": h.sms,
            "warpSize": h.warp_size,
        }

    def __getattr__(self, name: str) -> NoReturn:
        refuse(f"driver.active.utils.{name}")


class StubDriver:
    """What a file or a warm-up may ask of a driver without a launch."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self.utils = StubUtils(hardware)

    def get_current_target(self) -> GPUTarget:
        return GPUTarget(self._hardware.backend, self._hardware.arch, self._hardware.warp_size)

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        """There is one device."""

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)

    def get_device_interface(self) -> Any:
        return torch.cuda

    def get_benchmarker(self) -> Callable[..., NoReturn]:
        def benchmark(*args: Any, **kwargs: Any) -> NoReturn:
            refuse("a benchmark")

        return benchmark

    def clear_cache(self, cache: Any) -> None:
        """There is none."""

    def __getattr__(self, name: str) -> NoReturn:
        refuse(f"driver.active.{name}")


def refuse(what: str) -> NoReturn:
    """Raises AttributeError, so that ``hasattr`` and ``getattr`` with a default work on the stub."""
    raise AttributeError(f"no GPU is used in this process, so it has no {what}")


@contextmanager
def stub_driver(hardware: Hardware | None = None) -> Iterator[None]:
    """Inside this context Triton's active driver is a stub for `hardware`."""
    config: Any = driver
    before = config._active
    config.set_active(StubDriver(hardware or hardware_named(DEFAULT)))
    try:
        yield
    finally:
        config.set_active(before)
