"""No stale machine code, no figure that nobody read, and errors that tell what is wrong."""

import shutil

import pytest

from kernels.hardware import hardware_named
from kernels.registry import get
from tests.exploits.axpy import Axpy, AxpyConfig, AxpyProblem, axpy
from tests.faults.world import InProcess
from tools.harness.compiling import compile_pool, compiler, toolchain
from tools.harness.compiling.error_line import reason

pytestmark = pytest.mark.compile

MINE = """
from typing import Literal

import triton
import triton.language as tl

from kernels.spec import Config
from tests.exploits.axpy import Axpy, AxpyProblem

op = tl.{op}


@triton.jit
def mine(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x, y = tl.load(x_ptr + at, mask=at < n), tl.load(y_ptr + at, mask=at < n)
    tl.store(out_ptr + at, op(x, y), mask=at < n)


class MineConfig(Config):
    num_warps: Literal[4, 64] = 4


class Mine(Axpy):
    name = "mine"
    config_type = MineConfig

    def launch(self, problem, config, inputs, out, hardware):
        mine[(triton.cdiv(problem.N, 2048),)](*inputs, out, problem.N, 2048, num_warps=config.num_warps)
"""


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """Compiles in this process: the same code as in a compile child."""
    monkeypatch.setattr(compile_pool, "Child", InProcess)
    axpy.device_caches.clear()
    p = compile_pool.LocalCompilePool(hardware_named("H200"), workers=1, cache=tmp_path / "cache")
    yield p
    p.close()


def written(folder, op):
    file = folder / "mine.py"
    file.write_text(MINE.format(op=op))
    return get(f"{file}:Mine")


def test_another_function_under_the_same_name_is_other_machine_code(pool, tmp_path):
    """Triton's own key has neither the alias nor what it stands for."""
    found = []
    for op in ("maximum", "minimum"):
        spec = written(tmp_path, op)
        [result] = pool.compile(spec, AxpyProblem(), [spec.config_type()])
        assert result.status == "correct", result.reason
        found.append(result.fingerprint)
    assert found[0] != found[1]


def test_more_threads_than_a_block_may_have_are_a_constraint(pool, tmp_path):
    spec = written(tmp_path, "maximum")
    [result] = pool.compile(spec, AxpyProblem(), [spec.config_type(num_warps=64)])
    assert (result.status, result.reason) == (
        "constraints",
        "64 warps are 2,048 threads, and a block has at most 1,024",
    )


def test_spills_are_read_although_the_code_was_found_compiled(pool, monkeypatch):
    """The assembler's log comes with a compilation alone."""
    [first] = pool.compile(Axpy(), AxpyProblem(), [AxpyConfig()])
    assert first.spill_bytes == 0
    for log, spilled in ((None, 0), ("", None)):
        shutil.rmtree(pool.cache / "figures")
        (pool.cache / "figures").mkdir()
        axpy.device_caches.clear()
        if log is not None:
            monkeypatch.setattr(compiler, "log_of", lambda kernel: log)  # noqa: B023
        [again] = pool.compile(Axpy(), AxpyProblem(), [AxpyConfig()])
        assert (again.spill_bytes, again.fingerprint) == (spilled, first.fingerprint)


def test_a_warp_specialised_kernel_that_was_found_compiled_has_its_figures(pool):
    """Its metadata counts the warps of all its partitions: 12 here, and Triton compiles for a power of two alone."""
    spec = get("matmul")
    problem = spec.parse_problem((256, 256, 128), {})
    config = next(c for c in spec.space(problem, hardware_named("H200")) if c.family == "warp_specialized")
    [first] = pool.compile(spec, problem, [config])
    shutil.rmtree(pool.cache / "figures")
    (pool.cache / "figures").mkdir()
    [again] = pool.compile(spec, problem, [config])
    assert (again.status, again.spill_bytes, again.fingerprint) == ("correct", first.spill_bytes, first.fingerprint)


LOG = """ptxas info    : (C7511) Potential Performance Loss: wgmma instructions are serialized in the function 'mm'
ptxas info    : Compiling entry function 'mm' for 'sm_90a'
ptxas info    : Function properties for mm
    1736 bytes stack frame, 3044 bytes spill stores, 2836 bytes spill loads
ptxas info    : Compiling entry function 'add' for 'sm_90a'
ptxas info    : Function properties for add
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
"""


def test_each_kernel_of_a_launch_has_its_own_part_of_the_log():
    assert compiler.SPILLS.findall(compiler.section_of("mm", LOG)) == ["3044", "2836"]
    assert "C7511" in compiler.section_of("mm", LOG)
    assert compiler.SPILLS.findall(compiler.section_of("add", LOG)) == ["0", "0"]
    assert compiler.section_of("absent", LOG) == ""


@pytest.mark.parametrize(
    ("said", "printed", "told"),
    [
        (
            "PTXAS error: Internal Triton PTX codegen error\n`ptxas` stderr:\nptxas fatal   : (C7602) Insufficient "
            "registers (128). Try 154 or higher.\nptxas fatal   : Ptx assembly aborted due to errors",
            "",
            "ptxas fatal   : (C7602) Insufficient registers (128). Try 154 or higher.",
        ),
        (
            "PTXAS error: Internal Triton PTX codegen error\n`ptxas` stderr:\nptxas /tmp/tmpje4hcd7v.ptx, line 35; "
            "error   : Not a name of any known instruction: 'bogus'\nptxas fatal   : aborted due to errors",
            "",
            "ptxas error   : Not a name of any known instruction: 'bogus'",
        ),
        (
            "PassManager::run failed",
            "kernel.py:12:8: error: 'tt.dot' op expects the same element type\nnote: see current operation",
            "kernel.py:12:8: error: 'tt.dot' op expects the same element type",
        ),
        ("PassManager::run failed", "", "PassManager::run failed"),
        (
            "at 3:4:\n  tl.static_assert(x)\n  ^\nAssertionError: VALUE has to be 2",
            "",
            "AssertionError: VALUE has to be 2 (line 3 of the function)",
        ),
        ("at 30:8:\n  no_error = 1\n  b = f(a)\n      ^", "", "b = f(a) (line 30 of the function)"),
    ],
)  # fmt: skip
def test_the_telling_line_is_the_reason(said, printed, told):
    assert reason(RuntimeError(said), printed) == f"RuntimeError: {told}"


def test_the_error_of_a_called_function_is_the_reason():
    inner = ValueError("at 2:4:\n  y = x + undefined\n          ^\nNameError('undefined is not defined')")
    outer = RuntimeError("at 30:8:\n  b = f(a)\n      ^")
    outer.__cause__ = inner
    inside = "ValueError: NameError('undefined is not defined') (line 2 of the function)"
    assert reason(outer) == f"RuntimeError: {inside} (line 30 of the function)"


def test_the_key_changes_with_the_assembler_and_with_variables_that_change_code(monkeypatch):
    before = toolchain.cache_key(Axpy())
    assert before == toolchain.cache_key(Axpy())
    monkeypatch.setenv("TRITON_PTXAS_BLACKWELL_PATH", "/opt/cuda/bin/ptxas")
    other_path = toolchain.cache_key(Axpy())
    monkeypatch.delenv("TRITON_PTXAS_BLACKWELL_PATH")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/somewhere/else")
    assert toolchain.cache_key(Axpy()) == before
    monkeypatch.setattr(toolchain, "assemblers", lambda: ["ptxas 123 release 99.9"])
    assert len({before, other_path, toolchain.cache_key(Axpy())}) == 3
