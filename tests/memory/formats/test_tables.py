"""Tables as people see them."""

from __future__ import annotations

import pytest

from memory.formats import tables
from memory.formats.tables import ruled, table
from memory.terms import printable


def test_a_table_aligns_numbers_right_and_escapes_what_could_steer_a_terminal() -> None:
    rows = [{"best_ms": 0.25, "name": "a\x1b[31m"}, {"best_ms": 12.5, "name": None}]
    assert table(rows, ("best_ms", "name")).splitlines() == [
        "best ms  name",
        "-------- ---------",
        "   0.25  a\\x1b[31m",
        "   12.5",
    ]


def test_text_that_looks_like_markup_stays_as_it_is_and_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    long = "[bold]x[/bold] :smile: " + "y" * 300
    assert ruled([[long, "1"]], ["text", "n"]).splitlines()[-1] == f"{long}  1"
    assert ruled([], ["a", "b"]).splitlines()[0] == "a  b"


def test_control_characters_are_escaped_or_replaced() -> None:
    assert printable("a\x1b[1m\nb\u202ec") == "a\\x1b[1m\\nb\\u202ec"
    assert printable("a\x07b", "?") == "a?b"


WIDE = [
    {
        "run_id": f"20261128-16592{n}-247fc7",
        "device": "recorded NVIDIA H200 NVL (141 GB)",
        "reason": f"shared memory {n} B over 232448 B " + "and so on " * 20,
        "ms": 0.125 + n,
        "config": {f"A_FIELD_{i}": i * n for i in range(12)},
    }
    for n in range(1, 4)
]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_table_is_as_wide_as_the_terminal_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = tables.table(WIDE, tuple(WIDE[0]))
    assert max(map(len, text.splitlines())) <= columns
    told = " ".join(text.split())
    for row in WIDE:
        for value in row.values():
            for word in tables.cell(value).split():
                assert word in told


def test_what_all_rows_share_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert tables.table(WIDE, tuple(WIDE[0])).count("recorded NVIDIA H200") == 1
    monkeypatch.setenv("COLUMNS", "1000")
    assert tables.table(WIDE, tuple(WIDE[0])).count("recorded NVIDIA H200") == len(WIDE)


def test_a_word_longer_than_a_line_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = tables.table([{"a": "x" * 300, "b": "y" * 300}], ("a", "b"))
    assert text.count("x") == 300
    assert text.count("y") == 300
