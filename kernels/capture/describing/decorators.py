"""What stands around a kernel: ``@triton.autotune`` and ``@triton.heuristics``, from the outside in.

Hooks, heuristics and pruning are Python functions. One that a module holds under its own name is kept by that name, and
one that the kernel's own decorators hold, as most lambdas, by the place there: ``held_by`` names the kernel, ``at``
the steps from it. Any other is ``local``, and whoever re-launches the kernel without it knows that it was there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .captured_arguments import PLAIN, plain_scalar
from .device_closure import python_function

Json = dict[str, Any]

CONFIG = ("num_warps", "num_stages", "num_ctas", "maxnreg", "ir_override")


def describe_chain(chain: Sequence[Any]) -> list[Json]:
    """The decorators of a kernel, the outermost first."""
    places = [(d, _Place(chain, i)) for i, d in enumerate(chain)]
    return [_autotune(d, place) if hasattr(d, "configs") else _heuristics(d, place) for d, place in places]


def set_by_heuristics(decorators: Sequence[Json]) -> set[str]:
    """Names that described decorators set by heuristics. A program may pass one too, for the heuristic to see."""
    return {n for d in decorators if d["kind"] == "heuristics" for n in d["values"]}


def describe_choice(chain: Sequence[Any]) -> Json | None:
    """The config that the innermost autotuner of the chain has chosen; None without one."""
    place = next((i for i in reversed(range(len(chain))) if hasattr(chain[i], "configs")), None)
    if place is None:
        return None
    best, configs = chain[place].best_config, chain[place].configs
    number = next((i for i, c in enumerate(configs) if c is best), None)
    return describe_config(best, _Place(chain, place, None if number is None else ("configs", number)))


class _Place:
    """Where a decorator's functions are found again: `chain`'s decorator number `place`, and steps from there."""

    def __init__(self, chain: Sequence[Any] = (), place: int = 0, steps: tuple[str | int, ...] | None = ()) -> None:
        self._chain, self._place, self._steps = chain, place, steps

    def inside(self, *steps: str | int) -> _Place:
        return _Place(self._chain, self._place, None if self._steps is None else (*self._steps, *steps))

    def reference(self, function: Any) -> Json:
        """Where a Python function can be imported from, or that it cannot."""
        module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
        if _held(module, name) is function:
            return {"import": [module, name]}
        return self._in_decorator() or {"local": name or type(function).__qualname__}

    def _in_decorator(self) -> Json | None:
        """The way from what the kernel's module holds under the kernel's name."""
        if self._steps is None or not self._chain:
            return None
        kernel = python_function(self._chain[-1])
        held, inward = _held(kernel.__module__, kernel.__qualname__), 0
        while held is not None and held is not self._chain[self._place]:
            held, inward = getattr(held, "fn", None), inward + 1
        if held is None:
            return None
        return {"held_by": [kernel.__module__, kernel.__qualname__], "at": [*["fn"] * inward, *self._steps]}


def _held(module: str | None, qualname: str | None) -> Any:
    """What an imported module holds under this name; None if nothing. A program's own main module cannot be imported
    again."""
    found: Any = sys.modules.get(module) if module not in (None, "__main__") else None
    for part in (qualname or "").split("."):
        found = getattr(found, part, None)
    return found


def describe_config(config: Any, place: _Place | None = None) -> Json:
    """A ``triton.Config``; options at their defaults of None are left out. ``unkept``: what it sets to something else
    than a number, a text, a truth value or None, such as a dtype or a function."""
    options = {n: getattr(config, n, None) for n in CONFIG}
    values = {n: plain_scalar(v) for n, v in config.kwargs.items()}
    unkept = {n: str(v) for n, v in values.items() if type(v) not in PLAIN and v is not None}
    kept = {n: v for n, v in values.items() if n not in unkept}
    described: Json = {"kwargs": kept, **{n: v for n, v in options.items() if v is not None}}
    described |= {"unkept": unkept} if unkept else {}
    hook = getattr(config, "pre_hook", None)
    if hook is None:
        return described
    return {**described, "pre_hook": (place or _Place()).inside("pre_hook").reference(hook)}


def _autotune(tuner: Any, place: _Place) -> Json:
    described: Json = {
        "kind": "autotune",
        "configs": [describe_config(c, place.inside("configs", i)) for i, c in enumerate(tuner.configs)],
        "key": [str(k) for k in getattr(tuner, "keys", None) or ()],
    }
    for name in ("reset_to_zero", "restore_value"):
        if getattr(tuner, name, None):
            described[name] = list(getattr(tuner, name))
    for name in ("early_config_prune", "perf_model"):
        if getattr(tuner, name, None) is not None:
            described[name] = place.inside(name).reference(getattr(tuner, name))
    for name in ("pre_hook", "post_hook"):
        if getattr(tuner, f"user_defined_{name}", False):
            described[name] = place.inside(name).reference(getattr(tuner, name))
    return described


def _heuristics(decorator: Any, place: _Place) -> Json:
    values = getattr(decorator, "values", None) or {}
    return {"kind": "heuristics", "values": {n: place.inside("values", n).reference(f) for n, f in values.items()}}
