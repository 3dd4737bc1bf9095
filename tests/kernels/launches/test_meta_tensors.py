"""Shapes and dtypes on meta tensors are those that PyTorch gives on data, without importing PyTorch's compiler."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import leaky_relu, rms_norm

from kernels.launches.meta_tensors import MetaElementwise

ROOT = Path(__file__).parents[3]
OPERATORS = """
import sys, torch
from torch.nn import functional as F
from kernels.launches.meta_tensors import import_no_compiler

OPERATORS = {
    "copysign": lambda x, y: torch.copysign(x, y), "leaky_relu": lambda x, y: F.leaky_relu(x, 0.1),
    "leaky_relu_": lambda x, y: F.leaky_relu(x, 0.1, inplace=True), "gelu": lambda x, y: F.gelu(x, approximate="tanh"),
    "rms_norm": lambda x, y: F.rms_norm(x, y.shape, y.to(x.dtype), 1e-6), "silu": lambda x, y: F.silu(x),
    "layer_norm": lambda x, y: F.layer_norm(x, y.shape, y.to(x.dtype)), "division": lambda x, y: x / y,
    "softmax": lambda x, y: torch.softmax(x, -1), "where": lambda x, y: torch.where(x > 0, x, y),
    "var_mean": lambda x, y: torch.var_mean(x, -1)[0], "cumsum": lambda x, y: x.cumsum(0),
}
"""
COMPARE = """
import_no_compiler()
for name, operator in OPERATORS.items():
    for one in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for other in (torch.bfloat16, torch.float32, torch.float64):
            x, y = torch.ones(3, 5, dtype=one), -torch.ones(5, dtype=other)
            found, expected = operator(x.to("meta"), y.to("meta")), operator(x, y)
            assert found.device.type == "meta", name
            for what in ("size", "stride", "type"):
                assert getattr(found, what)() == getattr(expected.to("meta"), what)(), (name, what)
for wrong in (lambda x: F.rms_norm(x, (4,), x[0, :4], 1e-6), lambda x: torch.copysign(x, x[:2])):
    try:
        wrong(torch.empty(3, 5, device="meta"))
    except RuntimeError:
        continue
    raise AssertionError("shapes that do not fit were accepted")
assert "torch._dynamo" not in sys.modules, "PyTorch's compiler was imported"
"""
BOTH = """
import torch._refs
import_no_compiler()
x = torch.empty(3, 5, device="meta")
torch.copysign(x, x)
import torch._dynamo
calls = []
disable = torch._dynamo.disable
torch._dynamo.disable = lambda function, *a, **k: calls.append(function) or disable(function, *a, **k)
assert torch.copysign(x, x).shape == x.shape
assert calls, "once PyTorch's compiler is there, the references are hidden from it"
first = len(calls)
assert torch.copysign(x, x).shape == x.shape
assert len(calls) == first, "they are hidden once"
"""
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


class Named(torch.Tensor):
    """A subclass, as users have."""


def on_meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


X, ROW, SCALAR = on_meta(4, 8), on_meta(8), on_meta(dtype=torch.float64)
IMAGES = on_meta(2, 3, 4, 5).to(memory_format=torch.channels_last)
TRAINED = on_meta(4, 8).requires_grad_()
FP8 = on_meta(4, 8).to(torch.float8_e4m3fn)


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.copysign(X.half(), SCALAR),
        lambda: torch.copysign(SCALAR, X.half()),
        lambda: torch.copysign(X, other=X.half()),
        lambda: torch.copysign(X, X, out=on_meta(4, 8)),
        lambda: torch.copysign(X.t(), X.t()),
        lambda: torch.copysign(X.t(), X.t()).view(-1),
        lambda: torch.copysign(FP8, X),
        lambda: torch.copysign(TRAINED, X),
        lambda: torch.copysign(X.as_subclass(Named), X),
        lambda: torch.copysign(torch.nn.Parameter(X), 2.0),
        lambda: torch.copysign(X, None),
        lambda: torch.copysign(X),
        lambda: torch.copysign(2.0, X),
        lambda: leaky_relu(IMAGES),
        lambda: leaky_relu(TRAINED, 0.1),
        lambda: leaky_relu(X, "0.1"),
        lambda: leaky_relu(X, 0.1, True),
        lambda: leaky_relu(X, 0.1, slope=1),
        lambda: rms_norm(TRAINED, (8,), ROW),
        lambda: rms_norm(X.as_subclass(Named), (8,), ROW),
        lambda: rms_norm(X, 8, ROW),
        lambda: rms_norm(X, (8,), ROW, "1e-6"),
        lambda: rms_norm(X),
    ],
)
def test_what_is_not_obvious_is_pytorchs(call):
    def came_out():
        try:
            found = call()
        except (RuntimeError, TypeError) as e:
            return str(e)
        return type(found), found.shape, found.dtype, found.stride(), found.requires_grad

    expected = came_out()
    with MetaElementwise():
        assert came_out() == expected


def run(program: str) -> None:
    """A process of its own: this one may have imported PyTorch's compiler."""
    done = subprocess.run([sys.executable, "-c", OPERATORS + program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.process
def test_shapes_and_dtypes_are_those_on_data_and_pytorchs_compiler_is_not_imported():
    run(COMPARE)


@pytest.mark.process
def test_once_pytorchs_compiler_is_imported_references_are_hidden_from_it():
    run(BOTH)
