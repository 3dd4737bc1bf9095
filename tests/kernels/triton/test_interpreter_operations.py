"""Operations of Triton's interpreter that are made to give the GPU's bits. What an H200 gave is in docs/data
(tests/bench/test_tl_recorded.py); here is what follows from definitions."""

import random
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import TensorHandle, _ir

from kernels.hardware import hardware_named
from kernels.triton import interpreter_operations
from kernels.triton.interpreter_functions import cos, erf, log, log2, sin
from kernels.triton.interpreter_libdevice import NotEmulated
from kernels.triton.interpreter_operations import fused_dot, refuse_float8, target, upper_half
from kernels.triton.rounding import (
    FLOAT8,
    float8_values,
    fuse,
    fuse_to_fp32,
    round_once_to_bf16,
    round_to_float8,
    widen,
    widen_float8,
)
from kernels.triton.stub_driver import stub_driver
from tests.bench.table_of_tl import inputs, read
from tests.docs.pages import ROOT


@pytest.mark.parametrize("name", ["create_icmpSLT", "create_fcmpOLT"])
def test_a_comparison_of_scalars_that_becomes_a_block_is_a_mask(name):
    dtype = tl.int64 if name == "create_icmpSLT" else tl.float32
    x, y = (TensorHandle(np.array([v], np.int64 if dtype == tl.int64 else np.float32), dtype) for v in (1, 2))
    builder = interpreter.interpreter_builder
    compared = interpreter_operations.compare_to_bits(getattr(interpreter.InterpreterBuilder, name))(builder, x, y)
    found = builder.create_splat(tl.block_type(tl.int1, [4]), compared)
    assert found.dtype == tl.int1
    assert found.data.dtype == np.bool_
    assert found.data.tolist() == [True] * 4


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_every_code_of_an_8_bit_float_and_every_fp16_is_converted_as_pytorch_does(dtype):
    codes = torch.arange(256).to(torch.uint8)
    values = codes.view(FLOAT8[dtype]).float()
    assert np.array_equal(widen_float8(codes.numpy(), dtype), values.numpy(), equal_nan=True)
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.float16)
    finite = values[values.isfinite()].double()
    within = x[x.double().abs() <= finite.max()]
    assert torch.equal(
        torch.from_numpy(round_to_float8(within.numpy(), dtype)), within.to(FLOAT8[dtype]).view(torch.uint8)
    )
    cut = widen_float8(round_to_float8(within.numpy(), dtype, toward_zero=True), dtype).astype(np.float64)
    sizes = np.unique(finite.abs().numpy())
    below = sizes[np.searchsorted(sizes, np.abs(within.double().numpy()), side="right") - 1]
    assert np.array_equal(cut, np.copysign(below, within.double().numpy()))


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_fp32_beside_the_middle_of_two_8_bit_floats_is_rounded_once(dtype):
    sizes = np.unique(float8_values(dtype)[:128][np.isfinite(float8_values(dtype)[:128])])
    middle = (sizes[:-1] + sizes[1:]) / 2
    for toward, nearest in ((np.inf, sizes[1:]), (0, sizes[:-1])):
        beside = np.nextafter(middle, np.float32(toward))
        assert np.array_equal(widen_float8(round_to_float8(beside, dtype), dtype), nearest)


@pytest.mark.parametrize(("dtype", "largest"), [(tl.float8e5, 57344.0), (tl.float8e4nv, 448.0)])
def test_what_is_too_large_for_an_8_bit_float_becomes_its_largest(dtype, largest):
    x = np.array([1e6, -1e6, np.inf, -np.inf, largest, np.nan], np.float32)
    found = widen_float8(round_to_float8(x, dtype), dtype)
    assert np.array_equal(found, [largest, -largest, largest, -largest, largest, np.nan], equal_nan=True)


def test_a_fused_product_and_sum_is_rounded_once():
    draw = random.Random(0)
    given = [[np.float32(draw.gauss(0, 1) * 2.0 ** draw.randint(-9, 9)) for _ in range(3)] for _ in range(2000)]
    one = np.float32(1)
    given += [(one + np.float32(2.0**-12), one + np.float32(2.0**-12), np.float32(2.0**-60) * s) for s in (1, -1, 0)]
    x, y, z = (np.array(t, np.float32) for t in zip(*given, strict=True))
    found = fuse_to_fp32(x, y, z)
    for a, b, c, got in zip(x, y, z, found, strict=True):
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        beside = [np.nextafter(got, np.float32(s)) for s in (-np.inf, np.inf)]
        assert all(abs(Fraction(float(got)) - exact) <= abs(Fraction(float(n)) - exact) for n in beside)
    assert found[-3] != found[-2], "in float64 both come to lie between the same two numbers"
    narrow = np.array([1.0 + 2.0**-8], np.float32)  # between two numbers of bf16, and the last term decides
    assert widen(round_once_to_bf16(fuse(narrow, one[None], np.array([2.0**-60], np.float32))))[0] == 1 + 2.0**-7
    special = fuse_to_fp32(*np.array([[np.inf, 0, 1], [0, np.inf, 1], [1, 1, np.inf]], np.float32))
    assert np.array_equal(special, [np.nan, np.nan, np.inf], equal_nan=True)


