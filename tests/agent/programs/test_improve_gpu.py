"""improve on a GPU: an unchanged program, from its capture to a table whose rows are proven or honestly the owner's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agent.cli.commands import main
from kernels.capture.capture_file import begin
from kernels.capture.start import run_program
from kernels.tuned.tuned_file import read_table

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

ROOT = Path(__file__).parents[3]

PROGRAM = """
import torch, triton
import triton.language as tl

@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (2, 4)], key=["n"])
@triton.jit
def gated(x_ptr, gate_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n).to(tl.float32)
    gate = tl.load(gate_ptr + at, mask=at < n).to(tl.float32)
    tl.store(out_ptr + at, x * tl.sigmoid(gate), mask=at < n)

@triton.jit
def normalise(x_ptr, columns, eps, BLOCK: tl.constexpr):
    # One warp for 16,384 columns: a config that can only be improved.
    at = tl.arange(0, BLOCK)
    row = x_ptr + tl.program_id(0) * columns + at
    x = tl.load(row, mask=at < columns, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / columns + eps)
    tl.store(row, x * scale, mask=at < columns)

@triton.jit
def summed(x_ptr, total_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(total_ptr, tl.sum(tl.load(x_ptr + at, mask=at < n, other=0.0)))

torch.manual_seed(0)
x, gate = torch.randn(2, 4096, 12000, device="cuda", dtype=torch.float16)
out = torch.empty_like(x)
total = torch.zeros(1, device="cuda")
for _ in range(5):
    gated[lambda m: (triton.cdiv(x.numel(), m["BLOCK"]),)](x, gate, out, x.numel())
    normalise[(4096,)](out, 12000, 1e-6, BLOCK=16384, num_warps=1)
    total.zero_()
    wide = x.float().reshape(-1)[: 1 << 22]
    summed[lambda m: (triton.cdiv(1 << 22, m["BLOCK"]),)](wide, total, 1 << 22, BLOCK=512, num_warps=1)
torch.cuda.synchronize()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("improve")
    (made / "program.py").write_text(PROGRAM)
    begin(str(made / "run.capture"), {})
    assert run_program([sys.executable, str(made / "program.py")], str(made / "run.capture"), "summary") == 0
    return made


@pytest.fixture(scope="module")
def improved(folder):
    """(exit code, what --json printed, the table)."""
    command = [sys.executable, "-m", "agent", "improve", str(folder / "run.capture"), "-o", str(folder / "tuned.json")]
    command += ["--max-seconds", "150", "--share", "1", "--cold", "--memory", str(folder / "m.db"), "--json"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=500
    )
    assert done.returncode in (0, 3), done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout), read_table(folder / "tuned.json")


def test_a_bad_config_is_replaced_by_a_proven_one(improved):
    code, said, table = improved
    (row,) = [r for r in table.rows if r.function.qualname == "normalise"]
    assert row.status == "proven", said["launches"]
    assert row.decision.options["num_warps"] > 1
    assert code == 0
    evidence = table.evidence[row.name]
    assert [b["name"] for b in evidence["baselines"]] == ["owner"]
    assert evidence["baselines"][0]["ci"][0] > 1
    assert len(evidence["inputs"]) >= 3
    assert evidence["overwritten"] == []  # it reads what it writes: restored before each launch
    assert evidence["error"]["x_ptr"] <= 2e-3


def test_every_row_is_proven_over_the_autotuner_too_or_the_owners(improved):
    _, said, table = improved
    assert {r["kernel"] for r in said["launches"]} == {"gated", "normalise", "summed"}
    for row in table.rows:
        evidence = table.evidence[row.name]
        names = [b["name"] for b in evidence["baselines"]]
        assert names == (["owner", "autotuner"] if row.function.qualname == "gated" else ["owner"]), evidence["why"]
        if row.status == "proven":
            assert all(b["ci"][0] > 1 for b in evidence["baselines"])
        else:
            assert evidence["why"]
        assert evidence["measured_ms"] > 0
        assert evidence["evaluations"] >= 5
    (gated,) = [r for r in table.rows if r.function.qualname == "gated"]
    assert table.evidence[gated.name]["overwritten"] == ["out_ptr"]


def test_a_second_improvement_knows_the_first_and_decides_alike(improved, folder, capsys):
    _, _, table = improved
    out = folder / "again.json"
    words = ["improve", str(folder / "run.capture"), "-o", str(out), "--kernel", "normalise", "--max-seconds", "60"]
    assert main([*words, "--memory", str(folder / "m.db")]) in (0, 3)
    (again,) = read_table(out).rows
    first = next(r for r in table.rows if r.function.qualname == "normalise")
    assert (again.name, again.status) == (first.name, first.status)
