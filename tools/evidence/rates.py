"""What a multiprocessor does per clock, by architecture: lanes of arithmetic, bytes of its ports, clocks of waiting.

Each constant names its source. The CUDA C++ Programming Guide's table is "Throughput of Native Arithmetic Instructions"
(results per clock and multiprocessor)."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.hardware import Hardware
from tools.planner.cost.matmul_cost import (
    L2_LATENCY,
    MMA_SYNC_SHARE,
    SHARED_BYTES_PER_CLOCK,
    WGMMA_LATENCY,
    core_clock,
    multiply_adds_per_clock,
)
from tools.planner.cost.physics import L2_BYTES_PER_CLOCK, MEMORY_LATENCY, SCHEDULERS

FALLBACK_CLOCK = 1.8e9
"""Hz where the hardware's facts name no fp16 peak to derive one from; the rates of :mod:`kernels.hardware` do."""
ATOMICS_PER_CLOCK = 1.0
"""Of all the card, on one address: L2 adds one a clock to a word. Estimate after "Simplified atomics", GTC 2014 S4158,
and NVIDIA's Maxwell tuning guide; a whole slice's rate is not published."""
SPREAD_ATOMICS_PER_CLOCK = 16.0
"""Of one multiprocessor, on distinct words: half of a warp, the reductions' row of the CUDA guide's table."""


@dataclass(frozen=True)
class Rates:
    """Of one multiprocessor (compute unit) per clock unless it says otherwise."""

    clock: float
    """Hz at boost."""
    lanes: int
    """Of a warp."""
    issue: float
    """Warp instructions."""
    fp32: float
    """Lanes of fp32 add, multiply, multiply-add."""
    integer: float
    """Lanes of 32-bit integer arithmetic, comparisons and logic."""
    convert: float
    """Lanes of conversions."""
    special: float
    """Lanes of exp2, log2, reciprocal, square root, sine, tanh."""
    fp64: float
    shared_bytes: float
    l2_bytes: float
    l1_bytes: float
    """Local memory's way through L1."""
    unsourced: str | None = None
    """Which of these rates no published source states for this architecture, in one sentence."""


_GUIDE = {
    # arch: fp32, integer, conversions, special functions, fp64. CUDA C++ Programming Guide, the table named above.
    80: (64, 64, 64, 16, 32),
    86: (128, 64, 64, 16, 2),
    89: (128, 64, 64, 16, 2),
    90: (128, 64, 64, 16, 64),
    100: (128, 64, 64, 16, 64),
    120: (128, 128, 64, 16, 2),  # integer shares fp32's lanes: NVIDIA RTX Blackwell GPU architecture whitepaper
}
_PARTLY = {120: "conversions, special functions and fp64 of compute capability 12.0 are taken from 8.9's rates"}
"""Architectures of which the guide's table states a part."""
_CDNA = (128, 64, 64, 16, 64)
"""CDNA 3: four SIMDs of 16 lanes, fp32 packed by two, transcendental functions at a quarter of the rate. Source:
AMD Instinct MI300 ISA guide, vector ALU; AMD CDNA 3 white paper, table of peak rates."""


def rates_of(hardware: Hardware) -> Rates:
    """The rates of a GPU model; of an NVIDIA architecture that is not listed those of the latest before it, of an AMD
    architecture those of CDNA 3."""
    clock = core_clock(hardware, "fp16") or FALLBACK_CLOCK
    if isinstance(hardware.arch, int):
        known = max((a for a in _GUIDE if a <= hardware.arch), default=80)
        fp32, integer, convert, special, fp64 = _GUIDE[known]
        taken = f"the rates of compute capability {hardware.arch / 10:g} are taken from {known / 10:g}'s"
        unsourced = _PARTLY.get(known) if known == hardware.arch else taken
    else:
        fp32, integer, convert, special, fp64 = _CDNA
        taken = f"the rates of {hardware.arch}'s vector units and LDS are taken from CDNA 3's (gfx942)"
        unsourced = None if hardware.arch == "gfx942" else taken
    return Rates(
        clock=clock,
        lanes=hardware.warp_size,
        issue=SCHEDULERS if hardware.backend == "cuda" else 5,  # a wave of each kind a clock: CDNA 3 ISA guide
        fp32=fp32,
        integer=integer,
        convert=convert,
        special=special,
        fp64=fp64,
        shared_bytes=SHARED_BYTES_PER_CLOCK,
        l2_bytes=L2_BYTES_PER_CLOCK,
        l1_bytes=SHARED_BYTES_PER_CLOCK,
        unsourced=unsourced and f"{unsourced}: no source was found for its own",
    )


def matrix_rate(hardware: Hardware, kind: str, dtype: str) -> float:
    """Dense multiply-adds per clock of one multiprocessor's tensor cores for a matrix instruction `kind` on `dtype`.

    tf32 runs at half of fp16 and a byte at twice (data sheets of A100, H100 and B200); int8 as fp8."""
    peak = hardware.peak
    base = multiply_adds_per_clock(peak.get("fp16", 1e15), hardware.sms)
    if dtype in ("e4m3", "e5m2", "fp8", "bf8", "s8", "u8", "i8"):
        base = multiply_adds_per_clock(peak["fp8"], hardware.sms) if "fp8" in peak else 2 * base
    elif dtype in ("tf32", "xf32"):
        base /= 2
    elif dtype in ("f64", "f32"):
        base /= 16 if hardware.backend == "cuda" else 8
    hopper_or_later = isinstance(hardware.arch, int) and hardware.arch in (90, 100)
    return base * MMA_SYNC_SHARE if kind == "mma.sync" and hopper_or_later else base


LATENCY = {
    "arithmetic": 5,
    "special": 22,
    "shared": 30,
    "memory": MEMORY_LATENCY // 2,
    "l2": L2_LATENCY // 2,
    "local": 40,
    "shuffle": 24,
    "matrix": 34,
    "group": WGMMA_LATENCY,
    "barrier": 20,
    "constant": 30,
    "atomic": MEMORY_LATENCY // 2,
}
"""Clocks from issue to result, unloaded, by what is waited for. Source: arXiv:2402.13499 and arXiv:1804.06826, tables
of instruction and memory latencies; memory and L2 as in :mod:`tools.planner.cost`, which holds the loaded values."""
ISSUE_CLOCKS = 2
"""Between two instructions of one warp: 16 lanes of a sub-partition take two clocks for a warp (NVIDIA V100 white
paper; arXiv:1804.06826)."""
