"""Triton's compiled path is captured: compiled kernels, the autotuner, direct launches. The driver launches nothing."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import driver

from agent.programs import capture
from kernels.capture.hooks import BENCHMARK, DIRECT
from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.reading.launch_space import space_of
from tests.kernels.capture.launching_driver import LaunchingDriver

pytestmark = pytest.mark.compile


@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (4, 8)], key=["n"])
@triton.jit
def tuned(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


@triton.jit
def in_place(x_ptr, one, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) + one, mask=at < n)


def grid(meta):
    return (triton.cdiv(meta["n"], meta["BLOCK"]),)


def run_again(compiled, grid, *args):
    """As libraries do that save the time which Triton takes to bind arguments."""
    about = compiled.function, compiled.packed_metadata
    compiled.run(grid, 1, 1, driver.active.get_current_stream(0), *about, None, None, None, *args)


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "run.capture"
    before = driver._active
    driver.set_active(LaunchingDriver())
    try:
        x = torch.randn(5000)
        with capture(path):
            for _ in range(4):
                tuned[grid](x, torch.empty_like(x), x.numel())
            for _ in range(3):
                compiled = in_place[grid](x, 1, x.numel(), BLOCK=512, num_warps=8)
            compiled[(4, 1, 1)](x, 1, x.numel(), 512)
            compiled[(4, 1, 1)](x, 1, x.numel())  # as libraries do that keep compiled kernels by themselves
            run_again(in_place[(10,)](x, 1, x.numel(), BLOCK=512, num_warps=2), 10, x, 1, x.numel())
            run_again(compiled, 11, x, 1, x.numel())  # of a grid that is a function
            warm = in_place.warmup(x, 1, x.numel(), BLOCK=256, num_stages=2, maxnreg=64, grid=(1,))
            warm[(20, 1, 1)](x, 1, x.numel(), 256)
            warm[(20, 1, 1)](x, 1, x.numel(), 256, stream=0)
        launched = driver.active.utils.launched
        in_place[grid](x, 1, x.numel(), BLOCK=512, num_warps=8)
        assert driver.active.utils.launched == launched + 1
    finally:
        driver._active = before
    return read_capture(str(path)), launched


def test_every_launch_is_recorded_or_listed(captured):
    found, launched = captured
    assert launched == 4 + 4 + 3 + 2 + 2 + 1 + 2
    counts = [*[("in_place", 2)] * 3, ("in_place", 3), ("tuned", 4)]
    assert sorted((x.name, x.count) for x in found.launches) == counts
    assert found.unseen == {(BENCHMARK, "tuned"): 4, (DIRECT, "in_place"): 1}


@pytest.mark.parametrize(
    ("count", "grid", "block", "options"),
    [(2, 4, 512, {"num_warps": 8, "num_stages": 3}), (2, 20, 256, {"num_warps": 4, "num_stages": 2, "maxnreg": 64})],
)
def test_a_compiled_kernel_that_the_program_launches_is_a_launch_of_its_function(captured, count, grid, block, options):
    (launch,) = (x for x in captured[0].launches if x.grid["came_out"] == [grid, 1, 1])
    assert launch.count == count
    assert not launch.grid["callable"]
    assert launch.arguments["BLOCK"] == {"type": "int", "value": block, "constexpr": True}
    assert launch.arguments["x_ptr"]["shape"] == [5000]
    assert launch.options == options
    assert launch.writes == {"x_ptr": ["store"]}
    assert {dict(c.values).get("BLOCK", block) for c in space_of(launch).configs} == {block}


def test_a_launch_that_is_repeated_by_its_launcher_counts_again(captured):
    (launch,) = (x for x in captured[0].launches if x.options == {"num_warps": 2})
    assert (launch.count, launch.grid) == (2, {"callable": False, "came_out": [10]})


def test_writes_are_read_from_the_code(captured):
    found, _ = captured
    for launch in found.launches:
        assert launch.writes == ({"out_ptr": ["store"]} if launch.name == "tuned" else {"x_ptr": ["store"]})
        assert launch.observed["changed"] == []  # nothing ran
        assert launch.device["kind"] == "cuda"
        assert launch.device["arch"] == 90


def test_choice_grid_and_space(captured):
    found, _ = captured
    launch = next(x for x in found.launches if x.name == "tuned")
    assert launch.config["kwargs"] == {"BLOCK": 256}
    assert launch.grid["came_out"] == [20]
    configs = {(dict(c.values)["BLOCK"], c.num_warps): c.grid for c in space_of(launch).configs}
    assert configs[1024, 8] == (5,)
    assert configs[512, 4] == (10,)
    assert configs[128, 4] == (40,)


def test_after_the_block_nothing_is_patched(captured):
    assert "kernels.capture" not in triton.JITFunction.run.__globals__["__name__"]
    assert not hasattr(triton.JITFunction.run, "__wrapped__")
