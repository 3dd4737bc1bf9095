"""NVIDIA's GPUs for servers. A card that differs from another in few facts is written as that card with these facts."""

from __future__ import annotations

from dataclasses import replace

from kernels.hardware.architectures import CAPABILITIES
from kernels.hardware.gpu_facts import Hardware

_A100_PAPER = "NVIDIA A100 architecture whitepaper"
_H100_PAPER = "NVIDIA H100 whitepaper"
_SIX_STACKS = "NVIDIA H100 whitepaper (10 MiB of L2 beside each of six memory stacks)"

A100 = Hardware(
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
    sources=("NVIDIA A100 80GB datasheet (SXM column)", "NVIDIA A100 architecture whitepaper", CAPABILITIES),
)

A100_SXM_40 = replace(
    A100,
    name="A100 SXM 40GB",
    device_names=("NVIDIA A100-SXM4-40GB",),
    memory_bytes=40 * 10**9,
    bandwidth=1.555e12,
    sources=("NVIDIA A100 40GB datasheet (SXM column)", _A100_PAPER, CAPABILITIES),
)

A100_PCIE_40 = replace(
    A100_SXM_40,
    name="A100 PCIe 40GB",
    device_names=("NVIDIA A100-PCIE-40GB",),
    sources=("NVIDIA A100 40GB PCIe product brief", _A100_PAPER, CAPABILITIES),
)

A100_PCIE_80 = replace(
    A100,
    name="A100 PCIe 80GB",
    device_names=("NVIDIA A100 80GB PCIe",),
    bandwidth=1.935e12,
    sources=("NVIDIA A100 80GB datasheet (PCIe column)", _A100_PAPER, CAPABILITIES),
)

H100 = Hardware(
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
        CAPABILITIES,
    ),
)

H100_PCIE = replace(
    H100,
    name="H100 PCIe",
    device_names=("NVIDIA H100 PCIe",),
    sms=114,
    bandwidth=2.0e12,
    peak={"fp8": 1513e12, "fp16": 756e12, "bf16": 756e12, "fp32": 51e12},
    sources=("NVIDIA H100 datasheet (PCIe column, halved: it quotes sparse rates)", _H100_PAPER, CAPABILITIES),
)

H100_NVL = replace(
    H100,
    name="H100 NVL",
    device_names=("NVIDIA H100 NVL",),
    l2_bytes=60 * 2**20,
    memory_bytes=94 * 10**9,
    bandwidth=3.9e12,
    peak={"fp8": 1670.5e12, "fp16": 835.5e12, "bf16": 835.5e12, "fp32": 60e12},
    sources=("NVIDIA H100 datasheet (NVL column, halved: it quotes sparse rates)", _SIX_STACKS, CAPABILITIES),
)

H200 = Hardware(
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
        CAPABILITIES,
    ),
)

H200_NVL = replace(
    H200,
    name="H200 NVL",
    device_names=("NVIDIA H200 NVL",),
    peak={"fp8": 1670.5e12, "fp16": 835.5e12, "bf16": 835.5e12, "fp32": 60e12},
    sources=("NVIDIA H200 datasheet (NVL column, halved: it quotes sparse rates)", _SIX_STACKS, CAPABILITIES),
)

GH200 = replace(
    H200,
    name="GH200",
    device_names=("NVIDIA GH200 480GB",),
    memory_bytes=96 * 10**9,
    bandwidth=4.0e12,
    peak={"fp8": 1979e12, "fp16": 990e12, "bf16": 990e12, "fp32": 67e12},
    sources=("NVIDIA GH200 datasheet (96 GB of HBM3, halved: it quotes sparse rates)", _SIX_STACKS, CAPABILITIES),
)

GH200_144 = replace(
    GH200,
    name="GH200 144GB",
    device_names=("NVIDIA GH200 144G HBM3e",),
    memory_bytes=144 * 10**9,
    bandwidth=4.9e12,
    sources=("NVIDIA GH200 datasheet (144 GB of HBM3e, halved: it quotes sparse rates)", _SIX_STACKS, CAPABILITIES),
)

B200 = Hardware(
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
        CAPABILITIES,
    ),
)

L40S = Hardware(
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
    sources=("NVIDIA L40S datasheet (dense column)", "NVIDIA Ada GPU architecture whitepaper", CAPABILITIES),
)

L4 = replace(
    L40S,
    name="L4",
    device_names=("NVIDIA L4",),
    sms=58,
    l2_bytes=48 * 2**20,
    memory_bytes=24 * 10**9,
    bandwidth=300e9,
    peak={"fp8": 242.5e12, "fp16": 121e12, "bf16": 121e12, "fp32": 30.3e12},
    sources=(
        "NVIDIA L4 datasheet (halved: it quotes sparse rates)",
        "NVIDIA Ada GPU architecture whitepaper",
        CAPABILITIES,
    ),
)

A10G = Hardware(
    name="A10G",
    device_names=("NVIDIA A10G",),
    backend="cuda",
    arch=86,
    warp_size=32,
    sms=80,
    shared_per_block=99 * 1024,
    shared_per_sm=100 * 1024,
    registers_per_sm=65536,
    threads_per_sm=1536,
    blocks_per_sm=16,
    l2_bytes=6 * 2**20,
    memory_bytes=24 * 10**9,
    bandwidth=600e9,
    peak={"fp16": 70e12, "bf16": 70e12, "fp32": 35e12},
    sources=(
        "NVIDIA A10G datasheet (dense column)",
        "torch.cuda.get_device_properties on an A10G: 80 SMs, 6 MB of L2",
        "NVIDIA Ampere GA102 GPU architecture whitepaper",
        CAPABILITIES,
    ),
)

SERVER_GPUS = (
    A100, H100, H200, B200, L40S, A100_SXM_40, A100_PCIE_40, A100_PCIE_80, H100_PCIE, H100_NVL, H200_NVL, GH200,
    GH200_144, L4, A10G,
)  # fmt: skip
