"""Every trace of the gallery, and of a real run here, is what the documents say it is."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from agent.cli.commands import main
from agent.errors import AgentError
from agent.loop.progress import Watch
from agent.replay.replay import replay
from agent.trace.trace import Trace, read_trace
from tests.agent.trace.large import GALLERY, write_gzipped, write_large

TRACES = sorted(path for path in GALLERY.iterdir() if path.name.endswith((".jsonl", ".jsonl.gz")))
SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "trace.schema.json").read_text())


@pytest.fixture(params=TRACES, ids=[path.name for path in TRACES])
def trace(request):
    return request.param


silent = Watch()


def violations(path):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    lines = ({**vars(event), "body": event.body} for event in read_trace(path).events)
    return [f"event {line['seq']}: {error.message[:200]}" for line in lines for error in validator.iter_errors(line)]


def test_the_gallery_holds_the_three_traces():
    assert len(TRACES) >= 3


def test_it_replays_identically(trace):
    ended = replay(trace, silent)
    recorded, now = read_trace(trace).last("end"), ended.outcome.model_dump(mode="json")
    assert without_newer(now, recorded) == recorded | {"trace": str(trace), "stopped": ended.outcome.stopped}


def without_newer(now, before):
    """`now` without the fields that `before` does not have, on every level."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {name: without_newer(value, before[name]) for name, value in now.items() if name in before}
    if isinstance(before, list) and isinstance(now, list):
        return [without_newer(*pair) for pair in zip(now, before, strict=True)]
    return now


def of_an_older_version(trace, path, change=lambda end: None):
    """The trace as a version wrote it that lacked some fields of the outcome, on every level."""
    with closing(Trace(path)) as older:
        for event in read_trace(trace).events:
            body = json.loads(json.dumps(event.body))
            if event.type == "end":
                del body["how"], body["best"]["share_of_roofline"], body["best"]["ci_ms"]
                for row in body["baselines"]:
                    del row["ci"]
                change(body)
            older.copy(replace(event, body=body))
    return path


def test_fields_that_a_newer_version_adds_are_not_compared_but_filled_in(tmp_path):
    path = of_an_older_version(TRACES[0], tmp_path / "older.jsonl")
    before, now = (replay(p, silent).outcome.model_copy(update={"trace": ""}) for p in (TRACES[0], path))
    assert now == before


def test_what_an_older_version_wrote_is_compared_on_every_level(tmp_path):
    def change(end):
        end["baselines"][1]["ms"] *= 1.001

    path = of_an_older_version(TRACES[0], tmp_path / "other.jsonl", change)
    with pytest.raises(AgentError, match=r"Replay differs at event \d+ \(end of end\): baselines\[1\].ms was"):
        replay(path, silent)


def test_the_command_replays_it(trace, capsys):
    assert main(["replay", str(trace)]) in (0, 3)
    assert str(trace) in capsys.readouterr().out


def test_it_follows_the_published_schema(trace):
    assert violations(trace) == []


def test_it_names_no_place_of_the_machine_it_was_made_on(trace):
    text = "\n".join(json.dumps(event.body) for event in read_trace(trace).events)
    assert set(re.findall(r'"/(\w+/\w+)', text)) <= {"home/user"}


def test_any_edited_byte_of_a_tool_result_is_caught(trace, tmp_path):
    data = b"".join(line for line in read_lines(trace))
    lines = data.splitlines(keepends=True)
    at = [n for n, line in enumerate(lines) if b'"type":"tool_result"' in line]
    for number in (at[0], at[len(at) // 2], at[-1]):
        begin = lines[number].index(b'"body":') + 8
        end = lines[number].rindex(b',"chain"') - 1
        for place in range(begin, end, max(1, (end - begin) // 40)):
            line = bytearray(lines[number])
            line[place] ^= 1
            path = tmp_path / "edited.jsonl"
            path.write_bytes(b"".join([*lines[:number], bytes(line), *lines[number + 1 :]]))
            if json_equal(bytes(line), lines[number]):
                continue
            with pytest.raises(AgentError, match=r"Replay differs|is not one of its events|is not a trace"):
                replay(path, silent)


def read_lines(path):
    import gzip

    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines(keepends=True)


def json_equal(a, b):
    try:
        return json.loads(a) == json.loads(b)
    except ValueError:
        return False


def test_a_gzipped_trace_is_read_as_it_is(tmp_path):
    write_gzipped(tmp_path / "t.jsonl.gz", TRACES[0])
    assert read_trace(tmp_path / "t.jsonl.gz").events == read_trace(TRACES[0]).events
    assert replay(tmp_path / "t.jsonl.gz", silent).outcome.proven


def test_a_damaged_gzip_is_one_sentence(tmp_path, capsys):
    write_gzipped(tmp_path / "t.jsonl.gz", TRACES[0])
    (tmp_path / "t.jsonl.gz").write_bytes((tmp_path / "t.jsonl.gz").read_bytes()[:500])
    assert main(["show", str(tmp_path / "t.jsonl.gz")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_large_trace_follows_the_schema_too(tmp_path):
    write_large(tmp_path / "large.jsonl", 200)
    assert violations(tmp_path / "large.jsonl") == []
    assert len(read_trace(tmp_path / "large.jsonl").events) == 200


def test_the_schema_refuses_what_is_no_event(tmp_path):
    event = vars(read_trace(TRACES[0]).events[3])
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert validator.is_valid(event)
    for change in ({"chain": "x"}, {"type": "noise"}, {"key": "turn x"}, {"body": {}}, {"seq": -1}, {"more": 1}):
        assert not validator.is_valid({**event, **change})
