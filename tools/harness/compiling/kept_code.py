"""Writes what the compiler made of a config's launches into a folder: assembly, machine code, and how each kernel is
launched. What reads it again (:mod:`tools.evidence`) needs neither Triton nor the kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

KEPT = ("ttir", "ttgir", "llir", "ptx", "cubin", "amdgcn", "hsaco")
"""Stages of Triton's compilation that are kept, where there are any."""
INDEX = "launches.json"
_PARTITION = re.compile(r"^\s*partition\d+\(.*num_warps\((\d+)\)", re.MULTILINE)
_DEFAULT_WARPS = re.compile(r'"ttg\.num-warps" = (\d+)')

Json = dict[str, Any]


@dataclass(frozen=True)
class Launching:
    """One launch as it was asked for."""

    kernel: Any
    """Triton's compiled kernel."""
    function: Any
    """The JIT function."""
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    grid: Any


def keep(launches: list[Launching], folder: Path, inputs: Mapping[int, str] = MappingProxyType({})) -> list[Json]:
    """Write every launch's code into `folder` and return what :data:`INDEX` says of them, in order. `inputs` maps the
    identity of an input tensor to its path, which is told of the arguments that are that tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for place, launch in enumerate(launches):
        name, files = launch.kernel.metadata.name, {}
        for stage in KEPT:
            made = launch.kernel.asm.get(stage)
            if made:
                path = folder / f"{place}-{name}.{stage}"
                path.write_bytes(made if isinstance(made, bytes) else made.encode())
                files[stage] = path.name
        metadata = launch.kernel.metadata
        bound = _bound(launch)
        index.append(
            {
                "name": name,
                "grid": _grid(launch.grid, bound),
                "num_warps": metadata.num_warps,
                "shared_bytes": metadata.shared,
                "descriptors": [
                    {"bytes": m["elem_size"] * _product(m["block_size"])}
                    for m in getattr(metadata, "tensordesc_meta", None) or []
                    if m is not None
                ],
                "partitions": partitions(launch.kernel.asm.get("ttgir", "")),
                "arguments": [
                    argument
                    for name_, kind in launch.kernel.src.signature.items()
                    for argument in _arguments(name_, kind, bound.get(name_), inputs)
                ],
                "files": files,
            }
        )
    write_index(index, folder)
    return index


def write_index(index: list[Json], folder: Path) -> None:
    (folder / INDEX).write_text(json.dumps(index, indent=1))


def partitions(ttgir: str) -> list[list[int]]:
    """(first warp, warps) of every specialised partition. Triton places the largest first, behind the default warps."""
    sizes = [int(n) for n in _PARTITION.findall(ttgir)]
    default = _DEFAULT_WARPS.search(ttgir)
    if not sizes or default is None:
        return []
    first, places = int(default.group(1)), [0] * len(sizes)
    for n in sorted(range(len(sizes)), key=lambda n: -sizes[n]):
        places[n] = first
        first += sizes[n]
    return [[place, size] for place, size in zip(places, sizes, strict=True)]


def _bound(launch: Launching) -> Json:
    signature = launch.function.signature
    given = {k: v for k, v in launch.options.items() if k in signature.parameters}
    bound = signature.bind(*launch.arguments, **given)
    bound.apply_defaults()
    return dict(bound.arguments)


def _grid(grid: Any, bound: Json) -> list[int]:
    found = grid(bound) if callable(grid) else grid
    return [*map(int, found), 1, 1][:3]


def _product(numbers: Any) -> int:
    result = 1
    for n in numbers:
        result *= int(n)
    return result


def _arguments(name: str, kind: Any, value: Any, inputs: Mapping[int, str]) -> list[Json]:
    """An argument that the machine code takes: a number, a tensor or a descriptor of one."""
    if isinstance(kind, tuple | list):
        parts = zip(kind, value, strict=False)
        return [a for n, (t, v) in enumerate(parts) for a in _arguments(f"{name}[{n}]", t, v, inputs)]
    if kind == "constexpr":
        return []
    base = getattr(value, "base", value)
    about: Json = {"name": name, "type": str(kind)}
    if isinstance(base, torch.Tensor):
        about["bytes"] = base.numel() * base.element_size()
        if base is value and id(value) in inputs:
            about["input"] = inputs[id(value)]
        if base is not value:  # a descriptor of the tensor
            about |= {"shape": [*map(int, value.shape)], "strides": [*map(int, value.strides)]}
    elif isinstance(value, int | float):
        about["value"] = value
    return [about]
