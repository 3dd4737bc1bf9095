"""The error that decides: scale-relative, and never fooled by NaN."""

import math

import pytest
import torch

from kernels.launches.bound import spoil
from tools.harness.checking.verify import blind_spot, result_fault, saturated, scale_error
from tools.harness.measuring.statistics import median_ci


def test_equal_tensors_have_no_error():
    x = torch.randn(7, 5, dtype=torch.float64)
    assert scale_error(x.clone(), x) == 0.0


def test_error_is_relative_to_the_largest_reference_element():
    reference = torch.tensor([1.0, -200.0], dtype=torch.float64)
    assert scale_error(torch.tensor([3.0, -200.0]), reference) == pytest.approx(0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [0, 511, 1023])
def test_one_non_finite_element_is_an_infinite_error(bad, where):
    reference = torch.randn(1024, dtype=torch.float64)
    out = reference.clone()
    out[where] = bad
    assert scale_error(out, reference) == math.inf


def test_zeros_are_off_by_the_whole_scale():
    reference = torch.randn(64, 64, dtype=torch.float64)
    assert scale_error(torch.zeros(64, 64), reference) == pytest.approx(1.0)


def test_chunks_give_the_error_of_the_whole(monkeypatch):
    monkeypatch.setattr("tools.harness.checking.verify.CHUNK", 7)
    reference = torch.linspace(-1, 1, 100, dtype=torch.float64)
    out = reference.clone()
    out[99] += 0.5
    assert scale_error(out, reference) == pytest.approx(0.5)


def test_the_interval_encloses_the_median_and_narrows_with_samples():
    wide, narrow = median_ci([1, 2, 3, 4, 5]), median_ci([1, 2, 3, 4, 5] * 40)
    assert wide[0] == narrow[0] == 3
    assert wide[1][0] <= 3 <= wide[1][1]
    assert narrow[1][1] - narrow[1][0] < wide[1][1] - wide[1][0]


def test_no_samples_is_an_error():
    with pytest.raises(ValueError, match="no samples"):
        median_ci([])


def test_a_sensible_bound_sees_every_wrong_output():
    assert blind_spot(torch.randn(33, 65, dtype=torch.float64), 1e-3) == ""


@pytest.mark.parametrize(
    ("reference", "bound", "blind"),
    [
        (torch.randn(64, dtype=torch.float64), 1.5, "an output of zeros"),
        (torch.tensor([1.0] * 8 + [0.4] * 8, dtype=torch.float64), 0.5, ""),
        (torch.zeros(64, dtype=torch.float64), 0.1, "an output of zeros"),
    ],
)
def test_a_bound_that_accepts_wrong_outputs_is_found(reference, bound, blind):
    assert blind_spot(reference, bound) == blind


FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_spoilt_float_is_nan_or_unforeseeable(dtype):
    out = torch.zeros(64, 8, dtype=dtype)
    spoil(out, with_nan=True)
    assert out.float().isnan().all()
    spoil(out, with_nan=False)
    first = out.float().clone()
    spoil(out, with_nan=False)
    assert first.isfinite().all()
    assert not torch.equal(first, out.float())


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.uint8, torch.bool], ids=str)
def test_spoilt_integers_are_unforeseeable(dtype):
    out = torch.zeros(256, dtype=dtype)
    spoil(out, with_nan=True)
    first = out.clone()
    spoil(out, with_nan=True)
    assert not torch.equal(first, out)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_results_of_8_bit_floats_are_judged(dtype):
    """PyTorch neither clamps them nor looks for infinity in them."""
    right = torch.linspace(-1, 1, 64).to(dtype)
    assert result_fault(right, right.double(), 0.1, False, True)[0] == ""
    assert result_fault(torch.zeros(64).to(dtype), right.double(), 0.1, False, False)[0]
    spoilt = right.clone()
    spoilt[3] = float("nan")
    assert "1 of 64" in result_fault(spoilt, right.double(), 0.1, False, False)[0]
    assert scale_error(*saturated(right, right)) == 0
    assert scale_error(*saturated(right, right.double() * 2)) == pytest.approx(0.5)


def test_flags_are_compared_with_flags():
    flags = torch.tensor([True, False, True])
    assert scale_error(flags, flags) == 0
    assert scale_error(flags, ~flags) == 1
