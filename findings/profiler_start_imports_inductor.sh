#!/usr/bin/env bash
# Starting torch.profiler.profile in a process that compiles nothing imports all of PyTorch's compiler: torch._dynamo,
# torch._inductor and SymPy. The profiler asks hasattr(torch, "_inductor") to read one option of CUDA graphs, and torch
# imports a missing submodule of that name when it is asked for it. torch.autograd.profiler.profile, which does the
# profiling inside, imports nothing and gives the same events. On an H200's machine with torch 2.11 the first profile
# took 4.5 s by the one and 0.02 s by the other.
# Seen output (torch 2.13.0):
#   torch.autograd.profiler.profile: 0 modules of the compiler, events [aten::add]
#   torch.profiler.profile: over a hundred modules of the compiler, events [aten::add]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.13.0
cat > first_profile.py <<'PY'
import sys

import torch

x = torch.ones(4)


def compiler():
    found = sum(name.split(".")[:2] in (["torch", "_dynamo"], ["torch", "_inductor"]) for name in sys.modules)
    return "over a hundred" if found > 100 else found


def add():
    x + x


with torch.autograd.profiler.profile(use_kineto=True) as inner:
    add()
print(f"torch.autograd.profiler.profile: {compiler()} modules of the compiler, events [{inner.function_events[0].name}]")
with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as outer:
    add()
print(f"torch.profiler.profile: {compiler()} modules of the compiler, events [{outer.events()[0].name}]")
PY
seen=$(venv/bin/python first_profile.py 2>/dev/null)
echo "$seen"
[[ "$seen" == "torch.autograd.profiler.profile: 0 modules of the compiler, events [aten::add]
torch.profiler.profile: over a hundred modules of the compiler, events [aten::add]" ]]
