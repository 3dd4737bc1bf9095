"""Hooks, heuristics and Python functions that a kernel calls as it is compiled: what is kept of them and made anew."""

from __future__ import annotations

import collections
import functools

import pytest
import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels.capture.describing.decorators import reference
from kernels.capture.describing.device_closure import describe_function
from kernels.capture.reading.rebuilt_functions import rebuild_function, rebuild_host_function
from kernels.triton.stub_driver import StubDriver

BLOCKS = {"small": 16, "large": [64, 128]}
SEEN = collections.deque()


def zero_each(names):
    return lambda named: [named[n].zero_() for n in names if named[n] is not None]


def largest(limit=None):
    return max(BLOCKS["large"]) if limit is None else limit


def marked(function):
    function.marked = True
    return function


def twice(function):
    @functools.wraps(function)
    def called(*args):
        return function(*args) * 2

    return called


@marked
def block_of(named, *, wide=64):
    return BLOCKS["small"] if named["n"] < wide else largest()


@twice
def half_of(named):
    return named["n"] // 2


def countdown(n):
    return 0 if n == 0 else countdown(n - 1)


def made_anew(function):
    kept = {n: v for n, v in reference(function).items() if n != "import"}
    assert kept.keys() >= {"source", "bindings"}
    return rebuild_host_function(kept)


def test_a_hook_of_a_factory_keeps_the_names_in_its_list():
    x, y = torch.ones(2), torch.ones(2)
    made_anew(zero_each(["x", "absent"]))({"x": x, "y": y, "absent": None})
    assert (x.sum(), y.sum()) == (0, 2)


@pytest.mark.parametrize("n", [8, 64])
@pytest.mark.parametrize(
    "function",
    [
        block_of,
        half_of,
        lambda named: largest(),
        lambda named, wide=BLOCKS["small"]: named["n"] + wide,
        lambda named: BLOCKS["large"][0] if named["n"] > 8 else largest(7),
    ],
    ids=["calls another", "decorated", "lambda", "default", "dictionary"],
)
def test_functions_that_functions_call_are_kept_with_their_defaults(function, n):
    assert made_anew(function)({"n": n}) == function({"n": n})
    assert reference(made_anew(function))["source"] == reference(function)["source"]


@pytest.mark.parametrize("function", [lambda named: countdown(named["n"]), lambda named: len(SEEN)])
def test_what_cannot_be_kept_is_named(function):
    assert reference(function) == {"local": "<lambda>"}


@tl.constexpr
def wider(dtype):
    return tl.float32 if dtype == tl.float16 else dtype


@triton.jit
def summed(x_ptr, out_ptr, BLOCK: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, BLOCK))
    tl.store(out_ptr, tl.sum(x.to(wider(x.dtype))))


@pytest.mark.compile
def test_a_python_function_that_a_kernel_calls_as_it_is_compiled_is_made_anew(tmp_path, monkeypatch):
    parts = {}

    def keep(kind, body):
        return parts.setdefault(str(len(parts)), body) and str(len(parts) - 1)

    digest = describe_function(summed, keep)
    made = rebuild_function(digest, parts, tmp_path)
    again = parts[describe_function(made, keep)]
    assert again["identity"] == parts[digest]["identity"]
    monkeypatch.setattr(triton.runtime.driver, "_active", StubDriver(GPUTarget("cuda", 90, 32)))
    source = ASTSource(made, {"x_ptr": "*fp16", "out_ptr": "*fp32", "BLOCK": "constexpr"}, {(2,): 64})
    assert "arith.extf" in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ttir"]
