"""A finalist of a captured launch is tried on the other captured launches of its function."""

import pytest

from kernels.capture.reading.captured_launches import read_capture
from kernels.captured.captured_kernels import reference_of
from kernels.captured.other_launches import AS_OWNED, MOST_OTHERS
from kernels.hardware import hardware_named
from kernels.registry import get
from tests.captures import capture_text

pytestmark = pytest.mark.process

PROGRAM = """
import sys
import torch, triton
import triton.language as tl
from agent.programs import capture

BLOCKS = [triton.Config({"BLOCK": b}, num_warps=4) for b in (64, 128)]

@triton.autotune(BLOCKS, key=["n"])
@triton.jit
def fitted(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < (n if BLOCK == 64 else 300)
    tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=mask), mask=mask)

@triton.autotune(BLOCKS, key=["n"])
@triton.jit
def sound(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)

@triton.jit
def given(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)

@triton.jit
def alone(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)

grid = lambda m: (triton.cdiv(m["n"], m["BLOCK"]),)
torch.manual_seed(0)
with capture(sys.argv[1]):
    for n in (300, 500, 300, 700, 900, 1100):
        sound[grid](torch.randn(n), torch.empty(n), n)
    for n in (300, 500):
        fitted[grid](torch.randn(n), torch.empty(n), n)
        given[grid](torch.randn(n), torch.empty(n), n, BLOCK=64 if n == 300 else 256)
    alone[(1,)](torch.randn(100), 100, BLOCK=128)
"""


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """A function: the launch of a function on tensors of n elements."""
    path = str(capture_text(tmp_path_factory.mktemp("captured") / "run.capture", PROGRAM))
    found = {(x.name, x.arguments["n"]["value"]): x.digest for x in read_capture(path).launches}
    return lambda name, n: get(reference_of(path, found[name, n]))


def config_of(spec, **values):
    return next(c for c in spec.space(spec.default_problem(), hardware_named("H200")) if vars(c) == vars(c) | values)


def stressed(interpreter, spec, **values):
    return interpreter.stress(spec, spec.default_problem(), config_of(spec, **values), "H200")


def test_a_config_that_fits_one_shape_alone_is_rejected_by_another_launch(launch, interpreter):
    spec = launch("fitted", 300)
    other = launch("fitted", 500).captured.digest[:8]
    found = stressed(interpreter, spec, BLOCK=128)
    assert found.status == "correctness", found
    assert f"on shapes of launch {other}" in found.reason
    assert "constraint()" not in found.reason


def test_a_sound_config_is_right_on_other_shapes_and_the_verdict_names_them(launch, interpreter):
    found = stressed(interpreter, launch("sound", 300), BLOCK=128)
    assert found.status == "correct", found.reason
    tried = [kind for kind in found.tried if kind.startswith("shapes of launch")]
    assert len(tried) == MOST_OTHERS
    assert len({*tried, f"shapes of launch {launch('sound', 300).captured.digest[:8]}"}) == MOST_OTHERS + 1
    assert tried[0] in found.summary()
    assert f"{tried[0]} inputs" not in found.summary()


def test_constants_that_the_owner_gives_stay_there(launch):
    """Only an autotuner may choose a constant for any key."""
    spec = launch("given", 300)
    (other,), why_none = spec.other_launches(spec.default_problem(), config_of(spec, num_warps=8))
    assert other.config == config_of(launch("given", 500), num_warps=8)
    assert getattr(other.config, "BLOCK", 256) == 256
    assert why_none == ""


def test_where_no_other_launch_says_more_the_verdict_names_the_reason(launch, interpreter):
    found = stressed(interpreter, launch("alone", 100), num_warps=8)
    assert found.status == "correct", found.reason
    assert found.left_out["shapes of other launches"] == "the capture holds this function with these shapes alone"
    spec = launch("sound", 300)
    others, _ = spec.other_launches(spec.default_problem(), spec.owner_config())
    assert {other.why_not for other in others} == {AS_OWNED}
