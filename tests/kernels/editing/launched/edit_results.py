"""What launched edits compute, or whether they compile: ``python -m tests.kernels.editing.launched.edit_results HOW``.

HOW is ``interpret``, or ``compile`` for an H200 (no GPU is needed); a number N behind it takes one edit in N. Prints
JSON: the name of an edit → the largest difference from the owner's results over the largest of them, or why there is
none, for the first and the last values of its meta-parameters. A process of its own, because TRITON_INTERPRET counts
only if it is set before a kernel's module is imported."""

import os
import sys

os.environ["TRITON_INTERPRET"] = "0" if sys.argv[1:2] == ["compile"] else "1"

import itertools
import json
import tempfile
from pathlib import Path

import torch
from triton.errors import TritonError

from kernels.capture.reading.rebuilt_functions import rebuild_function
from kernels.editing.machine_code_only import INSIDE
from kernels.editing.refused_edit import RefusedEdit
from kernels.editing.variants import launch_instead, make_variant
from kernels.hardware import hardware_named
from kernels.triton.interpreter_arguments import patch_scalars
from kernels.triton.interpreter_bf16 import patch_bf16
from kernels.triton.interpreter_libdevice import patch_libdevice
from kernels.triton.stub_driver import stub_driver
from tests.kernels.editing.launched.launched_edits import EDITS
from tests.kernels.editing.launched.launched_kernels import KERNELS, owner_of_launch
from tests.kernels.editing.launched.more_edits import MORE_EDITS
from tests.kernels.editing.launched.more_kernels import MORE


def launched(launch, arguments):
    """The tensors of `arguments` behind the launch."""
    launch(arguments)
    return [a for a in arguments.values() if isinstance(a, torch.Tensor)]


def difference(results, wanted):
    return max(
        float((a.double() - b.double()).abs().max() / (b.double().abs().max() or 1.0))
        for a, b in zip(results, wanted, strict=True)
    )


def interpreted(kernel, function, instead):
    wanted = launched(lambda given: function[kernel.grid](**given), kernel.arguments())

    def go_on(other, grid, **given):
        other[grid](**given)

    return difference(
        launched(lambda given: instead(function, (), kernel.grid, given, go_on), kernel.arguments()), wanted
    )


def compiled(kernel, function, instead):
    def go_on(other, grid, **given):
        other.run(grid=(1,), warmup=True, **given)

    os.environ[INSIDE] = "1"  # these edits are ours
    with stub_driver(hardware_named("H200")):
        instead(function, (), kernel.grid, kernel.arguments(), go_on)
    return 0.0


def main():
    interprets = os.environ["TRITON_INTERPRET"] == "1"
    if interprets:
        patch_bf16()
        patch_scalars()
        patch_libdevice()
    folder = Path(tempfile.mkdtemp())
    found = {}
    for name, of, source, *rest in [*EDITS, *MORE_EDITS][:: int(sys.argv[2]) if len(sys.argv) > 2 else 1]:
        meta, grid, _ = (*rest, *({}, "", 1e-5)[len(rest) :])
        kernel = (KERNELS | MORE)[of]
        owner = owner_of_launch(kernel)
        function = rebuild_function(owner.digest, owner.parts, folder)
        text = source if isinstance(source, str) else source(owner.part["source"])
        try:
            variant = make_variant(owner, text, meta, grid)
            rows = list(itertools.product(*variant.edit.meta.values()))
            how = interpreted if interprets else compiled
            instead = [
                launch_instead(variant, dict(zip(variant.edit.meta, r, strict=True)))
                for r in dict.fromkeys([rows[0], rows[-1]])
            ]
            found[name] = max(how(kernel, function, i) for i in instead)
        except (RefusedEdit, TritonError) as e:
            found[name] = f"{type(e).__name__}: {e}"[-400:]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
