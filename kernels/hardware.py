"""Facts about GPUs, each with its source, and the occupancy of a kernel launch that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Limit = Literal["registers", "shared", "warps", "blocks"]
"""The resource that caps the resident blocks of a multiprocessor."""


@dataclass(frozen=True)
class Hardware:
    """One GPU model. Rates are datasheet peaks for dense operands at boost clock, whatever the power limit allows."""

    name: str
    """Short name used in options and files, e.g. ``H200``."""
    device_names: tuple[str, ...]
    """Names that the driver reports for it."""
    backend: Literal["cuda", "hip"]
    arch: int | str
    """Triton's target: compute capability times ten (90) or the gfx name."""
    warp_size: int
    sms: int
    """Streaming multiprocessors (compute units on AMD)."""
    shared_per_block: int
    """Largest shared memory of one block, bytes (opt-in limit)."""
    shared_per_sm: int
    registers_per_sm: int
    threads_per_sm: int
    blocks_per_sm: int
    l2_bytes: int
    memory_bytes: int
    bandwidth: float
    """Device memory, bytes/s."""
    peak: dict[str, float] = field(hash=False)
    """FLOP/s by dtype name, fp32 accumulation, dense."""
    sources: tuple[str, ...]

    @property
    def has_tma(self) -> bool:
        """Whether the chip has the tensor memory accelerator: compute capability 9.0 and later."""
        return isinstance(self.arch, int) and self.arch >= 90


_CAPABILITIES = "CUDA C++ Programming Guide, Technical Specifications per Compute Capability"

ALL = (
    Hardware(
        name="A100",
        device_names=("NVIDIA A100-SXM4-80GB",),
        backend="cuda",
        arch=80,
        warp_size=32,
        sms=108,
        shared_per_block=163 * 1024,
        shared_per_sm=164 * 1024,
        registers_per_sm=65536,
        threads_per_sm=2048,
        blocks_per_sm=32,
        l2_bytes=40 * 2**20,
        memory_bytes=80 * 10**9,
        bandwidth=2.039e12,
        peak={"fp16": 312e12, "bf16": 312e12, "fp32": 19.5e12},
        sources=("NVIDIA A100 80GB datasheet (SXM column)", "NVIDIA A100 architecture whitepaper", _CAPABILITIES),
    ),
    Hardware(
        name="H100",
        device_names=("NVIDIA H100 80GB HBM3",),
        backend="cuda",
        arch=90,
        warp_size=32,
        sms=132,
        shared_per_block=227 * 1024,
        shared_per_sm=228 * 1024,
        registers_per_sm=65536,
        threads_per_sm=2048,
        blocks_per_sm=32,
        l2_bytes=50 * 2**20,
        memory_bytes=80 * 10**9,
        bandwidth=3.35e12,
        peak={"fp8": 1978.9e12, "fp16": 989.4e12, "bf16": 989.4e12, "fp32": 66.9e12},
        sources=(
            "NVIDIA H100 datasheet (SXM column, halved: it quotes sparse rates)",
            "NVIDIA H100 whitepaper",
            _CAPABILITIES,
        ),
    ),
    Hardware(
        name="H200",
        device_names=("NVIDIA H200",),
        backend="cuda",
        arch=90,
        warp_size=32,
        sms=132,
        shared_per_block=227 * 1024,
        shared_per_sm=228 * 1024,
        registers_per_sm=65536,
        threads_per_sm=2048,
        blocks_per_sm=32,
        l2_bytes=60 * 2**20,
        memory_bytes=141 * 10**9,
        bandwidth=4.8e12,
        peak={"fp8": 1978.9e12, "fp16": 989.4e12, "bf16": 989.4e12, "fp32": 66.9e12},
        sources=(
            "NVIDIA H200 datasheet (SXM column, halved: it quotes sparse rates)",
            "torch.cuda.get_device_properties on an H200: 132 SMs, 60 MiB of L2",
            _CAPABILITIES,
        ),
    ),
    Hardware(
        name="B200",
        device_names=("NVIDIA B200",),
        backend="cuda",
        arch=100,
        warp_size=32,
        sms=148,
        shared_per_block=227 * 1024,
        shared_per_sm=228 * 1024,
        registers_per_sm=65536,
        threads_per_sm=2048,
        blocks_per_sm=32,
        l2_bytes=126 * 2**20,
        memory_bytes=180 * 10**9,
        bandwidth=8e12,
        peak={"fp8": 4.5e15, "fp16": 2.25e15, "bf16": 2.25e15, "fp32": 80e12},
        sources=(
            "NVIDIA Blackwell architecture technical brief (HGX B200 at 1,000 W, dense)",
            "NVIDIA DGX B200 datasheet (1,440 GB and 64 TB/s over eight GPUs)",
            _CAPABILITIES,
        ),
    ),
    Hardware(
        name="L40S",
        device_names=("NVIDIA L40S",),
        backend="cuda",
        arch=89,
        warp_size=32,
        sms=142,
        shared_per_block=99 * 1024,
        shared_per_sm=100 * 1024,
        registers_per_sm=65536,
        threads_per_sm=1536,
        blocks_per_sm=24,
        l2_bytes=96 * 2**20,
        memory_bytes=48 * 10**9,
        bandwidth=864e9,
        peak={"fp8": 733e12, "fp16": 362.05e12, "bf16": 362.05e12, "fp32": 91.6e12},
        sources=("NVIDIA L40S datasheet (dense column)", "NVIDIA Ada GPU architecture whitepaper", _CAPABILITIES),
    ),
    Hardware(
        name="RTX 4090",
        device_names=("NVIDIA GeForce RTX 4090",),
        backend="cuda",
        arch=89,
        warp_size=32,
        sms=128,
        shared_per_block=99 * 1024,
        shared_per_sm=100 * 1024,
        registers_per_sm=65536,
        threads_per_sm=1536,
        blocks_per_sm=24,
        l2_bytes=72 * 2**20,
        memory_bytes=24 * 2**30,
        bandwidth=1008e9,
        peak={"fp8": 330.3e12, "fp16": 165.2e12, "bf16": 165.2e12, "fp32": 82.6e12},
        sources=(
            "NVIDIA Ada GPU architecture whitepaper, appendix A (FP16 and FP8 with FP32 accumulate, dense)",
            _CAPABILITIES,
        ),
    ),
    Hardware(
        name="MI300X",
        device_names=("AMD Instinct MI300X", "AMD Instinct MI300X OAM"),
        backend="hip",
        arch="gfx942",
        warp_size=64,
        sms=304,
        shared_per_block=64 * 1024,
        shared_per_sm=64 * 1024,
        registers_per_sm=4 * 512 * 64,
        threads_per_sm=2048,
        blocks_per_sm=32,
        l2_bytes=8 * 4 * 2**20,
        memory_bytes=192 * 10**9,
        bandwidth=5.3e12,
        peak={"fp16": 1307.4e12, "bf16": 1307.4e12, "fp32": 163.4e12},
        sources=(
            "AMD Instinct MI300X datasheet",
            "AMD CDNA 3 architecture whitepaper (512 KiB of vector registers, 64 KiB of LDS a CU; 4 MiB of L2 an XCD)",
            "LLVM, llvm-calc-occupancy (4 SIMDs a CU, 8 waves a SIMD)",
        ),
    ),
)