def test_the_upper_half_of_a_product_of_64_bits():
    draw = random.Random(0)
    pairs = [(draw.getrandbits(64), draw.getrandbits(64)) for _ in range(1000)] + [(2**64 - 1, 2**64 - 1), (0, 2**63)]
    x, y = (np.array(t, np.uint64) for t in zip(*pairs, strict=True))
    assert upper_half(x, y).tolist() == [a * b >> 64 for a, b in pairs]


@pytest.mark.parametrize("wraps", [True, False])
def test_numbers_without_a_bin_are_counted_as_the_gpu_does(monkeypatch, wraps):
    monkeypatch.setattr(interpreter_operations, "WRAPS_BINS", wraps)
    x = inputs("int32")[0].numpy().max(1)
    found = interpreter_operations._histogram(None, TensorHandle(np.abs(x), tl.int32), 16, None).data.tolist()
    card = read([ROOT / "docs" / "data" / "tl-h200-compiled.jsonl.xz"])["histogram", "int32"]
    assert card["triton"] == "3.6.0"
    assert (found == card["values"]) is wraps
    assert wraps or found == np.bincount(np.abs(x)[np.abs(x) < 16], minlength=16).tolist()
    mask = TensorHandle(np.zeros(16, bool), tl.int1)
    assert interpreter_operations._histogram(None, TensorHandle(x, tl.int32), 16, mask).data.sum() == 0


@pytest.mark.parametrize(("gpu", "cut"), [("H200", True), ("A100", True), ("MI300X", False), (None, True)])
def test_fp32_is_multiplied_as_the_gpu_does_that_the_kernel_is_checked_for(gpu, cut):
    def left_to_triton(self, *given):
        raise AssertionError("fp32")

    x, y = (t.numpy() for t in inputs("fp32")[:2])
    a, b, d = (TensorHandle(t, tl.float32) for t in (x, y.T.copy(), np.zeros((16, 16), np.float32)))
    dot = interpreter_operations._dot(left_to_triton)
    with stub_driver(hardware_named(gpu)) if gpu else nullcontext():
        assert target().warp_size == (64 if gpu == "MI300X" else 32)
        found = {p: dot(None, a, b, d, getattr(_ir.INPUT_PRECISION, p), 0).data for p in ("TF32", "IEEE")}
    exact = x.astype(np.float64) @ y.T
    assert bool(np.abs(found["TF32"] - exact).max() > 1e-4) is cut
    assert np.abs(found["IEEE"] - exact).max() < 1e-5
    if cut:  # for other GPUs numpy multiplies, and the order of its sums is that of the processor's BLAS
        assert np.array_equal(found["IEEE"], fused_dot(x, y.T, d.data)), "added one after another"


def test_functions_at_the_ends_of_their_domain():
    x = np.array([0.0, -0.0, 1.0, np.inf, -1.0, np.nan, 2.0**-140], np.float32)
    with np.errstate(all="ignore"):
        for function, exact in ((log, np.log), (log2, np.log2)):
            wanted = exact(x.astype(np.float64))
            assert np.allclose(function(x), wanted, rtol=1e-6, equal_nan=True)
        far = np.array([1e5, 1.1e5, 3e38, -2e6], np.float32)
        for function, exact in ((sin, np.sin), (cos, np.cos)):
            assert np.allclose(function(far), exact(far.astype(np.float64)), rtol=0, atol=2e-7)
            assert np.isnan(function(np.array([np.inf, np.nan], np.float32))).all()
        assert sin(np.array([2.0**-140, -0.0], np.float32)).tolist() == [0, 0], "denormals are zero"
        assert erf(np.array([np.inf, -np.inf, 0.0, 9.0], np.float32)).tolist() == [1, -1, 0, 1]


def test_arithmetic_of_8_bit_floats_is_refused():
    refuse_float8(tl.float16, tl.int8)
    with pytest.raises(NotEmulated, match="it computes with fp8e5 outside of"):
        refuse_float8(tl.float16, tl.float8e5)
