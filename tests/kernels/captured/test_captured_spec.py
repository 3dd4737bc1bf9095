"""A captured launch as a kernel: its space, what it is compared with, and what a survey says of it."""

from __future__ import annotations

import sys
from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import triton
import triton.language as tl
from pydantic import ValidationError

from kernels.capture.capture_file import line_of
from kernels.capture.describing.device_closure import describe_function
from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.reading.launch_space import space_of
from kernels.capture.reading.rebuilt_functions import CannotRebuild
from kernels.captured.captured_kernels import captured_kernel, reference_of
from kernels.captured.captured_problem import rounded_up, written_bounds
from kernels.captured.program_waits import reason_to_wait
from kernels.captured.spec import GLANCE_MS, CapturedKernel
from kernels.hardware import hardware_named
from kernels.launches.leaves import tensors_in
from kernels.registry import get
from tests.captures import capture_text
from tools.harness.checking.float64.promoted_reference import PromotingInterpreter
from tools.harness.checking.held_out import held_out_shapes
from tools.harness.checking.own_kernel import own_kernel
from tools.harness.checking.owner_survey import OwnerSurvey

H200 = hardware_named("H200")

PROGRAM = """
import collections
import sys
import torch, triton
import triton.language as tl
from agent.programs import capture

BLOCKS = [triton.Config({"BLOCK": b}, num_warps=4) for b in (64, 128)]

@triton.autotune(BLOCKS, key=["n"])
@triton.jit
def shifted(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n).to(tl.float32) + BLOCK, mask=at < n)

@triton.jit
def half(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n // 2)

@triton.jit
def counted(x_ptr, seen_ptr, total_ptr, also_ptr, flag, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    tl.store(seen_ptr + at, (x > 0).to(tl.int32), mask=at < n)
    tl.atomic_add(total_ptr, tl.sum(x))
    if flag == 1:
        tl.store(also_ptr + at, x, mask=at < n)

@triton.jit
def doubled(x_ptr, at, mask):
    for start in range(0, 1):
        tl.store(x_ptr + at + start, tl.load(x_ptr + at + start, mask=mask) * 2, mask=mask)

NOTHING = collections.deque()

@triton.heuristics({"EVEN": lambda a: a["n"] % a["BLOCK"] == len(NOTHING)})
@triton.jit
def heuristic(x_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    doubled(x_ptr, at, at < n)

@triton.jit
def to_the_128th(x_ptr, out_ptr, BLOCK: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, BLOCK))
    for _ in range(7):
        x = x * x
    tl.store(out_ptr + tl.arange(0, BLOCK), x)

@triton.jit
def masked(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, tl.where(x > 0, x, float("-inf")), mask=at < n)

grid = lambda m: (triton.cdiv(m["n"], m["BLOCK"]),)
torch.manual_seed(0)
with capture(sys.argv[1]):
    shifted[grid](torch.randn(300), torch.empty(300), 300)
    base = torch.randn(800)
    half[grid](base[1:301], base[400:700], 300, BLOCK=64)
    seen = torch.zeros(200, dtype=torch.int32)
    counted[grid](torch.randn(200), seen, torch.zeros(1), torch.ones(200), 0, 200, BLOCK=64)
    heuristic[grid](torch.randn(200), 200, BLOCK=64)
    to_the_128th[(1,)](torch.randn(256), torch.empty(256), BLOCK=256)
    masked[grid](torch.randn(200), torch.empty(200), 200, BLOCK=64)
"""
DAMPED = {"to_the_128th": 1}
"""Launches whose results overflow on arguments drawn anew, with how often they have to be damped."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return capture_text(tmp_path_factory.mktemp("captured") / "run.capture", PROGRAM)


@pytest.fixture(scope="module")
def kernels(path):
    """Captured kernels by the function's name."""
    return {x.name: get(reference_of(str(path), x.digest)) for x in read_capture(str(path)).launches}


@pytest.fixture(scope="module")
def surveys(path, kernels):
    survey, exact = OwnerSurvey("cpu"), PromotingInterpreter()
    found = {}
    for name, kernel in kernels.items():
        damped = survey.damping(kernel.found_as, 1)
        assert damped == DAMPED.get(name, 0)
        reference = exact.reference(str(path), kernel.captured.digest, 1, damped=damped)
        found[name] = survey.survey(kernel.found_as, reference, 1, damped)
    yield found
    survey.close()
    exact.close()


def test_arguments_that_overflow_are_damped_and_the_launch_is_right_on_them(kernels, surveys):
    spec, found = kernels["to_the_128th"], surveys["to_the_128th"]
    assert found.reason is None
    assert 0 < found.errors["out_ptr"] < 1e-5
    drawn = [spec.inputs(spec.problem_of(damped=n), torch.Generator().manual_seed(3), "cpu")["x_ptr"] for n in (0, 1)]
    assert torch.equal(drawn[0], 4 * drawn[1])


