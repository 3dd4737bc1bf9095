from __future__ import annotations

import json

import pytest

from agent.cli.commands import main
from agent.errors import UsageError
from agent.programs.foreign import aiter_table, m_table
from agent.programs.foreign.foreign_formats import FORMATS, read_foreign
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import TunedTable
from tests.agent.programs.foreign.files import AITER, FILES, FLA, MOE, TRITON, dumped


@pytest.mark.parametrize(("form", "name", "text"), FILES, ids=lambda value: str(value)[:40])
def test_a_file_is_known_by_its_form_and_written_again_as_it_was(tmp_path, form, name, text):
    (tmp_path / name).write_text(text)
    found, table = read_foreign(tmp_path / name)
    assert found == form
    assert FORMATS[form].write(table) == (name, text)


def test_the_name_and_the_version_are_read():
    table = m_table.read(FILES[1][1], FILES[1][2])
    assert table.about == {
        "E": 8,
        "N": 7168,
        "device_name": "NVIDIA_H200",
        "dtype": "fp8_w8a8",
        "block_shape": "[128,128]",
        "triton_version": "3.7.1",
    }
    assert [r.key["M"] for r in table.rows] == [1, 64, 4096]


@pytest.mark.parametrize(
    ("m", "row", "by_logarithm"), [(1, 1, 1), (30, 1, 64), (33, 64, 64), (2000, 64, 4096), (10**6, 4096, 4096)]
)
def test_the_nearest_m_serves(m, row, by_logarithm):
    table = m_table.read(FILES[0][1], FILES[0][2])
    assert m_table.served(table, m).key == {"M": row}
    assert m_table.served(table, m, logarithmic=True).key == {"M": by_logarithm}


def test_blocks_of_a_pair_of_files_must_agree():
    up = m_table.read(FILES[0][1], FILES[0][2])
    other = {**MOE, "64": {**MOE["64"], "BLOCK_SIZE_M": 64}}
    assert m_table.differing_blocks(up, up) == []
    assert m_table.differing_blocks(up, m_table.read(FILES[0][1], dumped(other))) == [64]


@pytest.mark.parametrize(
    ("m", "row"), [(1, "M_LEQ_16"), (17, "M_LEQ_256"), (257, "any"), (4095, "any"), (4096, "M_GEQ_4096")]
)
def test_the_least_bound_serves(m, row):
    table = aiter_table.read("gfx942-GEMM-A8W8-N=1-K=2.json", dumped(AITER))
    assert aiter_table.served(table, m).config == AITER[row]
    without = aiter_table.read("gfx942-GEMM-A8W8-N=1-K=2.json", dumped({"M_LEQ_16": AITER["M_LEQ_16"]}))
    assert aiter_table.served(without, 17) is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("E=8,N=4,device_name=X.json", '{"16": 4}', "moe: M=16 is no config"),
        ("E=8,N=4,device_name=X.json", '{"sixteen": {"a": 1}}', "moe: 'sixteen' is no number of rows"),
        ("E=8,N=4,device_name=X.json", '{"16": {"BLOCK": [1]}}', "moe: BLOCK of M=16 is neither a number nor a word"),
        ("E=8,N=4.json", "{}", "moe: its name does not begin with E= or N=, or has no device_name="),
        ("gfx942-GEMM.json", '{"M_LESS_16": {"a": 1}}', "aiter: 'M_LESS_16' is none of"),
        ("k.autotune.json", dumped({**TRITON, "configs_timings": [[1]]}), "triton: configs_timings[0] is no pair"),
        (
            "k.json",
            dumped({**FLA, "autotune_entries": {"0": {"autotune_key": [1]}}}),
            "is not the hash of its autotune_key",
        ),
        ("k.json", "[]", "fla: it is no JSON object"),
        ("k.json", "{", "fla: it is no JSON ("),
        ("k.json", '{"a+(": []}', "inductor: it holds no choice"),
    ],
)
def test_other_files_are_refused_with_what_they_lack(tmp_path, capsys, name, text, message):
    (tmp_path / name).write_text(text)
    assert main(["table", "show", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_show_prints_one_object(tmp_path, capsys):
    (tmp_path / "tuned.autotune.json").write_text(dumped(TRITON))
    assert main(["table", "show", str(tmp_path / "tuned.autotune.json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["format"], found["rows"][1]["ms"]) == ("triton", [0.1, 0.1, 0.2])


def test_a_table_of_our_own_is_named_as_what_it_is(tmp_path):
    write_table(TunedTable(), tmp_path / "tuned.json")
    with pytest.raises(UsageError, match=r"is a table of this project.*python -m agent apply"):
        read_foreign(tmp_path / "tuned.json")
