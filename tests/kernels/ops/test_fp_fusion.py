"""The ops compile with fused multiply-adds, as their configs were proven, and leave the user's setting alone."""

import contextlib
import warnings

import pytest
import torch
from triton import knobs

from kernels import ops
from kernels.hardware import hardware_named
from kernels.ops import operators
from kernels.ops.fp_fusion import VARIABLE, fused_multiply_adds
from kernels.registry import get
from kernels.rows import layer_norm
from kernels.triton.stub_driver import stub_driver
from kernels.tuned.compiler_variables import describe_overrides
from tools.harness.compiling.compiler import warm_ups_only

H200 = hardware_named("H200")


def fused() -> bool:
    return bool(knobs.language.default_fp_fusion)


@pytest.mark.parametrize("users", [None, "0", "1"])
def test_the_first_launch_of_a_problem_fuses_and_the_users_setting_stays(monkeypatch, users):
    monkeypatch.setenv(VARIABLE, users or "")
    if users is None:
        monkeypatch.delenv(VARIABLE)
    before, seen = fused(), []
    monkeypatch.setattr(operators, "hardware_of", lambda device: H200)
    monkeypatch.setattr(type(get("softmax")), "launch", lambda *rest: seen.append(fused()))
    operators._compiled.cache_clear()
    x = torch.randn(3, 64, dtype=torch.float16, requires_grad=True)
    ops.softmax(x)
    assert seen == [True]
    assert fused() == before
    ops.softmax(x)  # compiled: the setting is not touched
    assert seen == [True, before]
    operators._compiled.cache_clear()


def test_a_setting_made_in_code_is_restored(monkeypatch):
    monkeypatch.setitem(vars(knobs.language), "default_fp_fusion", False)
    with fused_multiply_adds():
        assert fused()
    assert not fused()


@pytest.mark.compile
def test_machine_code_is_the_same_under_either_default(monkeypatch, tmp_path):
    spec = get("layer_norm")
    problem = spec.parse_problem((64, 256), {})
    config = spec.default_config(problem, H200)
    inputs, out = spec.inputs(problem, None, "meta"), spec.output(problem, "meta")

    jitted = [v for v in vars(layer_norm).values() if hasattr(v, "device_caches")]

    def code(context, name):
        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / name))
        for kernel in jitted:
            kernel.device_caches.clear()
        with context, stub_driver(H200), warm_ups_only() as found:
            spec.launch(problem, config, inputs, out, H200)
        return [kernel.asm["cubin"] for kernel, _ in found]

    monkeypatch.setenv(VARIABLE, "1")
    proven = code(contextlib.nullcontext(), "one")
    monkeypatch.setenv(VARIABLE, "0")
    assert code(contextlib.nullcontext(), "off") != proven
    monkeypatch.delenv(VARIABLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert code(fused_multiply_adds(), "ours") == proven


def test_a_triton_that_does_not_fuse_by_itself_is_another_compiler(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    usual = describe_overrides() or ""
    monkeypatch.setitem(vars(knobs.language), "default_fp_fusion", False)
    assert f"{VARIABLE}=0" in describe_overrides()
    assert VARIABLE not in usual