def test_infinite_results_that_no_config_could_be_judged_by_are_named_before_a_search(surveys):
    assert (
        surveys["masked"].reason
        == "its result out_ptr holds NaN or infinity on arguments made anew, and such is not judged"
    )


def test_equal_references_find_one_kernel_and_the_start_of_a_digest_is_enough(kernels):
    kernel = kernels["shifted"]
    assert get(kernel.found_as) is kernel
    short = captured_kernel(kernel.found_as[:-6])
    assert short.found_as == kernel.found_as
    assert short.source_hash() == kernel.source_hash() != kernels["half"].source_hash()
    with pytest.raises(ValueError, match="captures show"):
        get(f"{kernel.found_as.partition('#')[0]}#ffff")


def test_a_config_that_no_table_can_hold_makes_no_kernel(path, tmp_path):
    capture = read_capture(str(path))
    launch = next(x for x in capture.launches if x.name == "shifted")
    configs = [{**c, "unkept": {"TYPE": "fp16"}} for c in launch.autotune["configs"]]
    found = replace(launch, decorators=({**launch.autotune, "configs": configs},))
    with pytest.raises(CannotRebuild, match="its autotuner sets TYPE to fp16, which no table can hold"):
        CapturedKernel(found, capture.functions(), tmp_path)


@pytest.mark.parametrize(("name", "value"), [("SCALE", 1.5), ("_BLOCK", 64)])
def test_an_autotuner_that_sets_what_no_search_moves_makes_no_kernel(path, tmp_path, name, value):
    """Its rows lacked the constant, so that no launch was served, and the autotuner's choice was no baseline."""
    capture = read_capture(str(path))
    launch = next(x for x in capture.launches if x.name == "shifted")
    configs = [{**c, "kwargs": {**c["kwargs"], name: value}} for c in launch.autotune["configs"]]
    chosen = {**launch.config, "kwargs": {**launch.config["kwargs"], name: value}}
    found = replace(launch, decorators=({**launch.autotune, "configs": configs},), config=chosen)
    with pytest.raises(CannotRebuild, match=f"its autotuner sets {name} to {value}, which no config"):
        CapturedKernel(found, capture.functions(), tmp_path)


