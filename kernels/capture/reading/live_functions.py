"""Finds a captured function in the packages that are installed now, and tells whether it is still the same."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from typing import Any

from kernels.capture.capture_file import Json, line_of
from kernels.capture.describing.device_closure import describe_function
from kernels.quiet import output_to_stderr


class NotTheSame(ValueError):
    """The message is one sentence: where the function cannot be found, or that it has changed."""


class HasChanged(NotTheSame):
    """The function is there, and it is another one now."""


def imported(module: str, qualname: str) -> Any:
    """What the program's `module` calls `qualname`. The current folder is searched after all others, in child processes
    too: a program is improved in its own folder, and all processes must find the same. A stranger's module may raise
    anything."""
    with suppress(OSError):  # the folder was deleted
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
    with output_to_stderr():
        found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def live_function(part: Json) -> Any:
    """What the program called: the function with its decorators, as its module holds it now. Raises NotTheSame."""
    where = f"{part['module']}:{part['qualname']}"
    if not part["importable"]:
        raise NotTheSame(f"{where} is in no module that can be imported: use the source that the capture holds")
    try:
        found = imported(part["module"], part["qualname"])
    except Exception as e:
        raise NotTheSame(f"{where} cannot be imported here ({type(e).__name__}: {e})") from e
    identity = identity_of(found)
    if identity != part["identity"]:
        raise HasChanged(f"{where} has changed since it was captured: capture the program again")
    return found


def identity_of(function: Any) -> str:
    """The hash by which a capture knows a Triton function and all that it reaches. Raises OSError if its source cannot
    be read."""
    parts: dict[str, Json] = {}

    def keep(kind: str, body: Json) -> str:
        digest, _ = line_of(kind, body)
        parts[digest] = body
        return digest

    return str(parts[describe_function(function, keep)]["identity"])
