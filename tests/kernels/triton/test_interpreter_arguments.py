"""Scalars reach an interpreted kernel with the types that a compiled launch gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

PROGRAM = """
import json, torch, triton, triton.language as tl
from kernels.triton.interpreter_arguments import patch_scalars
patch_scalars()

@triton.jit
def kernel(x_ptr, out_ptr, eps, n, N: tl.constexpr, HALF: tl.constexpr):
    at = tl.arange(0, N)
    scaled = tl.load(x_ptr + at) * eps  # fp16 by fp32
    tl.store(out_ptr + at, scaled + eps.to(tl.float32) + n.to(tl.float32) + HALF)
    for i in range(1, n):
        for j in tl.range(2):
            at += (i.to(tl.int64) * 0 + j.to(tl.int32)) // 2
    for k in tl.static_range(2):
        tl.static_assert(k >= 0)
        tl.store(out_ptr + at, tl.load(out_ptr + at))

x, out = torch.full((8,), 1.0, dtype=torch.float16), torch.zeros(8)
kernel[(1,)](x, out, 1e-6, 3, N=8, HALF=0.5)
print(json.dumps(out.tolist()))
"""


def test_a_float_is_an_fp32_scalar_and_a_loops_variable_an_int32(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    # In fp16 the product of 1e-6 would be off by 5 %; added to 3.5 in fp32 it is within its rounding.
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx([3.500002] * 8, abs=3e-7)
