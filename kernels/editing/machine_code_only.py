"""In a process that is not shut in, edited code is launched from its machine code alone.

Triton's front end evaluates what it compiles. So what was not compiled by a process that is shut in is not compiled
here either: the launch fails, and says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from triton.compiler.compiler import ASTSource

INSIDE = "AUTOKERNEL_SANDBOXED"
"""Set by :mod:`tools.harness.process.sandbox` in a process that is shut in."""


class NotCompiled(RuntimeError):
    """Edited code was launched that no shut-in process has compiled."""


@contextmanager
def machine_code_only() -> Iterator[None]:
    """Inside this context Triton's front end compiles nothing, unless this process is shut in."""
    if os.environ.get(INSIDE) == "1":
        yield
        return
    before = ASTSource.make_ir

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotCompiled(
            "edited code is only launched from machine code that a shut-in process has compiled, and there is none"
        )

    ASTSource.make_ir = refuse
    try:
        yield
    finally:
        ASTSource.make_ir = before
