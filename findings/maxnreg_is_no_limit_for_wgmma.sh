#!/usr/bin/env bash
# Triton 3.9.0 (and 3.6.0) with its own assembler: a limit of registers by `maxnreg` makes a kernel spill, as is known,
# but not on Hopper if it multiplies. One wgmma instruction holds its accumulators in registers, and what does not fit
# into the limit is not spilled: the assembler refuses the kernel with C7602, and Triton calls it an internal error. The
# same kernel for Ampere (mma.sync) compiles with the same limit, and spills. A 64x64 tile of fp32 in four warps needs 58.
# Seen output:
#   sm_80 maxnreg 32: compiled
#   sm_90 maxnreg 32: refused, register target of 58 or higher
#   sm_90 maxnreg 64: compiled
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.13.0 triton==3.9.0
cat > product.py <<'PY'
import re

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def product(a_ptr, b_ptr, c_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    tl.store(c_ptr + at, tl.dot(tl.load(a_ptr + at), tl.load(b_ptr + at)))


signature = {"a_ptr": "*fp16", "b_ptr": "*fp16", "c_ptr": "*fp32", "N": "constexpr"}
for arch, most in ((80, 32), (90, 32), (90, 64)):
    source = ASTSource(product, signature, {(3,): 64}, {(i,): [["tt.divisibility", 16]] for i in range(3)})
    try:
        triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"maxnreg": most, "num_warps": 4})
        found = "compiled"
    except Exception as e:
        found = "refused, " + re.search(r"C7602.*?(register target of \d+ or higher)", str(e), re.DOTALL)[1]
    print(f"sm_{arch} maxnreg {most}: {found}")
PY
seen=$(TRITON_CACHE_DIR="$folder/cache" venv/bin/python product.py 2>/dev/null | grep '^sm_')
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
sm_80 maxnreg 32: compiled
sm_90 maxnreg 32: refused, register target of 58 or higher
sm_90 maxnreg 64: compiled
SEEN
