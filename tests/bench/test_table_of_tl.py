"""The table of Triton's functions tells equal, close, different and refused results apart."""

import ast
import json
import lzma
import math
import subprocess
import sys

import pytest

from tests.bench.table_of_tl import main
from tests.bench.tl_entries import DTYPES, ENTRIES, source
from tests.bench.tl_page import apart, counts, markdown, row_of
from tests.docs.pages import ROOT


def test_every_entry_has_a_name_and_a_kernel_of_its_own():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) > 90
    kernels = [n.name for n in ast.parse(source()).body if isinstance(n, ast.FunctionDef)]
    assert kernels == ["larger", *(f"kernel_{n}" for n in range(len(ENTRIES)))]


def test_results_are_compared_by_bits_and_in_units_of_the_last_place():
    assert apart([1.0, math.nan, math.inf], [1.0, math.nan, math.inf]) == (0, 0)
    assert apart([0.0], [-0.0])[1] == 1
    assert apart([1.5, 2.0 + 2.0**-7], [1.5, 2.0 + 2.0**-6])[0] == pytest.approx(0.5, abs=0.01), "a unit of bf16"
    assert apart([1.0 + 2.0**-23, 1.0], [1.0, 1.0 + 2.0**-23])[0] == pytest.approx(1), "a unit of fp32"
    assert apart([7], [9], whole=True) == (2, 1)
    assert apart([1.0], [math.inf])[0] == math.inf
    assert apart([math.nan], [1.0])[0] == math.inf


def test_verdicts_and_reasons():
    def result(*values):
        return {"values": list(values), "whole": False}

    refused, emulated = {"refused": "TypeError: no"}, {"refused": "NotEmulated: it uses inline assembly"}
    given = {
        "fp16": (result(1.5), result(1.5), "same"),
        "bf16": (result(1.5), result(1.5 + 2.0**-23), "close"),
        "fp32": (result(1.5), result(5.25), "differs"),
        "fp8e5": (result(1.0), result(2.0), "differs"),  # whole numbers are not close
        "fp8e4nv": (emulated, result(1.5), "cannot be interpreted"),
        "int8": (refused, emulated, "refused by both"),
        "int32": (refused, result(1.5), "not interpreted"),
        "int64": (result(1.5), None, "not compiled"),
    }
    rows = [row_of("+", dtype, interpreted, compiled) for dtype, (interpreted, compiled, _) in given.items()]
    assert [row["verdict"] for row in rows] == [verdict for *_, verdict in given.values()]
    assert row_of("+", "fp16", result(1.0), {"from": "page"})["verdict"] == "not kept"
    sides = {"compiled": {"gpu": "H200", "triton": "3.6"}, "interpreted": {"triton": "3.6"}}
    page = markdown({**sides, "size": "16 × 32", "counts": counts(rows), "rows": rows})
    assert "| `+` | = | ≈ | ≠ | ≠ | r | – | e | i |" in page
    assert "| `+` | int32 | TypeError: no |" in page
    assert "| `+` | fp8e4nv | it uses inline assembly |" in page


def test_what_a_compiler_writes_is_kept_out_of_the_log_and_its_error_told(tmp_path):
    program = """
import os
from tests.bench.table_of_tl import CompilerOutput, telling
log, said = os.dup(1), []
with CompilerOutput() as output:
    os.write(1, b"module {\\n")
    os.write(2, b"  dump of a program\\nfile.py:7:1: error: fp8 cannot be added\\n")
    said.append(telling(RuntimeError("PassManager::run failed"), output.first_error()))
    said.append(output.first_error() or "nothing more")
os.write(log, "\\n".join(said).encode())
"""
    child = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert child.stdout.splitlines() == ["RuntimeError: PassManager::run failed (fp8 cannot be added)", "nothing more"]
    assert not child.stderr


@pytest.mark.parametrize("content", [None, b"", b"no results", b'{"entry": 0}\n', b"[1]\n"])
def test_a_file_without_results_is_refused_in_a_sentence(tmp_path, capsys, content):
    path = tmp_path / "some.xz"
    if content is not None:
        path.write_bytes(content if content == b"no results" else lzma.compress(content))
    assert main([str(tmp_path / "out"), "--compiled", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{path} cannot be read as results of an earlier run: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.process
def test_without_a_gpu_everything_is_interpreted_and_nothing_is_claimed(tmp_path):
    command = [sys.executable, "-m", "tests.bench.table_of_tl", str(tmp_path), "--every", "5", "--seconds", "120"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=200)
    said = json.loads(done.stdout.splitlines()[-1])
    rows = json.loads((tmp_path / "table_of_tl.json").read_text())["rows"]
    assert {row["dtype"] for row in rows} == set(DTYPES)
    if "gpu" not in said["compiled"]:
        assert {row["verdict"] for row in rows} == {"not compiled", "refused by both"}
    assert len(list(tmp_path.iterdir())) == 4
