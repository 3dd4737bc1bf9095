"""Has launches compiled as the captured program compiled them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kernels.capture.reading.captured_launches import Capture
from kernels.tuned.compiler_variables import ASSEMBLER, torch_assembler


@contextmanager
def programs_assembler(capture: Capture, notify: Callable[[str], object]) -> Iterator[None]:
    """While the context lasts, processes that are started here compile with PyTorch's assembler, if the program did and
    nobody named another one. A row that was measured with another assembler would serve none of its launches."""
    path = torch_assembler() if capture.torch_assembler and ASSEMBLER not in os.environ else None
    if path is None:
        yield
        return
    notify(f"note: PyTorch's compiler had the program compile with {path}, and so does this command")
    os.environ[ASSEMBLER] = path
    try:
        yield
    finally:
        del os.environ[ASSEMBLER]
