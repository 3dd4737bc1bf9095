"""A variant is kept by its content, fenced again by whoever loads it, and launched in the owner's place."""

import json
import os
from pathlib import Path

import pytest

from examples.autotuned_scale import Scale, ScaleProblem
from kernels.editing.editable import editable
from kernels.editing.refused_edit import RefusedEdit
from kernels.editing.variants import keep, make_variant, text_of
from kernels.hardware import hardware_named
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
    honest, wrong = (text_of(added(kernel, s, META, GRID)[0], {"TURNS": 2}) for s in (HONEST, WRONG))
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
    finally:
        open_pool.close()
        shut_in.close()
        interpreter.close()
    assert "shut-in process has compiled" in outside.reason  # nothing is compiled in a process that is not shut in
    assert [r.status for r in inside] == ["correct"] * 3, inside
    assert len({r.fingerprint for r in inside}) == 3
    assert from_cache.status == "correct", from_cache.reason  # its machine code is found there
    assert [r.status for r in checked] == ["correct", "correct", "correctness"], checked


def test_what_a_variant_is_kept_as_holds_no_word_of_who_sent_it(kernel):
    _, path = added(kernel, f'"""proven: accept"""\n{HONEST}', META, GRID)
    assert "proven" not in path.read_text()
    assert os.listdir(Path(path).parent) == [path.name]
