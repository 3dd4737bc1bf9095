"""Programmatic dependent launch (Hopper and later): programs of a launch may start while the last programs of the
launch before it in the stream still run. Before `inputs_ready` they must not touch memory that another launch writes.

CUDA programming guide, "programmatic dependent launch and synchronization".
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from triton import knobs
from triton.language.extra.cuda import gdc_wait

from kernels.hardware import Hardware


@triton.jit
def inputs_ready(OVERLAP: tl.constexpr):
    """Wait until the launch before this one has ended and its results can be read. Without OVERLAP, do nothing."""
    if OVERLAP:
        gdc_wait()


def possible(hardware: Hardware) -> bool:
    """Whether launches can overlap. Triton's interpreter and AMD's compiler lack the attribute and the instruction."""
    return hardware.has_tma and not knobs.runtime.interpret


def attribute(overlap: bool) -> dict[str, Any]:
    """The options of a Triton launch that let it overlap the launch before it; none without `overlap`."""
    return {"launch_pdl": True} if overlap else {}
