"""What the interpreter child does with launches that come to Triton in unusual ways."""

from __future__ import annotations

import dataclasses
import enum
import sys
import tempfile
from pathlib import Path

import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import KernelInterface
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.capture.begin import recording
from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.reading.rebuilt_arguments import rebuild_arguments
from kernels.capture.reading.rebuilt_functions import rebuild_function
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
from tests.kernels.tuned.program_styles import N, launch_all, with_lambdas

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


class Unreadable(torch.Tensor):
    """A tensor that fails for who asks for more of it than Triton does."""

    @staticmethod
    def __new__(cls, tensor):
        return tensor.as_subclass(cls)

    def storage_offset(self):
        if asking_for_a_key():
            raise ValueError("nobody may know")
        return super().storage_offset()


def asking_for_a_key():
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.endswith(("launch_key.py", "captured_arguments.py")):
            return True
        frame = frame.f_back
    return False


@triton.jit
def any_memory(x, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, BLOCK, mask=at < n)


def memory_that_cannot_be_read():
    """A tensor of another class has no row and no key, and is launched twice."""

    def launch(x):
        any_memory[blocks](x, 512, BLOCK=32)
        return x.unique().tolist()

    rows = rows_of(lambda: launch(torch.zeros(512)))
    with Applied(rows) as applied:
        found = [launch(x).pop() for x in (torch.zeros(512), *[Unreadable(torch.zeros(512))] * 2)]
        any_memory[(16,)](triton.reinterpret(torch.zeros(512, dtype=torch.int32), tl.float32), 512, BLOCK=32)
    return {"found": found, **applied.told()}


@triton.jit
def from_descriptor(x_desc, pair, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, BLOCK, mask=at < n)


def memory_of_a_descriptor():
    """A row for results of their own does not serve a launch whose result is its input."""

    def launch(result="own", pair="own"):
        x, out = torch.zeros(512), torch.zeros(512)
        out = x if result == "x" else out
        inner = (1, torch.zeros(512) if pair == "own" else out)
        from_descriptor[blocks](TensorDescriptor.from_tensor(x, [8]), inner, out, 512, BLOCK=32)
        return out.unique().item()

    with Applied(rows_of(launch)) as applied:
        found = [launch(), launch("x"), launch(), launch(pair="out"), launch()]
    return {"found": found, **applied.told()}


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclasses.dataclass(frozen=True)
class Spec:
    scale: float
    act: object = None


@triton.jit
def same(x):
    return x


@triton.jit
def of_classes(x, n, MODE: tl.constexpr, SPEC: tl.constexpr, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = BLOCK * SPEC.scale
    if MODE == Mode.SLOW or torch.int8 == DTYPE:
        value = value * 1
    if SPEC.act is not None:
        value = SPEC.act(value)
    tl.store(x + at, value, mask=at < n)


def arguments_of_classes():
    def launch(mode=Mode.FAST, spec=Spec(1.0, same), dtype=torch.int16):
        bits = torch.zeros(512, dtype=torch.int32)
        of_classes[blocks](triton.reinterpret(bits, torch.float32), 512, mode, spec, dtype, BLOCK=32)
        return bits.view(torch.float32).unique().item()

    others = ({}, {"mode": Mode.SLOW}, {"spec": Spec(1.0)}, {"dtype": torch.int8}, {"spec": Spec(1.0, same)})
    with Applied(rows_of(launch)) as applied:
        found = [launch(**given) for given in others]
        x = torch.zeros(512, dtype=torch.int32)
        of_classes[blocks](x, 512, Mode.FAST, Spec(1.0, same), torch.int16, BLOCK=32)
    return {"found": [*found, x.unique().item()], "rebuilt": rebuilt_and_launched(launch), **applied.told()}


def rebuilt_and_launched(launch):
    """What the launch writes if function and arguments are made anew from a capture of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run.capture")
        with recording(path, "summary"):
            launch()
        capture = read_capture(path)
        (found,) = capture.launches

        def function(digest):
            return rebuild_function(digest, capture.functions(), Path(folder))

        digest = next(d for d, part in capture.functions().items() if part is found.function)
        made = rebuild_arguments(found, 0, function)
        function(digest)[tuple(found.grid["came_out"])](**made.arguments)
    return made.tensors["x"].unique().tolist()


@triton.heuristics({"DOUBLED": lambda a: bool(a["DOUBLED"])})
@triton.jit
def asked(x, n, BLOCK: tl.constexpr, DOUBLED: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, BLOCK, mask=at < n)


def passed_to_a_heuristic():
    """The program passes what a heuristic then sets, so launches differ in it."""

    def launch(doubled=True):
        x = torch.zeros(512)
        asked[blocks](x, 512, BLOCK=32, DOUBLED=doubled)
        return x.unique().item()

    with Applied(rows_of(launch)) as applied:
        found = [launch(), launch(False), launch()]
    return {"found": found, **applied.told()}


@triton.jit
def named_like_options(x, n, BLOCK: tl.constexpr, num_warps: tl.constexpr, num_stages: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, num_warps * 100 + num_stages, mask=at < n)


def parameters_named_like_options():
    def launch():
        x = torch.zeros(512)
        named_like_options[blocks](x, 512, BLOCK=32, num_warps=4, num_stages=2)
        return x.unique().item()

    return both(rows_of(launch), launch, times=3)


def hooks_made_alike():
    """Each of the autotuner's configs has a hook of its own, made by one function of the same names."""

    def launch():
        out = torch.full((N,), 7.0)
        with_lambdas[blocks](torch.ones(N), None, out, N)
        return out.unique().item(), with_lambdas.best_config.kwargs["BLOCK"]

    rows = rows_of(launch)
    with_lambdas.cache.clear()
    with Applied(rows) as applied:
        found = [launch(), launch()]
    return {"found": found, **applied.told()}


def capture_styles(path):
    """Record the launches of ``program_styles.py``."""
    with recording(path, "summary"):
        launch_all()
    return path


class Entry(KernelInterface):
    """A program's own class, between a decorator of Triton's and the function."""

    def __init__(self, fn):
        self.fn, self.arg_names = fn, fn.arg_names

    def run(self, *args, grid, warmup, **kwargs):
        return self.fn.run(*args, grid=grid, warmup=warmup, **kwargs)


@triton.heuristics({"FLAG": lambda a: 1})
@Entry
@triton.jit
def through_a_class(x, n, BLOCK: tl.constexpr, FLAG: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, BLOCK, mask=at < n)


def a_class_between():
    def launch():
        x = torch.zeros(512)
        through_a_class[blocks](x, 512, BLOCK=32)
        return x.unique().tolist()

    rows = rows_of(launch)
    kept = [dataclasses.replace(r, decision=None, status="stock") for r in rows]
    return both(rows, launch, times=3), both(kept, launch, times=3)


SCENES = (
    a_class_between,
    arguments_of_classes,
    capture_styles,
    hooks_made_alike,
    parameters_named_like_options,
    passed_to_a_heuristic,
    memory_that_cannot_be_read,
    memory_of_a_descriptor,
    parameters_named_like_ours,
    patched_later,
    launcher_held_over_tables,
    one_for_true,
    refused_after_writing,
)
