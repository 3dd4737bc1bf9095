"""Captured launches of more programs than the interpreter runs: a sample is compared, and the answer says so."""

import json
import re

import numpy as np
import pytest

from agent.cli.commands import main
from kernels.capture.reading.captured_launches import read_capture
from kernels.captured import spec as captured_spec
from kernels.captured.captured_kernels import reference_of
from kernels.editing.editable import editable
from kernels.editing.variants import keep, make_variant, text_of
from kernels.registry import get
from tests.captures import as_if_larger, capture_text
from tests.kernels.editing.test_variants import H200
from tools.harness.checking.float64.promoted_reference import PromotingInterpreter
from tools.harness.checking.owner_survey import OwnerSurvey
from tools.harness.checking.sampling.left_out_elements import left_out

pytestmark = pytest.mark.process

TIMES = 50_000
LIMIT_S = 4.0
CAPTURED = f"""
import sys
import torch, triton, triton.language as tl
from agent.programs import capture

@triton.jit
def scale(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)

@triton.jit
def planes(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    plane = (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(2) + tl.program_id(2)
    at = plane * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) + 1, mask=at < n)

@triton.jit
def ticket(x_ptr, out_ptr, count_ptr, n, BLOCK: tl.constexpr):
    at = tl.atomic_add(count_ptr, 1) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)

@triton.jit
def chained(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    before = tl.load(out_ptr + at - BLOCK, mask=(at >= BLOCK) & (at < n), other=0.0)
    tl.store(out_ptr + at, before + tl.load(x_ptr + at, mask=at < n), mask=at < n)

@triton.jit
def last_alone(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    if tl.program_id(0) == tl.num_programs(0) - 1:
        at = tl.arange(0, BLOCK)
        tl.store(out_ptr + at, 2 * tl.load(x_ptr + at))

@triton.jit
def summed(x_ptr, out_ptr, total_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    tl.store(out_ptr + at, x * x, mask=at < n)
    tl.atomic_add(total_ptr, tl.sum(x))

n = 4 * {TIMES} * 16 - 5
x, out = torch.rand(n) + 1, torch.zeros(n)
few = lambda meta: (64 // meta["BLOCK"],)
with capture(sys.argv[1]):
    scale[few](x, out, n, BLOCK=16)
    planes[(1, 4, 3)](x, out, n, BLOCK=4)
    ticket[(4,)](x, out, torch.zeros(1, dtype=torch.int32), n, BLOCK=16)
    chained[(4,)](x, out, n, BLOCK=16)
    last_alone[(4,)](x, out, n, BLOCK=16)
    summed[(4,)](x, out, torch.zeros(1), n, BLOCK=16)
"""
SCALE = """
@triton.jit
def scale(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    last = tl.num_programs(0) - 1
    at = program * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, x + x, mask=at < n)
"""
TWO_BLOCKS = """
@triton.jit
def scale(x_ptr, out_ptr, n, BLOCK: tl.constexpr, TURNS: tl.constexpr):
    for i in tl.static_range(TURNS):
        at = (tl.program_id(0) * TURNS + i) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n)
        tl.store(out_ptr + at, x + x, mask=at < n)
"""


def pairs(**programs):
    """Elements with the program that stores them: ``p3=range(12, 16)``."""
    found = sorted((e, int(name[1:])) for name, elements in programs.items() for e in elements)
    return np.array(found, dtype=np.int64).T.reshape(2, -1)


BLOCKS = {"p0": range(4), "p1": range(4, 8), "p2": range(8, 12), "p9": range(36, 40)}
HALVES = {"p0": range(2), "p1": range(2, 4), "p19": range(38, 40)}
PAIRS = {"p0": range(8), "p1": range(8, 16)}
BY_TENS = {"p0": [*range(4), *range(8, 12)], "p1": [*range(4, 8), *range(12, 16)]}


