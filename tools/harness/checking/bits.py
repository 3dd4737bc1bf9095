"""Whether a config gives the bits that the owner's launch gives on equal inputs.

The owner's launch is that of the kernel's default config: the launch as it was captured, the first config of an
autotuned kernel. If it differs from itself, nothing has its bits.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import torch

from kernels.launches.bound import Bound, copied, same_bits
from kernels.launches.expected import Results
from kernels.spec import KernelSpec
from tools.harness.results import Bits

DRAWS = 3
"""Of nominal inputs."""
HIDDEN = 1 << 62


def compare_bits(
    spec: KernelSpec[Any, Any],
    problem: Any,
    config: Any,
    device: str,
    hardware: Any,
    done: Callable[[], None] = lambda: None,
) -> tuple[Bits, str]:
    """``same`` or ``differ``, and in which elements. `done` waits for a launch. Raises what a launch raises."""
    owner = spec.default_config(problem, hardware)
    generator = torch.Generator(device)

    def launched(one: Any, inputs: Any, seed: int) -> Results:
        given = spec.arrange(problem, one, copied(inputs))
        bound = Bound(spec.effects(problem), given, spec.output(problem, device))
        bound.poison(True, generator.manual_seed(seed))  # what a launch leaves as it is must be equal as well
        spec.launch(problem, one, bound.inputs, bound.out, hardware)
        done()
        return bound.results

    for draw in range(DRAWS):
        seed = secrets.randbelow(HIDDEN)
        inputs = spec.inputs(problem, generator.manual_seed(seed), device)
        first = launched(owner, inputs, seed)
        if draw == 0:
            difference = _difference(launched(owner, inputs, seed), first)
            if difference:
                return "differ", f"two of the owner's own launches on equal inputs differ in {difference}"
        difference = _difference(launched(config, inputs, seed), first)
        if difference:
            return "differ", difference
    return "same", ""


def _difference(results: Results, owner: Results) -> str:
    """``3 of 300 elements of out``; empty if all bits are equal."""
    for name, t in results.items():
        if same_bits(t, owner[name]):
            continue
        count = int((t != owner[name]).logical_and_(~((t != t) & (owner[name] != owner[name]))).sum())
        which = f"{count:,} of {t.numel():,} elements of {name}"
        return which if count else f"the signs of zeros, or the payloads of NaN, of {name}"
    return ""
