"""What `improve` keeps of the table that is in the file already."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from agent.cli.commands import main
from agent.errors import UsageError
from agent.programs.improvement.earlier_table import Demands, EarlierTable, read_earlier
from agent.programs.improvement.improve_plan import plan, revision_of
from agent.programs.improvement.improve_request import Improved
from agent.programs.improvement.improving import _revisions
from agent.programs.improvement.tuned_rows import KEPT
from kernels.capture.reading.captured_launches import read_capture
from kernels.tuned.tuned_file import alone, read_table, write_table
from kernels.tuned.tuned_table import Decision, TunedEnvironment, TunedFunction, TunedRow, TunedTable
from memory.command_line.output_files import OutputError
from tests.captures import as_if_moved


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


def merge_tables(earlier, made, demands=Demands()):  # noqa: B008 -- frozen
    return EarlierTable(earlier, demands).merged_with(made)


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
    assert warps(merge_tables(table((held, "read")), TunedTable(), Demands(held_out={held.name}))) == {}


def test_with_bitwise_a_row_stays_only_if_it_is_known_to_give_the_owners_bits():
    same, differ, unknown, stock, another = (row(n, 2) for n in ("same", "differ", "unknown", "stock", "another"))
    same = replace(same, also=(Decision({}, {"num_warps": 8}),))
    earlier = TunedTable()
    earlier.add(same, {"why": "faster", "bits": "same"})
    earlier.add(differ, {"why": "faster", "bits": "differ"})
    earlier.add(unknown, {"why": "faster"})
    earlier.add(replace(stock, status="stock"), {"why": "level"})
    earlier.add(another, {"why": "faster", "bits": "differ"})
    demands = Demands(bitwise={r.name for r in (same, differ, unknown, stock)})  # the other is of another program
    kept = EarlierTable(earlier, demands)
    choice = table((row("unknown", 4), KEPT))
    whole = kept.merged_with(choice)
    names = {n: w for (n, _), w in warps(whole).items()}
    assert names == {"same": 2, "stock": 2, "another": 2, "unknown": 4}
    assert all(r.also == () for r in whole.rows), "nobody compared the bits of a neighbour's config"
    assert [r.function.qualname for r in kept.taken_out(choice)] == ["differ", "unknown"]
    anew = table((differ, "read again"))
    assert [r.function.qualname for r in kept.taken_out(anew)] == ["unknown"]
    earlier.evidence[same.name]["bitwise"] = True
    assert len(next(r for r in kept.merged_with(anew).rows if r.name == same.name).also) == 1


def test_two_commands_that_write_to_one_file_at_once_keep_each_others_rows(tmp_path):
    out = tmp_path / "tuned.json"
    write_table(table((row("before", 2), "read"), (row("anew", 2), "read")), out)
    first, second = (EarlierTable(read_table(out)) for _ in range(2))
    first.write(table((row("first", 4), "timed")), out)
    second.write(table((row("second", 8), "timed"), (row("anew", 8), "read again")), out)
    whole = first.write(table((row("first", 4), "timed"), (row("third", 1), "timed")), out)
    assert read_table(out).digest == whole.digest
    assert {n: w for (n, _), w in warps(whole).items()} == {"before": 2, "anew": 8, "first": 4, "second": 8, "third": 1}
    assert {e["why"] for e in read_table(out).evidence.values()} == {"read", "read again", "timed"}


def entries_of_other_programs():
    """A table with entries that no command on `row("mine", …)` is about."""
    held = {"launch": "ee" * 8, "kernel": "theirs", "between": None, "config": None}
    return TunedTable(
        untuned=[
            {"kernel": "theirs (aaaaaaaa, bbbbbbbb)", "reason": "the time was up"},
            {"kernel": "fused_moe: E=8", "reason": "its dtype is unknown"},
            {"kernel": "mine (cccccccc, dddddddd)", "reason": "the time was up"},
        ],
        held_out=[held, {**held, "launch": "cc" * 8, "kernel": "mine"}],
    )


def test_entries_of_launches_of_other_programs_stay_and_those_of_the_same_launch_are_replaced():
    earlier, launches = entries_of_other_programs(), {"cc" * 8: row("mine", 2).name}
    theirs = earlier.untuned[:2]
    anew = TunedTable(untuned=[{"kernel": "mine (cccccccc)", "reason": "there is no config beside the owner's"}])
    whole = EarlierTable(earlier, launches=launches).merged_with(anew)
    left = {"kernel": "mine (dddddddd)", "reason": "the time was up"}
    assert whole.untuned == [*theirs, left, *anew.untuned]
    assert whole.held_out == earlier.held_out  # what was timed there still holds

    decided = EarlierTable(earlier, launches=launches).merged_with(table((row("mine", 4), "timed")))
    assert decided.untuned == [*theirs, left]
    assert [e["launch"] for e in decided.held_out] == ["ee" * 8]

    timed = {**earlier.held_out[1], "status": "correct", "speedup": 1.5}
    held = EarlierTable(earlier, launches=launches).merged_with(TunedTable(held_out=[timed]))
    assert held.untuned == [*theirs, left]
    assert held.held_out == [earlier.held_out[0], timed]


def test_the_autotuners_choice_as_captured_replaces_no_entry_of_its_launch():
    choice, mine = table((row("mine", 4), KEPT)), {"cc" * 8: row("mine", 2).name}
    whole = EarlierTable(entries_of_other_programs(), launches=mine).merged_with(choice)
    assert whole.untuned == entries_of_other_programs().untuned


def test_entries_of_a_function_that_was_edited_are_dropped_and_those_of_other_programs_stay():
    def entry(name, place, revision):
        return {"kernel": name, "reason": "the time was up", "function": {"place": place, "revision": revision}}

    old, same, theirs = (
        entry("f (aaaaaaaa)", "f", "1"),
        entry("f (bbbbbbbb)", "f", "2"),
        entry("g (cccccccc)", "g", "1"),
    )
    unnamed = {"kernel": "f (dddddddd)", "reason": "a part of it is missing"}
    broken = {"kernel": "f (eeeeeeee)", "reason": "written by hand", "function": "f"}
    held = [{"launch": n * 16, **entry("f", "f", revision)} for n, revision in (("1", "1"), ("2", "2"))]
    earlier = TunedTable(untuned=[old, same, theirs, unnamed, broken], held_out=held)
    whole = EarlierTable(earlier, functions={"f": {"2", "3"}}).merged_with(TunedTable())
    assert whole.untuned == [same, theirs, unnamed, broken]
    assert whole.held_out == held[1:]


def untuned_of(capture):
    return [x.entry() for x in plan(capture, 0.0, None, None, None).untuned]


def test_a_function_is_known_again_in_a_later_capture_by_its_file_and_name(captured_example, tmp_path):
    before = read_capture(str(captured_example))
    after = read_capture(str(as_if_moved(captured_example, tmp_path / "after.capture", 3)))
    entries = untuned_of(before)
    assert len(entries) == 2
    again = EarlierTable(TunedTable(untuned=entries), functions=_revisions(before)).merged_with(TunedTable())
    assert again.untuned == entries
    theirs = {**entries[0], "kernel": "theirs (aaaaaaaa)", "function": {**entries[0]["function"], "place": "0" * 12}}
    known = EarlierTable(TunedTable(untuned=[*entries, theirs]), functions=_revisions(after))
    now = untuned_of(after)
    assert {e["kernel"] for e in now}.isdisjoint(e["kernel"] for e in entries)
    assert known.merged_with(TunedTable(untuned=now)).untuned == [theirs, *now]


def test_a_revision_is_of_all_that_the_function_calls_and_not_of_the_module():
    def part(name, *called, **more):
        found = {"file": "/home/me/train.py", "line": 3, "source": f"def {name}(): ...", "identity": name}
        bindings = {each: {"function": each} for each in called}
        return {**found, "qualname": name, "module": "__main__", "bindings": bindings, **more}

    def revision(own=part("f", "g"), gpu="NVIDIA H200", **functions):  # noqa: B008 -- a constant
        reached = {"g": part("g", "h"), "h": part("h", "g"), "other": part("other"), **functions}
        found = revision_of(SimpleNamespace(function=own, device={"name": gpu}), reached)
        return found["place"], found["revision"]

    place, first = revision()
    assert revision(part("f", "g", module="train")) == (place, first)
    assert revision(other=part("other", line=4)) == (place, first)
    edited = [part("f", "g", **{name: "new"}) for name in ("line", "source", "identity")]
    found = [revision(own) for own in edited] + [revision(h=part("h", "g", line=4))]
    assert {p for p, _ in found} == {place}
    assert len({first, *(r for _, r in found)}) == 5
    assert len({place, revision(part("f", file="/a.py"))[0], revision(part("f2"))[0], revision(gpu="B200")[0]}) == 4


def test_entries_that_another_command_writes_meanwhile_stay_and_none_stands_twice(tmp_path):
    out = tmp_path / "tuned.json"
    ours, theirs = EarlierTable(), EarlierTable()
    first = {"kernel": "first (aaaaaaaa)", "reason": "the time was up"}
    second = {"kernel": "second (bbbbbbbb)", "reason": "it failed"}
    held = {"launch": "cc" * 8, "kernel": "third", "between": None, "config": None}
    ours.write(TunedTable(untuned=[first]), out)
    theirs.write(TunedTable(untuned=[second], held_out=[held]), out)
    ours.write(TunedTable(untuned=[first]), out)
    assert read_table(out).untuned == [second, first]
    assert read_table(out).held_out == [held]


def test_a_row_that_another_command_took_out_meanwhile_does_not_come_back(tmp_path):
    out, gone = tmp_path / "tuned.json", row("gone", 2)
    write_table(table((gone, "read"), (row("stays", 2), "read")), out)
    ours, theirs = EarlierTable(read_table(out)), EarlierTable(read_table(out), Demands(held_out={gone.name}))
    theirs.write(TunedTable(), out)
    assert [r.function.qualname for r in theirs.taken_out(TunedTable())] == ["gone"]
    assert warps(ours.write(TunedTable(), out)) == {("stays", "NVIDIA H200"): 2}


def test_what_is_no_table_any_more_is_not_overwritten(tmp_path):
    out = tmp_path / "tuned.json"
    ours = EarlierTable()
    ours.write(table((row("a", 2), "read")), out)
    out.write_text("notes of somebody's")
    with pytest.raises(UsageError, match="Rows cannot be added to"):
        ours.write(table((row("a", 2), "read")), out)
    assert out.read_text() == "notes of somebody's"


def test_who_writes_waits_for_another_that_does(tmp_path):
    out, written = tmp_path / "tuned.json", threading.Event()
    wait = threading.Thread(target=lambda: (EarlierTable().write(TunedTable(), out), written.set()), daemon=True)
    with alone(out):
        wait.start()
        assert not written.wait(0.2)
        assert not out.exists()
    assert written.wait(5)


def test_what_could_not_be_looked_at_says_what_becomes_of_its_row():
    known = row("known", 2)
    launch = SimpleNamespace(
        name="known", digest="0123456789", function={"module": "m", "qualname": "known", "identity": "known"}
    )
    job = SimpleNamespace(launch=launch, key=known.key, function={})
    new = SimpleNamespace(launch=launch, key={**known.key, "grid": [2]}, function={})
    for demands, told in (
        (Demands(), "the time was up; its unproven row of before stays"),
        (
            Demands(bitwise={known.name}),
            "the time was up; its row of before goes: nothing shows that it gives the bits",
        ),
    ):
        earlier = EarlierTable(table((known, "read")), demands)
        made = Improved(None, known.environment, TunedTable(), earlier=earlier)
        made.leave("the time was up", job, new)
        assert [u.kernel for u in made.untuned] == ["known (01234567)"] * 2
        assert made.untuned[0].reason.startswith(told)
        assert made.untuned[1].reason == "the time was up"


def test_only_a_table_is_added_to(tmp_path):
    capture, out = tmp_path / "run.capture", tmp_path / "tuned.json"
    capture.write_text("a capture\n")
    assert read_earlier(out, capture).rows == []
    out.write_text("")
    assert read_earlier(out, capture).rows == []
    write_table(table((row("other", 2), "read")), out)
    assert warps(read_earlier(out, capture)) == {("other", "NVIDIA H200"): 2}
    out.write_text(out.read_text()[:-20])
    with pytest.raises(UsageError, match=r"Rows cannot be added to .*, so name another file by -o: .* is cut off"):
        read_earlier(out, capture)
    out.write_text('{"format": "autokernel-tuned", "version": 9}')
    with pytest.raises(UsageError, match="has format version 9"):
        read_earlier(out, capture)
    link = tmp_path / "link"
    link.symlink_to(capture)
    with pytest.raises(OutputError, match="is what the command reads"):
        read_earlier(link, capture)


def test_a_table_is_written_to_no_stream(tmp_path, captured_example, capsys):
    theirs = tmp_path / "device=NVIDIA_H200.json"
    theirs.write_text("{}")
    with open(tmp_path / "redirected", "w") as redirected:
        out = f"/dev/fd/{redirected.fileno()}"
        for words in (
            ["improve", str(captured_example), "--device", "interpreter", "-o", out],
            ["table", "import", str(theirs), "--capture", str(captured_example), "--kernel", "gated", "-o", out],
        ):
            assert main(words) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"error: -o {out} cannot be written (it is no regular file, and the command reads")
    assert sorted(p.name for p in tmp_path.iterdir()) == [theirs.name, "redirected"]
