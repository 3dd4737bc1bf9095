#!/usr/bin/env bash
# flash-linear-attention (fla-core 0.6.0) lets the autotuners of its chunked kernels try two and four warps on Hopper, and
# eight on other cards. For the backward pass of a gated delta-rule layer with heads of 128 and 256 in bf16
# (chunk_bwd_kernel_dqkwg, tiles of 64x128x128) that is what costs most: under Triton 3.9.0 for sm_90 four warps spill
# kilobytes of registers and eight spill nothing. On an H200 the launch with eight was 2.3 times as fast as the
# autotuner's choice, with results as close to float64; this script compiles, it needs no GPU.
# Seen output:
#   Hopper's list: [2, 4]
#   4 warps: 255 registers, 2944 bytes spilled; 8 warps: 242 registers, 0 bytes spilled
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.13.0 triton==3.9.0
venv/bin/pip install -q --disable-pip-version-check --no-deps fla-core==0.6.0 einops==0.8.2 packaging==26.4
cat > spills.py <<'PY'
import re
import subprocess
import tempfile
from pathlib import Path

import triton
from fla.ops.common import chunk_o
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

[listed] = re.findall(r"^NUM_WARPS = (\[.*?\]) if IS_NVIDIA_HOPPER", Path(chunk_o.__file__).read_text(), re.MULTILINE)
print(f"Hopper's list: {listed}")

function = chunk_o.chunk_bwd_kernel_dqkwg
while type(function).__name__ != "JITFunction":
    function = function.fn
tensors = {n: "*bf16" for n in ("q", "k", "v", "h", "do", "dh", "dq", "dk", "dw", "dv")}
constants = {"B": 1, "H": 8, "HV": 8, "K": 128, "V": 256, "BT": 64, "BK": 128, "BV": 128, "USE_G": True, "USE_DW": True}
constants |= {"USE_G_GAMMA": False, "STATE_V_FIRST": True, "IS_VARLEN": False}
constants |= dict.fromkeys(("g_gamma", "cu_seqlens", "chunk_indices"))
types = {**tensors, "g": "*fp32", "dg": "*fp32", "scale": "fp32", "T": "i32"}
signature = {n: types.get(n, "constexpr") for n in function.arg_names}
aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(function.arg_names) if signature[n].startswith("*")}


def figures(warps):
    source = ASTSource(function, signature, constants, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": 2})
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(made.asm["ptx"])
        file.flush()
        assembler = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas-blackwell"
        command = [assembler, "-v", "--gpu-name=sm_90a", file.name, "-o", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers = re.search(r"Used (\d+) registers", said)[1]
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", said)))
    return f"{warps} warps: {registers} registers, {spilled} bytes spilled"


print("; ".join(map(figures, (4, 8))))
PY
seen=$(TRITON_CACHE_DIR="$folder/cache" venv/bin/python spills.py 2>/dev/null)
echo "$seen"
grep -qF "Hopper's list: [2, 4]" <<<"$seen"
grep -qE "4 warps: 255 registers, [1-9][0-9]{3,} bytes spilled; 8 warps: [0-9]+ registers, 0 bytes spilled" <<<"$seen"