def hardware_for(device_name: str) -> Hardware | None:
    """The facts for a device by the name its driver reports; ``None`` where we have none.

    The whole name has to match: a ``RTX 4090 D``, an ``H200 NVL`` or a MIG slice differ from their namesakes in SMs,
    clocks or bandwidth."""
    return next((h for h in ALL if device_name in h.device_names), None)


def hardware_named(name: str) -> Hardware:
    """The facts by short name, in any case and with or without its space. Raises ValueError listing the names."""
    wanted = "".join(name.split()).lower()
    for h in ALL:
        if "".join(h.name.split()).lower() == wanted:
            return h
    raise ValueError(f"no facts about hardware {name!r}; there are facts about {', '.join(h.name for h in ALL)}")


def occupancy(hardware: Hardware, registers: int, shared_bytes: int, num_warps: int) -> tuple[int, float, Limit]:
    """Resident blocks per SM, resident warps over the SM's maximum, and the resource that sets them.

    `registers` is per thread, `shared_bytes` per block, `num_warps` as launched. A block that does not fit at all
    gives ``(0, 0.0, ...)``. Of equal limits the first of registers, shared, warps, blocks is named.

    NVIDIA (CUDA toolkit, ``cuda_occupancy.h``, compute capability 8 to 12): registers are given to a warp in units of
    256 and a warp lives in one of four sub-partitions; shared memory comes in units of 128 bytes, and the driver keeps
    1 KiB of each block's (``reservedSharedMemPerBlock``). AMD CDNA 3 (LLVM, AMDGPU ``GCNSubtarget``): a SIMD has 512
    vector registers a lane, given in units of 8; LDS comes in units of 512 bytes."""
    if num_warps < 1 or registers < 0 or shared_bytes < 0:
        raise ValueError(f"occupancy of {registers} registers, {shared_bytes} bytes, {num_warps} warps has no meaning")
    nvidia = hardware.backend == "cuda"
    lane_unit = 256 // hardware.warp_size if nvidia else 8
    shared_unit, reserved = (128, 1024) if nvidia else (512, 0)

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
