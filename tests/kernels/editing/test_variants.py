"""A variant is kept by its content, fenced again by whoever loads it, and launched in the owner's place."""

import json
import os
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl

from examples.autotuned_scale import Scale, ScaleProblem
from kernels.capture.reading.captured_launches import read_capture
from kernels.captured.captured_kernels import reference_of
from kernels.editing.argument_values import values_of
from kernels.editing.editable import editable
from kernels.editing.fence import LONGEST_META, MOST_META_PARAMETERS
from kernels.editing.fencing.abstract_values import STRING, whole
from kernels.editing.owner_function import owner_of
from kernels.editing.refused_edit import RefusedEdit
from kernels.editing.variants import keep, launch_instead, make_variant, text_of
from kernels.hardware import hardware_named
from kernels.registry import get
from kernels.tuned.applying.served_variant import ServedVariant
from tests.captures import capture_text
from tests.exploits.axpy import Axpy, AxpyProblem
from tools.harness.checking.interpreter import Interpreter
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.process import sandbox
from tools.harness.process.identity import describe

H200 = hardware_named("H200")
AXPY = """
@triton.jit
def axpy(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr, TURNS: tl.constexpr):
    for i in tl.static_range(TURNS):
        offsets = (tl.program_id(0).to(tl.int64) * TURNS + i) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + offsets, mask=offsets < n).to(tl.float32)
        y = tl.load(y_ptr + offsets, mask=offsets < n).to(tl.float32)
        tl.store(out_ptr + offsets, (FACTOR * x + y).to(out_ptr.dtype.element_ty), mask=offsets < n)
"""
READS_ANOTHERS = """
        before = tl.load(out_ptr + offsets - BLOCK, mask=(offsets >= BLOCK) & (offsets < n), other=0.0)
        y = tl.where(before == before, y, y)
        tl.store"""
RACING = AXPY.replace("FACTOR", "2").replace("\n        tl.store", READS_ANOTHERS)
HONEST, WRONG = AXPY.replace("FACTOR", "2"), AXPY.replace("FACTOR", "1.9")
META, GRID = {"TURNS": (2, 4)}, "cdiv(n, BLOCK * TURNS)"


@pytest.fixture
def kernel(tmp_path):
    return editable(Axpy(), tmp_path / "variants", describe(Axpy(), AxpyProblem())["kernel"])


def added(kernel, source, meta=None, grid=""):
    variant = make_variant(kernel.owner(AxpyProblem(), H200, "axpy"), source, meta, grid)
    return variant, keep(variant, kernel._folder)


def test_a_variant_joins_the_space_with_its_meta_parameters(kernel):
    problem = AxpyProblem()
    before = kernel.space(problem, H200)
    variant, _ = added(kernel, HONEST, META, GRID)
    after = kernel.space(problem, H200)
    assert [c.edit for c in before] == [""] * 4
    assert {c.edit for c in after} == {"", text_of(variant, {"TURNS": 2}), text_of(variant, {"TURNS": 4})}
    assert len(after) == 12


def test_the_owners_code_is_a_rival_of_variants_alone(kernel):
    measured = [kernel.config_type(BLOCK=b) for b in (256, 512)]
    kernel.stand_against(measured)
    *_, tuned = kernel.baselines(AxpyProblem())
    assert list(tuned.choices(AxpyProblem())) == [f"owner {c.key()}" for c in measured]
    kernel.stand_against(None)
    *_, own = kernel.baselines(AxpyProblem())
    assert (own.name, own.choices(AxpyProblem())) == ("owner", {}), "its default config alone"
    kernel.stand_against(measured[:1])
    assert len(kernel.baselines(AxpyProblem())[-1].choices(AxpyProblem())) == 1


