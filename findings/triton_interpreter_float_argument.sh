#!/usr/bin/env bash
# Triton 3.9.0 (with torch 2.13.0, numpy 2.4.1): a kernel argument that is a Python float is an fp32 scalar when the
# kernel is compiled, and stays a Python float in the interpreter. Integers are scalars in both.
#   eps.to(tl.float32)      compiles; in the interpreter AttributeError: 'float' object has no attribute 'to'
#   fp16 tensor * eps       is fp32 in compiled code; in the interpreter fp16, as if eps were a literal
# Seen output:
#   interpreted: n.to runs, eps.to raises AttributeError, fp16 * eps is fp16
#   compiled:    eps is fp32, fp16 * eps is fp32
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.13.0 triton==3.9.0 numpy==2.4.1
cat > kernels.py <<'PY'
import triton
import triton.language as tl


@triton.jit
def with_integer(out_ptr, n):
    tl.store(out_ptr, n.to(tl.float32))


@triton.jit
def with_float(out_ptr, eps):
    tl.store(out_ptr, eps.to(tl.float32))


@triton.jit
def product(x_ptr, eps, N: tl.constexpr):
    at = tl.arange(0, N)
    y = tl.load(x_ptr + at) * eps
    tl.static_print("product is", y.dtype)
    tl.store(x_ptr + at, y)
PY
cat > interpreted.py <<'PY'
import torch
from kernels import product, with_float, with_integer

seen = []
for kernel, value in ((with_integer, 3), (with_float, 0.5)):
    try:
        kernel[(1,)](torch.zeros(1), value)
        seen.append("runs")
    except Exception as e:
        seen.append(type(e.__cause__ or e).__name__)
print("interpreted", *seen)
product[(1,)](torch.ones(8, dtype=torch.float16), 0.5, N=8)
PY
cat > compiled.py <<'PY'
import triton
from kernels import product, with_float
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

target = GPUTarget("cuda", 90, 32)
triton.compile(ASTSource(with_float, {"out_ptr": "*fp32", "eps": "fp32"}), target=target)
triton.compile(ASTSource(product, {"x_ptr": "*fp16", "eps": "fp32", "N": "constexpr"}, {(2,): 8}), target=target)
print("compiled runs, a float is", triton.runtime.jit.mangle_type(0.5))
PY
interpreted=$(TRITON_INTERPRET=1 venv/bin/python interpreted.py 2>/dev/null)
compiled=$(TRITON_CACHE_DIR="$folder/cache" venv/bin/python compiled.py 2>/dev/null)
printf '%s\n%s\n' "$interpreted" "$compiled"
grep -q "interpreted runs AttributeError" <<<"$interpreted"
grep -Eq "product is.*fp16" <<<"$interpreted"
grep -q "compiled runs, a float is fp32" <<<"$compiled"
grep -Eq "product is.*fp32" <<<"$compiled"
