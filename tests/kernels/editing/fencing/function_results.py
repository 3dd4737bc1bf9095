"""Whether honest device functions run: ``python -m tests.kernels.editing.fencing.function_results HOW``.

HOW is ``interpret``, or ``compile`` for an H200 (no GPU is needed). Prints JSON: a name → why it does not run, or "". A
process of its own, because TRITON_INTERPRET counts only if it is set before a kernel's module is imported."""

import os
import sys

os.environ["TRITON_INTERPRET"] = "0" if sys.argv[1:2] == ["compile"] else "1"

import json
import tempfile
from pathlib import Path

import torch
from triton.errors import TritonError

from kernels.capture.reading.rebuilt_functions import rebuild_function
from kernels.editing.argument_values import values_of
from kernels.editing.machine_code_only import INSIDE
from kernels.editing.owner_function import owner_of
from kernels.editing.variants import launch_instead, make_variant
from kernels.hardware import hardware_named
from kernels.triton.interpreter_arguments import patch_scalars
from kernels.triton.interpreter_bf16 import patch_bf16
from kernels.triton.interpreter_libdevice import patch_libdevice
from kernels.triton.stub_driver import stub_driver
from tests.kernels.editing.fencing.honest_functions import FUNCTIONS, made, source_of


def arguments():
    x = torch.sin(torch.arange(8192.0))
    return {
        "x_ptr": x, "h_ptr": x.half(), "i_ptr": torch.zeros(8192, dtype=torch.int32), "o_ptr": torch.zeros(8192),
        "n": 500, "m": 64, "seed": 7, "B": 128,
    }  # fmt: skip


def interpreted(function, grid, **given):
    function[grid](**given)
    assert bool(given["o_ptr"].any())
    assert not given["o_ptr"].isnan().any()


def compiled(function, grid, **given):
    with stub_driver(hardware_named("H200")):
        function.run(grid=grid, warmup=True, **given)


def main():
    launch = compiled
    if os.environ["TRITON_INTERPRET"] == "1":
        launch = interpreted
        patch_bf16()
        patch_scalars()
        patch_libdevice()
    os.environ[INSIDE] = "1"  # this code is ours
    owner = owner_of(made, values_of(made, arguments(), {"B"}))
    function = rebuild_function(owner.digest, owner.parts, Path(tempfile.mkdtemp()))
    found = {}
    for name, statements, before, meta in FUNCTIONS:
        variant = make_variant(owner, source_of(statements, before, meta), meta)
        for value in meta.get("KIND", (None,)):
            try:
                launch_instead(variant, {"KIND": value} if value else {})(function, (), (4,), arguments(), launch)
                found[f"{name} {value or ''}".strip()] = ""
            except (TritonError, AssertionError) as e:
                found[name] = f"{type(e).__name__}: {e}"[-400:]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
