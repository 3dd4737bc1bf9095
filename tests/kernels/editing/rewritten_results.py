"""What every rewrite computes, in Triton's interpreter: ``python -m tests.kernels.editing.rewritten_results``.

Prints JSON: ``KERNEL + REWRITE`` → the largest difference from the owner's results over the largest of them, for the
first and the last values of the rewrite's constants. With the word ``launched``: of the kernels in ``launched/``, after
one rewrite and after two. A process of its own, because TRITON_INTERPRET counts only if it
is set before a kernel's module is imported."""

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import itertools
import json
import tempfile
from pathlib import Path

import torch
import triton

from kernels.capture.reading.rebuilt_functions import rebuild_function
from kernels.editing.rewrites import REWRITES, rewritten
from kernels.editing.variants import launch_instead, make_variant
from kernels.triton.interpreter_arguments import patch_scalars
from kernels.triton.interpreter_bf16 import patch_bf16
from kernels.triton.interpreter_libdevice import patch_libdevice
from tests.kernels.editing import owners
from tests.kernels.editing.launched.edit_results import interpreted
from tests.kernels.editing.launched.launched_kernels import KERNELS, owner_of_launch
from tests.kernels.editing.launched.more_kernels import MORE

ROWS, N = 3, 2500
MULTIPROCESSORS = 3


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def arguments():
    """Of each kernel: positional arguments, grid, constants. Tensors are made anew for each launch."""
    row = (ROWS,)
    return {
        "SCALE": ([drawn(N), torch.zeros(N), N, 2.0], lambda m: (triton.cdiv(N, m["BLOCK"]),), {"BLOCK": 512}),
        "SOFTMAX": ([drawn(ROWS, N), torch.zeros(ROWS, N), N, N], row, {"BLOCK": 4096}),
        "GEGLU": (
            [drawn(ROWS, N), drawn(ROWS, N) + 1, torch.zeros(ROWS, N), N], row, {"n_cols": N, "BLOCK_SIZE": 4096},
        ),
        "LAYER_NORM": (
            [
                drawn(ROWS, N), drawn(N), drawn(ROWS), drawn(ROWS).abs(), torch.zeros(ROWS, N), torch.zeros(2, N),
                torch.zeros(2, N), drawn(ROWS, N) + 1, N, N, ROWS, N, 2,
            ],
            (2,), {"BLOCK": 4096},
        ),
        "CROSS_ENTROPY": (
            [drawn(ROWS, N), torch.tensor([3, -100, 2499]), torch.zeros(ROWS), N, N, -100], row, {"BLOCK": 2048},
        ),
        "JSD": (
            [drawn(ROWS, N), drawn(ROWS, N) - 1, torch.zeros(ROWS, N), torch.zeros(ROWS, N), N], row,
            {"beta": 0.5, "n_cols": N, "BLOCK": 2048},
        ),
        "MOMENTS": ([drawn(ROWS, N), torch.zeros(ROWS, 2), N, N], row, {"BLOCK": 2048}),
        "TILES": (
            [drawn(96, 32), drawn(32, 64), torch.zeros(96, 64), 96, 64, 32], (6, 4), {"TILE_M": 16, "TILE_N": 16},
        ),
        "PRODUCT": (
            [drawn(45, 44), drawn(56, 40), torch.zeros(2, 45, 56), 45, 56, 37, 44, 40], (3, 2, 2),
            {"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 16},
        ),
        "COLUMN_SUMS": ([drawn(70, 36), torch.zeros(32), 70, 36], (1,), {"WIDTH": 32, "BLOCK": 16}),
    }  # fmt: skip


def launched(function, given, grid, constants, instead=None):
    positional = [a.clone() if isinstance(a, torch.Tensor) else a for a in given]

    def go_on(other, grid, **named):
        other[grid](**named)

    if instead is None:
        function[grid](*positional, **constants)
    else:
        named = dict(zip(function.arg_names, positional, strict=False))
        instead(function, (), grid, {**named, **constants}, go_on)
    return [p for p in positional if isinstance(p, torch.Tensor)]


def variants_of(owner, parent=None):
    """(rewrite's name, variant, its launches with the first and the last values of its parameters) of those that
    apply."""
    for rewrite in REWRITES:
        made = rewritten(owner, rewrite, parent, MULTIPROCESSORS)
        if made is None:
            continue
        variant = make_variant(owner, made.source, made.meta, made.grid)
        rows = list(itertools.product(*variant.edit.meta.values()))
        ends = dict.fromkeys((rows[0], rows[-1]))
        yield (
            rewrite.name,
            variant,
            [launch_instead(variant, dict(zip(variant.edit.meta, r, strict=True))) for r in ends],
        )


def launched_kernels(folder):
    found = {}
    for name, kernel in (KERNELS | MORE).items():
        owner = owner_of_launch(kernel)
        function = rebuild_function(owner.digest, owner.parts, folder)
        todo = [(name, None)]
        while todo:
            key, parent = todo.pop()
            for rewrite, variant, instead in variants_of(owner, parent):
                new = f"{key} + {rewrite}"
                found[new] = max(interpreted(kernel, function, i) for i in instead)
                todo += [(new, variant)] if parent is None else []
    return found


def main():
    patch_bf16()
    patch_scalars()
    patch_libdevice()
    folder = Path(tempfile.mkdtemp())
    if sys.argv[1:] == ["launched"]:
        print(json.dumps(launched_kernels(folder)))
        return
    found = {}
    for name, (given, grid, constants) in arguments().items():
        owner = getattr(owners, name)
        function = rebuild_function(owner.digest, owner.parts, folder)
        wanted = launched(function, given, grid, constants)
        for rewrite, _, instead in variants_of(owner):
            for one in instead:
                results = launched(function, given, grid, constants, one)
                worst = max(
                    float((a - b).abs().max() / (b.abs().max() or 1.0))
                    for a, b in zip(results, wanted, strict=True)
                    if a.is_floating_point()
                )
                key = f"{name} + {rewrite}"
                found[key] = max(worst, found.get(key, 0.0))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
