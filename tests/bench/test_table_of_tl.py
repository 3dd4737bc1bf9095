"""The table of Triton's functions tells equal, close, different and refused results apart."""

import ast
import json
import math

import pytest

from tests.bench.table_of_tl import main, markdown, row_of, units_apart
from tests.bench.tl_entries import DTYPES, ENTRIES, source


def test_every_entry_has_a_name_and_a_kernel_of_its_own():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) > 90
    kernels = [n.name for n in ast.parse(source()).body if isinstance(n, ast.FunctionDef)]
    assert kernels == ["larger", *(f"kernel_{n}" for n in range(len(ENTRIES)))]


def test_results_are_compared_in_units_of_the_last_place():
    assert units_apart([1.0, math.nan, math.inf], [1.0, math.nan, math.inf], "bf16") == 0
    assert units_apart([1.0, 2.0], [1.0, 2.0 + 2.0**-7], "bf16") == pytest.approx(0.5, abs=0.01)
    assert units_apart([7], [9], "int32") == 2
    assert units_apart([1.0], [math.inf], "fp16") == math.inf
    assert units_apart([math.nan], [1.0], "fp16") == math.inf


def test_verdicts_and_reasons():
    def result(*values):
        return {"values": list(values), "whole": False}

    refused = {"refused": "TypeError: no"}
    rows = [
        row_of(0, "bf16", result(1.0), result(1.0)),
        row_of(0, "fp16", result(1.0), result(1.001)),
        row_of(0, "fp32", result(1.0), result(2.0)),
        row_of(0, "int8", refused, refused),
        row_of(0, "int32", refused, result(1.0)),
        row_of(0, "int64", result(1.0), None),
    ]
    verdicts = ["same", "close", "differs", "refused by both", "not interpreted", "not compiled"]
    assert [row["verdict"] for row in rows] == verdicts
    page = markdown({"gpu": "H200", "triton": "3", "torch": "2"}, rows)
    assert "| `+` | ≈ | = | ≠ |  |  | – | c | i |" in page
    assert "interpreted: TypeError: no" in page


@pytest.mark.long
@pytest.mark.process
def test_without_a_gpu_everything_is_interpreted_and_nothing_is_claimed(tmp_path, capsys):
    assert main([str(tmp_path), "--every", "5", "--seconds", "120"]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = json.loads((tmp_path / "table_of_tl.json").read_text())["rows"]
    assert {row["dtype"] for row in rows} == set(DTYPES)
    if said["gpu"] is None:
        assert {row["verdict"] for row in rows} == {"not compiled", "refused by both"}
