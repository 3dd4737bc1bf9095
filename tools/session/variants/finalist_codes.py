"""Which finalists of a run with variants are kept: the best of each code, and not the configs of one variant alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernels.spec import Config
from memory.terms import variant_of


def with_every_code(spec: Any, problem: Any, ordered: Sequence[Config], level: int, limit: int) -> list[Config]:
    """At most `limit` of `ordered`, in its order: the first of each of its first codes, which take up to half of the
    places, the first of the owner's code, and the others as they come. If all finalists were configs of one variant, it
    would depend on that variant alone whether anything is proven.

    A config that is a baseline itself, the owner's launch, is none unless it is one of the first, which lie `level`
    with the fastest: it cannot beat itself."""
    if not spec.shut_in:
        return list(ordered[:limit])
    rivals = {b.config.key() for b in spec.baselines(problem) if b.config is not None}
    fit = [c for i, c in enumerate(ordered) if i < level or c.key() not in rivals]
    firsts: dict[str, Config] = {}
    for config in fit:
        firsts.setdefault(variant_of(config), config)
    kept = dict.fromkeys([*(c for name, c in firsts.items() if not name), *firsts.values()][: max(1, limit // 2)])
    others = [c for c in fit if c not in kept][: max(0, limit - len(kept))]
    chosen = {*kept, *others}
    return [c for c in fit if c in chosen]
