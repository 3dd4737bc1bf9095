"""Nested values of a launch: tensors, numbers and None in tuples and dicts. A leaf is known by its path.

A lone tensor has the path ``out``, members have the paths ``0``, ``1``, ``pair.0``, ``mean``, ….
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

ALONE = "out"
"""The path of a value that is no tuple and no dict."""


class PointerTable:
    """Addresses of other tensors, as a kernel takes them: grouped products, optimisers over many tensors.

    ``inputs`` returns ``PointerTable(rows)``, ``launch`` passes ``table.addresses``, and ``eager`` reads
    ``table.tensors``. Where the harness puts the tensors elsewhere, it makes the addresses anew."""

    def __init__(self, tensors: Any) -> None:
        self.tensors: tuple[torch.Tensor, ...] = tuple(tensors)
        device = self.tensors[0].device if self.tensors else torch.device("cpu")
        if device.type == "meta":
            self.addresses = torch.empty(len(self.tensors), dtype=torch.int64, device=device)
        else:
            self.addresses = torch.tensor([t.data_ptr() for t in self.tensors], dtype=torch.int64, device=device)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, leaf) of every tensor, number and None in `value`, in order. Tensors of a pointer table are leaves, its
    addresses are not."""
    if isinstance(value, PointerTable):
        value = value.tensors
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, tuple | list):
        members = list(enumerate(value))
    else:
        yield path or ALONE, value
        return
    for name, member in members:
        yield from leaves(member, f"{path}.{name}" if path else str(name))


def tensors_in(value: Any) -> dict[str, torch.Tensor]:
    """The tensors of `value` by path."""
    return {path: leaf for path, leaf in leaves(value) if isinstance(leaf, torch.Tensor)}


def rebuild(value: Any, change: Callable[[str, Any], Any], path: str = "") -> Any:
    """`value` with every leaf changed; pointer tables are made anew."""
    if isinstance(value, PointerTable):
        return PointerTable(rebuild(value.tensors, change, path))
    if isinstance(value, dict):
        return {n: rebuild(v, change, f"{path}.{n}" if path else str(n)) for n, v in value.items()}
    if isinstance(value, tuple | list):
        members = [rebuild(v, change, f"{path}.{i}" if path else str(i)) for i, v in enumerate(value)]
        return type(value)(*members) if hasattr(value, "_fields") else type(value)(members)
    return change(path or ALONE, value)


def widened(value: Any) -> Any:
    """`value` with its floating tensors in float64."""

    def wide(path: str, leaf: Any) -> Any:
        return leaf.double() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    return rebuild(value, wide)
