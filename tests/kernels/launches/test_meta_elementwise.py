"""Shapes and dtypes of elementwise functions on meta tensors are those that PyTorch's own references give."""

import itertools

import pytest
import torch
from torch.nn.functional import leaky_relu, rms_norm

from kernels.launches.meta_elementwise import MetaElementwise

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize(("one", "other"), list(itertools.product(DTYPES, DTYPES)))
def test_copysign_of_two_tensors_is_that_of_pytorch(one, other):
    a, b = torch.ones(3, 1, dtype=one), -torch.ones(5, dtype=other)
    expected = torch.copysign(a, b)
    with MetaElementwise():
        found = torch.copysign(a.to("meta"), b.to("meta"))
        on_cpu = torch.copysign(a, b)
    assert (found.shape, found.dtype, found.device.type) == (expected.shape, expected.dtype, "meta")
    assert torch.equal(on_cpu, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_leaky_relu_keeps_shape_and_dtype(dtype):
    with MetaElementwise():
        found = leaky_relu(torch.empty(2, 3, dtype=dtype, device="meta"), 0.01)
    assert (tuple(found.shape), found.dtype) == ((2, 3), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_norm_of_rows_is_that_of_pytorch_and_does_not_ask_it(dtype, monkeypatch):
    x, weight = torch.ones(3, 5, dtype=dtype), torch.ones(5, dtype=dtype)
    expected = rms_norm(x, (5,), weight, 1e-6)
    monkeypatch.delattr(torch, "rms_norm")
    with MetaElementwise():
        found = rms_norm(x.to("meta"), (5,), weight.to("meta"), 1e-6)
    assert (found.shape, found.dtype, found.stride()) == (expected.shape, expected.dtype, expected.stride())


def test_rms_norm_of_shapes_that_do_not_fit_is_refused():
    x = torch.empty(3, 5, device="meta")
    with MetaElementwise(), pytest.raises(RuntimeError):
        rms_norm(x, (4,), torch.empty(4, device="meta"), 1e-6)


def test_what_is_in_place_or_an_integer_is_pytorchs():
    x = torch.empty(2, device="meta")
    with MetaElementwise():
        assert leaky_relu(x, 0.01, inplace=True) is x
        assert torch.copysign(torch.empty(2, dtype=torch.int32, device="meta"), x).dtype == torch.float32
        with pytest.raises(RuntimeError):
            torch.copysign(torch.empty(2, device="meta"), torch.empty(3, device="meta"))
