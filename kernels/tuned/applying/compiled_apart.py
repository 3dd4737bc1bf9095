"""Compiles edited code in a process of its own, which has DEADLINE_S and MOST_MEMORY.

A compiler may take minutes for code that a person or a model has written, or never end, and a program waits for its
first launch. What is in Triton's cache is taken from there. Anything else is compiled by a child, with the program's
Triton, environment and paths, and the program then finds it in the cache. The child gets what Triton would compile:
function, signature, constants, options and GPU. It is started by this file's path and needs no GPU.
"""

from __future__ import annotations

import copy
import io
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # nothing of this project can be imported yet
    sys.path[:0] = [str(Path(__file__).resolve().parents[3])]

DEADLINE_S = 60.0
"""As much as a search gives its compilers."""
MOST_MEMORY = 24 << 30
"""Of the child and of the assembler, each: as much as a search gives its compilers."""
OURS = "AUTOKERNEL_"
"""What variables of ours begin with: nothing is captured and applied in the child."""
Json = dict[str, Any]


class NotCompiled(Exception):
    """The message is the reason, as a sentence's end."""


def compile_apart(function: Any, digest: str, parts: Mapping[str, Json], folder: Path) -> None:
    """Have Triton compile `function` in a process of its own from now on. It was rebuilt from `digest` of `parts` in
    `folder`. Its launches raise NotCompiled. Interpreted functions have no compiler."""
    if not hasattr(function, "params") or hasattr(function, "_compile_here"):
        return

    def compile_bounded(src: Any, target: Any, options: Json, **more: Any) -> Any:
        here = function._compile_here
        try:
            return here(_cached(src), target=target, options=options, **more)
        except _NotCached:
            _compile_in_child(_written(src, target, options, digest, dict(parts), folder))
            return here(src, target=target, options=options, **more)

    kind = type(function)
    # Triton sets `compile` of a function once for each device.
    own = {
        "_compile_here": None,
        "compile": property(lambda self: compile_bounded, lambda self, found: setattr(self, "_compile_here", found)),
    }
    function.__class__ = type(kind.__name__, (kind,), own)


class _NotCached(Exception):
    pass


def _cached(src: Any) -> Any:
    """`src` for a compilation that ends if Triton's cache does not hold it."""

    def make_ir(*about: Any, **more: Any) -> Any:
        raise _NotCached

    found = copy.copy(src)
    found.__class__ = type(type(src).__name__, (type(src),), {"make_ir": make_ir})
    return found


def _compile_in_child(job: bytes) -> None:
    """Raises NotCompiled."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(OURS)}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(job)
        given.seek(0)
        command = [sys.executable, "-P", str(Path(__file__).resolve())]
        child = subprocess.Popen(
            command, stdin=given, stdout=said, stderr=said, env=environment, start_new_session=True
        )
        try:
            code = child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired as e:
            raise NotCompiled(f"its edited code was not compiled within {DEADLINE_S:g} s") from e
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # the assembler is a process, too
            child.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").split("\n")
    if code:
        last = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")
        raise NotCompiled(f"its edited code does not compile ({last[:160]})")


def _written(src: Any, target: Any, options: Json, digest: str, parts: dict[str, Json], folder: Path) -> bytes:
    """What the child reads. A Triton function among the constants goes as its description. Raises NotCompiled."""
    from ...capture.describing.device_closure import describe_function

    def keep(kind: str, part: Json) -> str:
        digest = f"passed{len(parts)}"
        parts[digest] = part
        return digest

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> str | None:
            return describe_function(value, keep) if hasattr(value, "cache_key") else None

    constants = io.BytesIO()
    try:
        Pickler(constants).dump((src.signature, src.constants, src.attrs, dict(options), target))
    except (pickle.PicklingError, TypeError, AttributeError) as e:
        raise NotCompiled(f"its edited code cannot be compiled in a process of its own ({e})") from e
    described = {
        "paths": sys.path, "folder": str(folder), "digest": digest, "parts": parts, "most_memory": MOST_MEMORY,
    }  # fmt: skip
    return pickle.dumps((described, constants.getvalue()))


def main() -> None:
    """The child."""
    import importlib

    described, constants = pickle.load(sys.stdin.buffer)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = described["most_memory"] if hard == resource.RLIM_INFINITY else min(described["most_memory"], hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    sys.path += [p for p in described["paths"] if p not in sys.path]
    compile_described: Callable[[Json, bytes], None] = importlib.import_module(
        "kernels.tuned.applying.compiled_apart"
    ).compile_described
    compile_described(described, constants)


def compile_described(described: Json, constants: bytes) -> None:
    """Compile what :func:`_written` describes into Triton's cache."""
    from triton.compiler import ASTSource, compile

    from ...capture.reading.rebuilt_functions import rebuild_function

    parts, folder = described["parts"], Path(described["folder"])

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, digest: str) -> Any:
            return rebuild_function(digest, parts, folder)

    signature, found, attrs, options, target = Unpickler(io.BytesIO(constants)).load()
    function = rebuild_function(described["digest"], parts, folder)
    compile(ASTSource(function, signature, found, attrs), target=target, options=options)


if __name__ == "__main__":
    main()
