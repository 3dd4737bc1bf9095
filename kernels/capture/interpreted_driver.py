"""What a program for a GPU needs under ``TRITON_INTERPRET=1``: answers of Triton's driver on a machine without a GPU,
and launches of several threads in turns.

A program that is written for a GPU asks the driver for device, stream, target and properties. The interpreter needs
none of them. The answers are those of the CPU that interprets, so that no program takes it for a GPU model.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any


def create_or_interpret(create: Callable[[], Any]) -> Callable[[], Any]:
    """Triton's ``_create_driver``, answered by the stand-in if there is no GPU and the interpreter is on."""

    @functools.wraps(create)
    def create_driver() -> Any:
        try:
            return create()
        except RuntimeError as e:
            if "0 active drivers" in str(e) and sys.modules["triton"].knobs.runtime.interpret:
                return InterpretedDriver()
            raise

    return create_driver


_INTERPRETING = threading.RLock()


def in_turns(run: Callable[..., Any]) -> Callable[..., Any]:
    """``GridExecutor.__call__``, by one thread at a time: while a kernel is interpreted, functions of
    ``triton.language`` are others for the whole process. On a GPU threads launch as they like; here they met that in
    the middle of their own kernels, the sooner as a launch takes longer with a table or a capture."""

    @functools.wraps(run)
    def run_in_turns(*args: Any, **kwargs: Any) -> Any:
        with _INTERPRETING:
            return run(*args, **kwargs)

    return run_in_turns


class InterpretedDriver:
    """What programs ask of ``triton.runtime.driver.active``."""

    def __init__(self) -> None:
        self.utils = InterpretedUtils()
        self.binary_ext = "none"

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cpu", 0, 1)

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        return None

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        import torch

        return torch.cpu

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        return (0, 0)

    def get_benchmarker(self) -> Any:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("Triton's interpreter cannot time a kernel: run the program on a GPU")

        return refuse


class InterpretedUtils:
    """``driver.active.utils``."""

    def get_device_properties(self, device: int = 0) -> dict[str, int]:
        return {
            "multiprocessor_count": os.cpu_count() or 1,
            "max_shared_mem": 1 << 20,
            "max_num_regs": 1 << 16,
            "warpSize": 1,
            "sm_clock_rate": 0,
            "mem_clock_rate": 0,
            "mem_bus_width": 0,
        }
