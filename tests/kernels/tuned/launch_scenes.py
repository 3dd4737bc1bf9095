"""What the interpreter child does with launches that come to Triton in unusual ways."""

from __future__ import annotations

import dataclasses

import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from kernels.tuned.tuned_table import Decision
from tests.kernels.tuned.interpreted_scenes import (
    Applied,
    both,
    in_place,
    launch_in_place,
    launch_tuned,
    rows_of,
    tuned,
)

SEEN: list[object] = []


@triton.jit
def named_like_ours(owner, function, decorator, run, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(owner + at, BLOCK, mask=at < n)


@triton.heuristics({"FLAG": lambda a: SEEN.append(a["grid"]) or 1})
@triton.jit
def flagged(x, n, BLOCK: tl.constexpr, FLAG: tl.constexpr, MORE: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, BLOCK, mask=at < n)


def blocks(meta):
    return (triton.cdiv(meta["n"], meta["BLOCK"]),)


def parameters_named_like_ours():
    def launch():
        x = torch.zeros(512)
        named_like_ours[blocks](owner=x, function=1, decorator=2, run=3, n=512, BLOCK=32)
        return x.unique().tolist()

    return both(rows_of(launch), launch, times=3)


def patched_later():
    """A program that puts its own function in the place of Triton's after the table was applied."""
    tuned.cache.clear()
    rows = rows_of(launch_tuned, launch_in_place)
    tuned.cache.clear()
    calls = []
    with Applied(rows) as applied:
        original = InterpretedFunction.run

        def run(function, *args, grid, warmup, **kwargs):
            calls.append(function.__name__)
            return original(function, *args, grid=grid, warmup=warmup, **kwargs)

        InterpretedFunction.run = run
        try:
            found = [launch_tuned()[0], launch_tuned()[0], launch_in_place(), launch_in_place()]
        finally:
            InterpretedFunction.run = original
    return {"found": found, "calls": calls, **applied.told()}


def launcher_held_over_tables():
    """``function[grid]`` is asked once, and kept while one table is taken back and another applied."""
    rows = rows_of(launch_in_place)
    others = [dataclasses.replace(r, decision=Decision({"BLOCK": 64}, {})) for r in rows]

    def ask(launcher):
        x = torch.zeros(512)
        launcher(x, 512, 7, BLOCK=32)
        return x.unique().tolist()

    with Applied(rows):
        launch_in_place()
        launcher = in_place[blocks]
        found = [ask(launcher)]
    found.append(ask(launcher))
    with Applied(others):
        found.append(ask(launcher))
    return found


def one_for_true():
    def launch(more=True):
        x = torch.zeros(512)
        flagged[blocks](x, 512, MORE=more, BLOCK=32)
        return x.unique().tolist()

    rows = rows_of(launch)
    SEEN.clear()
    with Applied(rows) as applied:
        found = [launch(), launch(), launch(1)]
    return {"found": found, "grids": [grid is blocks for grid in SEEN], **applied.told()}


def refused_after_writing():
    """The interpreter refuses a config when another argument's memory is written already."""
    x = torch.zeros(4, requires_grad=True)
    rows = rows_of(lambda: start_and_fail(x), change=lambda r: dataclasses.replace(r, decision=Decision({"B": 3}, {})))
    x.data.zero_()
    with Applied(rows) as applied:
        start_and_fail(x)
    return {"x": x.tolist(), **applied.told()}


@triton.jit
def writes_then_refuses(x, B: tl.constexpr):
    tl.store(x, tl.load(x) + 1)
    tl.store(x + tl.arange(0, B), tl.load(x + tl.arange(0, B)) + 1)


def start_and_fail(x):
    writes_then_refuses[lambda meta: (meta["B"] * 0 + 1,)](x, B=4)


SCENES = (
    parameters_named_like_ours,
    patched_later,
    launcher_held_over_tables,
    one_for_true,
    refused_after_writing,
)
