"""Programmatic dependent launch (Hopper and later): a launch whose programs may start while the launch before it in the
stream still runs its last ones. What they do before `inputs_ready` must touch no memory that another launch writes.

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
    """Wait until the launch before has ended and its results can be read; nothing where launches do not overlap."""
    if OVERLAP:
        gdc_wait()


def possible(hardware: Hardware) -> bool:
    """Triton's interpreter and AMD's compiler know neither the attribute nor the instruction."""
    return hardware.has_tma and not knobs.runtime.interpret


def attribute(overlap: bool) -> dict[str, Any]:
    """The launch attribute, among the options of a Triton launch."""
    return {"launch_pdl": True} if overlap else {}
