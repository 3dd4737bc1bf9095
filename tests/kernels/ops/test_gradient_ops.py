"""The ops whose kernels make gradients, on the CPU: values, gradients, PyTorch's own checks, refusals."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from kernels import ops

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def fallback_is_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ops.NoKernelWarning)
        yield


def normal(*shape, seed=0, dtype=torch.bfloat16):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


GRAD, X, WEIGHT = normal(2, 3, 40), normal(2, 3, 40, seed=1), normal(40, seed=2)


@pytest.mark.parametrize("saved", [False, True])
def test_the_norms_gradients_are_autograds(saved):
    wide = X.double().requires_grad_(), WEIGHT.double().requires_grad_()
    wanted = torch.autograd.grad(F.rms_norm(wide[0], (40,), wide[1], 1e-6), wide, GRAD.double())
    rstd = torch.rsqrt(X.float().square().mean(-1) + 1e-6) if saved else None
    for ours, theirs in zip(ops.rms_norm_backward(GRAD, X, WEIGHT, rstd=rstd), wanted, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=0.03, rtol=0.01)
    bias = torch.zeros(40, dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(F.layer_norm(wide[0], (40,), wide[1], bias), (*wide, bias), GRAD.double())
    variance, mean = torch.var_mean(X.float(), -1, correction=0)
    statistics = (mean, torch.rsqrt(variance + 1e-5)) if saved else (None, None)
    for ours, theirs in zip(ops.layer_norm_backward(GRAD, X, WEIGHT, 1e-5, *statistics), wanted, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=0.03, rtol=0.01)


@pytest.mark.parametrize("columns", [1, 3])
def test_rows_too_short_for_the_kernels_have_gradients_all_the_same(columns):
    x, weight = normal(5, columns).requires_grad_(), normal(columns, seed=1).requires_grad_()
    ops.rms_norm(x, weight).sum().backward()
    assert x.grad.shape == x.shape
    with pytest.raises(ValueError, match="at least 4 elements"):
        ops.rms_norm_backward(x, x, weight)


def test_the_norms_can_be_differentiated_twice():
    x, weight = normal(3, 16).requires_grad_(), normal(16, seed=1).requires_grad_()
    (first,) = torch.autograd.grad(ops.rms_norm(x, weight).square().sum(), x, create_graph=True)
    assert torch.autograd.grad(first.sum(), x)[0].isfinite().all()


def test_the_loss_and_its_gradients_are_pytorchs():
    x, weight = normal(2, 7, 32).requires_grad_(), normal(50, 32, seed=1).mul(0.2).requires_grad_()
    target = torch.randint(50, (2, 7), generator=torch.Generator().manual_seed(3))
    target[0, :2] = -100
    loss = ops.fused_linear_cross_entropy(x, weight, target)
    wide = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    exact = F.cross_entropy((wide[0] @ wide[1].T).flatten(0, 1), target.flatten())
    assert (loss.dtype, loss.shape) == (torch.float32, ())
    torch.testing.assert_close(loss.double(), exact, atol=0.01, rtol=0.01)
    (3 * loss).backward()
    for leaf, theirs in zip((x, weight), torch.autograd.grad(3 * exact, wide), strict=True):
        scale = theirs.abs().max()
        torch.testing.assert_close(leaf.grad.double() / scale, theirs / scale, atol=0.02, rtol=0)


def test_the_losss_gradients_are_handed_out_once_and_without_a_copy():
    x, weight, target = normal(4, 16).requires_grad_(), normal(8, 16).requires_grad_(), torch.arange(4)
    loss = ops.fused_linear_cross_entropy(x, weight, target)
    made = loss.grad_fn.made[1].data_ptr()
    loss.backward(retain_graph=True)
    assert weight.grad.data_ptr() == made
    with pytest.raises(RuntimeError, match="call it again for a second backward pass"):
        loss.backward()


def test_torch_compile_takes_them_without_a_graph_break():
    def step(x, weight, head, target):
        return ops.fused_linear_cross_entropy(ops.rms_norm(x, weight), head, target)

    x, weight, head = (normal(*shape, seed=i).requires_grad_() for i, shape in enumerate([(4, 16), (16,), (8, 16)]))
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    given = (x, weight, head, torch.arange(4))
    found = torch.autograd.grad(compiled(*given), given[:3])
    for ours, theirs in zip(found, torch.autograd.grad(step(*given), given[:3]), strict=True):
        assert torch.equal(ours, theirs)


ROWS = torch.ones(6)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rms_norm_backward", (normal(6, 40), normal(6, 40), WEIGHT, ROWS, 1e-6)),
        ("layer_norm_backward", (normal(6, 40), normal(6, 40), WEIGHT, None, None, 1e-5)),
        ("fused_linear_cross_entropy", (normal(6, 16), normal(9, 16, seed=1), torch.arange(6), -100)),
    ],
)
def test_operators_pass_pytorchs_own_checks(name, arguments):
    torch.library.opcheck(getattr(torch.ops.autokernel, name).default, arguments)


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: ops.rms_norm_backward(GRAD, X[:1], WEIGHT), ValueError, "grad and x of one shape"),
        (lambda: ops.rms_norm_backward(GRAD, X, WEIGHT, rstd=ROWS), ValueError, "one statistic for each row"),
        (lambda: ops.rms_norm_backward(GRAD, X, WEIGHT, rstd=ROWS.half()), ValueError, "statistics in float32"),
        (lambda: ops.layer_norm_backward(GRAD, X, WEIGHT, rstd=ROWS.view(2, 3)), ValueError, "together, or neither"),
        (lambda: ops.fused_linear_cross_entropy(X, normal(9, 40), ROWS), TypeError, "targets of int64"),
        (lambda: ops.fused_linear_cross_entropy(X, normal(9, 41), torch.ones(2, 3).long()), ValueError, "weight "),
        (lambda: ops.fused_linear_cross_entropy(X, WEIGHT, torch.ones(2, 3).long()), ValueError, "weight "),
        (lambda: ops.fused_linear_cross_entropy(X[:0], normal(9, 40), torch.ones(0, 3).long()), ValueError, "one row"),
    ],
)
def test_wrong_arguments_are_one_sentence(call, kind, says):
    with pytest.raises(kind, match=says):
        call()
