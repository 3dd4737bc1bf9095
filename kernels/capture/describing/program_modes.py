"""Keeps the program's modes away from what is asked of its tensors.

A program may have PyTorch make all tensors on one device (``torch.set_default_device``), count its operations or refuse
some of them. All of these are modes, and would be asked about each operation by which a launch is described.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_modes() -> Iterator[None]:
    """PyTorch as it is without the program's modes; the default device is the CPU."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    from torch.utils._python_dispatch import _disable_current_modes

    with torch._C.DisableTorchFunction(), _disable_current_modes():
        yield
