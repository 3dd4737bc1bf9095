"""A launch as the compiler kept it in a folder, read again: its code, its grid, and its parameters' values."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.evidence.code.ptx_code import Parameter
from tools.evidence.counts.known_memory import Numbers
from tools.evidence.counts.ptx_walk import PARAMETER_BASE, POINTER_SHIFT, Launched

INDEX = "launches.json"


class NotKept(ValueError):
    """A folder holds no launch; the message is one sentence."""


@dataclass(frozen=True)
class Tensor:
    """A tensor argument."""

    name: str
    bytes: int


@dataclass(frozen=True)
class KeptLaunch:
    folder: Path
    name: str
    grid: tuple[int, int, int]
    num_warps: int
    shared_bytes: int
    descriptors: tuple[int, ...]
    """Bytes of a box of each descriptor argument, in order."""
    partitions: tuple[tuple[int, int], ...]
    arguments: tuple[dict[str, Any], ...]
    files: dict[str, str]

    @property
    def blocks(self) -> int:
        x, y, z = self.grid
        return x * y * z

    def text(self, stage: str) -> str | None:
        """The assembly of `stage` (``ptx``, ``amdgcn``, ``ttgir``), if there is one."""
        name = self.files.get(stage)
        return None if name is None else (self.folder / name).read_text(encoding="utf-8")

    def machine_code(self, stage: str) -> bytes | None:
        name = self.files.get(stage)
        return None if name is None else (self.folder / name).read_bytes()


def read_launches(folder: Path) -> list[KeptLaunch]:
    """The launches that were kept in `folder`. Raises NotKept."""
    try:
        rows = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return [
            KeptLaunch(
                folder=folder,
                name=row["name"],
                grid=(row["grid"][0], row["grid"][1], row["grid"][2]),
                num_warps=row["num_warps"],
                shared_bytes=row["shared_bytes"],
                descriptors=tuple(d["bytes"] for d in row["descriptors"]),
                partitions=tuple((first, count) for first, count in row["partitions"]),
                arguments=tuple(row["arguments"]),
                files=row["files"],
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as e:
        raise NotKept(
            f"{folder} holds no kept code ({type(e).__name__}): name a folder that explain --keep has written"
        ) from e


@dataclass(frozen=True)
class Parameters:
    """The parameters of the machine code with their values."""

    launched: Launched
    tensors: dict[int, Tensor]
    """Place of a parameter to the tensor that it points to or describes."""
    boxes: dict[int, int]
    """Place of a descriptor to the bytes of its box."""

    def tensor_at(self, address: int) -> Tensor | None:
        """The tensor in which `address` lies."""
        return self.tensors.get((address >> POINTER_SHIFT) - 1)

    def descriptor_at(self, address: int) -> int | None:
        """The place of the descriptor that lies at `address`."""
        place = (address - PARAMETER_BASE) >> 12
        return place if place in self.tensors else None


def parameters_of(launch: KeptLaunch, declared: list[Parameter]) -> Parameters:
    """Match the arguments with the parameters that PTX declares. A descriptor takes several: itself, or a pointer where
    the architecture has no descriptors, and its shape and strides. Source: ``triton.backends.driver``,
    ``expand_signature``."""
    values: dict[str, int] = {}
    tensors: dict[int, Tensor] = {}
    boxes: dict[int, int] = {}
    data: dict[int, Numbers] = {}
    waiting = list(enumerate(declared))
    descriptors = iter(launch.descriptors)

    def take(value: Any) -> int | None:
        if not waiting:
            return None
        place, parameter = waiting.pop(0)
        if isinstance(value, int) and not isinstance(value, bool) and parameter.type[0] in "usb":
            values[parameter.name] = value
        elif isinstance(value, bool):
            values[parameter.name] = int(value)
        return place

    for argument in launch.arguments:
        if "bytes" not in argument:
            take(argument.get("value"))
            continue
        if not waiting:
            break
        place, parameter = waiting.pop(0)
        tensors[place] = Tensor(argument["name"], argument["bytes"])
        if "numbers" in argument:
            with contextlib.suppress(OSError, ValueError):  # a folder that lost them is read as if it never had them
                data[place] = np.load(launch.folder / argument["numbers"], mmap_mode="r")
        values[parameter.name] = (place + 1) << POINTER_SHIFT
        if "shape" in argument:
            native = parameter.type == "b8"
            if native:
                boxes[place] = next(descriptors, 0)
            for size in (*argument["shape"], *argument["strides"]):
                take(size)
            while not native and waiting and waiting[0][1].type in ("u8", "b8"):  # padding and rounding flags
                take(0)
    launched = Launched(launch.grid, launch.num_warps, values, data, launch.partitions)
    return Parameters(launched, tensors, boxes)
