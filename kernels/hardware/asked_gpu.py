"""Asks the driver for the facts of a GPU that has no published ones.

1. PyTorch and Triton read the driver's figures: SMs, registers, shared memory, caches, clocks, the memory's bus.
2. Bandwidth follows from the memory's clock and bus: two transfers a clock, as ``triton.testing.get_dram_gbps``
   counts. The peaks follow from the SMs, their clock and the published rates of the architecture.
3. :func:`complete` replaces what the driver did not say by what was measured on the card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kernels.hardware.architectures import ARCHITECTURES
from kernels.hardware.gpu_facts import Hardware, Origin

ASKED = (
    "warp_size", "sms", "shared_per_block", "shared_per_sm", "registers_per_sm", "threads_per_sm", "blocks_per_sm",
    "l2_bytes", "memory_bytes", "bandwidth",
)  # fmt: skip
UNKNOWN_BLOCKS = 32
"""Resident blocks of an SM of an architecture that is not listed: the most that any has."""


class DriverSilent(ValueError):
    """The driver does not say what a launch needs to know; the message is one sentence."""


def ask(index: int) -> Hardware:
    """The facts of ``cuda:index`` as its driver states them; a fact that it does not state is 0 or missing. Creates no
    context that PyTorch would not create. Raises DriverSilent."""
    import torch
    from triton.runtime import driver

    figures: Any = driver.active.utils.get_device_properties(index)
    return describe(torch.cuda.get_device_properties(index), figures, hip=torch.version.hip is not None)


def describe(properties: Any, figures: Mapping[str, int], hip: bool = False) -> Hardware:
    """Facts from `properties` (``torch.cuda.get_device_properties``) and `figures` (Triton's
    ``get_device_properties``: bytes, kHz, bits). Raises DriverSilent."""
    name = str(properties.name)
    arch: int | str = _gfx(properties) if hip else 10 * int(properties.major) + int(properties.minor)
    known = ARCHITECTURES.get(arch)
    threads = int(getattr(properties, "max_threads_per_multi_processor", 0))
    shared = int(figures.get("max_shared_mem", 0))
    needed = {
        "its SMs": int(properties.multi_processor_count), "its shared memory": shared, "its threads per SM": threads,
    }  # fmt: skip
    if silent := [what for what, n in needed.items() if n <= 0]:
        raise DriverSilent(f"the driver of {name} does not state {', '.join(silent)}: add an entry in kernels/hardware")
    clock = 1e3 * figures.get("sm_clock_rate", 0)
    sms = int(properties.multi_processor_count)
    peak = {d: 2.0 * sms * n * clock for d, n in known.multiply_adds.items()} if known and clock > 0 else {}
    origins: dict[str, Origin] = dict.fromkeys(ASKED, "asked")
    return Hardware(
        name=name,
        device_names=(name,),
        backend="hip" if hip else "cuda",
        arch=arch,
        warp_size=int(getattr(properties, "warp_size", 0)) or (64 if hip else 32),
        sms=sms,
        shared_per_block=shared,
        shared_per_sm=max(shared, int(getattr(properties, "shared_memory_per_multiprocessor", 0))),
        registers_per_sm=known.registers if known else int(getattr(properties, "regs_per_multiprocessor", 65536)),
        threads_per_sm=threads,
        blocks_per_sm=known.blocks if known else UNKNOWN_BLOCKS,
        l2_bytes=int(getattr(properties, "L2_cache_size", 0)),
        memory_bytes=int(properties.total_memory),
        bandwidth=2e3 * figures.get("mem_clock_rate", 0) * figures.get("mem_bus_width", 0) / 8,
        peak=peak,
        sources=(f"the driver of {name}", *([known.source] if known else [])),
        origins=origins | {"peak": "derived"},
    )


def complete(asked: Hardware, ceilings: Mapping[str, float]) -> Hardware:
    """`asked` with what was measured on the card (``copy_bytes_per_s`` and ``matmul_flops_per_s`` of fp16) where the
    driver is silent, or states less than the card does: memory that transfers four times a clock is one such case."""
    copied, multiplied = ceilings["copy_bytes_per_s"], ceilings["matmul_flops_per_s"]
    changes: dict[str, Any] = {}
    origins = dict(asked.origins)
    if asked.bandwidth < copied:
        changes["bandwidth"], origins["bandwidth"] = copied, "measured"
    if asked.peak.get("fp16", 0.0) < multiplied:
        changes["peak"], origins["peak"] = {"fp16": multiplied, "bf16": multiplied}, "measured"
    rates = f"a copy at {copied / 1e12:.3g} TB/s, fp16 at {multiplied / 1e12:.4g} TFLOP/s"
    return replace(asked, **changes, origins=origins, sources=(*asked.sources, f"measured on {asked.name}: {rates}"))


def _gfx(properties: Any) -> str:
    """``gfx942`` of ``gfx942:sramecc+:xnack-``. Raises DriverSilent."""
    name = str(getattr(properties, "gcnArchName", "")).partition(":")[0]
    if not name:
        raise DriverSilent(f"the driver of {properties.name} does not state its architecture")
    return name
