#!/usr/bin/env bash
# torch 2.13.0 (CPU build): the first element-wise operation on a meta tensor imports torch._dynamo, about 2 s of
# processor time, although nothing is compiled. Making, cloning, viewing and multiplying matrices on meta does not, and
# neither does the same addition on the CPU.
# Seen output:
#   made, cloned, sliced, x @ x on meta, x + x on the CPU: torch._dynamo is not imported
#   x + x on meta: torch._dynamo is imported
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.1
cat > imports.py <<'PY'
import sys
import time

import torch

x = torch.empty(4, 4, device="meta")
x.clone()
x[1:]
x @ x
torch.ones(4) + torch.ones(4)
print("before:", "torch._dynamo" in sys.modules)
began = time.process_time()
x + x
print("after one addition:", "torch._dynamo" in sys.modules)
print(f"{time.process_time() - began:.1f} s of processor time", file=sys.stderr)
PY
venv/bin/python imports.py | tee output
grep -q "^before: False" output
grep -q "^after one addition: True" output
