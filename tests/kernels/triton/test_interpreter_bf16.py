"""bf16 in Triton's interpreter: rounded to nearest and computed as numbers, once it is mended."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.triton.interpreter_bf16 import round_to_bf16, widen

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
CHILD = """
import sys, torch, triton, triton.language as tl
if sys.argv[1] == "mended":
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
sys.exit(not (same and torch.equal(product, (x.float() * y.float()).bfloat16())))
"""


@pytest.mark.parametrize(("how", "right"), [("mended", True), ("as it is", False)])
def test_arithmetic_comparison_and_rounding_are_those_of_pytorch(tmp_path, how, right):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    child = subprocess.run(
        [sys.executable, str(script), how],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (child.returncode == 0) is right, child.stderr[-1500:]


def test_rounding_is_that_of_pytorch_for_every_kind_of_number():
    x = torch.cat([torch.randn(10_000) * 10.0**e for e in range(-44, 38, 9)])
    special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 3.4e38, 1.00390625, 1.01171875])
    x = torch.cat([x, special])
    bits = round_to_bf16(x.numpy())
    assert torch.equal(torch.from_numpy(bits.view(np.int16)), x.bfloat16().view(torch.int16))
    assert np.isnan(widen(round_to_bf16(np.array([np.nan], dtype=np.float32))))[0]
