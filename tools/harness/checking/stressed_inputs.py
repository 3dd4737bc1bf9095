"""Kinds of inputs that nobody chose, each made of a nominal draw by a change of its floating tensors.

Integers (indices, offsets, lengths, tables) stay as they were drawn, and so do masks: infinite numbers, and tensors of
two numbers. A tensor that is nowhere negative stays so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kernels.launches.bound import storage_bytes
from kernels.launches.domain import SHIFTED
from kernels.launches.leaves import tensors_in

Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def _mixed(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    powers = torch.randint(-7, 8, x.shape, generator=g, device=x.device)
    return x * torch.pow(2.0, powers)


def _with(number: float) -> Change:
    """`number` in one place of fifty."""
    return lambda x, g: torch.where(torch.rand(x.shape, generator=g, device=x.device) < 0.02, number, x)


CHANGES: dict[str, Change] = {
    "large": lambda x, g: x * 256,
    "mixed magnitudes": _mixed,
    SHIFTED: lambda x, g: x + 16,
    "tiny": lambda x, g: x * 2.0**-10,
    "denormal": lambda x, g: x * 2.0**-18,
    "negative": lambda x, g: -256 * (x.abs() + 2),
    "ties": lambda x, g: x.round(),
    "half zeros": lambda x, g: torch.where(torch.arange(x.numel(), device=x.device) < x.numel() // 2, 0.0, x),
    "sorted": lambda x, g: x.sort().values,
    "infinite": _with(torch.inf),
    "minus infinite": _with(-torch.inf),
}
"""By kind, what it makes of the values of one tensor, in float32 (float64 for float64)."""
MILDER: dict[str, tuple[Change, ...]] = {
    "large": (lambda x, g: x * 64, lambda x, g: x * 16),
    "negative": (lambda x, g: -x.abs(),),
}
"""In place of a kind that is left out, the first that is not: products of large numbers may leave the dtype's range, in
PyTorch too."""
LEAST_MASK = 65
"""Elements of what is taken for a mask if it holds two numbers. A capture keeps fewer floats whole, as scales."""


def changed(inputs: Any, change: Change, generator: torch.Generator, only: str | None = None) -> Any:
    """Change the floating storages of `inputs` in place, or that of the tensor at the path `only`."""
    seen: set[int] = set()
    for path, t in tensors_in(inputs).items():
        key = t.untyped_storage()._cdata
        if key in seen or not changeable(t) or only not in (None, path):
            continue
        seen.add(key)
        flat = storage_bytes(t).view(t.dtype)
        wide = flat.to(torch.promote_types(t.dtype, torch.float32))
        if _is_mask(wide):
            continue
        finite = torch.isfinite(wide)
        every = bool(finite.all())
        given = wide if every else wide[finite]
        made = change(given, generator)
        made = made.abs() if bool((given >= 0).all()) else made
        if every:
            flat.copy_(made)
        else:
            flat[finite] = made.to(t.dtype)
    return inputs


def _is_mask(x: torch.Tensor) -> bool:
    """Whether these are two numbers, each many times."""
    if x.numel() < LEAST_MASK:
        return False
    low, high = x.aminmax()
    return bool(low < high) and bool(((x == low) | (x == high)).all())


def changeable(t: torch.Tensor) -> bool:
    """Whether a kind of inputs changes this tensor."""
    return t.is_floating_point() and t.element_size() >= 2


def other_values(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Values that have nothing to do with `x`."""
    return torch.randn(x.shape, generator=g, device=x.device).to(x.dtype) + 0.5
