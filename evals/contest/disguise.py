"""The same space in disguise: an agent that scores as well on it searched; one that does not knew the space.

``renamed``: parameters are called p0, p1, … in a shuffled order and the values of each are replaced by their ranks, so
that neighbours stay neighbours. ``permuted``: names stay and the values of every parameter are dealt out anew among its
configs, so that whoever goes by ``num_warps=8`` is misled. In both the kernel, its problem and the compiler's figures
are kept from the agent. The times are the true ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evals.contest.briefing import Briefing, briefing_of, identity
from tools.harness.landscapes.readings import Landscape, config_key

PLAIN = "plain"
LIVE = "live"
"""The plain space, measured on a GPU."""
VARIANTS = (PLAIN, "renamed", "permuted")
Translate = Callable[[dict[str, Any]], dict[str, Any]]


def disguise(landscape: Landscape, variant: str, seed: int) -> tuple[Briefing, dict[str, str] | None]:
    """The briefing for the agent, and the true key of every config in it; ``None`` if nothing was changed."""
    if variant in (PLAIN, LIVE):
        return briefing_of(landscape), None
    bare = briefing_of(landscape, disguised=True)
    rng = random.Random(f"{Path(landscape.name).name} {variant} {seed}")
    translate = _renamed(bare, rng) if variant == "renamed" else _permuted(bare, rng)
    shown = [(translate(e.config), key) for key, e in landscape.entries.items()]
    rng.shuffle(shown)  # the file's order would reveal something too
    names = {config_key(config): key for config, key in shown}
    configs = tuple(config for config, _ in shown)
    different = {n: {identity(c[n]): c[n] for c in configs if n in c}.values() for n in _all_names(configs)}
    parameters = {n: tuple(sorted(values, key=_rank)) for n, values in different.items()}
    return Briefing("a kernel", parameters, configs), names


def _renamed(briefing: Briefing, rng: random.Random) -> Translate:
    order = list(briefing.parameters)
    rng.shuffle(order)
    ranks = {n: {identity(v): i for i, v in enumerate(briefing.parameters[n])} for n in order}
    return lambda config: {f"p{i}": ranks[n][identity(config[n])] for i, n in enumerate(order) if n in config}


def _permuted(briefing: Briefing, rng: random.Random) -> Translate:
    dealt: dict[str, dict[str, Any]] = {}
    for name, values in briefing.parameters.items():
        shuffled = list(values)
        rng.shuffle(shuffled)
        dealt[name] = {identity(v): s for v, s in zip(values, shuffled, strict=True)}
    return lambda config: {n: dealt[n][identity(v)] for n, v in config.items()}


def _all_names(configs: tuple[dict[str, Any], ...]) -> list[str]:
    return list(dict.fromkeys(n for c in configs for n in c))


def _rank(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, value if number else 0.0, repr(value))
