"""AMD's Instinct GPUs."""

from __future__ import annotations

from dataclasses import replace

from kernels.hardware.gpu_facts import Hardware

_ROCM = "ROCm documentation, AMD GPU specifications (CUs, LDS, L2, registers)"
_WAVES = "LLVM, llvm-calc-occupancy (4 SIMDs a CU, 8 waves a SIMD)"

MI300X = Hardware(
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
)

MI325X = replace(
    MI300X,
    name="MI325X",
    device_names=("AMD Instinct MI325X", "AMD Instinct MI325X OAM"),
    memory_bytes=256 * 10**9,
    bandwidth=6.0e12,
    sources=("AMD Instinct MI325X datasheet", _ROCM, _WAVES),
)

MI355X = replace(
    MI300X,
    name="MI355X",
    device_names=("AMD Instinct MI355X", "AMD Instinct MI355X OAM"),
    arch="gfx950",
    sms=256,
    shared_per_block=160 * 1024,
    shared_per_sm=160 * 1024,
    memory_bytes=288 * 10**9,
    bandwidth=8.0e12,
    peak={"fp8": 5033.2e12, "fp16": 2516.6e12, "bf16": 2516.6e12, "fp32": 157.3e12},
    sources=("AMD Instinct MI355X datasheet", "AMD CDNA 4 architecture whitepaper", _ROCM, _WAVES),
)

AMD_GPUS = (MI300X, MI325X, MI355X)
