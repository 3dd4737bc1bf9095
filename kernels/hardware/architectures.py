"""Limits and rates that all GPUs of an architecture share, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

CAPABILITIES = "CUDA C++ Programming Guide, Technical Specifications per Compute Capability"


@dataclass(frozen=True)
class Architecture:
    """Of one multiprocessor."""

    blocks: int
    """Resident blocks at most."""
    registers: int
    multiply_adds: dict[str, int]
    """Dense multiply-adds a clock by dtype: tensor cores with fp32 accumulation, fp32 by the vector units. The best
    card of the architecture: GeForce cards accumulate in fp32 at half of it."""
    source: str


def _nvidia(blocks: int, fp16: int, fp32: int, source: str, fp8: int | None = None) -> Architecture:
    rates = {"fp16": fp16, "bf16": fp16, "fp32": fp32} | ({"fp8": fp8} if fp8 else {})
    return Architecture(blocks, 65536, rates, f"{CAPABILITIES}; {source}")


def _cdna(fp16: int, fp32: int, source: str, fp8: int | None = None) -> Architecture:
    """Four SIMDs of 512 vector registers a lane and 8 waves; a block has at least one wave."""
    rates = {"fp16": fp16, "bf16": fp16, "fp32": fp32} | ({"fp8": fp8} if fp8 else {})
    return Architecture(32, 4 * 512 * 64, rates, f"{source}; LLVM, llvm-calc-occupancy")


_TURING = "NVIDIA Turing GPU architecture whitepaper"
_GA102 = "NVIDIA Ampere GA102 GPU architecture whitepaper"
_ADA = "NVIDIA Ada GPU architecture whitepaper"
_BLACKWELL = "NVIDIA Blackwell architecture technical brief"
_RTX_BLACKWELL = "NVIDIA RTX Blackwell GPU architecture whitepaper"

ARCHITECTURES: dict[int | str, Architecture] = {
    75: Architecture(16, 65536, {"fp16": 512, "fp32": 64}, f"{CAPABILITIES}; {_TURING}"),
    80: _nvidia(32, 1024, 64, "NVIDIA A100 architecture whitepaper"),
    86: _nvidia(16, 512, 128, _GA102),
    87: _nvidia(16, 512, 128, _GA102),
    89: _nvidia(24, 512, 128, _ADA, fp8=1024),
    90: _nvidia(32, 2048, 128, "NVIDIA H100 whitepaper", fp8=4096),
    100: _nvidia(32, 4096, 128, _BLACKWELL, fp8=8192),
    103: _nvidia(32, 4096, 128, _BLACKWELL, fp8=8192),
    120: _nvidia(24, 512, 128, _RTX_BLACKWELL, fp8=1024),
    121: _nvidia(24, 512, 128, _RTX_BLACKWELL, fp8=1024),
    "gfx90a": _cdna(512, 128, "AMD CDNA 2 architecture whitepaper"),
    "gfx942": _cdna(1024, 128, "AMD CDNA 3 architecture whitepaper"),
    "gfx950": _cdna(2048, 128, "AMD CDNA 4 architecture whitepaper", fp8=4096),
}
