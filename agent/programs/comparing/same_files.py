"""Whether two files hold the same: byte for byte, or as tensors within a stated tolerance."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sameness:
    """What was found."""

    same: bool
    how: str
    """A sentence without its full stop."""
    difference: float | None = None
    """Largest absolute difference over the largest absolute value of the same tensor, over all tensors; None if the
    bytes are equal or the files are no tensors."""


def compare_files(first: Path, second: Path, tolerance: float) -> Sameness:
    """Compare two files. `tolerance`: the difference of tensors that counts as the same; 0 means equal values."""
    if filecmp.cmp(first, second, shallow=False):
        return Sameness(True, "every byte is equal")
    loaded = [_load(path) for path in (first, second)]
    if None in loaded:
        return Sameness(False, "the bytes differ, and torch.load(weights_only=True) reads no tensors from them")
    left, right = (dict(_leaves(value)) for value in loaded)
    if left.keys() != right.keys():
        name = min(left.keys() ^ right.keys())
        return Sameness(False, f"{name} is in only one of them")
    worst, where = 0.0, ""
    for name, a in left.items():
        found = _difference(a, right[name])
        if found is None:
            return Sameness(False, f"{name} has another value, type or shape")
        if found >= worst:
            worst, where = found, name
    within = worst <= tolerance
    how = f"tensors differ by at most {worst:.3g} of their largest value ({where}), tolerance {tolerance:g}"
    return Sameness(within, how if worst else "all tensors are equal", worst)


def _load(path: Path) -> list[Any] | None:
    import torch

    try:
        return [torch.load(path, map_location="cpu", weights_only=True)]
    except Exception:  # noqa: BLE001 -- any other file; torch raises what its reader happens upon
        return None


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{i}]")
    else:
        yield name or "the file", value


def _difference(a: Any, b: Any) -> float | None:
    """Relative difference; None if the two cannot be compared. NaN and infinity must stand in the same places."""
    import torch

    if not isinstance(a, torch.Tensor):
        return 0.0 if type(a) is type(b) and a == b else None
    if not isinstance(b, torch.Tensor) or a.shape != b.shape or a.dtype != b.dtype:
        return None
    if not a.is_floating_point() and not a.is_complex():
        return 0.0 if torch.equal(a, b) else None
    x, y = (t.to(torch.complex128 if t.is_complex() else torch.float64) for t in (a, b))
    finite = torch.isfinite(x)
    odd_x, odd_y = x[~finite], y[~torch.isfinite(y)]
    if not torch.equal(finite, torch.isfinite(y)) or not torch.equal(odd_x.nan_to_num(0.5), odd_y.nan_to_num(0.5)):
        return None
    if not finite.any():
        return 0.0
    scale = float(torch.maximum(x[finite].abs().max(), y[finite].abs().max()))
    return float((x[finite] - y[finite]).abs().max()) / scale if scale else 0.0
