"""An autotuned kernel's ``@triton.autotune`` line with one config in place of its own, to paste above the kernel.

What the numbers depend on stays: the owner's key, the config's ``pre_hook``, the autotuner's hooks, ``reset_to_zero``
and ``restore_value``. A hook is written by its name; one that has none there (a lambda, a closure) stands in a comment
behind the line.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Any

from kernels.launches.owner_launch import LAUNCH, layers_of, name_of, values_of

LISTS = ("reset_to_zero", "restore_value")


def owner_decorator(kernel: Any, values: Mapping[str, Any]) -> str:
    """The line, with a comment on what it cannot hold. `values`: the config, launch options among them.

    Raises ValueError if `kernel` is not autotuned."""
    tuner = _tuner_of(kernel)
    notes: list[str] = []
    decorator = [f"configs=[{_config(tuner, values, notes)}]", f"key={list(tuner.keys)!r}"]
    for name in LISTS:
        if getattr(tuner, name, None):
            decorator.append(f"{name}={list(getattr(tuner, name))!r}")
    for name in ("pre_hook", "post_hook"):
        if getattr(tuner, f"user_defined_{name}", False):
            decorator += _named(name, getattr(tuner, name), "the autotuner's", notes)
    return _noted(f"@triton.autotune({', '.join(decorator)})", notes)


def owner_config(kernel: Any, values: Mapping[str, Any]) -> str:
    """The ``triton.Config(…)`` of that line alone, with a comment on what it cannot hold: what the decorator around it
    has to keep, too.

    Raises ValueError if `kernel` is not autotuned."""
    tuner = _tuner_of(kernel)
    notes: list[str] = []
    line = _config(tuner, values, notes)
    kept = [n for n in LISTS if getattr(tuner, n, None)]
    kept += [n for n in ("pre_hook", "post_hook") if getattr(tuner, f"user_defined_{n}", False)]
    if kept:
        notes.append(f"keep the autotuner's {' and '.join(kept)}")
    return _noted(line, notes)


def owner_hook(kernel: Any, values: Mapping[str, Any]) -> Any:
    """The ``pre_hook`` of that config, None if it has none or `kernel` is not autotuned.

    Raises ValueError if the owner's configs have different ones and none is that of `values`."""
    tuner = layers_of(kernel).tuner
    if tuner is None or not hasattr(tuner, "configs"):
        return None
    notes: list[str] = []
    hook = _hook_of(tuner, values, notes)
    if notes:
        raise ValueError(f"{name_of(kernel)}: {notes[0]}")
    return hook


def _tuner_of(kernel: Any) -> Any:
    tuner = layers_of(kernel).tuner
    if tuner is None or not hasattr(tuner, "keys"):
        raise ValueError(f"{name_of(kernel)} is not decorated with @triton.autotune")
    return tuner


def _config(tuner: Any, values: Mapping[str, Any], notes: list[str]) -> str:
    meta = {n: v for n, v in values.items() if n not in LAUNCH}
    options = {n: v for n, v in values.items() if n in LAUNCH and v is not None}
    config = [repr(meta), *(f"{n}={v!r}" for n, v in options.items())]
    config += _named("pre_hook", _hook_of(tuner, values, notes), "the config's", notes)
    return f"triton.Config({', '.join(config)})"


def _noted(line: str, notes: list[str]) -> str:
    return f"{line}  # {'; '.join(notes)}" if notes else line


def _hook_of(tuner: Any, values: Mapping[str, Any], notes: list[str]) -> Any:
    """The hook of the owner's config with these values, else of those with these constants, else of all."""
    meta = {n: v for n, v in values.items() if n not in LAUNCH}
    given = {n: v for n, v in values.items() if v is not None}
    for alike in (
        [c for c in tuner.configs if values_of(c) == given],
        [c for c in tuner.configs if dict(c.kwargs) == meta],
        list(tuner.configs),
    ):
        hooks = [getattr(c, "pre_hook", None) for c in alike]
        if hooks and all(h is hooks[0] for h in hooks):
            return hooks[0]
        if hooks:
            break
    notes.append("the autotuner's configs have different pre_hooks, and this is none of them: add the right one")
    return None


def _named(name: str, hook: Any, whose: str, notes: list[str]) -> list[str]:
    if hook is None:
        return []
    written = getattr(hook, "__qualname__", "")
    if written.isidentifier() and not keyword.iskeyword(written):
        return [f"{name}={written}"]
    notes.append(f"keep {whose} {name} ({written or type(hook).__name__}), which has no name to write here")
    return []
