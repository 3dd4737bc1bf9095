"""Shapes around a problem's that a finalist must also be right on.

A shape is tried if the problem type and the spec's ``constraint`` take it. Dimensions change together as far as they
may: a dimension whose change by one is refused is changed by two, by four, and so on. Kinds of shapes that the spec's
``domain`` names are not made here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kernels.defaults import block_of
from kernels.launches.domain import SHAPES
from kernels.launches.meta_tensors import MetaElementwise
from kernels.spec import KernelSpec, sentence

UNTILED = 128
"""A dimension for which the config names no block is taken to be tiled by its greatest common divisor with this. A
block without a dimension's name is the last dimension's."""
NO_SIZES = "the kernel names no dimensions"


@dataclass(frozen=True)
class HeldOut:
    """One kind of shapes."""

    kind: str
    problems: list[Any]
    why_not: str = ""
    """Why there are none."""
    kept: dict[str, str] = field(default_factory=dict)
    """Dimensions that no problem changes, and why."""


def held_out_shapes(spec: KernelSpec[Any, Any], problem: Any, config: Any, hardware: Any) -> Iterator[HeldOut]:
    """Each kind of SHAPES with its problems. No problem comes twice, and `problem` itself does not come."""
    seen = {problem}
    for kind in SHAPES:
        if not problem.dims:
            yield HeldOut(kind, [], spec.one_size or NO_SIZES)
            continue
        search = _Search(spec, config, hardware)
        new = [p for p in dict.fromkeys(_problems(search, kind, problem)) if p not in seen]
        seen.update(new)
        if new:
            yield HeldOut(kind, new, kept=search.refused)
        else:
            yield HeldOut(kind, [], next(iter(search.refused.values()), "there is no further shape"))


def _problems(search: _Search, kind: str, problem: Any) -> Iterator[Any]:
    sizes = {d: n for d in problem.dims if isinstance(n := getattr(problem, d), int)}
    if kind in ("one-element sizes", "zero sizes"):
        size = 1 if kind == "one-element sizes" else 0
        single = [search.taken(problem, {d: size}) for d in sizes]
        together = search.taken(problem, dict.fromkeys(sizes, size)) if size else None
        yield from (p for p in (*single, together) if p is not None)
        return
    wanted: dict[str, list[int]] = {}
    for dim, size in sizes.items():
        endings = (f"_{dim}", "") if dim == problem.dims[-1] else (f"_{dim}",)
        block = block_of(search.config, *endings) or math.gcd(size, UNTILED) or 1
        if kind == "odd sizes":
            wanted[dim] = [n for n in (size - 1, size - 2, size - 3) if n % 2 and n > 0]
        else:
            sign, largest = (1, size) if kind == "one tile more" else (-1, size - 1)
            steps = [block << n for n in range(8)]
            wanted[dim] = [size + sign * s for s in steps if s <= max(largest, block if sign > 0 else 0)]
    found = search.changed(problem, wanted)
    if found is not None:
        yield found


@dataclass
class _Search:
    """Which problems the spec takes with this config."""

    spec: KernelSpec[Any, Any]
    config: Any
    hardware: Any
    refused: dict[str, str] = field(default_factory=dict)
    """Dimensions that cannot be changed, and the first reason why."""

    def taken(self, problem: Any, sizes: dict[str, int]) -> Any | None:
        """`problem` with other `sizes`; None if it is refused."""
        try:
            with MetaElementwise():
                found = type(problem).model_validate({**problem.model_dump(), **sizes})
                why = self.spec.constraint(found, self.config, self.hardware)
                why = why or self.spec.not_made(found, self.config, self.hardware)
                if why is None:
                    self.spec.inputs(found, None, "meta")
                    return found
        except Exception as e:  # noqa: BLE001 -- a user's validator or method may raise anything: the shape is refused
            why = sentence(e)
        for dim in sizes if len(sizes) == 1 else ():
            self.refused.setdefault(dim, f"the kernel refuses {dim}={sizes[dim]}: {why}")
        return None

    def changed(self, problem: Any, wanted: dict[str, list[int]]) -> Any | None:
        """`problem` with as many dimensions changed as it takes, each to the first of its sizes that is taken; None if
        none is changed."""
        first = {d: sizes[0] for d, sizes in wanted.items() if sizes}
        whole = self.taken(problem, first) if first else None
        if whole is not None:
            return whole
        found = problem
        for dim, sizes in wanted.items():
            other = next((p for s in sizes if (p := self.taken(found, {dim: s})) is not None), None)
            if other is not None:
                found = other
                self.refused.pop(dim, None)
        return None if found is problem else found