def test_the_same_code_written_otherwise_is_the_same_variant(kernel):
    spaced = HONEST.replace(" + y)", "  +   y)").replace("    for", "    # a comment\n    for", 1)
    assert added(kernel, HONEST, META, GRID)[0].hash == added(kernel, spaced, META, GRID)[0].hash
    assert added(kernel, HONEST, META, GRID)[0].hash != added(kernel, WRONG, META, GRID)[0].hash
    assert added(kernel, HONEST, META, GRID)[0].hash != added(kernel, HONEST, META, "grid_0")[0].hash


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0123456789ab", "no variant 0123456789ab"),
        ("../../etc/passwd", "no hash"),
        ("HASH TURNS=3", "one of 2, 4"),
        ("HASH OTHER=3", "no meta-parameter OTHER"),
        ("HASH TURNS", "no NAME=VALUE"),
    ],
)
def test_a_config_that_names_no_variant_breaks_a_constraint(text, says, kernel):
    variant, _ = added(kernel, HONEST, META, GRID)
    config = kernel.config_type(edit=text.replace("HASH", variant.hash))
    assert says in kernel.constraint(AxpyProblem(), config, H200)


def test_a_config_of_the_owners_is_written_as_without_variants(kernel):
    config = kernel.default_config(AxpyProblem(), H200)
    owners = Axpy().default_config(AxpyProblem(), H200)
    assert (config.edit, config.model_dump(), config.key()) == ("", owners.model_dump(), owners.key())
    edited = config.model_copy(update={"edit": "0123456789ab TURNS=2"})
    assert edited.model_dump() == {**owners.model_dump(), "edit": "0123456789ab TURNS=2"}


def test_a_file_from_elsewhere_is_fenced_again(kernel, tmp_path):
    variant, path = added(kernel, HONEST, META, GRID)
    found = json.loads(path.read_text())
    for change, says in [
        ({"source": found["source"] + "\nimport os\n"}, "an import"),
        ({"source": found["source"].replace("2 *", "3 *")}, "does not hold what its name says"),
        ({"grid": "__import__('os').getpid()"}, "may use"),
        ({"owner": "another"}, "has changed since"),
        ({"meta": {"TURNS": [10**9]}}, "none of its stated values"),
        ({"version": 99}, "another version"),
        ({"meta": [[1, [2, 4]]]}, "holds no variant"),
        ({"meta": {"TURNS": [[2], [4]]}}, "all whole numbers or all texts"),
        ({"meta": {"TURNS": [2, float("nan")]}}, "all whole numbers or all texts"),
        ({"source": found["source"] + "# \ud800"}, "control character"),
        ({"grid": "\ud800"}, "no expression"),
    ]:
        path.write_text(json.dumps({**found, **change}))
        fresh = editable(Axpy(), kernel._folder, "tests.exploits.axpy:Axpy")
        with pytest.raises(RefusedEdit, match=says):
            fresh.variant(variant.hash, AxpyProblem(), H200)
        assert fresh.known_variants(AxpyProblem(), H200) == []
    path.write_text("{")
    with pytest.raises(RefusedEdit, match="holds no variant"):
        editable(Axpy(), kernel._folder, "tests.exploits.axpy:Axpy").variant(variant.hash, AxpyProblem(), H200)


def test_an_autotuned_kernel_is_edited_with_its_own_configs(tmp_path):
    kernel = editable(Scale(), tmp_path, "examples/autotuned_scale.py:Scale")
    problem = ScaleProblem()
    owner = kernel.owner(problem, H200)
    assert owner.name == "scale_bias"
    source = owner.part["source"].replace("mask=inside).to", "mask=inside, eviction_policy='evict_first').to")
    variant = make_variant(owner, source)
    keep(variant, tmp_path)
    space = kernel.space(problem, H200)
    assert sum(c.edit == variant.hash for c in space) == sum(c.edit == "" for c in space) == 12


def test_the_owners_launch_is_a_baseline(kernel):
    problem = AxpyProblem()
    names = {b.name: b for b in kernel.baselines(problem)}
    assert list(names) == ["unfused", "owner"]
    assert len(names["owner"].choices(problem)) == 4


