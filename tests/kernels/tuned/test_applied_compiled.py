"""Rows reach Triton's compiled path: ``JITFunction.run`` and ``Autotuner.run``. The driver launches nothing."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from agent.errors import UsageError
from agent.programs import apply, capture
from kernels.capture.reading.captured_launches import read_capture
from kernels.tuned.applying import applied_table
from kernels.tuned.tuned_table import Decision, TunedEnvironment

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


def launch_tuned(x):
    return tuned[grid](x, torch.empty_like(x), x.numel())


def launch_in_place(x):
    return in_place[grid](x, 1, x.numel(), BLOCK=512, num_warps=8)


def config_of(compiled):
    return compiled.src.constants[(3,)], compiled.metadata.num_warps


def test_an_autotuned_kernel_is_compiled_once_as_its_row_says(write, monkeypatch):
    x = torch.randn(5000)
    path = write(launch_tuned, x, Decision({"BLOCK": 512}, {"num_warps": 2}))
    tuned.cache.clear()
    monkeypatch.setattr(type(tuned), "_bench", lambda *a, **k: pytest.fail("the autotuner timed a config"))
    with apply(path) as applied:
        assert [config_of(launch_tuned(x)) for _ in range(3)] == [(512, 2)] * 3
    assert [(r["kernel"], r["launches"]) for r in applied.report()["used"]] == [("tuned", 3)]
    assert tuned.best_config.kwargs == {"BLOCK": 512}


def test_a_kernel_in_place_takes_constant_and_options(write):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {"num_warps": 2, "num_stages": 1}))
    applied = apply(path)
    assert config_of(launch_in_place(x)) == (256, 2)
    assert launch_in_place(x).metadata.num_stages == 1
    assert config_of(launch_in_place(torch.randn(5001))) == (512, 8)
    applied.take_back()
    assert config_of(launch_in_place(x)) == (512, 8)
    assert not hasattr(triton.JITFunction.run, "__wrapped__")


def test_a_config_that_triton_refuses_is_the_owners_launch(write, capsys):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 300}, {}))
    with apply(path) as applied:
        assert [config_of(launch_in_place(x)) for _ in range(2)] == [(512, 8)] * 2
    assert [r["launches"] for r in applied.report()["missed"]] == [2]
    assert capsys.readouterr().err.count("cannot be launched (CompilationError") == 1


def test_another_assembler_is_named(write, monkeypatch, capsys):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {}))
    other = TunedEnvironment("NVIDIA H200", triton.__version__, "ptxas 1.0")
    monkeypatch.setattr(applied_table, "_environment_of_launch", lambda: other)
    with apply(path):
        assert config_of(launch_in_place(x)) == (512, 8)
    assert f"and this is NVIDIA H200, Triton {triton.__version__}, ptxas 1.0" in capsys.readouterr().err


def test_one_table_at_a_time(write):
    path = write(launch_in_place, torch.randn(5000), Decision({"BLOCK": 256}, {}))
    with apply(path), pytest.raises(UsageError, match="applied to this process already"):
        apply(path)
    with apply(path):
        pass


def test_a_capture_inside_sees_what_is_launched(write, tmp_path):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {}))
    with apply(path), capture(tmp_path / "applied.capture", values="no"):
        launch_in_place(x)
    (launch,) = read_capture(str(tmp_path / "applied.capture")).launches
    assert launch.count == 1
