"""Memory that Triton itself asks for at a launch: descriptors that a kernel makes are written to it, 128 bytes each for
every program. The code sees no pointer to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from triton.runtime import _allocation


@contextmanager
def scratch_memory() -> Iterator[None]:
    """Inside this context it comes from PyTorch's caching allocator, unless the program has set an allocator of its
    own. Without one Triton refuses the launch."""
    if not isinstance(_allocation._allocator.get(), _allocation.NullAllocator):
        yield
        return
    before = _allocation._allocator.set(_allocate)
    try:
        yield
    finally:
        _allocation._allocator.reset(before)


def _allocate(size: int, alignment: int, stream: int | None) -> Any:
    """Triton launches on PyTorch's current stream, so that the memory is not given to a later kernel too early. Blocks
    of the caching allocator are aligned to 512 bytes."""
    import torch

    return torch.empty(size, dtype=torch.int8, device="cuda")
