"""ops.grouped_matmul and ops.attention_backward on the CPU: values, gradients, PyTorch's own checks, refusals; and
through their kernels in Triton's interpreter."""

import os
import subprocess
import sys
import warnings
from itertools import pairwise

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


def normal(*shape, seed=0, dtype=torch.float16):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


ENDS = torch.tensor([3, 3, 8, 12], dtype=torch.int32)
"""Four groups, one of them empty."""


def by_group(x, w):
    starts = [0, *ENDS.tolist()]
    return torch.cat([x[a:b] @ w[e] for e, (a, b) in enumerate(pairwise(starts))])


@pytest.mark.parametrize("layout", ["row", "col"])
def test_groups_and_their_gradients_are_those_of_a_loop(layout):
    x = normal(12, 16)
    w = normal(4, 16, 24, seed=1) if layout == "row" else normal(4, 24, 16, seed=1).transpose(1, 2)
    ours = [t.detach().requires_grad_() for t in (x, w)]
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    found, wanted = ops.grouped_matmul(*ours, ENDS), by_group(*wide)
    torch.testing.assert_close(found.double(), wanted, atol=2e-2, rtol=2e-3)
    grad = normal(12, 24, seed=2)
    expected = torch.autograd.grad(wanted, wide, grad.double())
    for a, b in zip(torch.autograd.grad(found, ours, grad), expected, strict=True):
        torch.testing.assert_close(a.double(), b, atol=3e-2, rtol=2e-3)


def forward(q, k, v):
    scores = q.float() @ k.float().repeat_interleave(2, 1).mT / 8
    scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
    return (scores.softmax(-1) @ v.float().repeat_interleave(2, 1)).to(q.dtype), scores.logsumexp(-1)


def test_the_backward_pass_of_attention_is_autograds():
    shapes = (1, 4, 9, 64), (1, 2, 9, 64), (1, 2, 9, 64), (1, 4, 9, 64)
    q, k, v, grad = (normal(*shape, seed=i, dtype=torch.bfloat16) for i, shape in enumerate(shapes))
    wide = [t.double().requires_grad_() for t in (q, k, v)]
    wanted = F.scaled_dot_product_attention(*wide, is_causal=True, enable_gqa=True)
    wanted = torch.autograd.grad(wanted, wide, grad.double())
    for a, b in zip(ops.attention_backward(grad, q, k, v, *forward(q, k, v), causal=True), wanted, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.double() - b).abs().max() <= 2e-2 * b.abs().max()


def test_operators_pass_pytorchs_own_checks():
    torch.library.opcheck(torch.ops.autokernel.grouped_matmul.default, (normal(12, 16), normal(4, 16, 24), ENDS))
    q, k, v = normal(1, 4, 9, 64), normal(1, 2, 9, 64, seed=1), normal(1, 2, 9, 64, seed=2)
    given = (normal(1, 4, 9, 64, seed=3), q, k, v, *forward(q, k, v), True)
    torch.library.opcheck(torch.ops.autokernel.attention_backward.default, given)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: ops.grouped_matmul(normal(12, 16), normal(4, 16, 8), ENDS.long()), TypeError, "ends of int32"),
        (lambda: ops.grouped_matmul(normal(12, 16), normal(3, 16, 8), ENDS), ValueError, r"wants x \(M, K\)"),
        (lambda: ops.grouped_matmul(normal(12, 16), normal(4, 8, 8), ENDS), ValueError, r"wants x \(M, K\)"),
        (
            lambda: ops.attention_backward(*(normal(1, 1, 4, 64),) * 5, torch.zeros(1, 1, 4).half()),
            ValueError,
            "lse in float32",
        ),
        (
            lambda: ops.attention_backward(*(normal(1, 1, 4, 64),) * 5, torch.zeros(1, 4)),
            ValueError,
            r"wants lse \(B, H, S\)",
        ),
        (lambda: ops.attention_backward(*(normal(1, 1, 4, 32),) * 5, torch.zeros(1, 1, 4)), ValueError, "64 or 128"),
    ],
)
def test_wrong_arguments_are_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


INTERPRETED = """
import torch
from kernels import ops
from kernels.attention_backward import space as backward_space
from kernels.gemm import gluon_space
from kernels.hardware import hardware_named
from kernels.ops import operators
from kernels.triton.interpreter_arguments import patch_scalars
from kernels.triton.interpreter_bf16 import patch_bf16
from tests.kernels.ops.test_expert_ops import ENDS, by_group, forward, normal
patch_bf16()
patch_scalars()
operators.hardware_of = lambda device: hardware_named("H200")
backward_space.has_gluon = gluon_space.has_gluon = lambda: False  # the interpreter runs no Gluon
x, w = normal(12, 16), normal(4, 24, 16, seed=1).transpose(1, 2)
found, wanted = ops.grouped_matmul(x, w, ENDS), by_group(x.double(), w.double())
assert (found.double() - wanted).abs().max() <= 2e-3 * wanted.abs().max()
q, k, v, grad = normal(1, 4, 9, 64), normal(1, 2, 9, 64, seed=1), normal(1, 2, 9, 64, seed=2), normal(1, 4, 9, 64)
wide = [t.double().requires_grad_() for t in (q, k, v)]
wanted = torch.nn.functional.scaled_dot_product_attention(*wide, is_causal=True, enable_gqa=True)
wanted = torch.autograd.grad(wanted, wide, grad.double())
for a, b in zip(ops.attention_backward(grad, q, k, v, *forward(q, k, v), causal=True), wanted, strict=True):
    assert (a.double() - b).abs().max() <= 4e-3 * b.abs().max()
print("right")
"""


def test_the_kernels_compute_them_where_there_is_one():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::kernels.ops.NoKernelWarning", "-c", INTERPRETED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout.strip().endswith("right"), done.stderr[-2000:]
