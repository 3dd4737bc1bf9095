"""The table of Triton's versions: what it says of rows, and what it finds in machine code."""

import json

from tests.bench.main_loops import loops
from tests.bench.table_of_versions import read
from tests.bench.versions_page import page

ROW = {
    "kernel": "matmul", "family": "tma", "gpu": "H200", "arch": 90, "source": "a", "config": {"BLOCK_M": 128},
    "status": "correct", "reason": "", "spill_bytes": 0, "shared_bytes": 2048, "tensor_core": "wgmma", "warnings": [],
}  # fmt: skip


def row(version, registers, **other):
    return {**ROW, "triton": version, "registers": registers, **other}


def test_the_page_names_what_changed_and_what_was_not_compiled():
    rows = [
        row("3.6.0", 100),
        row("3.7.1", 100),
        row("3.9.0", 32, spill_bytes=10240, tensor_core="mma.sync", warnings=["wgmma are serialized"]),
        row("3.6.0", None, family="pointer", config=None, status="constraints", reason="tma_hardware: no TMA"),
    ]
    text = page(rows, ("3.6.0", "3.7.1", "3.8.0", "3.9.0"), ("H200", "MI300X"))
    assert "| matmul | tma | 100 · 0 · 2 · wgmma | = | – | 32 · 10240 · 2 · mma.sync |" in text
    assert "3.7.1 on H200: 0 of 1 configs have other registers" in text
    assert "3.9.0 on H200: 1 of 1 configs have other registers" in text
    assert "matrix instruction wgmma → mma.sync" in text
    assert "0 → 10240 bytes of spills" in text
    assert "serialized from it on" in text
    assert "Not for this GPU, `tma_hardware`: matmul pointer." in text
    assert "## MI300X\n\nNot compiled yet." in text


def test_other_configs_are_not_compared():
    text = page([row("3.6.0", 100), row("3.9.0", 32, config={"BLOCK_M": 64})], ("3.6.0", "3.9.0"), ("H200",))
    assert "Nothing was compiled by two versions yet." in text


def test_of_a_config_the_last_whole_row_counts(tmp_path):
    path = tmp_path / "3.6.0.jsonl"
    assert read(path) == []
    path.write_text("\n".join([json.dumps(row("3.6.0", 1)), json.dumps(row("3.6.0", 2)), '{"kernel": "mat']))
    assert [r["registers"] for r in read(path)] == [2]


def test_the_shortest_loop_that_multiplies_is_counted():
    code = ["UMOV UR4, 0x1", "BAR.SYNC.DEFER_BLOCKING 0x0", "HGMMA.64x256x16.F32 R24, gdesc[UR12], R24", "NOP"]
    code += ["@P0 BRA 0x0010", "FADD R1, R1, R2", "@!P1 BRA 0x0000", "EXIT", "FADD R1, R1, R2", "BRA 0x0080"]
    sass = "\n".join(f"        /*{16 * n:04x}*/                   {text} ;" for n, text in enumerate(code))
    assert loops(sass) == [{"instructions": 4, "BAR": 1, "BRA": 1, "HGMMA": 1, "NOP": 1}]
