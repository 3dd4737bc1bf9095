"""Tables as people see them."""

from __future__ import annotations

from memory.formats.tables import ruled, table
from memory.terms import printable


def test_a_table_aligns_numbers_right_and_escapes_what_could_steer_a_terminal() -> None:
    rows = [{"best_ms": 0.25, "name": "a\x1b[31m"}, {"best_ms": 12.5, "name": None}]
    assert table(rows, ("best_ms", "name")).splitlines() == [
        "best ms  name",
        "-------- --------",
        "   0.25  a\\x1b[31m",
        "   12.5",
    ]


def test_text_that_looks_like_markup_stays_as_it_is_and_nothing_is_cut_off() -> None:
    long = "[bold]x[/bold] :smile: " + "y" * 300
    assert ruled([[long, "1"]], ["text", "n"]).splitlines()[-1] == f"{long}  1"
    assert ruled([], ["a", "b"]).splitlines()[0] == "a  b"


def test_control_characters_are_escaped_or_replaced() -> None:
    assert printable("a\x1b[1m\nb\u202ec") == "a\\x1b[1m\\nb\\u202ec"
    assert printable("a\x07b", "?") == "a?b"
