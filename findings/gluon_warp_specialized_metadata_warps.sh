#!/usr/bin/env bash
# Triton 3.9.0 (with torch 2.13.0, which its Gluon imports): the metadata of a compiled Gluon kernel that specialises its
# warps give, as num_warps, the warps of all partitions. What the launch asked for stands in the TTGIR alone
# ("ttg.num-warps"). So a kernel cannot be compiled again from its own metadata: 4 asked for, 4 + 1 more partitions make
# 12 (rounded up to whole warp groups), and 12 is refused, because num_warps has to be a power of two.
# Seen output:
#   asked 4, metadata 12, ttgir 4, compiled again from its metadata: AssertionError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.13.0 triton==3.9.0
cat > kernel.py <<'PY'
import re

import triton
from triton.backends.compiler import GPUTarget
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource


@gluon.jit
def add(x_ptr, out_ptr, WARPS: gl.constexpr, FIRST: gl.constexpr):
    layout: gl.constexpr = gl.BlockedLayout([1], [32], [WARPS], [0])
    at = FIRST + gl.arange(0, 128, layout=layout)
    gl.store(out_ptr + at, gl.load(x_ptr + at) + 1)


@gluon.jit
def specialized(x_ptr, out_ptr):
    gl.warp_specialize(
        [(add, (x_ptr, out_ptr, 4, 0)), (add, (x_ptr, out_ptr, 4, 128)), (add, (x_ptr, out_ptr, 1, 256))],
        [4, 1],
        [24, 24],
    )


target = GPUTarget("cuda", 90, 32)
source = GluonASTSource(specialized, {"x_ptr": "*fp32", "out_ptr": "*fp32"})
compiled = triton.compile(source, target=target, options={"num_warps": 4})
asked = re.search(r'"ttg\.num-warps" = (\d+)', compiled.asm["ttgir"])[1]
try:
    triton.compile(source, target=target, options={"num_warps": compiled.metadata.num_warps, "num_ctas": 1})
    again = "runs"
except Exception as e:
    again = type(e).__name__
print(f"asked 4, metadata {compiled.metadata.num_warps}, ttgir {asked}, compiled again from its metadata: {again}")
PY
seen=$(TRITON_CACHE_DIR="$folder/cache" venv/bin/python kernel.py 2>/dev/null)
echo "$seen"
grep -q "metadata 12, ttgir 4, compiled again from its metadata: AssertionError" <<<"$seen"
