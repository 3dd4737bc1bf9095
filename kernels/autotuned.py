"""Turns an existing ``@triton.autotune`` kernel into a spec whose space is the kernel's own configs.

    class Mine(AutotunedKernel):
        name = "mine"
        kernel = add_kernel                   # decorated with @triton.autotune(configs=[...], key=[...])
        config_type = configs_of(add_kernel)
        ...
        def arguments(self, problem, inputs, out): return (*inputs, out, problem.N)
        def grid(self, problem, meta): return (triton.cdiv(problem.N, meta["BLOCK"]),)

The autotuner itself never runs: its configs are compiled, checked and timed like any other kernel's. The problem takes
the place of its ``key``. Hooks, heuristics, ``reset_to_zero`` and ``early_config_prune`` work as in Triton
(:mod:`kernels.launches.owner_launch`). Inputs that ``restore_value`` names are taken to be written in place.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeVar
from weakref import WeakKeyDictionary

import torch
from pydantic import create_model

from kernels.hardware import Hardware, hardware_named
from kernels.launches.effects import Effects
from kernels.launches.leaves import rebuild, tensors_in
from kernels.launches.owner_launch import (
    arranged_call,
    config_from,
    launch,
    layers_of,
    name_of,
    pruned,
    python_function,
    values_of,
)
from kernels.spec import Config, Inputs, KernelSpec, Problem

P = TypeVar("P", bound=Problem)

Given = tuple[Any, ...] | dict[str, Any]
"""A call's arguments: positional, (positional, by keyword), or all by name."""

OUTPUT = "output "
"""Before the path of an output, where those of inputs stand beside it."""

_choices: WeakKeyDictionary[Any, dict[Any, list[Any]]] = WeakKeyDictionary()
"""By spec, what the prune function made for each problem and GPU: a launch must not wait for it."""


def configs_of(kernel: Any) -> type[Config]:
    """A config model with the values that occur in the configs of `kernel`, an autotuned kernel; closed, unless the
    kernel has an ``early_config_prune``, which may make values and set parameters that its list does not.

    A field that some configs do not set may be None. Raises ValueError if `kernel` is not autotuned, or a value is not
    a whole number, a string or a bool."""
    tuner = _tuner(kernel)
    rows = [values_of(c) for c in tuner.configs]
    makes = getattr(tuner, "early_config_prune", None) is not None
    names = list(dict.fromkeys(n for row in rows for n in row))
    if makes:
        parameters = inspect.signature(python_function(kernel)).parameters.values()
        names += [p.name for p in parameters if "constexpr" in str(p.annotation) and p.name not in names]
    fields: dict[str, Any] = {}
    for name in names:
        found = [row.get(name) for row in rows]
        odd = [v for v in found if not isinstance(v, int | str | bool | None)]
        if odd:
            raise ValueError(
                f"{name}={odd[0]!r} of {name_of(kernel)} is no whole number, string or bool: choose among such "
                "values, and have the kernel make of them what it needs"
            )
        values = tuple(dict.fromkeys(found))
        literal: Any = bool | int | str | None if makes else Literal[values]
        fields[name] = (literal, None) if makes or None in values else (literal, ...)
    model: type[Config] = create_model(f"{name_of(kernel)}_config", __base__=Config, **fields)
    return model


