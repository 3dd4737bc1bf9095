#!/usr/bin/env bash
# liger-kernel 0.8.5 under Triton 3.9.0 (with torch 2.13.0): the forward pass of group_norm adds the elements of a bf16 group,
# and their squares, in bf16, and takes the variance for the difference of the two means. tl.sum keeps the dtype of what
# it adds, only integers below 32 bits are widened; layer_norm and rms_norm of the same version convert each block to
# fp32 first. Eight bits of mantissa leave nothing of a variance that is small beside the squared mean. On one H200 the
# reciprocal of the standard deviation was off by 1.1e+03 times its largest true value where the inputs were shifted.
# Seen output (what adds in the reductions, by the compiler's own form of each kernel):
#   group_norm bf16: bf16 bf16
#   group_norm fp32: f32 f32
#   layer_norm bf16: f32 f32
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.13.0 triton==3.9.0 packaging==26.4
venv/bin/pip install -q --disable-pip-version-check --no-deps liger-kernel==0.8.5
cat > reductions.py <<'PY'
import re

import triton
from liger_kernel.ops.group_norm import _group_norm_forward_kernel as group_norm
from liger_kernel.ops.layer_norm import _layer_norm_forward_kernel as layer_norm
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

wanted = (("group_norm", group_norm, "bf16"), ("group_norm", group_norm, "fp32"), ("layer_norm", layer_norm, "bf16"))
for name, kernel, dtype in wanted:
    signature = {
        n: "constexpr" if n == "BLOCK_SIZE" else f"*{dtype}" if n.endswith("_ptr") else "fp32" if n == "eps" else "i32"
        for n in kernel.arg_names
    }
    source = ASTSource(kernel, signature, {(kernel.arg_names.index("BLOCK_SIZE"),): 4096})
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ttgir"]
    print(f"{name} {dtype}:", *re.findall(r'"tt\.reduce".*?arith\.addf [^:]*: (\w+)', made, re.DOTALL))
PY
found=$(TRITON_CACHE_DIR="$folder/cache" venv/bin/python reductions.py 2>errors.txt) || { cat errors.txt; exit 1; }
echo "$found"
[ "$found" = "group_norm bf16: bf16 bf16
group_norm fp32: f32 f32
layer_norm bf16: f32 f32" ]