@pytest.mark.parametrize(
    ("ours", "programs", "status"),
    [
        (BLOCKS, 10, ""),
        ({**BLOCKS, "p9": range(36, 39)}, 10, "correctness"),
        ({**BLOCKS, "p0": range(1, 4)}, 10, "correctness"),
        ({**BLOCKS, "p9": ()}, 10, "correctness"),
        ({**BLOCKS, "p2": range(8, 11)}, 10, "infrastructure"),
        ({name: list(elements)[:2] for name, elements in BLOCKS.items()}, 10, "infrastructure"),
        ({"p0": range(36, 40), "p9": range(4)}, 10, ""),  # in reverse, and nothing is known of the others
        ({"p0": range(4), "p2": range(4, 8), "p4": range(8, 12)}, 10, ""),  # in another order
        ({**BLOCKS, "p9": range(36, 39), "p1": range(4, 6), "p2": [6, 7, *range(8, 12)]}, 10, ""),  # other borders
        ({**PAIRS, "p4": range(32, 40)}, 5, ""),
        ({**PAIRS, "p4": range(32, 38)}, 5, "correctness"),
        ({**PAIRS, "p3": range(24, 32)}, 4, ""),  # too few programs to tell their order
        (BY_TENS, 2, ""),  # a loop over blocks: nothing shows who is to store the last one
        (HALVES, 20, ""),
    ],
)
def test_what_programs_leave_out(ours, programs, status):
    found = left_out({"y": pairs(**ours)}, {"y": pairs(**BLOCKS)}, (programs, 1, 1), (10, 1, 1))
    assert found[0] == status, found
    if status == "correctness":
        which = r"which the (first|last) program of the owner's code stores"
        assert re.fullmatch(f"it does not store [124] elements? of y, {which}", found[1])


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (lambda program: (2 * program, 2 * program + 1), "correctness"),  # in order, on a grid that was rounded down
        (lambda program: range(program, 101, 50), ""),  # in steps of the grid
    ],
)
def test_a_block_that_is_due_to_nobody(step, status):
    owners = [number for program in (0, 1, 20, 21, 48, 49) for number in {*step(program), 2 * program, 100}]
    theirs = {f"p{number}": range(4 * number, 4 * number + 4) for number in owners}
    ours = {
        f"p{program}": [e for number in step(program) if number != 100 for e in range(4 * number, 4 * number + 4)]
        for program in (0, 1, 20, 21, 48, 49)
    }
    assert left_out({"y": pairs(**ours)}, {"y": pairs(**theirs)}, (50, 1, 1), (101, 1, 1))[0] == status


def test_what_several_of_the_owners_programs_store_may_be_stored_by_others():
    owners = {"y": pairs(**BLOCKS), "count": pairs(p1=[0], p2=[0])}
    ours = {"y": pairs(**BLOCKS), "count": pairs()}
    assert left_out(ours, owners, (10, 1, 1), (10, 1, 1)) == ("", "")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    few = capture_text(tmp_path_factory.mktemp("large") / "few.capture", CAPTURED)
    return as_if_larger(few, few.with_name("run.capture"), TIMES)


@pytest.fixture(scope="module")
def kernels(path):
    """Captured kernels by the function's name."""
    return {x.name: get(reference_of(str(path), x.digest)) for x in read_capture(str(path)).launches}


def edited(kernels, folder, source, meta=None, grid=""):
    spec = kernels["scale"]
    kernel = editable(spec, folder, spec.found_as)
    variant = make_variant(kernel.owner(kernel.default_problem(), H200, "scale"), source, meta or {}, grid)
    keep(variant, folder)
    own = kernel.default_config(kernel.default_problem(), H200).model_dump()
    return kernel, kernel.config_type(**own, edit=text_of(variant, {n: v[0] for n, v in (meta or {}).items()}))


