"""What stands around a kernel: ``@triton.autotune`` and ``@triton.heuristics``, from the outside in.

Hooks, heuristics and pruning are Python functions. Of one that reads only its arguments, constants, modules and
functions that do no more, as most lambdas do, the ``source`` is kept with what its names stand for; one that a module
holds under its own name is also kept by that name. Any other is ``local``, and whoever re-launches the kernel without
it knows that it was there.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Container, Mapping, Sequence
from types import FunctionType
from typing import Any

from .captured_arguments import is_plain, plain_scalar
from .device_closure import describe_python

Json = dict[str, Any]

WHOLE = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""Launch options that are whole numbers."""
CONFIG = (*WHOLE, "ir_override")


def describe_chain(chain: Sequence[Any]) -> list[Json]:
    """The decorators of a kernel, the outermost first."""
    return [_autotune(d) if hasattr(d, "configs") else _heuristics(d) for d in chain]


def set_by_heuristics(decorators: Sequence[Json]) -> set[str]:
    """Names that described decorators set by heuristics. A program may pass one too, for the heuristic to see."""
    return {n for d in decorators if d["kind"] == "heuristics" for n in d["values"]}


def describe_config(config: Any) -> Json:
    """A ``triton.Config``; options at their defaults of None are left out. ``unkept``: what it sets to something else
    than a finite number, a text, a truth value or None, such as a dtype or a function."""
    options = {n: describe_option(n, getattr(config, n, None)) for n in CONFIG}
    values = {n: plain_scalar(v) for n, v in config.kwargs.items()}
    unkept = {n: str(v) for n, v in values.items() if v is not None and not (is_plain(v) and _is_json(v))}
    kept = {n: v for n, v in values.items() if n not in unkept}
    described: Json = {"kwargs": kept, **{n: v for n, v in options.items() if v is not None}}
    described |= {"unkept": unkept} if unkept else {}
    hook = getattr(config, "pre_hook", None)
    return {**described, "pre_hook": reference(hook)} if hook is not None else described


def _is_json(value: bool | int | float | str) -> bool:
    """JSON has no NaN and no infinity, and NaN equals nothing, so that a config that sets it is never found again."""
    return not isinstance(value, float) or math.isfinite(value)


def describe_options(passed: Mapping[str, Any], arguments: Container[str]) -> Json:
    """The launch options in what is passed by name, beside these `arguments`. Raises ValueError if one is none."""
    return {n: describe_option(n, v) for n, v in passed.items() if n in CONFIG or n not in arguments}


def describe_option(name: str, value: Any) -> bool | int | float | str | None:
    """A launch option as plain data, however the program wrote it. Raises ValueError if it cannot be one."""
    if type(value).__name__ == "constexpr":
        value = value.value
    if name not in WHOLE or value is None:
        value = plain_scalar(value)
        return value if is_plain(value) or value is None else str(value)
    try:
        number = operator.index(value)  # an integer of numpy or PyTorch is one, a text and a float are not
    except TypeError:
        raise ValueError(f"{name} is {value!r}, which is no whole number") from None
    if not 0 <= number < 2**31:
        raise ValueError(f"{name} is {number}")
    return number


def reference(function: Any) -> Json:
    """A Python function that a decorator holds."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    found: Any = sys.modules.get(module) if module not in (None, "__main__") else None
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    by_name = {"import": [module, name]} if found is not None and found is function else {}
    kept = describe_python(function) if isinstance(function, FunctionType) else None
    return {**by_name, **(kept or {})} or {"local": name or type(function).__qualname__}


def _autotune(tuner: Any) -> Json:
    described: Json = {
        "kind": "autotune",
        "configs": [describe_config(c) for c in tuner.configs],
        "key": [str(k) for k in getattr(tuner, "keys", None) or ()],
    }
    for name in ("reset_to_zero", "restore_value"):
        if getattr(tuner, name, None):
            described[name] = list(getattr(tuner, name))
    for name in ("early_config_prune", "perf_model"):
        if getattr(tuner, name, None) is not None:
            described[name] = reference(getattr(tuner, name))
    for name in ("pre_hook", "post_hook"):
        if getattr(tuner, f"user_defined_{name}", False):
            described[name] = reference(getattr(tuner, name))
    return described


def _heuristics(decorator: Any) -> Json:
    values = getattr(decorator, "values", None) or {}
    return {"kind": "heuristics", "values": {n: reference(f) for n, f in values.items()}}
