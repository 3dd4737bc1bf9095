"""The interpreter's check of edited code under a limit: everything if it fits, else a sample of the programs."""

import math
import random
import re
import time

import pytest

from kernels.capture.reading.captured_launches import read_capture
from kernels.captured.captured_kernels import reference_of
from kernels.editing.editable import editable
from kernels.editing.variants import keep, make_variant, text_of
from kernels.registry import get
from tests.captures import capture_text
from tests.exploits.axpy import Axpy, AxpyProblem
from tests.kernels.editing.test_variants import GRID, H200, HONEST, META, RACING, WRONG
from tools.harness.checking.sampling.program_sample import (
    MOST_NOTED,
    MOST_TRIED,
    PROGRAMS,
    Ran,
    counterparts,
    place_of,
    spread_places,
    until,
)
from tools.harness.process.identity import describe

BLOCK = 256
MANY = 60_000
"""Programs of the owner's launch: tens of seconds in the interpreter."""
LIMIT_S = 8.0


class LongAxpy(Axpy):
    """Its launch does not fit in the time."""

    name = "long_axpy"

    def default_config(self, problem, hardware):
        return self.config_type(BLOCK=BLOCK)

    def candidates(self, problem, hardware):
        yield self.config_type(BLOCK=BLOCK)

    def reduced(self, problem, config):
        return AxpyProblem(N=MANY * BLOCK - 17, dtype=problem.dtype)


class TwiceLongAxpy(LongAxpy):
    name = "twice_long_axpy"

    def launch(self, problem, config, inputs, out, hardware):
        for _ in range(2):
            super().launch(problem, config, inputs, out, hardware)


def test_all_programs_come_once_and_neighbours_come_first():
    for grid in [(1, 1, 1), (3, 1, 1), (132, 1, 1), (4, 5, 6), (1, 40, 1)]:
        places = list(spread_places(grid, random.Random(0)))
        assert sorted(places) == [place_of(n, grid) for n in range(math.prod(grid))]
        first = places[:PROGRAMS]
        assert {place_of(0, grid), place_of(math.prod(grid) - 1, grid)} <= set(first)
        for place in first[:4] if math.prod(grid) > 1 else ():
            assert any(sum(abs(a - b) for a, b in zip(place, other, strict=True)) == 1 for other in first), place
    assert list(spread_places((0, 1, 1), random.Random(0))) == []


def test_the_owners_programs_that_do_the_same_work():
    assert counterparts([(5, 0, 0), (1, 0, 0)], (9, 1, 1), (9, 1, 1)) == [(5, 0, 0), (1, 0, 0)]
    assert counterparts([(3, 1, 0)], (4, 2, 1), (4, 1, 1)) == [(3, 0, 0)], "a part of a row is in the row"
    several_rows = counterparts([(1, 0, 0)], (3, 1, 1), (9, 1, 1))
    assert several_rows[:3] == [(3, 0, 0), (4, 0, 0), (5, 0, 0)]
    assert {(1, 0, 0), (7, 0, 0)} <= set(several_rows), "a persistent program goes on in steps of the grid"


def test_a_launch_that_does_not_fit_runs_few_programs():
    def run(seconds):
        ran, enough = Ran((1000, 1, 1)), until(time.monotonic() + seconds)
        while len(ran.places) < ran.total and not enough(ran):
            time.sleep(0.001)
            ran.places.append((len(ran.places), 0, 0))
        return len(ran.places)

    assert run(0.2) == PROGRAMS
    assert run(60.0) == 1000
    assert run(-1.0) == 0


def test_programs_that_show_nothing_are_followed_by_others():
    def run(shown, large=None):
        ran = Ran((1000, 1, 1))
        enough = until(time.monotonic() + 60, PROGRAMS, shown, large)
        while len(ran.places) < ran.total and not enough(ran):
            ran.places.append((len(ran.places), 0, 0))
        return len(ran.places)

    def every_fourth(ran):
        return len(ran.places) // 4

    def every_one(ran):
        return len(ran.places)

    assert run(every_one, lambda: 0) == PROGRAMS, "large arguments"
    assert run(every_one, lambda: MOST_NOTED + 1) == 0, "too many accesses were noted"
    assert run(every_fourth, lambda: 0) == 4 * PROGRAMS
    assert run(lambda ran: 0, lambda: 0) == MOST_TRIED
    assert run(lambda ran: 0) == 1000, "all fit"


def config_of(kernel, problem, source, folder, **values):
    variant = make_variant(kernel.owner(problem, H200, "axpy"), source, META, GRID)
    keep(variant, folder)
    return kernel.config_type(**values, edit=text_of(variant, {"TURNS": 2}))


