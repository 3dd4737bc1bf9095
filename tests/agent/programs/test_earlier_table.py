"""What `improve` keeps of the table that is in the file already."""

import pytest

from agent.errors import UsageError
from agent.programs.improvement.earlier_table import merge_tables, read_earlier
from agent.programs.improvement.tuned_rows import KEPT
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import Decision, TunedEnvironment, TunedFunction, TunedRow, TunedTable


def row(name, num_warps, gpu="NVIDIA H200"):
    """A row of the function `name`."""
    key = {"grid": [1], "arguments": {"n": 4}, "options": {}}
    decision = Decision({}, {"num_warps": num_warps})
    return TunedRow(TunedFunction("m", name, name), TunedEnvironment(gpu, "3.9.0", None), key, "unproven", decision)


def table(*entries):
    made = TunedTable()
    for each, why in entries:
        made.add(each, {"why": why})
    return made


def warps(found):
    return {(r.function.qualname, r.environment.gpu): r.decision.options["num_warps"] for r in found.rows}


def test_rows_that_are_not_decided_anew_stay():
    earlier = table((row("other", 2), "read"), (row("same", 2), "read"))
    made = table((row("same", 8), "read again"), (row("same", 1, "CPU"), "checked"))
    whole = merge_tables(earlier, made)
    assert warps(whole) == {("other", "NVIDIA H200"): 2, ("same", "NVIDIA H200"): 8, ("same", "CPU"): 1}
    assert {e["why"] for e in whole.evidence.values()} == {"read", "read again", "checked"}


def test_the_autotuners_choice_as_captured_replaces_no_decision():
    earlier, choice = table((row("same", 2), "read")), table((row("same", 8), KEPT))
    assert warps(merge_tables(earlier, choice)) == {("same", "NVIDIA H200"): 2}
    assert warps(merge_tables(TunedTable(), choice)) == {("same", "NVIDIA H200"): 8}
    assert warps(merge_tables(table((row("same", 2), KEPT)), choice)) == {("same", "NVIDIA H200"): 8}  # a later one


def test_a_launch_that_is_held_out_now_has_no_row():
    held = row("held", 2)
    assert warps(merge_tables(table((held, "read")), TunedTable(), {held.name})) == {}


def test_only_a_table_is_added_to(tmp_path):
    capture, out = tmp_path / "run.capture", tmp_path / "tuned.json"
    capture.write_text("a capture\n")
    assert read_earlier(out, capture).rows == []
    out.write_text("")
    assert read_earlier(out, capture).rows == []
    write_table(table((row("other", 2), "read")), out)
    assert warps(read_earlier(out, capture)) == {("other", "NVIDIA H200"): 2}
    out.write_text(out.read_text()[:-20])
    with pytest.raises(UsageError, match="exists and is no table that rows can be added to"):
        read_earlier(out, capture)
    link = tmp_path / "link"
    link.symlink_to(capture)
    with pytest.raises(UsageError, match="is the capture itself"):
        read_earlier(link, capture)
