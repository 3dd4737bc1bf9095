"""Derivatives that the ops do not have: refused, and never zero."""

import pytest
import torch
from torch.autograd import forward_ad

from kernels import ops

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore::kernels.ops.NoKernelWarning")]

X = torch.randn(4, 64, dtype=torch.float16)
WEIGHT = torch.randn(64, dtype=torch.float16)


def norm(x):
    return ops.rms_norm(x, WEIGHT)


def in_dual_level(x):
    with forward_ad.dual_level():
        return norm(forward_ad.make_dual(x, x))


@pytest.mark.parametrize(
    "call",
    [
        lambda: in_dual_level(X),
        lambda: torch.func.jvp(norm, (X,), (X,)),
        lambda: torch.func.jvp(lambda w: ops.fused_matmul(X, w.t()), (X,), (X,)),
        lambda: torch.func.jacfwd(norm)(X[:1, :]),
    ],
)
def test_a_tangent_is_refused(call):
    with pytest.raises(NotImplementedError, match="no forward-mode derivative"):
        call()


@pytest.mark.parametrize("call", [lambda: torch.func.grad(lambda x: norm(x).sum())(X), lambda: torch.func.vjp(norm, X)])
def test_a_derivative_by_torch_func_is_refused(call):
    with pytest.raises(NotImplementedError, match="no derivative for torch"):
        call()


def test_what_is_not_differentiated_is_computed_under_every_transform():
    expected = norm(X)
    with forward_ad.dual_level():
        assert torch.equal(norm(X), expected)
    value, tangent = torch.func.jvp(lambda x: x + norm(X), (X,), (X,))
    assert torch.equal(value, X + expected)
    assert torch.equal(tangent, X)
    assert torch.equal(torch.func.grad(lambda x: (x * norm(x.detach())).sum())(X), expected)
    assert torch.equal(torch.func.grad(lambda x: (x * norm(X)).sum())(X), expected)