def checked(interpreter, spec, source, folder, limit_s=LIMIT_S, **values):
    kernel = editable(spec, folder, describe(spec, AxpyProblem())["kernel"])
    config = config_of(kernel, AxpyProblem(), source, folder, **values)
    (found,) = interpreter.check(kernel, AxpyProblem(), [config], "H200", limit_s)
    return found


@pytest.mark.long
@pytest.mark.process
@pytest.mark.parametrize("source", [HONEST, WRONG, RACING])
def test_what_fits_in_the_time_is_checked_whole(source, interpreter, tmp_path):
    whole, in_time = (checked(interpreter, Axpy(), source, tmp_path, limit) for limit in (None, 60.0))
    assert in_time.programs is None
    assert in_time.status == whole.status
    assert in_time.reason[:20] == whole.reason[:20]


@pytest.mark.long
@pytest.mark.process
def test_what_does_not_fit_is_judged_by_some_of_its_programs(interpreter, tmp_path):
    began = time.monotonic()
    honest, wrong, raced = (checked(interpreter, LongAxpy(), s, tmp_path, BLOCK=BLOCK) for s in (HONEST, WRONG, RACING))
    assert time.monotonic() - began < 3 * LIMIT_S + 5
    assert honest.status == "correct", honest
    assert re.fullmatch(f"1[67] of {MANY // 2:,} programs", honest.programs)
    assert wrong.status == "correctness"
    assert "scale-relative error" in wrong.reason
    assert raced.status == "correctness"
    assert "what another one stores in the same launch" in raced.reason


@pytest.mark.process
def test_a_check_that_was_cut_short_is_no_verdict(interpreter, tmp_path):
    for found in (
        checked(interpreter, TwiceLongAxpy(), WRONG, tmp_path, BLOCK=BLOCK),
        checked(interpreter, LongAxpy(), WRONG, tmp_path, 0.01, BLOCK=BLOCK),
    ):
        assert found.status == "infrastructure", found
        assert found.reason.startswith("not interpreted: ")
        assert found.reason.endswith("s were not enough; the card decides")


CAPTURED = """
import sys
import torch, triton, triton.language as tl
from agent.programs import capture

@triton.jit
def axpy(x_ptr, y_ptr, out_ptr, total_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    for _ in range(2):
        x = tl.sqrt(x * x + 1.0)
    tl.store(out_ptr + at, x + tl.load(y_ptr + at, mask=at < n, other=0.0), mask=at < n)
    tl.atomic_add(total_ptr, tl.sum(x))

n = 2000 * 16 - 5
with capture(sys.argv[1]):
    axpy[(2000,)](torch.rand(n), torch.rand(n), torch.empty(n), torch.zeros(1), n, BLOCK=16)
"""
VARIANT = """
@triton.jit
def axpy(x_ptr, y_ptr, out_ptr, total_ptr, n, BLOCK: tl.constexpr, TURNS: tl.constexpr):
    for i in tl.static_range(TURNS):
        at = (tl.program_id(0) * TURNS + i) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n, other=0.0)
        for _ in range(2):
            x = tl.sqrt(x * x + 1.0)
        tl.store(out_ptr + at, x + tl.load(y_ptr + at, mask=at < n, other=0.0), mask=at < n)
        tl.atomic_add(total_ptr, tl.sum(x))
"""


@pytest.mark.long
@pytest.mark.process
def test_a_captured_launch_is_compared_with_the_owners_programs(interpreter, tmp_path):
    path = capture_text(tmp_path / "run.capture", CAPTURED)
    (launch,) = read_capture(str(path)).launches
    reference = reference_of(str(path), launch.digest)
    kernel = editable(get(reference), tmp_path / "variants", reference)
    problem = kernel.default_problem()
    own = kernel.default_config(problem, H200).model_dump()
    nothing = VARIANT.replace("    for i in tl", "    if tl.program_id(0) >= 0:\n        return\n    for i in tl")
    sources = (VARIANT, VARIANT.replace("x + tl.load(y", "1.5 * x + tl.load(y"), nothing)
    configs = [config_of(kernel, problem, s, kernel.folder, **own) for s in sources]
    right, wrong, idle = interpreter.check(kernel, problem, configs, "H200", 3.0)
    assert right.status == "correct", right
    assert re.fullmatch(r"\d+ of 1,000 programs, without total_ptr", right.programs)
    assert 3 <= int(right.programs.split()[0]) <= PROGRAMS + 1
    assert (wrong.status, wrong.reason.partition(":")[0]) == ("correctness", "result out_ptr")
    assert idle.status == "correctness", "all of its programs ran, and stored nothing"
