"""Facts about GPUs, each with its source, and the occupancy of a kernel launch that follows from them.

A GPU that no published source is entered for (``kernels/hardware/*_gpus.py``) is used like any other: its driver is
asked (``asked_gpu.py``), its ceilings are measured once, and both are kept (``kept_gpus.py``). The lookups of this file
decide nothing about a kernel's code, and are no part of a kernel's source hash (``kernels/source/closure.py``).
"""

from __future__ import annotations

from kernels.hardware import kept_gpus
from kernels.hardware.amd_gpus import AMD_GPUS
from kernels.hardware.gpu_facts import Hardware, Origin
from kernels.hardware.nvidia_desktop_gpus import DESKTOP_GPUS
from kernels.hardware.nvidia_server_gpus import SERVER_GPUS
from kernels.hardware.occupancy import Limit, occupancy

__all__ = ["ALL", "Hardware", "Limit", "Origin", "hardware_for", "hardware_named", "known_hardware", "occupancy"]

ALL = (*SERVER_GPUS, *DESKTOP_GPUS, *AMD_GPUS)
"""GPUs with published facts."""


def known_hardware(device_name: str) -> Hardware | None:
    """The published facts of a device by the name that its driver reports; ``None`` if there are none.

    The whole name has to match: a ``RTX 4090 D`` or a MIG slice differ from their namesakes in SMs, clocks or
    bandwidth."""
    return next((h for h in ALL if device_name in h.device_names), None)


def hardware_for(device_name: str) -> Hardware | None:
    """The facts of a device by the name that its driver reports: the published ones, else those that were asked of the
    driver and kept; ``None`` if the device was never used here."""
    return known_hardware(device_name) or kept_gpus.find(device_name)


def hardware_named(name: str) -> Hardware:
    """The facts by short name, in any case and with or without its space. Raises ValueError listing the names."""
    wanted = "".join(name.split()).lower()
    for h in ALL:
        if "".join(h.name.split()).lower() == wanted:
            return h
    kept = kept_gpus.find(name)
    if kept is not None:
        return kept
    raise ValueError(
        f"no facts about hardware {name!r}; there are facts about {', '.join(h.name for h in ALL)}; "
        "the driver of any other GPU is asked when it is used here"
    )
