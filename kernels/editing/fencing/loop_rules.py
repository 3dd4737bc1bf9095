"""How often the compiler writes out the body of a loop, and what the loop's variable is."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ..refused_edit import RefusedEdit
from .abstract_values import NUMBER, Value, whole
from .call_rules import Arguments
from .device_names import DeviceName

MOST_TRIPS = 256
"""Of one unrolled loop."""
MOST_UNROLLED = 16
"""Turns of a device loop that the compiler is asked to unroll."""
MOST_STAGES = 16
"""Turns of a device loop that run at once: the pipeliner writes the loop's body out for each of them."""


@dataclass(frozen=True)
class Turns:
    """The turns of a loop."""

    written: int
    """How many of them the compiler writes out."""
    index: Value
    """The loop's variable."""


def turns_of(node: ast.For, callee: DeviceName, given: Arguments) -> Turns:
    """The turns of ``for … in callee(…)``. Raises RefusedEdit if too many of them are written out."""
    if "arg1" not in given.values:
        raise RefusedEdit(f"{callee.name} is given no number of turns", node.iter)
    for name, value in given.values.items():
        if not value.kinds <= {"number", "none"}:
            raise RefusedEdit(f"{name} of {callee.name} is a {value.described()}", node.iter)
    unrolled = _bounded(node, given, "loop_unroll_factor", MOST_UNROLLED, "a loop may be unrolled {} times at most")
    stages = _bounded(node, given, "num_stages", MOST_STAGES, "a loop may have {} stages at most")
    if callee.group == "unrolled":
        return _all_written(node, given)
    return Turns(max(1, unrolled) * max(1, stages), NUMBER)


def _bounded(node: ast.For, given: Arguments, name: str, most: int, says: str) -> int:
    value = given.values.get(name)
    if value is None or value.kinds == {"none"}:
        return 1
    if value.known is None or value.known[1] > most:
        raise RefusedEdit(says.format(most), node.iter)
    return value.known[1]


def _all_written(node: ast.For, given: Arguments) -> Turns:
    first, second = given.values["arg1"], given.values.get("arg2")
    start, stop = (whole(0), first) if second is None or second.may_be("none") else (first, second)
    step = given.values.get("step", whole(1))
    step = whole(1) if step.may_be("none") else step
    begins, ends, by = start.known, stop.known, step.known
    if begins is None or ends is None or by is None or by[0] <= 0 <= by[1]:
        raise RefusedEdit("the number of turns of this unrolled loop is not known: use range", node)
    if by[0] > 0:
        turns = -(-(ends[1] - begins[0]) // by[0])
        index = whole(begins[0], max(begins[0], ends[1] - 1))
    else:
        turns = -(-(begins[1] - ends[0]) // -by[1])
        index = whole(min(begins[1], ends[0] + 1), begins[1])
    if turns > MOST_TRIPS:
        raise RefusedEdit(f"an unrolled loop makes {turns:,} turns, and at most {MOST_TRIPS} are allowed", node)
    return Turns(max(0, turns), index)