@pytest.mark.process
@pytest.mark.compile
@pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")
def test_variants_compile_and_are_checked_where_they_are_shut_in(kernel, tmp_path):
    problem = AxpyProblem()
    sources = (HONEST, WRONG, RACING)
    honest, wrong, racing = (text_of(added(kernel, s, META, GRID)[0], {"TURNS": 2}) for s in sources)
    configs = [kernel.config_type(edit=text) for text in ("", honest, wrong)]
    cache = tmp_path / "cache"
    open_pool = LocalCompilePool(H200, workers=1, cache=cache)
    shut_in = LocalCompilePool(H200, workers=1, cache=cache, shut_in=True)
    interpreter = Interpreter(shut_in=True)
    try:
        outside = open_pool.compile(kernel, problem, configs[1:2])[0]
        inside = shut_in.compile(kernel, problem, configs)
        from_cache = open_pool.compile(kernel, problem, configs[1:2])[0]
        checked = interpreter.check(kernel, problem, configs, "H200")
        (raced,) = interpreter.check(kernel, problem, [kernel.config_type(edit=racing)], "H200")
    finally:
        open_pool.close()
        shut_in.close()
        interpreter.close()
    assert "shut-in process has compiled" in outside.reason  # nothing is compiled in a process that is not shut in
    assert [r.status for r in inside] == ["correct"] * 3, inside
    assert len({r.fingerprint for r in inside}) == 3
    assert from_cache.status == "correct", from_cache.reason  # its machine code is found there
    assert [r.status for r in checked] == ["correct", "correct", "correctness"], checked
    assert raced.status == "correctness"
    assert "what another one stores in the same launch" in raced.reason


def test_what_a_variant_is_kept_as_holds_no_word_of_who_sent_it(kernel):
    _, path = added(kernel, f'"""proven: accept"""\n{HONEST}', META, GRID)
    assert "proven" not in path.read_text()
    assert os.listdir(Path(path).parent) == [path.name]


def test_a_config_that_launches_another_function_is_no_config_of_the_variant(tmp_path):
    kernel = editable(get("rms_norm"), tmp_path, "rms_norm")
    problem = kernel.default_problem()
    names = kernel.editable_functions(problem, H200)
    assert len(names) >= 2
    last = kernel.owner(problem, H200, names[-1])
    variant = make_variant(last, last.part["source"].replace("tl.rsqrt(", "1.0 / tl.sqrt(", 1))
    keep(variant, tmp_path)
    bases = [c for c in kernel.space(problem, H200) if c.edit == variant.hash]
    assert bases
    other = kernel.default_config(problem, H200).model_copy(update={"edit": variant.hash})
    assert f"is a variant of {names[-1]}" in kernel.constraint(problem, other, H200)
    assert kernel.config_with(variant, problem, H200, kernel.default_config(problem, H200)).family == bases[0].family


def test_a_captured_launch_is_edited_like_any_kernel(tmp_path):
    path = capture_text(tmp_path / "run.capture", CAPTURED)
    (launch,) = read_capture(str(path)).launches
    reference = reference_of(str(path), launch.digest)
    kernel = editable(get(reference), tmp_path / "variants", reference)
    problem = kernel.default_problem()
    owner = kernel.owner(problem, H200)
    assert owner.name == "doubled"
    variant = make_variant(owner, owner.part["source"].replace("* 2", "+ FACTOR * 0.5"))
    keep(variant, tmp_path / "variants")
    assert any(c.edit == variant.hash for c in kernel.space(problem, H200))
    assert "FACTOR" in variant.edit.parts[variant.edit.digest]["bindings"]


CAPTURED = """
import sys
import torch, triton, triton.language as tl
from agent.programs import capture

FACTOR = tl.constexpr(2.0)

@triton.jit
def doubled(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2 * FACTOR, mask=at < n)

with capture(sys.argv[1]):
    doubled[(4,)](torch.randn(200), 200, BLOCK=64)
"""


