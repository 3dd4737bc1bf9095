"""The interpreter of today held against what an H200 gave (docs/TL.md), and why the rest differs by rounding."""

import json
import operator
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import triton

from kernels.triton.interpreter_operations import WRAPS_BINS
from tests.bench.table_of_tl import inputs, read
from tests.bench.tl_entries import ENTRIES, kernel_hash, source
from tests.bench.tl_orders import multiplied, scanned, summed
from tests.bench.tl_page import CAUSES, markdown
from tests.docs.pages import ROOT

RECORDED = ROOT / "docs" / "data" / "tl-h200-compiled.jsonl.xz"
TABLE = json.loads((ROOT / "docs" / "data" / "tl-h200.json").read_text())
MENDED = {
    "/": ("int32",),  # bf16 needed a constant that Triton 3.6 lacks; its quotients are approximations
    "%": ("bf16",),
    "full": ("bf16",),
    "clamp": ("bf16",),
    "cast to bf16": ("fp8e5", "fp8e4nv"),
    "cast to fp8e5": ("fp16", "bf16", "fp32"),
    "cast to fp8e4nv": ("fp16", "bf16", "fp32"),
    "umulhi": ("int32",),
    "fma": ("fp16", "bf16", "fp32"),
    "dot, ieee": ("fp32",),
    **dict.fromkeys(("atomic_and", "atomic_or", "atomic_xor", "atomic_xchg"), ("fp32",)),
    **dict.fromkeys(("log", "log2", "sin", "cos"), ("fp32",)),
}
"""What Triton's interpreter computes otherwise, or not at all."""
ANOTHER_IN_38 = {"histogram", "max with its place", "cumsum", "cumsum, reverse", "cumprod"}
"""Functions that Triton 3.8 or 3.9 defines otherwise than 3.6, which the H200's results are of."""


@pytest.fixture(scope="module")
def card():
    return read([RECORDED])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The table with the interpreter of today."""
    folder = tmp_path_factory.mktemp("tl")
    module = "tests.bench.table_of_tl"
    command = [sys.executable, "-m", module, str(folder), "--compiled", str(RECORDED), "--corrected"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    assert {p.name for p in folder.iterdir()} == {"TL.md", "table_of_tl.json", "interpreted.jsonl.xz"}
    found = json.loads((folder / "table_of_tl.json").read_text())["rows"]
    return {(r["function"], r["dtype"]): r for r in found}


def test_the_page_is_that_of_its_data():
    page = (ROOT / "docs" / "TL.md").read_text(encoding="utf-8")
    assert markdown(TABLE) == page, "python -m tests.bench.table_of_tl FOLDER writes both"


def test_what_is_recorded_is_of_the_kernels_of_today(card):
    assert {e.name: kernel_hash(e) for e in ENTRIES} == {name: r["kernel"] for (name, _), r in card.items()}


@pytest.mark.process
def test_what_was_mended_gives_the_bits_of_the_gpu(rows):
    assert {(f, d): rows[f, d]["verdict"] for f in MENDED for d in MENDED[f]} == {
        (f, d): "same" for f in MENDED for d in MENDED[f]
    }
    assert rows["dot", "fp32"]["units"] < 2, "4,560 with elements that are not cut to tf32"
    assert rows["erf", "fp32"]["elements"] < 10, "76 without libdevice's steps"


@pytest.mark.process
def test_every_verdict_of_the_page_holds_today(rows):
    left_out = set() if WRAPS_BINS else ANOTHER_IN_38
    for row in TABLE["rows"]:
        now = rows[row["function"], row["dtype"]]
        if row["function"] not in left_out and row["verdict"] != "not compiled":
            assert now["verdict"] in (row["verdict"], "not compiled"), (row, now)
    assert not [r for r in TABLE["rows"] if r["verdict"] in ("differs", "not interpreted")]
    assert {r["function"] for r in TABLE["rows"] if r["verdict"] == "close"} <= CAUSES.keys()


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
def test_sums_and_scans_have_the_bits_of_the_gpu_in_the_order_of_the_layout(card, dtype):
    x, y, _ = inputs(dtype)
    wide = x.float() if dtype == "bf16" else x  # Triton 3.6 scans bf16 in fp32
    found = {
        "sum": summed(x),
        "cumsum": scanned(wide, operator.add),
        "cumsum, reverse": scanned(wide.flip(1), operator.add).flip(1),
        "cumprod": scanned(wide, operator.mul),
        "interleave": summed(torch.stack([x, y], -1).flatten(1).float()),
    }
    for name, result in found.items():
        assert result.double().flatten().tolist() == card[name, dtype]["values"], name


@pytest.mark.parametrize(("dtype", "at_once"), [("fp16", 16), ("bf16", 16), ("fp32", 8)])
def test_products_have_the_bits_of_the_gpu_in_the_order_of_its_tensor_cores(card, dtype, at_once):
    x, y, _ = (t.float().numpy() for t in inputs(dtype))
    if dtype == "fp32":
        x, y = ((t.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) for t in (x, y))
    product = multiplied(x.astype(np.float64), y.astype(np.float64), at_once)
    assert product.flatten().tolist() == card["dot", dtype]["values"]


@pytest.mark.parametrize(
    "name", sorted(n for n, why in CAUSES.items() if "`" in why and "`tl" not in why.split("`")[0])
)
def test_an_approximation_is_the_instruction_that_the_page_says(name, tmp_path, monkeypatch):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    path = tmp_path / "tl_kernels.py"
    path.write_text(source())
    module: dict = {}
    exec(compile(source(), path, "exec"), module)
    n = [e.name for e in ENTRIES].index(name)
    signature = {**dict.fromkeys(("x_ptr", "y_ptr", "z_ptr", "out_ptr"), "*fp32"), **dict.fromkeys("MN", "constexpr")}
    constants = {(4,): 16, (5,): 32, (6,): triton.language.float32}
    compiled = triton.compile(
        ASTSource(module[f"kernel_{n}"], {**signature, "OUT": "constexpr"}, constants), target=GPUTarget("cuda", 90, 32)
    )
    for instruction in re.findall(r"`((?:ex2|sqrt|rsqrt|div)\.\w+)`", CAUSES[name]):
        assert f"\t{instruction}." in compiled.asm["ptx"]
