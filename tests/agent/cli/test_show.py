"""What a person reads of a run: show, runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.export.reader import read_story
from agent.trace import runs
from agent.trace.paths import trace_folder
from agent.trace.trace import Trace, encode, read_trace, seal
from tests.agent.trace.large import GALLERY, example, write_large

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
KILLED = GALLERY / "killed-and-resumed-h200.jsonl"


def edited(source, target, change):
    """A copy whose events `change` may rewrite, sealed anew."""
    chain, lines = "triton-autokernel", []
    for event in read_trace(source).events:
        body = change(event.type, event.key, json.loads(json.dumps(event.body)))
        chain = seal(chain, event.type, event.key, body)
        lines.append(encode({**vars(event), "body": body, "chain": chain}))
    target.write_text("\n".join(lines) + "\n")
    return target


def test_show_tells_what_was_tried_why_and_how_it_ended(capsys):
    assert main(["show", str(KILLED)]) == 0
    out = capsys.readouterr().out
    record = read_trace(KILLED)
    end = record.last("end")
    for part in (
        end["why"],
        "maximise fused TFLOPS",
        "recorded NVIDIA H200",
        "run_benchmark",
        "because ",
        "the run had stopped and was resumed",
        "the first that ran correctly",
        f"Evaluations {end['evaluations']}:",
        "did not compile",
        "python -m agent replay",
    ):
        assert part in out


def test_the_story_counts_what_the_harness_counted():
    for path in GALLERY.glob("*.jsonl"):
        record = read_trace(path)
        story, end = read_story(record), record.last("end")
        assert len(story.attempts) == end["evaluations"]
        assert len(story.turns) == end["turns"]
        assert story.best.config == min((a for a in story.attempts if a.ms), key=lambda a: a.ms).config
        assert [a.number for a in story.attempts] == list(range(1, len(story.attempts) + 1))


def test_show_as_json_is_one_object(capsys):
    assert main(["show", str(example()), "--json"]) == 0
    story = json.loads(capsys.readouterr().out)
    assert story["finished"] is True
    assert story["edited_at"] is None
    assert len(story["attempts"]) == story["outcome"]["evaluations"]
    assert story["turning_points"]


def test_an_edited_trace_is_shown_with_a_warning(tmp_path, capsys):
    path = tmp_path / "t.jsonl"
    path.write_bytes(example().read_bytes().replace(b'"ms":0.18', b'"ms":0.08', 1))
    assert main(["show", str(path)]) == 0
    assert "WARNING    edited at event" in capsys.readouterr().out


def test_an_unfinished_trace_is_shown_with_the_way_to_go_on(tmp_path, capsys):
    path = tmp_path / "t.jsonl"
    path.write_bytes(example().read_bytes()[:40_000])
    assert main(["show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "torn" in out
    assert "NOT FINISHED" in out
    assert "python -m agent resume" in out


def test_control_characters_of_a_model_do_not_reach_the_terminal(tmp_path, capsys):
    def change(kind, key, body):
        if kind == "model_response":
            body["message"]["content"] = "\x1b[31mred\x07 \ud800 \r\nnext"
        return body

    assert main(["show", str(edited(example(), tmp_path / "t.jsonl", change))]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[31mred" in out


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"results": None},
        {"results": [1, None, {"config": 3}, {"config": {}, "ms": "fast", "ci_ms": [None]}]},
        {"proposals": {"a": 1}},
        {"error": ["x"], "problems": 4},
        {"question": 3, "rows": 7},
        {"share_of_floor": "much"},
        {"results": [{"config": {"a": [1]}, "status": None, "ms": 0}], "best": {"ms": "?"}},
    ],
)
def test_whatever_a_tool_answered_can_be_shown_and_exported(tmp_path, capsys, result):
    def change(kind, key, body):
        return {"result": result} if kind == "tool_result" else body

    path = edited(example(), tmp_path / "t.jsonl", change)
    assert main(["show", str(path)]) == 0
    for name in ("html", "atif", "otel"):
        assert main(["export", str(path), "--format", name]) == 0


def test_a_long_run_is_shown_by_its_ends(tmp_path, capsys):
    path = tmp_path / "large.jsonl"
    write_large(path, 10_000)
    assert main(["show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "show --all prints them" in shown
    assert len(shown.splitlines()) < 500


@pytest.mark.parametrize(
    "command", [["show"], ["export"], ["replay"], ["fork", "--at", "1"], ["replay", "--live-tools"]]
)
def test_a_file_that_is_no_trace_is_one_sentence_and_exit_code_2(command, tmp_path, capsys):
    foreign = tmp_path / "foreign.jsonl"
    with closing(Trace(tmp_path / "bare.jsonl")) as bare:
        bare.once("header", "r", lambda: {"schema_version": 1, "run": "r"})
        bare.once("end", "end", lambda: {})
    foreign.write_text('{"hello": 1}\n')
    for path in (foreign, tmp_path / "bare.jsonl", tmp_path / "none.jsonl", tmp_path, "20200101-000000-abcdef"):
        assert main([command[0], str(path), *command[1:]]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.strip().splitlines()) == 1


def test_runs_lists_every_state(capsys):
    folder = trace_folder()
    assert main(["runs"]) == 0
    assert "No runs yet" in capsys.readouterr().out
    folder.mkdir(parents=True)
    data = example().read_bytes()
    (folder / "finished.jsonl").write_bytes(data)
    (folder / "stopped.jsonl").write_bytes(data[:40_000])
    (folder / "unborn.jsonl").write_bytes(data[:40])
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "foreign.jsonl").write_text("[1]\n")
    (folder / "going.jsonl").write_bytes(data[: data.rindex(b"\n", 0, 40_000) + 1])
    with closing(Trace(folder / "going.jsonl")):
        states = {Path(row.trace).stem: row.state for row in runs.runs(folder)}
        assert main(["runs"]) == 0
    assert states == {
        "finished": "proven",
        "stopped": "stopped",
        "unborn": "killed before it began",
        "empty": "killed before it began",
        "foreign": "not a trace",
        "going": "going",
    }
    out = capsys.readouterr().out
    assert "python -m agent resume " in out
    assert main(["runs", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6


def test_show_and_runs_import_nothing_heavy():
    script = (
        "import sys; from agent.cli.commands import main\n"
        "main(['show', sys.argv[1]]); main(['runs'])\n"
        "print({'torch', 'triton', 'langgraph', 'openai', 'numpy', 'sqlite_utils'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, str(example())]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()")


@pytest.mark.parametrize("path", ["", ".", "/"])
@pytest.mark.parametrize("command", [("show",), ("export", "--format", "triton")], ids=["show", "export"])
def test_a_path_that_names_no_file_is_one_sentence(path, command, capsys):
    assert main([*command, path]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path!r} names no trace: ")