class AutotunedKernel(KernelSpec[P, Config]):
    """A spec whose launch and space come from its autotuned ``kernel``."""

    kernel: ClassVar[Any]
    """The function decorated with ``@triton.autotune``."""

    @abstractmethod
    def arguments(self, problem: P, inputs: Inputs, out: Any) -> Given:
        """What the owner's call gives, without the tuned meta-parameters: a tuple in the kernel's order, a pair (tuple,
        dict of keywords), or a dict by name. A fourth parameter of this method gets the hardware."""

    @abstractmethod
    def grid(self, problem: P, meta: dict[str, Any]) -> tuple[int, ...]:
        """Programs to launch; `meta` holds arguments, the config's values and those of heuristics by name. A third
        parameter of this method gets the hardware, whose ``sms`` a persistent kernel wants."""

    def candidates(self, problem: P, hardware: Hardware) -> Iterator[Config]:
        """The kernel's own configs, in its order, as ``early_config_prune`` makes them for this problem."""
        _tuner(self.kernel)
        for config in self.choices(problem, hardware):
            yield self.config_type(**values_of(config))

    def choices(self, problem: P, hardware: Hardware) -> list[Any]:
        """The same as ``triton.Config`` objects."""
        tuner = layers_of(self.kernel).tuner
        if getattr(tuner, "early_config_prune", None) is None:
            return list(getattr(tuner, "configs", ()))
        known = _choices.setdefault(self, {})
        key = (problem, hardware.name, hardware.sms)
        if key not in known:
            args, named = self._call(
                problem, self.inputs(problem, None, "meta"), self.output(problem, "meta"), hardware
            )
            known[key] = pruned(self.kernel, args, named)
        return known[key]

    def not_made(self, problem: P, config: Config, hardware: Hardware) -> str | None:
        if getattr(layers_of(self.kernel).tuner, "early_config_prune", None) is None:
            return None
        made = config in self.candidates(problem, hardware)
        return None if made else "its early_config_prune does not make this config there"

    def launch(self, problem: P, config: Config, inputs: Inputs, out: Any, hardware: Hardware) -> None:
        """Do what the autotuner does after its choice."""
        values = {n: v for n, v in config.model_dump().items() if v is not None}
        chosen = next((c for c in self.choices(problem, hardware) if values_of(c) == values), None)
        args, named = arranged_call(self.kernel, self.given_to(problem, config, inputs, out, hardware))

        def grid(meta: dict[str, Any]) -> tuple[int, ...]:
            found: tuple[int, ...] = _with_hardware(self.grid, 2, hardware, problem, meta)
            return found

        launch(self.kernel, args, named, config_from(values) if chosen is None else chosen, grid)

    def given_to(self, problem: P, config: Config, inputs: Inputs, out: Any, hardware: Hardware) -> Given:
        """The arguments of the launch of `config`: those of every launch, unless a subclass knows better."""
        found: Given = _with_hardware(self.arguments, 3, hardware, problem, inputs, out)
        return found

    def effects(self, problem: P) -> Effects:
        """As declared; without ``inplace``, inputs that the autotuner's ``restore_value`` names are written."""
        declared = super().effects(problem)
        restored = getattr(_tuner(self.kernel), "restore_value", None)
        if self.inplace or not restored:
            return declared
        given, named = self._named_on_meta(problem)
        changed = [named[n] for n in restored if isinstance(named.get(n), torch.Tensor)]
        inputs = {path: t for path, t in given.items() if not path.startswith(OUTPUT)}
        found = tuple(path for path, t in inputs.items() if any(t is c for c in changed))
        return Effects(found, declared.scratch, declared.unwritten)

    def undeclared(self, problem: P) -> list[str]:
        """Tensor arguments in memory that neither ``inputs`` nor ``output`` made: nobody poisons or verifies them."""
        given, named = self._named_on_meta(problem)
        known = {t.untyped_storage()._cdata for t in given.values()}
        return [n for n, t in tensors_in(named).items() if t.untyped_storage()._cdata not in known]

    def missing(self, problem: P) -> list[str]:
        """Parameters of the kernel that neither ``arguments``, a heuristic, a default nor the first config gives."""
        layers = layers_of(self.kernel)
        first = next(iter(self.candidates(problem, hardware_named("H200"))), None)
        known = {*self._named_on_meta(problem)[1], *(first.model_dump(exclude_none=True) if first else ())}
        known |= {name for layer in (*layers.above, *layers.below) for name in layer.values}
        parameters = inspect.signature(layers.python).parameters
        return [n for n in layers.names if n not in known and parameters[n].default is inspect.Parameter.empty]

    def _named_on_meta(self, problem: P) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Inputs by path and arguments by name, on meta tensors; outputs are as many as ``eager`` gives."""
        inputs = self.inputs(problem, None, "meta")
        if type(self).output is KernelSpec.output:
            out = rebuild(self.eager(problem, inputs), lambda path, t: torch.empty_like(t))
        else:
            out = self.output(problem, "meta")
        args, named = self._call(problem, inputs, out, hardware_named("H200"))
        arguments = {**dict(zip(layers_of(self.kernel).names, args, strict=False)), **named}
        outputs = {OUTPUT + p: t for p, t in tensors_in(out).items()}
        return {**tensors_in(inputs), **outputs}, arguments

    def _call(self, problem: P, inputs: Inputs, out: Any, hardware: Hardware) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return arranged_call(self.kernel, _with_hardware(self.arguments, 3, hardware, problem, inputs, out))


def _with_hardware(method: Any, count: int, hardware: Hardware, *given: Any) -> Any:
    """The result of `method`, which may take one parameter more than `count`."""
    return method(*given, hardware) if len(inspect.signature(method).parameters) > count else method(*given)


def _tuner(kernel: Any) -> Any:
    """The autotuner. Raises ValueError if there is none."""
    found = getattr(kernel, "configs", None) is not None and kernel
    if found:
        return found
    try:
        tuner = layers_of(kernel).tuner
    except ValueError:
        tuner = None
    if tuner is None:
        raise ValueError(f"{name_of(kernel)} is not decorated with @triton.autotune: its configs cannot be taken")
    return tuner
