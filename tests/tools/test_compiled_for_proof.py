"""An edited finalist is compiled for every shape that its proof launches it on, or it is refused."""

import math
import time

import pytest

from kernels.editing.editable import editable
from kernels.editing.variants import keep, make_variant, text_of
from tests.exploits.axpy import Axpy, AxpyProblem
from tests.kernels.editing.test_variants import GRID, H200, HONEST, META
from tools.harness.checking.stress import launches_elsewhere
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.process import sandbox
from tools.harness.process.identity import describe
from tools.harness.results import CompileResult
from tools.session.compiled_for_proof import compile_for_proof

PROBLEM = AxpyProblem()


class Pool:
    """Says what it was asked. What `refuses` (a problem and whether it is edited) names does not compile."""

    parallel = True

    def __init__(self, refuses=lambda problem, edited: False, status="compile"):
        self.asked, self._refuses, self._status = [], refuses, status

    def compile(self, spec, problem, configs, limit):
        (config,) = configs
        self.asked.append((problem.N, bool(config.edit), limit.latest))
        status = self._status if self._refuses(problem, bool(config.edit)) else "correct"
        return [CompileResult(config=config.model_dump(mode="json"), status=status, reason="it asserts")]


def kernel_with(source, folder):
    kernel = editable(Axpy(), folder / "variants", describe(Axpy(), PROBLEM)["kernel"])
    variant = make_variant(kernel.owner(PROBLEM, H200, "axpy"), source, META, GRID)
    keep(variant, kernel.folder)
    return kernel, kernel.config_type(edit=text_of(variant, {"TURNS": 2}))


@pytest.fixture
def edited(tmp_path):
    return kernel_with(HONEST, tmp_path)


def odd(problem):
    return problem.N % 2 == 1


def test_it_is_compiled_for_its_own_shape_and_for_all_others(edited):
    kernel, config = edited
    pool = Pool()
    assert compile_for_proof(pool, kernel, PROBLEM, config, H200) is None
    shapes = [n for n, _, _ in pool.asked]
    assert shapes[0] == PROBLEM.N
    assert sorted(shapes[1:]) == sorted(p.N for _, p, _ in launches_elsewhere(kernel, PROBLEM, config, H200))
    assert any(n % 2 for n in shapes)
    assert all(edit and latest == math.inf for _, edit, latest in pool.asked)
    unasked = Pool()
    assert compile_for_proof(unasked, kernel, PROBLEM, kernel.config_type(), H200) is None
    assert not unasked.asked, "anybody may compile the owner's code"


def test_a_shape_that_only_the_owners_code_compiles_for_refuses_it(edited):
    kernel, config = edited
    found = compile_for_proof(Pool(lambda problem, edit: edit and odd(problem)), kernel, PROBLEM, config, H200)
    assert found is not None
    assert found[0] == "correctness"
    assert "the owner's code compiles and this variant does not: it asserts" in found[1]
    neither = Pool(lambda problem, edit: odd(problem))
    assert compile_for_proof(neither, kernel, PROBLEM, config, H200) is None, "the kernel takes no such shape"


def test_what_had_no_turn_is_no_verdict_and_its_own_shape_must_compile(edited):
    kernel, config = edited
    late = Pool(lambda problem, edit: odd(problem), status="infrastructure")
    ends_at = time.monotonic() + 60
    assert compile_for_proof(late, kernel, PROBLEM, config, H200, ends_at) is None
    assert all(latest == ends_at for _, _, latest in late.asked)
    never = Pool(lambda problem, edit: True, status="timeout")
    assert compile_for_proof(never, kernel, PROBLEM, config, H200) == ("timeout", "it asserts")
    assert len(never.asked) == 1


@pytest.mark.long
@pytest.mark.compile
@pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")
def test_who_is_not_shut_in_finds_every_shape_compiled(tmp_path):
    """A pool that is not shut in launches as a device's worker does: edited code from machine code alone."""
    kernel, config = kernel_with(HONEST, tmp_path)
    elsewhere = [p for _, p, _ in launches_elsewhere(kernel, PROBLEM, config, H200)]
    inside = LocalCompilePool(H200, workers=1, cache=tmp_path / "cache", shut_in=True)
    outside = LocalCompilePool(H200, workers=1, cache=tmp_path / "cache")
    try:
        assert inside.compile(kernel, PROBLEM, [config])[0].status == "correct"
        assert outside.compile(kernel, PROBLEM, [config])[0].status == "correct"
        before = [outside.compile(kernel, p, [config])[0] for p in elsewhere if odd(p)]
        assert before
        assert any(p.N == 0 for p in elsewhere), "where its owner starts no program, a variant's grid is not asked"
        assert all("NotCompiled" in r.reason for r in before)
        assert compile_for_proof(inside, kernel, PROBLEM, config, H200) is None
        after = [outside.compile(kernel, p, [config])[0] for p in elsewhere]
        assert [r.status for r in after] == ["correct"] * len(after), [r.reason for r in after]
    finally:
        inside.close()
        outside.close()
