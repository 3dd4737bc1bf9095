#!/usr/bin/env bash
# Triton 3.9.0 (with torch 2.13.0, numpy 2.4.1): two kernels that compile and that TRITON_INTERPRET=1 refuses, because
# the interpreter defines each function anew from its source, at the top level.
#   a kernel that reads a constexpr or a device function   compiles; interpreted: NameError: name 'scale' is not defined
#   of the Python function around it
#   BLOCK: "tl.constexpr", in quotes                       compiles; interpreted: arange's arguments must be of type
#                                                          tl.constexpr. `from __future__ import annotations`, which
#                                                          makes the same texts, works in both
# Seen output:
#   interpreted closure InterpreterError quoted InterpreterError future runs
#   compiled closure runs quoted runs future runs
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.13.0 triton==3.9.0 numpy==2.4.1
cat > kernels.py <<'PY'
import triton
import triton.language as tl


def around(number):
    scale = tl.constexpr(number)

    @triton.jit
    def closure(x_ptr, BLOCK: tl.constexpr):
        at = tl.arange(0, BLOCK)
        tl.store(x_ptr + at, tl.load(x_ptr + at) * scale)

    return closure


@triton.jit
def quoted(x_ptr, BLOCK: "tl.constexpr"):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at) * 3)
PY
(echo "from __future__ import annotations"; sed 's/"tl.constexpr"/tl.constexpr/; s/quoted/future/' kernels.py) > late.py
cat > interpreted.py <<'PY'
import torch
from kernels import around, quoted
from late import future

seen = []
for name, kernel in (("closure", around(3)), ("quoted", quoted), ("future", future)):
    try:
        x = torch.ones(8)
        kernel[(1,)](x, BLOCK=8)
        seen += [name, "runs" if x.sum() == 24 else "is wrong"]
    except Exception as e:
        seen += [name, type(e).__name__]
print("interpreted", *seen)
PY
cat > compiled.py <<'PY'
import triton
from kernels import around, quoted
from late import future
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

seen = []
for name, kernel in (("closure", around(3)), ("quoted", quoted), ("future", future)):
    source = ASTSource(kernel, {"x_ptr": "*fp32", "BLOCK": "constexpr"}, {(1,): 8})
    triton.compile(source, target=GPUTarget("cuda", 90, 32))
    seen += [name, "runs"]
print("compiled", *seen)
PY
interpreted=$(TRITON_INTERPRET=1 venv/bin/python interpreted.py 2>/dev/null)
compiled=$(TRITON_CACHE_DIR="$folder/cache" venv/bin/python compiled.py 2>/dev/null)
printf '%s\n%s\n' "$interpreted" "$compiled"
grep -q "interpreted closure InterpreterError quoted InterpreterError future runs" <<<"$interpreted"
grep -q "compiled closure runs quoted runs future runs" <<<"$compiled"
