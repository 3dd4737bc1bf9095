from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from kernels.tuned.compiler_variables import PREFIXES, describe_overrides
from kernels.tuned.tuned_file import NotATable, read_table, write_table
from kernels.tuned.tuned_table import Decision, digest_of, in_fixed_order
from tests.kernels.tuned.tables import row, table


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tuned.json"


def changed(path, change):
    body = json.loads(path.read_text())
    change(body)
    body["digest"] = digest_of(body["decisions"])
    path.write_text(json.dumps(body))


def test_what_is_written_is_read(path):
    made = table(
        row(n=64), row(n=128, status="unproven", tie=True), row("other", also=(Decision({}, {"num_warps": 8}),))
    )
    made.untuned.append({"kernel": "waiting", "reason": "its programs wait for one another"})
    write_table(made, path)
    found = read_table(path)
    assert found.decisions == made.decisions
    assert (found.evidence, found.untuned, found.digest) == (made.evidence, made.untuned, made.digest)
    assert not found.faults


def test_variables_that_change_the_compiler_are_part_of_where_a_row_holds(path):
    plain = row(n=64)
    other = replace(plain, environment=replace(plain.environment, overrides="DISABLE_PTXAS_OPT=1"))
    assert plain.name != other.name
    assert str(other.environment) == "NVIDIA H200, Triton 3.9.0, ptxas 13.4, DISABLE_PTXAS_OPT=1"
    write_table(table(plain, other), path)
    assert {r.environment for r in read_table(path).rows} == {plain.environment, other.environment}
    [old] = [d for d in json.loads(path.read_text())["decisions"] if "overrides" not in d["environment"]]
    assert set(old["environment"]) == {"gpu", "triton", "assembler"}  # as in files from before


def test_only_variables_that_change_code_are_named(monkeypatch):
    for name in [n for n in os.environ if n.startswith(PREFIXES)]:
        monkeypatch.delenv(name)
    assert describe_overrides() is None
    for name, value in (("TRITON_CACHE_DIR", "/c"), ("TRITON_DEFAULT_FP_FUSION", "1"), ("TRITON_PTXAS_PATH", "/p")):
        monkeypatch.setenv(name, value)
    assert describe_overrides() == "TRITON_PTXAS_PATH=/p"
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "0")
    assert describe_overrides() == "TRITON_DEFAULT_FP_FUSION=0 TRITON_PTXAS_PATH=/p"


def test_the_digest_does_not_depend_on_the_order_or_on_the_evidence():
    rows = [row(n=n) for n in (1, 2, 3)]
    other = table(*reversed(rows))
    other.evidence[rows[0].name]["speedup"] = 1.3
    assert other.digest == table(*rows).digest
    assert table(*rows[:2], row(n=3, constexprs={"BLOCK": 64})).digest != table(*rows).digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "autokernel-tuned", "ver', "is cut off or damaged"),
        ("", "is no table of tuned launches"),
        ('{"E": 1}', "is no table of tuned launches"),
        ('{"format": "autokernel-tuned", "version": 9}', "format version 9, and this program reads version 1"),
        ('{"format": "autokernel-tuned", "version": 1}', "lacks the field digest"),
    ],
)
def test_other_files_are_refused_in_one_sentence(path, text, message):
    path.write_text(text)
    with pytest.raises(NotATable, match=message) as e:
        read_table(path)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_every_cut_of_a_file_is_refused(path):
    write_table(table(row()), path)
    whole = path.read_text().rstrip()
    for end in range(0, len(whole), 37):
        path.write_text(whole[:end])
        with pytest.raises(NotATable):
            read_table(path)


def test_a_file_that_is_not_there_is_refused(path):
    with pytest.raises(NotATable, match="cannot be read"):
        read_table(path)


def test_a_decision_changed_by_hand_is_found_by_the_digest(path):
    write_table(table(row()), path)
    path.write_text(path.read_text().replace('"BLOCK": 512', '"BLOCK": 513'))
    with pytest.raises(NotATable, match="was changed after it was written"):
        read_table(path)


