"""The results that a launch must give, by name, in float64, and how far each may be off.

A result is an output or an input that is written in place. ``reference`` and ``eager`` give results in this order:
outputs, then inputs written in place; or a dict by their names.
"""

from __future__ import annotations

from typing import Any

import torch

from kernels import defaults
from kernels.launches.effects import Effects, input_name
from kernels.launches.leaves import ALONE, leaves, tensors_in, widened
from kernels.spec import KernelSpec

Results = dict[str, torch.Tensor]


class WrongResults(ValueError):
    """A spec's method gives other results than the launch has. The message is a clause."""


def results_of(effects: Effects, inputs: Any, out: Any) -> Results:
    """The tensors of a launch that are results: views of `out` and of `inputs`, scratch left out."""
    found = tensors_in(out)
    given = tensors_in(inputs)
    for path in effects.inplace:
        if path not in given:
            raise WrongResults(f"{path} is said to be written in place, and inputs() has only {', '.join(given)}")
        found[input_name(path)] = given[path]
    unknown = [n for n in (*effects.scratch, *effects.unwritten) if n not in found]
    if unknown:
        raise WrongResults(f"{unknown[0]} is declared scratch or unwritten, and the results are {', '.join(found)}")
    return {name: t for name, t in found.items() if name not in effects.scratch}


def named(names: list[str], value: Any) -> Results:
    """`value`, as ``eager`` or ``reference`` gives it, by result. Raises WrongResults."""
    if isinstance(value, dict):
        found = tensors_in(value)
        if set(found) != set(names):
            raise WrongResults(f"gives results named {', '.join(found)}: give {', '.join(names)}")
        return {name: found[name] for name in names}
    given = [leaf for _, leaf in leaves(value)]
    odd = [v for v in given if not isinstance(v, torch.Tensor)]
    if odd:
        raise WrongResults(f"gives {odd[0]!r}: it must be a Tensor, or a tuple or dict of them")
    if len(given) != len(names):
        raise WrongResults(f"gives {len(given)} tensors for the results {', '.join(names)}: give one for each")
    return dict(zip(names, given, strict=True))


def expected(spec: KernelSpec[Any, Any], problem: Any, inputs: Any, names: list[str]) -> Results:
    """The results for `inputs`, which must be pristine, in float64. Raises WrongResults."""
    if type(spec).reference is not KernelSpec.reference:
        value = spec.reference(problem, inputs)
    else:
        value = spec.eager(problem, widened(inputs))
        if names == [ALONE] and isinstance(value, torch.Tensor):
            return {ALONE: value.double()}
        return {name: t.double() for name, t in named(names, value).items()}
    return named(names, value)


def bounds(spec: KernelSpec[Any, Any], problem: Any, results: Results) -> dict[str, float]:
    """The largest accepted scale-relative error of each result.

    If the kernel's tolerance is a dict, it gives the bounds by name, and a result that it lacks has the default bound.
    If it is a number and there is one result, the number is the bound. If there are several results, a number that the
    kernel states itself holds for those of floating point; every other result has the default bound. The default bound
    depends on the result's dtype, and is 0 for integers."""
    said: Any = spec.tolerance(problem)
    if isinstance(said, dict):
        return {name: said[name] if name in said else default_bound(t) for name, t in results.items()}
    if len(results) == 1:
        return dict.fromkeys(results, said)
    own = type(spec).tolerance is not KernelSpec.tolerance
    return {name: default_bound(t) if not (own and t.is_floating_point()) else said for name, t in results.items()}


def default_bound(t: torch.Tensor) -> float:
    """For a result of this dtype: some roundings of it (:func:`kernels.defaults.tolerance`), 0 for integers."""
    if not t.is_floating_point():
        return 0.0
    short = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
    return defaults.tolerance(short.get(t.dtype) or str(t.dtype).removeprefix("torch."))
