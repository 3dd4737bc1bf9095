# ruff: noqa: E402
"""What the written edits of Liger's kernels compute and compile to: ``python -m tests.bench.written_results [compile]``

Without a word: in Triton's interpreter, each edit with the first and the last values of its constants beside the
owner's kernel, on small arguments with ragged edges. Prints JSON: kernel → the largest difference over the largest
result. With ``compile``: each edit with its first values, for sm_90, at the sizes of Llama 3 8B. Prints JSON: kernel →
bytes of shared memory and characters of PTX. Needs ``liger-kernel``."""

import os
import sys

INTERPRETED = __name__ == "__main__" and sys.argv[1:] != ["compile"]
if INTERPRETED:
    os.environ["TRITON_INTERPRET"] = "1"

import importlib
import inspect
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.capture.describing.device_closure import python_function
from kernels.capture.reading.rebuilt_functions import rebuild_function
from kernels.editing.argument_values import numbers_left_out, value_of
from kernels.editing.owner_function import owner_of
from kernels.editing.variants import launch_instead, make_variant
from tests.bench.written_edits import WrittenEdit, written_edits

FILES = {
    "_geglu_tanh_forward_kernel": "geglu",
    "_geglu_tanh_backward_kernel": "geglu",
    "_rms_norm_backward_kernel": "rms_norm",
    "_layer_norm_backward_kernel": "layer_norm",
    "_jsd_kernel": "jsd",
    "liger_cross_entropy_kernel": "cross_entropy",
    "_group_norm_forward_kernel": "group_norm",
}


def owners_kernel(name: str) -> Any:
    return getattr(importlib.import_module(f"liger_kernel.ops.{FILES[name]}"), name)


