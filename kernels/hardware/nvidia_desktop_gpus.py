"""NVIDIA's GPUs for desktops and workstations. Of GeForce cards the rates are those with fp32 accumulation."""

from __future__ import annotations

from dataclasses import replace

from kernels.hardware.architectures import CAPABILITIES
from kernels.hardware.gpu_facts import Hardware

_PRO_PAPER = "NVIDIA RTX Blackwell PRO GPU architecture whitepaper"

RTX_4090 = Hardware(
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
        CAPABILITIES,
    ),
)

RTX_3090 = Hardware(
    name="RTX 3090",
    device_names=("NVIDIA GeForce RTX 3090",),
    backend="cuda",
    arch=86,
    warp_size=32,
    sms=82,
    shared_per_block=99 * 1024,
    shared_per_sm=100 * 1024,
    registers_per_sm=65536,
    threads_per_sm=1536,
    blocks_per_sm=16,
    l2_bytes=6 * 2**20,
    memory_bytes=24 * 2**30,
    bandwidth=936e9,
    peak={"fp16": 71e12, "bf16": 71e12, "fp32": 35.6e12},
    sources=(
        "NVIDIA Ampere GA102 GPU architecture whitepaper, appendix A (FP16 with FP32 accumulate, dense)",
        CAPABILITIES,
    ),
)

RTX_5090 = Hardware(
    name="RTX 5090",
    device_names=("NVIDIA GeForce RTX 5090",),
    backend="cuda",
    arch=120,
    warp_size=32,
    sms=170,
    shared_per_block=99 * 1024,
    shared_per_sm=100 * 1024,
    registers_per_sm=65536,
    threads_per_sm=1536,
    blocks_per_sm=24,
    l2_bytes=96 * 2**20,
    memory_bytes=32 * 2**30,
    bandwidth=1792e9,
    peak={"fp8": 419e12, "fp16": 209.5e12, "bf16": 209.5e12, "fp32": 104.8e12},
    sources=(
        "NVIDIA RTX Blackwell GPU architecture whitepaper, appendix A (FP16 and FP8 with FP32 accumulate, dense)",
        CAPABILITIES,
    ),
)

RTX_PRO_6000 = replace(
    RTX_5090,
    name="RTX PRO 6000",
    device_names=("NVIDIA RTX PRO 6000 Blackwell Workstation Edition",),
    sms=188,
    l2_bytes=128 * 2**20,
    memory_bytes=96 * 2**30,
    peak={"fp8": 1007.6e12, "fp16": 503.8e12, "bf16": 503.8e12, "fp32": 126.0e12},
    sources=(_PRO_PAPER + " (Workstation Edition, dense)", CAPABILITIES),
)

RTX_PRO_6000_MAX_Q = replace(
    RTX_PRO_6000,
    name="RTX PRO 6000 Max-Q",
    device_names=("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",),
    peak={"fp8": 878e12, "fp16": 439e12, "bf16": 439e12, "fp32": 110e12},
    sources=(
        "NVIDIA RTX PRO 6000 Blackwell Max-Q datasheet (3,511 TOPS of sparse FP4: a quarter of it is FP8, halved)",
        _PRO_PAPER,
        CAPABILITIES,
    ),
)

RTX_PRO_6000_SERVER = replace(
    RTX_PRO_6000,
    name="RTX PRO 6000 Server",
    device_names=("NVIDIA RTX PRO 6000 Blackwell Server Edition",),
    bandwidth=1597e9,
    peak={"fp8": 1000e12, "fp16": 500e12, "bf16": 500e12, "fp32": 120e12},
    sources=(
        "NVIDIA RTX PRO 6000 Blackwell Server Edition datasheet (halved: it quotes sparse rates)",
        _PRO_PAPER,
        CAPABILITIES,
    ),
)

DESKTOP_GPUS = (RTX_4090, RTX_3090, RTX_5090, RTX_PRO_6000, RTX_PRO_6000_MAX_Q, RTX_PRO_6000_SERVER)