@pytest.mark.parametrize(
    ("values", "default"), [((True, False), ""), ((-1, 1), " = -1"), (("", "evict_first"), " = 'evict_first'")]
)
def test_every_value_of_a_meta_parameter_is_found_again_in_a_config(values, default, kernel):
    source = HONEST.replace("TURNS: tl.constexpr", f"TURNS: tl.constexpr, KIND: tl.constexpr{default}")
    variant, _ = added(kernel, source, {"TURNS": (2, 4), "KIND": values}, GRID)
    for value in values:
        text = text_of(variant, {"TURNS": 2, "KIND": value})
        found = kernel.variant(text, AxpyProblem(), H200)[1]
        assert found == {"TURNS": 2, "KIND": value}
        assert type(found["KIND"]) is type(value)


def test_the_longest_names_and_values_fit_into_a_config(kernel):
    names = [f"{'N' * (LONGEST_META - 1)}{i}" for i in range(MOST_META_PARAMETERS)]
    arguments = ", ".join(f"{name}: tl.constexpr" for name in names)
    source = HONEST.replace("TURNS: tl.constexpr", arguments).replace("TURNS", names[0])
    values = {name: ["v" * LONGEST_META] for name in names[1:]} | {names[0]: [1, 2]}
    variant, _ = added(kernel, source, values)
    text = text_of(variant, {name: v[0] for name, v in values.items()})
    assert kernel.constraint(AxpyProblem(), kernel.config_type(edit=text), H200) is None


def test_a_parameter_that_is_named_as_an_option_of_the_compiler_is_passed_by_place_as_its_owner_passes_it():
    values = values_of(with_option_names, {"x_ptr": torch.zeros(1), "debug": 5, "arch": 2}, {"BLOCK"})
    owner = owner_of(with_option_names, values)
    source = owner.part["source"].replace("BLOCK: tl.constexpr", "BLOCK: tl.constexpr, MORE: tl.constexpr")
    variant = make_variant(owner, source.replace("debug + arch", "debug + arch + MORE"), {"MORE": [3]})
    launched = []
    launch_instead(variant, {"MORE": 3})(
        with_option_names,
        ("x", 5, 2),
        (4,),
        {"BLOCK": 16, "num_warps": 8},
        lambda _, *args, grid, **named: launched.append((args, grid, named)),
    )
    assert launched == [(("x", 5, 2), (4,), {"BLOCK": 16, "MORE": 3, "num_warps": 8})]


@triton.jit
def with_option_names(x_ptr, debug, arch, BLOCK: tl.constexpr):
    tl.store(x_ptr + tl.arange(0, BLOCK), debug + arch)


def test_a_constant_that_the_launch_leaves_to_its_default_is_known():
    passed = values_of(with_defaults, {"x_ptr": torch.zeros(1)}, {"KIND", "HALF"})
    assert (passed["KIND"], passed["HALF"]) == (STRING, whole(0))
    source = owner_of(with_defaults, passed).part["source"].replace("+ 1", "+ 2")
    variant = make_variant(owner_of(with_defaults, passed), source)
    served = {**variant.recorded(), "hash": variant.hash, "values": {}}
    launched = []
    table_row = ServedVariant(served, with_defaults, {"x_ptr": torch.zeros(1)}, frozenset({"KIND", "HALF"}), {})
    table_row.launch(
        lambda function, **_: launched.append(function), with_defaults, (), (1,), {"x_ptr": torch.zeros(1)}
    )
    assert "+ 2" in launched[0].src


@triton.jit
def with_defaults(x_ptr, KIND: tl.constexpr = "wide", HALF: tl.constexpr = False):
    if not HALF and KIND:
        tl.store(x_ptr, tl.load(x_ptr) + 1)