def test_fields_of_a_later_version_are_named(path):
    write_table(table(row()), path)
    changed(path, lambda body: body["decisions"][0]["decision"].update(split=3))
    with pytest.raises(NotATable, match="'split' in decision 0: decision"):
        read_table(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"decision": {"constexprs": {"BLOCK": 64}, "options": {}, "source": None}},
            "has evidence of another decision",
        ),
        ({"decision": None}, "is proven and decides nothing"),
        ({"status": "best"}, "has the status 'best'"),
        ({"key": {"planted": 1}}, "is called proven and has no evidence"),
    ],
)
def test_a_planted_row_is_named_and_left_out(path, change, message):
    write_table(table(row(n=64), row(n=128)), path)
    changed(path, lambda body: body["decisions"][0].update(change))
    found = read_table(path)
    assert len(found.rows) == 1
    assert [message in fault for fault in found.faults.values()] == [True]


def places(value, path=()):
    """Where something stands in JSON."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inside:
        yield (*path, name)
        yield from places(one, (*path, name))


def test_whatever_stands_in_a_place_is_read_or_refused_in_one_sentence(path):
    made = table(row(n=64, also=(Decision({}, {"num_warps": 8}),)))
    made.untuned.append({"kernel": "waiting", "reason": "its programs wait for one another"})
    made.held_out.append({"kernel": "f", "speedup": 1.1})
    write_table(made, path)
    whole, refused = path.read_text(), {}
    for place in places(json.loads(whole)):
        for value in (None, "x", -1, 2.5, True, [], [None], {}, {"a": 1}):

            def put(body, place=place, value=value):
                for step in place[:-1]:
                    body = body[step]
                body[place[-1]] = value

            path.write_text(whole)
            if place[0] == "digest":
                continue
            try:
                changed(path, put)
            except TypeError:  # of `changed`: no decisions are left
                continue
            try:
                write_table(read_table(path), path)
            except NotATable as e:
                refused[place] = str(e)
    assert not any("\n" in sentence for sentence in refused.values())
    of_row = {place[2:] for place in refused if place[:2] == ("decisions", 0)}
    assert {("also",), ("tie",), ("function", "module"), ("environment", "triton"), ("decision", "options")} <= of_row
    assert {("untuned", 0), ("held_out", 0), ("evidence", made.rows[0].name)} <= refused.keys()


@pytest.mark.parametrize("options", [{"num_warps": 3}, {"num_warps": 64}, {"num_stages": -1}, {"warps": 4}])
def test_an_impossible_option_is_no_row(options):
    with pytest.raises(ValueError, match="sets "):
        table(row(options=options))


def test_the_file_is_replaced_as_a_whole(path, monkeypatch):
    write_table(table(row()), path)
    before = path.read_text()
    monkeypatch.setattr("os.fsync", lambda f: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_table(table(row(), row("other")), path)
    assert path.read_text() == before
    assert [p.name for p in path.parent.iterdir()] == ["tuned.json"]


def test_the_fixed_order_is_that_of_the_text():
    decisions = [Decision({"BLOCK": b}, {"num_warps": w}) for b in (2, 1) for w in (8, 4)]
    assert in_fixed_order(decisions) == in_fixed_order(reversed(decisions))


def test_reading_needs_nothing_heavy():
    code = (
        "import sys, kernels.tuned.tuned_file, kernels.tuned.key;"
        "print(*[m for m in ('pydantic', 'langgraph', 'torch', 'triton', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_pipe_is_written_to_and_a_link_stays_one(path, tmp_path):
    made = table(row())
    write_table(made, path)
    pipe, link = tmp_path / "pipe", tmp_path / "link.json"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_table(made, pipe)
    assert os.read(reader, 1 << 16) == path.read_bytes()
    os.close(reader)
    assert pipe.is_fifo()
    path.unlink()
    link.symlink_to(path)
    write_table(made, link)
    assert link.is_symlink()
    assert read_table(path).digest == made.digest