def test_a_hook_in_the_programs_own_folder_is_found_where_the_search_path_has_no_such_folder(
    path, tmp_path, monkeypatch
):
    """Child processes of ours do not search the current folder: hooks that the main process ran were missing there."""
    (tmp_path / "hooks_beside_the_capture.py").write_text("def before(named): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    capture = read_capture(str(path))
    launch = next(x for x in capture.launches if x.name == "shifted")
    config = {**launch.config, "pre_hook": {"import": ["hooks_beside_the_capture", "before"]}}
    assert CapturedKernel(replace(launch, config=config), capture.functions(), tmp_path).has_hook


def test_a_process_that_misses_a_hook_knows_the_same_configs_and_refuses_those_that_need_it(path, tmp_path):
    capture = read_capture(str(path))
    launch = next(x for x in capture.launches if x.name == "shifted")
    heuristics = {"kind": "heuristics", "values": {"EVEN": {"import": ["no_such_module", "even"]}}}
    whole = CapturedKernel(launch, capture.functions(), tmp_path)
    misses = CapturedKernel(replace(launch, decorators=(*launch.decorators, heuristics)), capture.functions(), tmp_path)
    problem = misses.default_problem()
    moved = misses.config_type(**{**whole.owner_config().model_dump(), "BLOCK": 128})
    why = "no_such_module.even cannot be imported here (ModuleNotFoundError)"
    assert misses.constraint(problem, moved, H200) == why
    assert misses.constraint(problem, misses.owner_config(), H200) is None
    assert {c.BLOCK for c in misses.space(problem, H200)} == {whole.owner_config().BLOCK}
    with pytest.raises(CannotRebuild, match="no_such_module"):
        misses.launch(problem, moved, misses.inputs(problem, None, "meta"), {}, None)


def test_the_space_begins_with_the_owners_config_and_is_closed(kernels):
    kernel = kernels["shifted"]
    problem = kernel.default_problem()
    space = kernel.space(problem, H200)
    assert space[0] == kernel.owner_config() == kernel.default_config(problem, H200)
    assert kernel.promising(problem, H200)[0] == space[0]
    assert {c.BLOCK for c in space} == {32, 64, 128}
    assert len(space) == len(set(space))
    assert [c.BLOCK for c in kernel.tuner_configs()] == [64, 128]
    with pytest.raises(ValidationError):
        kernel.config_type(BLOCK=4096, num_warps=4, num_stages=3)
    assert [b.name for b in kernel.baselines(problem)] == ["owner", "autotuner"]
    assert [b.name for b in kernels["half"].baselines(problem)] == ["owner"]


def test_stages_move_only_where_there_is_a_loop_and_warps_stay_near(kernels):
    assert {c.num_stages for c in kernels["half"].launch_space.configs} == {3}
    assert {c.num_stages for c in kernels["heuristic"].launch_space.configs} == {1, 2, 3, 4, 5}  # its helper's loop
    assert {c.num_warps for c in kernels["half"].launch_space.configs} == {1, 2, 4, 8, 16, 32}
    assert {c.maxnreg for c in kernels["half"].launch_space.configs} == {None}  # in the interpreter nothing limits them


def test_on_an_nvidia_gpu_registers_are_limited_where_that_is_a_limit(path):
    (launch,) = [x for x in read_capture(str(path)).launches if x.name == "half"]
    launch.device.update(kind="cuda", arch=90)
    launch.options["num_warps"] = 16
    configs = space_of(launch, loops=False).configs
    limits = {(c.num_warps, c.maxnreg) for c in configs if c.values == configs[0].values and c.maxnreg is not None}
    assert limits == {(16, 32), (16, 64), (32, 32)}
    assert min(c.num_warps for c in configs) == 2
    launch.device["arch"] = "gfx942"
    assert all(c.maxnreg is None for c in space_of(launch, loops=False).configs)


def test_a_heuristic_that_reads_what_no_capture_holds_leaves_launch_options_alone(kernels):
    kernel = kernels["heuristic"]
    fields = set(kernel.config_type.model_fields)
    assert fields == {"num_warps", "num_stages"}
    assert "no module holds" in kernel.fixed["BLOCK"]


def test_only_a_captured_launch_without_a_hook_needs_no_census(kernels):
    kernel = kernels["half"]
    assert own_kernel(kernel) == "half"
    hooked = copy(kernel)
    object.__setattr__(hooked, "has_hook", True)
    assert own_kernel(hooked) is None
    claims = type("Claims", (CapturedKernel,), {})  # a spec may say of itself what it likes
    subclass = copy(kernel)
    subclass.__class__ = claims
    assert own_kernel(subclass) is None
    assert own_kernel(get("softmax")) is None


def test_shared_memory_and_offsets_are_kept(kernels):
    kernel = kernels["half"]
    given = tensors_in(kernel.inputs(kernel.default_problem(), torch.Generator().manual_seed(0), "cpu"))
    x, out = given["x_ptr"], given["out_ptr"]
    assert x.untyped_storage().data_ptr() == out.untyped_storage().data_ptr()
    assert out.data_ptr() - x.data_ptr() == 399 * 4
    meta = tensors_in(kernel.inputs(kernel.default_problem(), None, "meta"))
    assert [t.shape for t in meta.values()] == [t.shape for t in given.values()]


@pytest.mark.process
def test_a_survey_tells_results_apart(kernels, surveys):
    assert kernels["counted"].written == ("seen_ptr", "total_ptr")  # also_ptr is only stored to if flag is 1
    assert surveys["shifted"].overwritten == ("out_ptr",)
    half = surveys["half"]
    assert half.overwritten == ()  # the second half is never written, and the memory is shared
    assert surveys["counted"].unchanged == ()
    assert surveys["counted"].integers == ("seen_ptr",)
    assert set(surveys["counted"].repeats) == {"seen_ptr", "total_ptr"}
    assert surveys["counted"].errors["seen_ptr"] == 0.0
    assert 0 < surveys["shifted"].errors["out_ptr"] < 1e-6


@pytest.mark.process
def test_a_config_that_computes_something_else_is_not_correct(kernels, surveys, interpreter):
    kernel = kernels["shifted"]
    bounds = written_bounds({"out_ptr": rounded_up(1e-5)})
    problem = kernel.problem_of(overwritten="out_ptr", bounds=bounds)
    assert list(tensors_in(kernel.output(problem, "meta"))) == ["out_ptr"]
    own, other = kernel.owner_config(), kernel.config_type(BLOCK=128, num_warps=4, num_stages=3)
    right, wrong = interpreter.check(kernel, problem, [own, other], "H200")
    assert (right.status, right.error) == ("correct", 0.0)
    assert wrong.status == "correctness"
    assert wrong.error > 0.1


@pytest.mark.process
@pytest.mark.compile
def test_a_launch_compiles_for_a_gpu_that_is_not_here(kernels, compile_pool):
    kernel = kernels["counted"]
    (result,) = compile_pool("H200").compile(kernel, kernel.default_problem(), [kernel.owner_config()])
    assert result.status == "correct", result.reason
    assert result.registers > 0


@triton.jit
def add_once(lock_ptr):
    return tl.atomic_cas(lock_ptr, 0, 1)


@triton.jit
def spins(lock_ptr, x_ptr):
    while add_once(lock_ptr) == 1:
        pass
    tl.store(x_ptr, 1.0)


@triton.jit
def polls(flag_ptr, x_ptr):
    seen = tl.load(flag_ptr, volatile=True)
    while seen == 0:
        seen = tl.load(flag_ptr, volatile=True)
    tl.store(x_ptr, 1.0)


@triton.jit
def polls_plainly(flag_ptr, x_ptr):
    while tl.load(flag_ptr) == 0:
        pass
    tl.store(x_ptr, 1.0)


@triton.jit
def outer(flag_ptr, x_ptr):
    polls(flag_ptr, x_ptr)


@triton.jit
def loops(x_ptr, n):
    i = 0
    while i < n:
        tl.store(x_ptr + i, 1.0)
        i += 1
    tl.atomic_add(x_ptr, 1.0)


@pytest.mark.parametrize(
    ("kernel", "options", "waits"),
    [
        (spins, {}, "tl.atomic_cas (in add_once)"),
        (polls, {}, "a volatile load"),
        (outer, {}, "a volatile load"),
        (polls_plainly, {}, "waits for a load whose address stays the same"),
        (loops, {}, None),
        (loops, {"launch_cooperative_grid": True}, "launch_cooperative_grid"),
    ],
)
def test_kernels_whose_programs_wait_for_one_another_are_found(kernel, options, waits):
    parts = {}

    def keep(kind, body):
        digest, _ = line_of(kind, body)
        parts[digest] = body
        return digest

    digest = describe_function(kernel, keep)
    launch = SimpleNamespace(options=options, function=parts[digest], arguments={})
    found = reason_to_wait(launch, parts)
    assert (found is None) if waits is None else (waits in found)


def test_bounds_are_rounded_so_that_two_surveys_make_one_problem(kernels):
    assert rounded_up(0.0) == 0.0
    assert rounded_up(0.3) == rounded_up(0.49) == 0.5
    problem = kernels["half"].problem_of(bounds=written_bounds({"a.0": 0.25, "b": 0.0}))
    assert problem.bound_of() == {"a.0": 0.25, "b": 0.0}


def test_a_captured_launch_has_one_shape_and_says_why(kernels):
    spec = kernels["half"]
    found = list(held_out_shapes(spec, spec.problem_of(), spec.owner_config(), None))
    assert not any(x.problems for x in found)
    assert {x.why_not for x in found} == {spec.one_size}
    assert "a capture holds the grid and the numbers of one launch" in spec.one_size


MINE = """
import triton
import triton.language as tl

@triton.heuristics({"EVEN": lambda given: given["n"] % 64 == 0})
@triton.jit(do_not_specialize=["n"])
def mine(x_ptr, n, EVEN: tl.constexpr):
    at = tl.arange(0, 64)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)
"""
CALLS_MINE = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
import torch
from agent.programs import capture
from mine_that_changes import mine

with capture(sys.argv[1]):
    mine[(1,)](torch.randn(64), 64)
"""


def test_a_function_that_changed_since_is_told_from_the_same_under_decorators(tmp_path, monkeypatch):
    module = tmp_path / "mine_that_changes.py"
    module.write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = capture_text(tmp_path / "run.capture", CALLS_MINE)
    (launch,) = read_capture(str(path)).launches
    answers = []
    for text in (MINE, MINE.replace("* 2", "* 3")):
        module.write_text(text)
        survey = OwnerSurvey("cpu")
        answers.append(survey.changed(reference_of(str(path), launch.digest)))
        survey.close()
    assert answers == [
        None,
        "mine_that_changes:mine has changed since it was captured: capture the program again",
    ]


@pytest.mark.parametrize(
    ("glances", "again", "timed_again", "launched"),
    [
        ({64: 1.0, 128: 2.0}, {64: 1.0}, [64], 64),
        ({64: 1.0, 128: 1.1}, {64: 1.2, 128: 1.1}, [64, 128], 128),
    ],
)
def test_an_autotuners_choice_made_anew_times_what_is_close_longer(
    kernels, monkeypatch, glances, again, timed_again, launched
):
    kernel, timed = copy(kernels["shifted"]), []

    def do_bench(block, warmup, rep):
        if rep == GLANCE_MS["rep"]:
            return glances[block]
        timed.append(block)
        return again[block]

    monkeypatch.setattr("triton.testing.do_bench", do_bench)
    kernel.prepare = lambda problem, inputs, config: config.BLOCK
    assert (kernel.prepare_choice(kernel.default_problem(), {}), timed) == (launched, timed_again)
