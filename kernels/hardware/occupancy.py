"""How many blocks of a launch an SM holds at once."""

from __future__ import annotations

from typing import Literal

from kernels.hardware.gpu_facts import Hardware

Limit = Literal["registers", "shared", "warps", "blocks"]
"""The resource that caps the resident blocks of a multiprocessor."""


def occupancy(hardware: Hardware, registers: int, shared_bytes: int, num_warps: int) -> tuple[int, float, Limit]:
    """Resident blocks per SM, resident warps over the SM's maximum, and the resource that sets them.

    `registers` is per thread, `shared_bytes` per block, `num_warps` as launched. A block that does not fit at all
    gives ``(0, 0.0, ...)``. Of equal limits the first of registers, shared, warps, blocks is named.

    NVIDIA (CUDA toolkit, ``cuda_occupancy.h``, compute capability 8 to 12): registers are given to a warp in units of
    256 and a warp lives in one of four sub-partitions; shared memory comes in units of 128 bytes, and the driver keeps
    1 KiB of each block's (``reservedSharedMemPerBlock``). AMD CDNA 3 (LLVM, AMDGPU ``GCNSubtarget``): a SIMD has 512
    vector registers a lane, given in units of 8; LDS comes in units of 512 bytes, of CDNA 4 (gfx950) in units of 1,280
    bytes (``getLdsDwGranularity``)."""
    if num_warps < 1 or registers < 0 or shared_bytes < 0:
        raise ValueError(f"occupancy of {registers} registers, {shared_bytes} bytes, {num_warps} warps has no meaning")
    nvidia = hardware.backend == "cuda"
    lane_unit = 256 // hardware.warp_size if nvidia else 8
    shared_unit, reserved = (128, 1024) if nvidia else (1280 if hardware.arch == "gfx950" else 512, 0)

    warps_per_sm = hardware.threads_per_sm // hardware.warp_size
    lanes_per_partition = hardware.registers_per_sm // 4 // hardware.warp_size
    warps_by_registers = 4 * (lanes_per_partition // max(lane_unit, _round_up(registers, lane_unit)))
    shared = _round_up(shared_bytes, shared_unit) + reserved
    limits: dict[Limit, int] = {
        "registers": warps_by_registers // num_warps,
        "shared": hardware.shared_per_sm // shared if shared else hardware.blocks_per_sm,
        "warps": warps_per_sm // num_warps,
        "blocks": hardware.blocks_per_sm,
    }
    if shared_bytes > hardware.shared_per_block:
        limits["shared"] = 0
    limited_by = min(limits, key=lambda resource: limits[resource])
    blocks = limits[limited_by]
    return blocks, blocks * num_warps / warps_per_sm, limited_by


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
