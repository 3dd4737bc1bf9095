"""Which elements of a result the programs of interpreted launches stored.

Elements are counted from the start of the result's memory. Arguments may hold gigabytes, and a sample touches little of
them: nothing here is as large as a result, but for a flag an element of a result that is spread over its memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from tools.harness.checking.races import Accesses

Array = np.ndarray[Any, Any]


def stored_by(result: torch.Tensor, accesses: Iterable[Accesses], atomics_too: bool = False) -> Array:
    """Elements of `result` that were stored, each with the programs that stored it
    (:func:`tools.harness.checking.races.number_of`): two rows, in the order of the elements. What was changed by
    atomics is left out, or counts as stored."""
    accesses = list(accesses)
    stores, atomics = ([a for x in accesses for a in getattr(x, kind)] for kind in ("stores", "atomics"))
    if atomics_too:
        return _elements(result, stores + atomics)
    found = _elements(result, stores)
    return found[:, ~np.isin(found[0], _elements(result, atomics)[0])]


def memory_of(result: torch.Tensor) -> torch.Tensor:
    """All elements of the memory of `result`."""
    count = result.untyped_storage().nbytes() // result.element_size()
    return torch.empty(0, dtype=result.dtype).set_(result.untyped_storage(), 0, (count,), (1,))


def _elements(result: torch.Tensor, accesses: list[Array]) -> Array:
    """The elements at these addresses with their programs, no pair twice."""
    empty = np.zeros((2, 0), dtype=np.uint64)
    found = np.concatenate([empty, *accesses], axis=1).astype(np.int64)
    size, memory = result.element_size(), result.untyped_storage()
    found[0] -= memory.data_ptr()
    found = found[:, (found[0] >= 0) & (found[0] < memory.nbytes() // size * size)]
    found[0] //= size
    found = found[:, _belongs(result, found[0])]
    found = found[:, np.lexsort((found[1], found[0]))]
    return found[:, np.append(True, (np.diff(found) != 0).any(axis=0))[: found.shape[1]]]


def _belongs(result: torch.Tensor, elements: Array) -> Array:
    """Which of these `elements` of the memory are those of `result`: it may hold other tensors too."""
    if result.is_contiguous():
        first = result.storage_offset()
        return (elements >= first) & (elements < first + result.numel())
    flags = torch.zeros(result.untyped_storage().nbytes() // result.element_size(), dtype=torch.bool)
    flags.as_strided(result.shape, result.stride(), result.storage_offset()).fill_(True)
    return flags[torch.from_numpy(elements)].numpy()
