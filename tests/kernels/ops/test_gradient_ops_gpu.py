"""The ops whose kernels make gradients, on a GPU: their gradients are autograd's, and the loss needs little memory."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from kernels import ops

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.fixture(autouse=True)
def kernels_only():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ops.NoKernelWarning)
        yield


def normal(*shape, seed=0, scale=1.0):
    generator = torch.Generator("cuda").manual_seed(seed)
    drawn = torch.randn(shape, generator=generator, device="cuda") * scale
    return drawn.to(torch.bfloat16).requires_grad_()


def near(ours, theirs, bound=0.01):
    return (ours.double() - theirs).abs().max() <= bound * theirs.abs().max()


@pytest.mark.parametrize("shape", [(3, 40), (515, 4096), (64, 16385)])
def test_the_norms_gradients_are_autograds(shape):
    x, weight, bias = normal(*shape), normal(shape[1], seed=1), normal(shape[1], seed=2)
    grad = normal(*shape, seed=3).detach()
    wide = [t.detach().double().requires_grad_() for t in (x, weight, bias)]
    size = shape[1:]
    for op, eager, count in ((ops.rms_norm, F.rms_norm, 2), (ops.layer_norm, F.layer_norm, 3)):
        found = torch.autograd.grad(op(*(x, weight, bias)[:count], eps=1e-5), (x, weight, bias)[:count], grad)
        out = eager(wide[0], size, *wide[1:count], eps=1e-5)
        for ours, theirs in zip(found, torch.autograd.grad(out, wide[:count], grad.double()), strict=True):
            assert near(ours, theirs)


@pytest.mark.parametrize("shape", [(70, 203, 72), (1000, 5003, 256), (33, 1001, 37)])
def test_the_loss_and_its_gradients_are_autograds(shape):
    M, N, K = shape
    x, weight = normal(M, K), normal(N, K, seed=1, scale=K**-0.5)
    target = torch.randint(N, (M,), generator=torch.Generator("cuda").manual_seed(2), device="cuda")
    target[::9] = -100
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    exact = F.cross_entropy(F.linear(*wide), target)
    loss = ops.fused_linear_cross_entropy(x, weight, target)
    assert near(loss, exact, 2e-3)
    theirs = torch.autograd.grad(2 * exact, wide)
    for ours, right in zip(torch.autograd.grad(2 * loss, (x, weight)), theirs, strict=True):
        assert near(ours, right, 0.03)


def peak(call):
    call()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def test_a_training_step_needs_at_most_a_third_of_eager_pytorchs_memory():
    x, weight = normal(4096, 1024), normal(32000, 1024, seed=1, scale=1 / 32)
    target = torch.randint(32000, (4096,), device="cuda")

    def step(loss):
        torch.autograd.grad(loss(), (x, weight))

    eager = peak(lambda: step(lambda: F.cross_entropy(F.linear(x, weight).float(), target)))
    ours = peak(lambda: step(lambda: ops.fused_linear_cross_entropy(x, weight, target)))
    assert ours <= 0.35 * eager
