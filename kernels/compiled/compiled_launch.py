"""What a program launches when it launches a compiled kernel itself.

A program may hold on to the compiled kernel that ``kernel.warmup(…)`` or ``kernel[grid](…)`` returns, and launch it by
``compiled[grid](…)``. That is a launch of the kernel's function too: with the constants and options that it was
compiled with, and a grid of numbers. Or it calls the kernel's launcher, ``compiled.run(x, y, z, stream, …)``, to repeat
a launch without the cost of binding its arguments: that is the launch it repeats, with other tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import ref

Json = dict[str, Any]

OPTIONS = ("num_warps", "num_stages")
"""Always named: Triton's own choice differs between GPUs."""
FOUND = "_autokernel_launch"
"""Attribute of a compiled kernel: what was found out about it."""
REPEATABLE = "_autokernel_repeatable"
"""Attribute of a launcher: a :class:`Repeatable`."""
OF_A_COMPILATION = {"arch", "hash", "backend_name", "extern_libs", "name", "target", "debug", "instrumentation_mode"}
"""Options that a launch does not pass."""


@dataclass(frozen=True)
class CompiledLaunch:
    """How a compiled kernel is launched by its function."""

    function: Any
    constants: Json
    """Compile-time constants by name."""
    options: Json
    exact: bool
    """Whether the options are known to be those that it was compiled with."""

    def passed(self, args: tuple[Any, ...]) -> Json | None:
        """What its function is passed by name if the compiled kernel is passed `args`, with or without the constants
        among them; None if these are others."""
        names = [p.name for p in self.function.params]
        free = [p.name for p in self.function.params if not p.is_constexpr]
        if len(args) not in (len(names), len(free)):
            return None
        given = dict(zip(names if len(args) == len(names) else free, args, strict=True))
        return {**given, **self.constants, **self.options}


def compiled_launch(kernel: Any) -> CompiledLaunch | None:
    """None if it was not made of a function, as one that is read from a file."""
    found = kernel.__dict__.get(FOUND)
    if found is None:
        found = _found_out(kernel)
        setattr(kernel, FOUND, found if found is not None else False)
    return found or None


def _found_out(kernel: Any) -> CompiledLaunch | None:
    function: Any = getattr(kernel.src, "fn", None)
    constants = getattr(kernel.src, "constants", None)
    if not hasattr(function, "params") or constants is None:
        return None
    fixed = {p.num: p.name for p in function.params if p.is_constexpr}
    try:
        named = {fixed[path[0]]: value for path, value in constants.items() if len(path) == 1 and path[0] in fixed}
        if named.keys() != set(fixed.values()):
            return None
        options = {n: getattr(kernel.metadata, n) for n in OPTIONS}
        others = _other_options(kernel.metadata)
    except Exception:  # noqa: BLE001 -- another Triton's; the launch is then the program's own
        return None
    # `num_warps` is then those of all partitions.
    specialised = "ttg.total-num-warps" in (kernel.asm.get("ttgir") or "")
    plain = all(isinstance(v, bool | int | float | str) for v in others.values())
    return CompiledLaunch(function, named, {**options, **others}, plain and not specialised)


def _other_options(metadata: Any) -> Json:
    """Options that are not Triton's own choice for this GPU."""
    from triton.compiler import make_backend

    usual = make_backend(metadata.target).parse_options({})
    found = {n: getattr(metadata, n) for n in vars(usual) if hasattr(metadata, n)}
    same = {n for n, v in found.items() if _plain(v) == _plain(getattr(usual, n))}
    return {n: v for n, v in found.items() if n not in {*same, *OF_A_COMPILATION, *OPTIONS}}


def _plain(value: Any) -> Any:
    """Metadata were written as JSON."""
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Repeatable:
    """A launch by ``kernel[grid](…)`` whose compiled kernel the program may hold."""

    function: Any
    kernel: Any
    positional: int
    passed: Json
    dimensions: int
    """Of the grid."""

    def repeated(self, grid: tuple[int, int, int], args: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any, Json] | None:
        """(args, grid, kwargs) of ``kernel[grid](…)`` for a launch by the launcher."""
        about = compiled_launch(self.kernel())
        values = None if about is None else about.passed(args)
        if values is None or any(n != 1 for n in grid[self.dimensions :]):
            return None
        names = [p.name for p in self.function.params]
        named = {n: values.get(n, v) if n in names else v for n, v in self.passed.items()}
        return tuple(values[n] for n in names[: self.positional]), grid[: self.dimensions], named


def remember(function: Any, kernel: Any, args: tuple[Any, ...], grid: Any, kwargs: Json) -> None:
    """Have the launcher of a compiled kernel know the launch that returned it."""
    launcher = getattr(kernel, "_run", None)
    if launcher is not None and not callable(grid) and not hasattr(launcher, REPEATABLE):
        names = {p.name for p in function.params if not p.is_constexpr}
        passed = {n: None if n in names else v for n, v in kwargs.items()}
        setattr(launcher, REPEATABLE, Repeatable(function, ref(kernel), len(args), passed, len(grid)))


def is_current(stream: Any) -> bool:
    """Whether a launch on this stream, a handle, is one on the current stream. None is the current one."""
    active: Any = sys.modules["triton"].runtime.driver.active
    return stream is None or stream == active.get_current_stream(active.get_current_device())


def on_stream(stream: Any) -> Any:
    """A context in which this stream is the current one."""
    if is_current(stream):
        return nullcontext()
    cuda = sys.modules["torch"].cuda
    return cuda.stream(cuda.ExternalStream(stream))


class KeptKernel:
    """The compiled kernel of a launch in which a table changed constants, as the program gets it. If the program
    launches it with a grid of its own, that grid is for the program's constants: `relaunch(grid, *args, stream=…)`
    launches with those."""

    def __init__(self, kernel: Any, relaunch: Callable[..., Any]) -> None:
        self._kernel, self._relaunch = kernel, relaunch

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._kernel)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    @property
    def run(self) -> Callable[..., Any]:
        """The launcher: its arguments before the kernel's are the grid, the stream, function, metadata and hooks."""
        return lambda x, y, z, stream, *rest: self._relaunch((x, y, z), *rest[5:], stream=stream)

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._relaunch(grid, *args, **kwargs)
