"""The memory of a captured launch's arguments, element by element.

A storage is counted from where the program's began, in elements of the dtype of its tensors: guards before it, and
bytes by which it was moved, do not count. So elements of two copies of the same memory can be compared, whatever the
copies' dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kernels.capture.capture_file import Json
from kernels.capture.describing.captured_arguments import ITEM_BYTES
from kernels.capture.reading.captured_launches import CapturedLaunch
from kernels.capture.reading.rebuilt_arguments import described_tensors


def elements_of(t: torch.Tensor, described: Json, count: int) -> torch.Tensor:
    """The first `count` elements of the storage that `t`, made of `described`, is a view of."""
    start = t.storage_offset() - described["offset"]
    return torch.empty(0, dtype=t.dtype, device=t.device).set_(t.untyped_storage(), start, (count,), (1,))


def storages_of(launch: CapturedLaunch, tensors: Mapping[str, torch.Tensor]) -> dict[int, torch.Tensor]:
    """Storage → its elements on the CPU, of `tensors` by their paths."""
    found: dict[int, torch.Tensor] = {}
    for path, described in described_tensors(launch):
        number = described["storage"]
        if path in tensors and number not in found:
            found[number] = elements_of(tensors[path], described, _count(launch, described)).cpu()
    return found


def fill_storages(launch: CapturedLaunch, tensors: Mapping[str, torch.Tensor], given: Mapping[int, Any]) -> None:
    """Copy numbers as :func:`storages_of` gives them into the memory of `tensors`."""
    filled = set()
    for path, described in described_tensors(launch):
        number = described["storage"]
        if number in given and number not in filled:
            filled.add(number)
            elements_of(tensors[path], described, _count(launch, described)).copy_(given[number])


def _count(launch: CapturedLaunch, described: Json) -> int:
    return int(launch.storages[described["storage"]]["bytes"]) // ITEM_BYTES[described["dtype"]]