@pytest.fixture
def check(interpreter, kernels, tmp_path):
    def checked(source, meta=None, grid=""):
        kernel, config = edited(kernels, tmp_path, source, meta, grid)
        (found,) = interpreter.check(kernel, kernel.default_problem(), [config], "H200", LIMIT_S)
        return found

    return checked


def test_an_edit_of_a_large_launch_is_judged_by_a_sample(check):
    right = check(SCALE)
    assert (right.status, right.reason) == ("correct", "")
    assert right.programs == "16 of 200,000 programs"
    wrong = check(SCALE.replace("x + x", "x + x * 1.01"))
    assert wrong.status == "correctness"
    assert wrong.error == pytest.approx(0.005, rel=0.1)
    assert re.fullmatch("scale-relative error 0.00.* is above the bound .*", wrong.reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("x + x,", "tl.where(program == last, 3 * x, x + x),"), "scale-relative error 0."),
        (("x + x,", "tl.where(program == 0, 3 * x, x + x),"), "scale-relative error 0."),
        (("mask=at < n)\n    tl.store", "mask=at < n - 3, other=0.0)\n    tl.store"), "scale-relative error "),
        (("x + x, mask=at < n", "x + x, mask=at < n - 3"), "it does not store 3 elements of out_ptr, which the last "),
        (("x + x, mask=at < n", "x + x, mask=at < last * BLOCK"), "it does not store 11 elements of out_ptr, which "),
        (
            ("x + x, mask=at < n", "x + x, mask=(at > 0) & (at < n)"),
            "it does not store 1 element of out_ptr, which the ",
        ),
    ],
)
def test_what_is_wrong_in_the_last_or_the_first_program_alone_is_found(check, change, reason):
    found = check(SCALE.replace(*change))
    assert found.status == "correctness", found
    assert found.reason.startswith(reason)
    assert found.programs.endswith(" of 200,000 programs")


def test_a_sample_that_stores_less_than_the_owners_programs_is_no_verdict(check):
    found = check(SCALE.replace("x + x, mask=at < n", "x + x, mask=(at < n) & (at % 16 < 8)"))
    assert found.status == "infrastructure"
    assert found.reason == (
        "16 of 200,000 programs ran in the interpreter: its programs store less of out_ptr than the same programs of "
        "the owner's code; the card decides"
    )


def test_another_order_of_programs_is_right(check):
    found = check(SCALE.replace("program * BLOCK", "(last - program) * BLOCK"))
    assert found.status == "correct", found
    assert int(found.programs.removesuffix(" of 200,000 programs")) >= 4


def test_an_edit_with_another_grid_is_compared_with_the_same_share_of_the_owners(check):
    about = {"TURNS": [2]}, "cdiv(n, BLOCK * TURNS)"
    right = check(TWO_BLOCKS, *about)
    assert right.status == "correct", right
    assert right.programs == "16 of 100,000 programs"
    for source, grid, count in (
        (TWO_BLOCKS.replace("x + x, mask=at < n", "x + x, mask=at < n - 3"), about[1], 3),
        (TWO_BLOCKS, "n // (BLOCK * TURNS)", 11),
    ):
        short = check(source, about[0], grid)
        assert short.status == "correctness", short
        assert short.reason == (
            f"it does not store {count} elements of out_ptr, which the last program of the owner's code stores"
        )


def test_a_config_of_a_large_launch_is_judged_by_a_sample(interpreter, kernels):
    spec = kernels["scale"]
    problem = spec.default_problem()
    configs = [next(c for c in spec.promising(problem, H200) if c.BLOCK == 32), spec.owner_config()]
    for found, programs in zip(interpreter.check(spec, problem, configs, "H200"), (100_000, 200_000), strict=True):
        assert found.status == "correct", found
        assert found.programs == f"16 of {programs:,} programs"


