"""What a spec launches, found out without a launch: function, arguments and grid of each kernel that it would start."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, get_args

from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

from kernels.capture.describing.device_closure import python_function
from kernels.editing.argument_values import numbers_left_out, values_of
from kernels.editing.fencing.abstract_values import joined
from kernels.editing.launch_arguments import grid_of, named_arguments
from kernels.editing.owner_function import OwnerFunction, checked, choice_value, owner_of
from kernels.editing.refused_edit import RefusedEdit
from kernels.hardware import Hardware
from kernels.spec import Config, KernelSpec
from kernels.triton.stub_driver import stub_driver

Run = Callable[..., Any]
GoOn = Callable[..., Any]
_FINDING = threading.RLock()
"""Held while the process has another driver, and while its Triton functions note their launches."""
Instead = Callable[[Any, tuple[Any, ...], Any, dict[str, Any], GoOn], Any]
"""(function, positional, grid, keywords, run of this class) in the place of a launch."""


@dataclass(frozen=True)
class OwnersLaunch:
    """One kernel that a spec starts."""

    function: Any
    arguments: Mapping[str, Any]
    """By parameter; tensors have no memory."""
    grid: tuple[int, ...]


@contextmanager
def instead_of_launches(instead: Instead) -> Iterator[None]:
    """Inside this context `instead` is called where a Triton function would be launched, compiled or interpreted."""
    before = {kind: kind.run for kind in (JITFunction, InterpretedFunction)}

    def replaced(run: Run) -> Run:
        def launch(self: Any, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> Any:
            def go_on(function: Any, *given: Any, grid: Any, **named: Any) -> Any:
                return run(function, *given, grid=grid, warmup=warmup, **named)

            return instead(self, args, grid, kwargs, go_on)

        return launch

    try:
        for kind, run in before.items():
            kind.run = replaced(run)
        yield
    finally:
        for kind, run in before.items():
            kind.run = run


def owners_launches(spec: KernelSpec[Any, Any], problem: Any, config: Config, hardware: Hardware) -> list[OwnersLaunch]:
    """What ``spec.launch`` starts for `config`, on tensors without memory. Threads, such as those of compilers, wait
    for one another. Raises RefusedEdit if that cannot be found out."""
    found: list[OwnersLaunch] = []

    def note(function: Any, args: tuple[Any, ...], grid: Any, kwargs: dict[str, Any], go_on: GoOn) -> None:
        arguments = named_arguments(function, args, kwargs)
        found.append(OwnersLaunch(function, arguments, grid_of(grid, arguments)))

    try:
        with _FINDING, stub_driver(hardware), instead_of_launches(note):
            inputs = spec.arrange(problem, config, spec.inputs(problem, None, "meta"))
            spec.launch(problem, config, inputs, spec.output(problem, "meta"), hardware)
    except Exception as e:  # a stranger's launch may raise anything
        raise RefusedEdit(f"what {spec.name} launches cannot be found out ({type(e).__name__}: {e})") from e
    if not found:
        raise RefusedEdit(f"{spec.name} launches no Triton kernel")
    return found


def owner_function(
    spec: KernelSpec[Any, Any], problem: Any, config: Config, hardware: Hardware, name: str | None
) -> tuple[OwnerFunction, OwnersLaunch]:
    """The function called `name` that the spec launches, as the fence sees it; its only one if there is no name.

    Raises RefusedEdit if there is none, several, or one that cannot be edited."""
    launches = owners_launches(spec, problem, config, hardware)
    by_name: dict[str, list[OwnersLaunch]] = {}
    for launch in launches:
        by_name.setdefault(str(python_function(launch.function).__name__), []).append(launch)
    if name is None and len(by_name) == 1:
        (name,) = by_name
    if name not in by_name:
        raise RefusedEdit(f"{spec.name} launches {', '.join(sorted(by_name))}: send the source of one of them")
    chosen = by_name[name]
    if len({id(python_function(launch.function)) for launch in chosen}) > 1:
        raise RefusedEdit(f"{spec.name} launches two functions called {name}: they cannot be told apart")
    first = chosen[0]
    moved = _moved(spec.config_type)
    constants = _constants(first.function)
    passed = [values_of(launch.function, launch.arguments, constants) for launch in chosen]
    values = {n: joined([p[n] for p in passed]) for n in first.function.arg_names}
    values |= {n: choice_value(moved[n]) for n in values if n in moved}
    owner = checked(owner_of(first.function, values))
    left_out = {n for n in values if all(launch.arguments.get(n, n) is None for launch in chosen)}
    numbers = numbers_left_out(owner.tree, left_out)
    found = replace(
        owner,
        arguments={**owner.arguments, **numbers},
        numbers=_alike(chosen, lambda v: v if isinstance(v, int) and not isinstance(v, bool) else None, moved),
        element_bytes=_alike(chosen, lambda v: v.element_size() if hasattr(v, "element_size") else None, moved),
    )
    return found, first


def _alike(launches: list[OwnersLaunch], read: Callable[[Any], int | None], moved: Container[str]) -> dict[str, int]:
    """What `read` gives of the arguments of which it gives the same in every launch, but those that a config moves."""
    values = {
        n: {read(launch.arguments.get(n)) for launch in launches} for n in launches[0].arguments if n not in moved
    }
    found = {n: next(iter(v)) for n, v in values.items() if len(v) == 1}
    return {n: v for n, v in found.items() if v is not None}


def _moved(config_type: type[Config]) -> dict[str, list[Any]]:
    """The values of each field of a config that is closed."""
    found = {}
    for name, info in config_type.model_fields.items():
        values = list(get_args(info.annotation))
        if values and all(isinstance(v, int | str) for v in values):
            found[name] = values
    return found


def _constants(function: Any) -> set[str]:
    parameters = inspect.signature(python_function(function)).parameters.values()
    return {p.name for p in parameters if "constexpr" in str(p.annotation)}
