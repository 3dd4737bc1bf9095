"""Keeps the whole numbers among a problem's inputs beside its code: lengths and indices decide how often a loop turns
and where an access goes. They are drawn on the CPU as the spec draws them, with a fixed seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from kernels.launches.leaves import tensors_in

MOST_BYTES = 1 << 29
"""Of all inputs, which are drawn together: a second on a CPU."""
MOST_NUMBERS = 1 << 26
"""Bytes of one tensor that is kept."""

Json = dict[str, Any]


def integer_inputs(inputs: Any) -> dict[int, str]:
    """Identity of each input tensor of whole numbers to its path; nothing if the inputs are too large to draw."""
    tensors = tensors_in(inputs)
    if sum(t.numel() * t.element_size() for t in tensors.values()) > MOST_BYTES:
        return {}
    return {
        id(t): path
        for path, t in tensors.items()
        if not t.is_floating_point() and not t.is_complex() and t.numel() * t.element_size() <= MOST_NUMBERS
    }


def keep_numbers(spec: Any, problem: Any, config: Any, index: list[Json], folder: Path) -> None:
    """Write the numbers of the arguments of `index` that name an ``input``, and the file's name beside it. A spec whose
    inputs cannot be drawn here leaves them unknown."""
    wanted = [a for row in index for a in row["arguments"] if "input" in a]
    if not wanted:
        return
    try:
        drawn = spec.arrange(problem, config, spec.inputs(problem, torch.Generator().manual_seed(0), "cpu"))
    except Exception:  # noqa: BLE001 -- a spec's inputs may need a GPU; the code is explained without them then
        return
    tensors = tensors_in(drawn)
    for argument in wanted:
        tensor = tensors.get(argument["input"])
        if tensor is None:
            continue
        argument["numbers"] = f"input-{argument['input']}.npy"
        np.save(folder / argument["numbers"], tensor.reshape(-1).contiguous().numpy())