def test_grids_of_three_dimensions_and_sums_by_atomics(interpreter, kernels):
    for name, programs in (
        ("planes", "16 of 600,000 programs"),
        ("summed", "16 of 200,000 programs, without total_ptr"),
    ):
        spec = kernels[name]
        (found,) = interpreter.check(spec, spec.default_problem(), [spec.owner_config()], "H200")
        assert (found.status, found.programs) == ("correct", programs), found


def test_programs_that_depend_on_one_another_are_no_verdict(interpreter, kernels):
    for name in ("ticket", "chained"):
        spec = kernels[name]
        (found,) = interpreter.check(spec, spec.default_problem(), [spec.owner_config()], "H200")
        assert found.status == "infrastructure"
        assert found.programs is None
        assert found.reason == (
            "16 of 200,000 programs ran in the interpreter: its programs depend on one another, so that some of them "
            "say nothing: check it on a GPU (--device cuda:0)"
        )


def test_a_verdict_that_rests_on_one_program_says_so(interpreter, kernels):
    spec = kernels["last_alone"]
    (found,) = interpreter.check(spec, spec.default_problem(), [spec.owner_config()], "H200")
    assert found.status == "correct"
    assert found.programs == "1 of 200,000 programs, and one alone is weak evidence"


def test_arguments_that_do_not_fit_are_one_sentence(interpreter, kernels, monkeypatch):
    spec = kernels["scale"]
    assert spec.argument_bytes == 2 * 4 * (4 * TIMES * 16 - 5)
    monkeypatch.setattr(captured_spec, "SAMPLED_BYTES", 8 << 20)
    (found,) = interpreter.check(spec, spec.default_problem(), [spec.owner_config()], "H200")
    assert found.status == "infrastructure"
    assert found.reason == (
        "its 24 MiB are too many for Triton's interpreter (at most 8): check it on a GPU (--device cuda:0)"
    )


@pytest.mark.long
def test_a_large_launch_is_surveyed_by_a_sample(path, kernels):
    survey, promoting = OwnerSurvey("cpu"), PromotingInterpreter()
    try:
        exact = promoting.reference(str(path), kernels["scale"].captured.digest, 1)
        assert survey.damping(kernels["scale"].found_as, 1) == 0
        scale = survey.survey(kernels["scale"].found_as, exact, 1)
        assert scale.reason is None
        assert scale.programs == "16 of 200,000 programs"
        assert (scale.overwritten, scale.unchanged) == ((), ())
        assert scale.repeats == {"out_ptr": 0.0}
        assert scale.errors == {"out_ptr": 0.0}, "to double a number rounds nothing"
        ticket = survey.survey(kernels["ticket"].found_as, exact, 1)
        assert ticket.reason == ("its programs depend on one another, and its 200,000 take too long in the interpreter")
    finally:
        survey.close()
        promoting.close()


@pytest.mark.long
def test_improve_checks_configs_of_a_large_launch(path, tmp_path, capsys):
    out = tmp_path / "tuned.json"
    words = ["improve", str(path), "-o", str(out), "--device", "interpreter", "--share", "1", "--json"]
    assert main([*words, "--kernel", "scale,chained", "--memory", str(tmp_path / "m.db")]) == 3
    capsys.readouterr()
    table = json.loads(out.read_text())
    ((_, evidence),) = table["evidence"].items()
    assert evidence["why"].endswith("; what is compared is a sample (16 of 200,000 programs)")
    assert evidence["surveyed"] == "16 of 200,000 programs"
    assert [c["status"] for c in evidence["checked"]] == ["correct"] * 3
    sizes = {f"16 of {200_000 * 16 // c['config']['BLOCK']:,} programs": c["programs"] for c in evidence["checked"]}
    assert all(said == wanted for wanted, said in sizes.items())
    assert [c["error"] for c in evidence["checked"]] == [{"out_ptr": 0.0}] * 3
    (rest,) = table["untuned"]
    assert "its programs depend on one another, and its 200,000 take too long in the interpreter" in rest["reason"]
