"""Nested values cross between the judge's processes as JSON beside files of raw bytes: what a stranger's process hands
over is data, and nothing in it is executed.

A tensor is one file of its elements in the order in which they lie in memory. Layouts with gaps or overlaps become
contiguous.
"""

from __future__ import annotations

import os
import stat
from math import prod
from pathlib import Path
from typing import Any

import torch

from kernels.launches.leaves import leaves
from tools.harness.process.refusal import Refusal

Json = dict[str, Any]
PLAIN = (bool, int, float, str, type(None))


def write_value(value: Any, folder: str, stem: str) -> Json:
    """Write the tensors of `value` to ``folder/stem.N``; the description that :func:`read_value` needs.

    Raises Refusal for what is no tensor, number, string, dtype, None, list, tuple or dict of them."""
    counter = iter(range(1 << 30))

    def described(v: Any) -> Json:
        if isinstance(v, torch.Tensor):
            return {"tensor": write_tensor(v, folder, f"{stem}.{next(counter)}")}
        if isinstance(v, PLAIN):
            return {"plain": v}
        if isinstance(v, torch.dtype):
            return {"dtype": dtype_name(v)}
        if isinstance(v, list | tuple):
            return {"tuple" if isinstance(v, tuple) else "list": [described(x) for x in v]}
        if isinstance(v, dict):
            return {"dict": [[described(k), described(x)] for k, x in v.items()]}
        raise Refusal(f"a {type(v).__name__} cannot be handed to the candidate: use tensors, numbers and strings")

    return described(value)


def read_value(described: Json, folder: str, device: str = "cpu") -> Any:
    """The value that :func:`write_value` described. Raises Refusal for a file or description that does not fit."""
    ((kind, v),) = described.items()
    if kind == "tensor":
        return read_tensor(v, folder).to(device)
    if kind == "dtype":
        return dtype_named(v)
    if kind in ("list", "tuple"):
        members = [read_value(x, folder, device) for x in v]
        return tuple(members) if kind == "tuple" else members
    if kind == "dict":
        return {read_value(k, folder, device): read_value(x, folder, device) for k, x in v}
    return v


def write_tensor(t: torch.Tensor, folder: str, name: str) -> Json:
    """Write the elements of `t` to ``folder/name``; its shape, dtype and the order of its dimensions in memory."""
    strides: tuple[int, ...] = t.stride()
    order = sorted(range(t.dim()), key=lambda d: (-strides[d], d))
    if not t.permute(order).is_contiguous():
        order = list(range(t.dim()))
    elements = t.detach().permute(order).contiguous().cpu()
    raw = elements.reshape(-1).view(torch.uint8) if elements.numel() else torch.empty(0, dtype=torch.uint8)
    raw.numpy().tofile(os.path.join(folder, name))
    return {"file": name, "shape": list(t.shape), "dtype": dtype_name(t.dtype), "order": order}


def read_tensor(described: Json, folder: str) -> torch.Tensor:
    """The tensor of ``folder/file``, on the CPU. The file must be a plain one of the right size. Raises Refusal."""
    shape, order = [int(n) for n in described["shape"]], [int(d) for d in described["order"]]
    dtype = dtype_named(described["dtype"])
    if Path(described["file"]).name != described["file"] or sorted(order) != list(range(len(shape))):
        raise Refusal("a tensor is described in a way that this program does not write")
    size = prod(shape) * dtype.itemsize
    try:
        handle = os.open(os.path.join(folder, described["file"]), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as e:
        raise Refusal(f"the file of a tensor cannot be read ({e.strerror})") from e
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size != size:
            raise Refusal(f"the file of a tensor is no plain file of {size:,} bytes")
        raw = torch.empty(size, dtype=torch.uint8)
        if file.readinto(raw.numpy()) != size:
            raise Refusal("the file of a tensor became shorter while it was read")
    flat = raw.view(dtype) if size else torch.empty(0, dtype=dtype)
    inverse = [order.index(d) for d in range(len(order))]
    return flat.view([shape[d] for d in order]).permute(inverse)


def named_results(value: Any, named: dict[str, str]) -> dict[str, Any]:
    """What a call returned, by result; None is none. `named`: a definition's outputs with their dtypes, in order, which
    a dict gives by name and anything else in that order. Without it, results are known by their paths."""
    if not named:
        return {path: leaf for path, leaf in leaves(value) if leaf is not None}
    if isinstance(value, dict):
        return {n: value[n] for n in named if n in value}
    members = list(value) if isinstance(value, tuple | list) else [value]
    if len(members) != len(named):
        return {str(n): x for n, x in enumerate(members)}
    return dict(zip(named, members, strict=True))


def as_tensor(leaf: Any, dtype: str | None = None) -> torch.Tensor:
    """A tensor, one of complex numbers as pairs, or a number as one, of `dtype` if it is declared. Raises Refusal for
    anything else."""
    if isinstance(leaf, torch.Tensor):
        return torch.view_as_real(leaf.detach().resolve_conj()) if leaf.is_complex() else leaf.detach()
    if isinstance(leaf, bool | int | float):
        found = dtype_named(dtype) if dtype else torch.float64 if isinstance(leaf, float) else torch.int64
        return torch.tensor(leaf, dtype=found)
    raise Refusal(f"it returns a {type(leaf).__name__}, which is no tensor and no number")


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def dtype_named(name: Any) -> torch.dtype:
    """Raises Refusal if PyTorch has no such dtype."""
    found = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(found, torch.dtype):
        raise Refusal(f"this PyTorch has no dtype {name!r}")
    return found