def arguments(
    n: int = 2500, rows: int = 7, programs: int = 3, block: int = 4096, wide: torch.dtype = torch.float32,
    width: int = 625, batch: int = 2, vocabulary: int = 20_000,
) -> dict[str, tuple[list[Any], tuple[int, ...]]]:  # fmt: skip
    """Kernel → its arguments by name, in order, and the grid."""
    per = -(-rows // programs)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(wide)

    def fp32(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape)

    def labels(count: int) -> torch.Tensor:
        return torch.arange(count) * 3 % vocabulary

    hidden = 4 * width
    targets = labels(rows)
    targets[1] = -100
    return {
        "_geglu_tanh_forward_kernel": ([drawn(rows, n), drawn(rows, n) + 1, drawn(rows, n), n, n, block], (rows,)),
        "_geglu_tanh_backward_kernel": ([drawn(rows, n), 2 * drawn(rows, n), drawn(rows, n) + 1, n, n, block], (rows,)),
        "_rms_norm_backward_kernel": (
            [
                drawn(rows, n), n, drawn(rows, n), n, drawn(rows, n) + 1, n, tl.float32, drawn(n), 1,
                drawn(rows).abs().float(), 1, fp32(programs, n), n, rows, n, 0.5, per, 0, True, block, True,
            ],
            (programs,),
        ),
        "_layer_norm_backward_kernel": (
            [
                drawn(rows, n), n, drawn(n), drawn(rows).float(), 1, drawn(rows).abs().float(), 1, drawn(rows, n), n,
                fp32(programs, n), n, fp32(programs, n), n, drawn(rows, n) + 1, n, rows, n, per, block, True, True,
            ],
            (programs,),
        ),
        "_jsd_kernel": (
            [
                torch.log_softmax(drawn(rows, n).float(), -1), n, torch.log_softmax(drawn(rows, n).float() - 1, -1), n,
                fp32(rows, n), n, fp32(rows, n), n, targets, 0.3, rows, -100, n, block, True,
            ],
            (rows,),
        ),
        "liger_cross_entropy_kernel": (
            [
                4 * drawn(rows, vocabulary), vocabulary, targets, 1, None, fp32(rows), None, 1, None, 0, None, 0,
                vocabulary, rows - 1, rows - 1, 0.0, -100, 0.01, 0.0, "mean", None, False, False, False, 8192, False,
                False, True,
            ],
            (rows,),
        ),
        "_group_norm_forward_kernel": (
            [
                drawn(batch, 3, hidden), 3 * hidden, hidden, drawn(batch, 3, hidden) + 0.5, 3 * hidden, hidden,
                drawn(batch, 3), 3, 1, drawn(batch, 3), 3, 1, drawn(12), drawn(12), hidden, 4, 1e-6,
                triton.next_power_of_2(hidden),
            ],
            (batch, 3),
        ),
    }  # fmt: skip


def variant_of(edit: WrittenEdit, given: list[Any]) -> tuple[Any, Any, dict[str, Any]]:
    """The edit behind the fence, with the owner's function and its arguments by name."""
    function = owners_kernel(edit.kernel)
    named = dict(zip(function.arg_names, given, strict=True))
    parameters = inspect.signature(python_function(function)).parameters.values()
    fixed = {p.name for p in parameters if "constexpr" in str(p.annotation)}
    values = {n: value_of(v, n in fixed) for n, v in named.items()}
    left_out = {n for n, v in named.items() if v is None}
    values |= numbers_left_out(owner_of(function, values).tree, left_out)
    owner = owner_of(function, values)
    meta = {m["name"]: m["values"] for m in edit.arguments["meta_parameters"]}
    return make_variant(owner, edit.arguments["source"], meta, edit.arguments["grid"]), owner, named


def launched(function: Any, named: dict[str, Any], grid: tuple[int, ...], instead: Any = None) -> list[torch.Tensor]:
    """The tensors after a launch of `function`, or of what `instead` launches in its place."""
    named = {n: v.clone() if isinstance(v, torch.Tensor) else v for n, v in named.items()}
    if instead is None:
        function[grid](**named)
    else:
        instead(function, (), grid, named, lambda other, grid, **given: other[grid](**given))
    return [v for v in named.values() if isinstance(v, torch.Tensor) and v.is_floating_point()]


def differences() -> dict[str, float]:
    folder = Path(tempfile.mkdtemp())
    found: dict[str, float] = {}
    for edit in written_edits():
        given, grid = arguments()[edit.kernel]
        variant, owner, named = variant_of(edit, given)
        function = rebuild_function(owner.digest, owner.parts, folder)
        wanted = launched(function, named, grid)
        rows = list(itertools.product(*variant.edit.meta.values()))
        for row in (rows[0], rows[-1]):
            values = dict(zip(variant.edit.meta, row, strict=True))
            results = launched(function, named, grid, launch_instead(variant, values))
            pairs = zip(results, wanted, strict=True)
            worst = max(float((a - b).abs().max() / (b.abs().max() or 1.0)) for a, b in pairs)
            found[edit.kernel] = max(worst, found.get(edit.kernel, 0.0))
    return found


def compiled() -> dict[str, dict[str, int]]:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    large = arguments(n=14336, rows=4096, programs=132, block=16384, wide=torch.bfloat16, width=4096, batch=2)
    norms = arguments(n=4096, rows=4096, programs=132, block=4096, wide=torch.bfloat16)
    found = {}
    for edit in written_edits():
        given, _ = (norms if "norm_backward" in edit.kernel else large)[edit.kernel]
        variant, _, named = variant_of(edit, given)
        function = rebuild_function(variant.edit.digest, variant.edit.parts, Path(tempfile.mkdtemp()))
        values = {**named, **{n: v[0] for n, v in variant.edit.meta.items()}}
        fixed = {p.name for p in function.params if p.is_constexpr}
        signature = {n: "constexpr" if n in fixed or v is None else type_of(v) for n, v in values.items()}
        constants = {(function.arg_names.index(n),): v for n, v in values.items() if signature[n] == "constexpr"}
        aligned = {
            (i,): [["tt.divisibility", 16]]
            for i, n in enumerate(function.arg_names)
            if signature[n].startswith("*") or (signature[n] == "i32" and values[n] % 16 == 0)
        }
        source = ASTSource(function, signature, constants, aligned)
        code = triton.compile(source, GPUTarget("cuda", 90, 32), {"num_warps": edit.options["num_warps"][0]})
        found[edit.kernel] = {"shared": code.metadata.shared, "ptx": len(code.asm["ptx"])}
    return found


def type_of(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int64: "*i64"}[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def main() -> None:
    if INTERPRETED:
        from kernels.triton.interpreter_arguments import patch_scalars
        from kernels.triton.interpreter_libdevice import patch_libdevice

        patch_scalars()
        patch_libdevice()
    print(json.dumps(differences() if INTERPRETED else compiled()))


if __name__ == "__main__":
    main()
