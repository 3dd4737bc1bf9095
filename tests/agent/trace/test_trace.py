from __future__ import annotations

import json

import pytest

from agent.errors import AgentError, UsageError
from agent.trace.trace import Trace, read_trace

HEADER = {"schema_version": 1, "run": "r"}


def written(path, *bodies, secrets=()):
    trace = Trace(path, secrets)
    trace.once("header", "r", lambda: HEADER)
    for i, body in enumerate(bodies):
        trace.once("decision", f"turn {i}", lambda body=body: body)
    trace.close()
    return path


def test_every_event_is_on_disk_when_once_returns(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    trace.once("header", "r", lambda: HEADER)
    assert trace.once("decision", "turn 0", lambda: {"x": 1}) == {"x": 1}
    assert [e.body for e in read_trace(trace.path).events] == [HEADER, {"x": 1}]


def test_a_step_is_done_once_also_by_a_later_process(tmp_path):
    path = written(tmp_path / "t.jsonl", {"x": 1})
    trace = Trace(path)
    assert trace.once("decision", "turn 0", lambda: pytest.fail("done again")) == {"x": 1}
    trace.once("decision", "turn 1", lambda: {"x": 2})
    record = read_trace(path)
    assert [e.seq for e in record.events] == [0, 1, 2]
    assert record.broken is None


def test_a_torn_last_line_is_reported_and_written_over(tmp_path):
    path = written(tmp_path / "t.jsonl", {"x": 1}, {"x": 2})
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1])):
        path.write_bytes(whole[:-cut])
        record = read_trace(path)
        assert record.torn
        assert len(record.events) == 2
    trace = Trace(path)
    trace.once("decision", "turn 1", lambda: {"x": 3})
    record = read_trace(path)
    assert (record.torn, record.broken, record.events[-1].body) == (False, None, {"x": 3})


def test_one_edited_byte_is_found(tmp_path):
    path = written(tmp_path / "t.jsonl", {"ms": 0.2}, {"ms": 0.3})
    path.write_text(path.read_text().replace('"ms":0.2', '"ms":0.1'))
    assert read_trace(path).broken == 1


def test_a_removed_line_is_found(tmp_path):
    path = written(tmp_path / "t.jsonl", {"x": 1}, {"x": 2}, {"x": 3})
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    assert read_trace(path).broken == 3


def test_secrets_are_never_written(tmp_path):
    path = written(
        tmp_path / "t.jsonl", {"deep": [{"text": "the key is sk-very-secret!"}]}, secrets=("sk-very-secret",)
    )
    assert "sk-very-secret" not in path.read_text()
    assert "[redacted]" in path.read_text()
    assert read_trace(path).broken is None


def test_two_processes_do_not_write_one_trace(tmp_path):
    first = Trace(tmp_path / "t.jsonl")
    with pytest.raises(AgentError, match="still going"):
        Trace(tmp_path / "t.jsonl")
    first.close()
    Trace(tmp_path / "t.jsonl").close()


def test_any_text_a_model_may_say_survives(tmp_path):
    body = {"text": "\ud800 \x00 \u2028 ünï 🦙 \r\n"}
    assert read_trace(written(tmp_path / "t.jsonl", body)).events[1].body == body


@pytest.mark.parametrize(
    "content",
    [b"", b"hello\n", b"{}\n", b"[]\n", b"\xff\xfe\n", b"\n", b"null\n", b'{"a": ' * 5000 + b"\n", b'{"seq":0}\n'],
)
def test_a_foreign_file_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not a trace"):
        read_trace(path)


def test_a_newer_version_a_missing_file_and_a_folder_are_refused(tmp_path):
    path = tmp_path / "t.jsonl"
    trace = Trace(path)
    trace.once("header", "r", lambda: {"schema_version": 99})
    for given, says in ((path, "99"), (tmp_path / "none", "No such file"), (tmp_path, "directory")):
        with pytest.raises(UsageError, match=says):
            read_trace(given)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="XDG_DATA_HOME"):
        Trace(tmp_path / "file" / "t.jsonl")


def test_lines_are_plain_json(tmp_path):
    path = written(tmp_path / "t.jsonl", {"x": 1})
    assert {*json.loads(path.read_text().splitlines()[1])} == {"seq", "at", "type", "key", "body", "chain"}
