"""bf16 in Triton's interpreter: rounded to nearest and computed as numbers, once it is patched."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.triton.rounding import round_once_to_bf16, round_to_bf16, widen

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
CHILD = """
import sys, torch, triton, triton.language as tl
if sys.argv[1] == "patched":
    from kernels.triton.interpreter_bf16 import patch_bf16
    patch_bf16()
    patch_bf16()

@triton.jit
def compute(x_ptr, y_ptr, out_ptr, product_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n, other=0.0)
    y = tl.load(y_ptr + i, mask=i < n, other=0.0)
    z = x * y + x
    tl.store(out_ptr + i, tl.where(z > y, z - y, tl.maximum(z, -y)), mask=i < n)
    tl.store(product_ptr + i, x.to(tl.float32) * y.to(tl.float32), mask=i < n)

torch.manual_seed(0)
x, y = torch.randn(2, 500).bfloat16()
out, product = torch.empty_like(x), torch.empty_like(x)
compute[(1,)](x, y, out, product, 500, 512)
z = x * y + x
same = torch.equal(out, torch.where(z > y, z - y, torch.maximum(z, -y)))
assert same and torch.equal(product, (x.float() * y.float()).bfloat16())
"""

REDUCED = """
@triton.jit
def larger(a, b):
    return tl.where(a > b, a, b)

@triton.jit
def reduce(x_ptr, sums_ptr, whole_ptr, largest_ptr, place_ptr, own_ptr, prefix_ptr, product_ptr, back_ptr,
            clamped_ptr, fused_ptr, added_ptr, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M), tl.arange(0, N)
    at = i[:, None] * N + j[None, :]
    x = tl.load(x_ptr + at)
    tl.store(sums_ptr + i, tl.sum(x, 1))
    tl.store(whole_ptr, tl.sum(x))
    most, place = tl.max(x, 1, return_indices=True)
    tl.store(largest_ptr + i, most)
    tl.store(place_ptr + i, place)
    tl.store(own_ptr + i, tl.reduce(x, 1, larger))
    tl.store(prefix_ptr + at, tl.cumsum(x, 1))
    tl.store(product_ptr + at, tl.cumprod(x, 1))
    tl.store(back_ptr + at, tl.cumsum(x, 1, reverse=True))
    half = tl.full((M, N), 0.5, x.dtype)
    tl.store(clamped_ptr + at, tl.clamp(x, -half, half))
    tl.store(fused_ptr + at, tl.fma(x, x, half))
    tl.atomic_add(added_ptr + i[:, None] // 4 + 0 * j[None, :], x)

def tree(x):
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    return x[..., 0]

M, N = 8, 128
torch.manual_seed(0)
for dtype in (torch.bfloat16, torch.float16):
    x = (torch.randn(M, N) * 0.9).to(dtype)
    sums, largest, own = (torch.empty(M, dtype=dtype) for _ in range(3))
    whole, place = torch.empty(1, dtype=dtype), torch.empty(M, dtype=torch.int32)
    prefix, product, back, clamped, fused = (torch.empty_like(x) for _ in range(5))
    added = torch.zeros(2, dtype=dtype)
    reduce[(1,)](x, sums, whole, largest, place, own, prefix, product, back, clamped, fused, added, M, N)
    assert torch.equal(sums, tree(x)), "sums are added in their own type"
    assert torch.equal(whole, tree(x.reshape(1, -1))), "the same of all"
    assert torch.equal(largest, x.amax(-1)) and torch.equal(own, largest), "largest"
    assert torch.equal(place.long(), x.argmax(-1)), "places"
    wide, unit = x.double(), torch.finfo(dtype).eps
    for found, exact in ((prefix, wide.cumsum(-1)), (back, wide.flip(-1).cumsum(-1).flip(-1))):
        assert (found.double() - exact).abs().max() < 8 * unit * exact.abs().max(), "prefixes"
        assert not torch.equal(found, exact.to(dtype)), "prefixes are rounded on the way"
    exact = wide.cumprod(-1)
    assert ((product.double() - exact).abs() <= 8 * unit * exact.abs() + torch.finfo(dtype).tiny).all(), "products"
    assert torch.equal(clamped, x.clamp(-0.5, 0.5)), "clamped"
    assert torch.equal(fused, (wide * wide + 0.5).to(dtype)), "one rounding"
    one_by_one = torch.stack([sum(half.flatten(), torch.zeros((), dtype=dtype)) for half in (x[:4], x[4:])])
    assert torch.equal(added, one_by_one), "atomic"
"""


def test_one_rounding_is_no_rounding_of_a_rounding():
    halfway = 1.0 + 2.0**-8  # between two numbers of bf16; a little above it rounds up, and fp32 cannot see that
    bits = round_once_to_bf16(np.array([halfway, halfway + 2.0**-40, halfway - 2.0**-40, -halfway - 2.0**-40]))
    assert widen(bits).tolist() == [1.0, 1.0 + 2.0**-7, 1.0, -1.0 - 2.0**-7]
    special = np.array([np.inf, -np.inf, np.nan, 0.0, 1e300, 1e-300])
    assert np.array_equal(widen(round_once_to_bf16(special)), [np.inf, -np.inf, np.nan, 0, np.inf, 0], equal_nan=True)
    x = np.random.default_rng(0).standard_normal(10_000)
    assert np.array_equal(
        round_once_to_bf16(x), torch.from_numpy(x).bfloat16().view(torch.int16).numpy().view(np.uint16)
    )


def run(tmp_path, program, how):
    script = tmp_path / "child.py"
    script.write_text(program)
    return subprocess.run(
        [sys.executable, str(script), how],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize(("how", "right"), [("patched", True), ("as it is", False)])
def test_arithmetic_sums_and_scans_are_those_of_compiled_code(tmp_path, how, right):
    child = run(tmp_path, CHILD + REDUCED, how)
    assert (child.returncode == 0) is right, child.stderr[-1500:]


def test_rounding_is_that_of_pytorch_for_every_kind_of_number():
    x = torch.cat([torch.randn(10_000) * 10.0**e for e in range(-44, 38, 9)])
    special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 3.4e38, 1.00390625, 1.01171875])
    x = torch.cat([x, special])
    bits = round_to_bf16(x.numpy())
    assert torch.equal(torch.from_numpy(bits.view(np.int16)), x.bfloat16().view(torch.int16))
    assert np.isnan(widen(round_to_bf16(np.array([np.nan], dtype=np.float32))))[0]
