"""Looks a kernel over before anything is spent on it: what its methods say, on meta tensors, without a GPU.

An error in a user's file is one sentence with the file, the line and the mend. A kernel that passes can still be wrong:
that is for the interpreter and the GPU to find.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from kernels.defaults import Undefined
from kernels.hardware import Hardware, hardware_named
from kernels.registry import where_raised
from kernels.spec import Config, KernelSpec, Problem

T = TypeVar("T")


class KernelError(ValueError):
    """A kernel's file is not right; the message is one sentence with file, line and mend."""


def examine(spec: KernelSpec[Any, Any], problem: Problem | None = None, hardware: Hardware | None = None) -> None:
    """Raises KernelError for the first thing that is wrong with `spec` on `problem` (default: its own)."""
    look = _Look(spec)
    hardware = hardware or hardware_named("H200")
    for attribute, base in (("problem_type", Problem), ("config_type", Config)):
        found = getattr(spec, attribute)
        if not (isinstance(found, type) and issubclass(found, base)):
            look.fail(attribute, f"is {reprlib.repr(found)}: make it a subclass of {base.__name__}")
    dims = getattr(spec.problem_type, "dims", None)
    if not isinstance(dims, tuple) or any(d not in spec.problem_type.model_fields for d in dims):
        look.fail("problem_type", f"has dims {dims!r}: give it dims, a tuple of names of its fields")

    given = problem if problem is not None else look.call("default_problem")
    look.want("default_problem", given, spec.problem_type)
    first = look.call("default_config", given, hardware)
    look.want("default_config", first, spec.config_type)
    space = look.call("space", given, hardware)
    if not space:
        look.fail("candidates", f"leaves no config for {given.label()} on {hardware.name}: loosen constraint()")
    for config in space:
        look.want("candidates", config, spec.config_type)
    broken = look.call("constraint", given, first, hardware)
    if broken is not None:
        look.fail("default_config", f"breaks a constraint ({broken}): choose one that holds on {hardware.name}")

    inputs = look.call("inputs", given, None, "meta")
    if not isinstance(inputs, tuple) or not all(t is None or isinstance(t, torch.Tensor) for t in inputs):
        look.fail("inputs", f"returns {reprlib.repr(inputs)}: return a tuple of tensors")
    if type(spec).eager is not KernelSpec.eager:
        look.want("eager", look.call("eager", given, inputs), torch.Tensor)
    out = look.call("output", given, "meta")
    look.want("output", out, torch.Tensor)
    strays = [t.device.type for t in (*inputs, out) if t is not None and t.device.type != "meta"]
    if strays:
        look.fail("inputs", f"makes a tensor on {strays[0]} where device is meta: pass `device` on to every tensor")
    reference = look.call("reference", given, inputs)
    if tuple(reference.shape) != tuple(out.shape):
        look.fail("output", f"has shape {tuple(out.shape)}, the reference {tuple(reference.shape)}: make them the same")
    for figure in ("flops", "bytes"):
        count = look.call(figure, given)
        if not isinstance(count, int) or count < 0 or (figure == "bytes" and count == 0):
            look.fail(figure, f"returns {count!r}: return a whole number of {figure}")
    bound = look.call("tolerance", given)
    if not isinstance(bound, float) or not 0 < bound < 1:
        look.fail("tolerance", f"returns {bound!r}: return the largest scale-relative error, between 0 and 1")
    baselines = look.call("baselines", given)
    if not baselines:
        look.fail("baselines", "returns none: give at least the eager PyTorch way")
    look.want("reduced", look.call("reduced", given, first), spec.problem_type)


class _Look:
    """Calls a spec's methods and says where it went wrong."""

    def __init__(self, spec: KernelSpec[Any, Any]) -> None:
        self.spec = spec

    def call(self, method: str, *arguments: Any) -> Any:
        function: Callable[..., Any] = getattr(self.spec, method)
        path = Path(inspect.getfile(type(self.spec)))
        try:
            return function(*arguments)
        except Undefined as e:
            raise KernelError(f"{path}: {e}") from e
        except Exception as e:  # a user's method may raise anything at all
            text = str(e).splitlines()
            said = f"{type(e).__name__}: {text[0]}" if text else type(e).__name__
            where = where_raised(e, path)
            raise KernelError(f"{where}: {type(self.spec).__name__}.{method}() raised {said}") from e

    def want(self, method: str, value: Any, kind: type[Any]) -> None:
        if not isinstance(value, kind):
            self.fail(method, f"gives {reprlib.repr(value)}: it must be a {kind.__name__}")

    def fail(self, method: str, why: str) -> None:
        raise KernelError(f"{self._line(method)}: {type(self.spec).__name__}.{method} {why}")

    def _line(self, method: str) -> str:
        """Where `method` is defined, the class where it is an attribute."""
        kind = type(self.spec)
        found = getattr(kind, method)
        target: Any = found if inspect.isfunction(found) else kind
        try:
            return f"{inspect.getfile(target)}:{inspect.getsourcelines(target)[1]}"
        except (OSError, TypeError):
            return inspect.getfile(kind)
