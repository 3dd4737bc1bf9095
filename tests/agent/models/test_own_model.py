"""A chat model of a user's file or module: it runs, is replayed and resumed; what is wrong with it is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.errors import AgentError, UsageError
from agent.loop.progress import Watch
from agent.models import choose
from agent.models.own_model import is_own
from agent.trace.paths import trace_folder
from agent.trace.trace import read_trace
from tests.agent.fake_actions import BEST

MINE = f"""
import json
import os

from agent.models.base import Reply


class Mine:
    name = "mine"

    def respond(self, messages, tools, seconds, tokens=None):
        print("noise")
        answered = sum(m["role"] == "tool" for m in messages)
        if answered and os.environ.get("FAIL_AFTER_THE_FIRST_TURN"):
            raise RuntimeError("the model broke\\nin two lines")
        if answered:
            return Reply({{"role": "assistant", "content": "done"}}, usage=1)
        arguments = json.dumps({{"configs": [{BEST!r}]}})
        call = {{"id": "", "type": "function", "function": {{"name": "run_benchmark", "arguments": arguments}}}}
        return Reply({{"role": "assistant", "content": None, "tool_calls": [call]}}, usage=1)


mine = Mine()
three = 3


class Nameless:
    def respond(self, messages, tools, seconds, tokens=None):
        raise AssertionError


class Planner(Mine):
    name = "embedded"


class Needy(Mine):
    def __init__(self, path):
        pass


class Wrong(Mine):
    def respond(self, messages, tools, seconds, tokens=None):
        return {{"role": "assistant", "content": "done"}}
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    path = tmp_path / "my_models.py"
    path.write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return path


def header_of_the_run():
    (path,) = trace_folder().glob("*.jsonl")
    return path, read_trace(path)


@pytest.mark.parametrize("name", ["Mine", "mine"])
def test_a_model_of_a_file_decides_and_its_trace_is_replayed(mine, name, small_world, capsys):
    small_world()
    assert main(["maximise fused TFLOPS", "--model", f"my_models.py:{name}", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)  # what it prints is not among it
    assert outcome["best"]["config"] == BEST
    path, record = header_of_the_run()
    assert record.header["objective"]["model"] == f"{mine}:{name}"
    assert next(e.body["model"] for e in record.events if e.type == "model_response") == "mine"
    mine.unlink()  # a replay repeats its answers without it
    assert main(["replay", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"]["config"] == BEST


def test_a_run_whose_model_failed_names_the_line_and_is_resumed_from_another_folder(
    mine, small_world, capsys, monkeypatch, tmp_path
):
    small_world()
    monkeypatch.setenv("FAIL_AFTER_THE_FIRST_TURN", "yes")
    assert main(["maximise fused TFLOPS", "--model", "my_models.py:Mine"]) == 1
    err = capsys.readouterr().err.strip().splitlines()[-1]
    line = MINE.splitlines().index('            raise RuntimeError("the model broke\\nin two lines")') + 1
    assert f"failed at {mine}:{line}: RuntimeError: the model broke; nothing is lost" in err
    monkeypatch.delenv("FAIL_AFTER_THE_FIRST_TURN")
    monkeypatch.chdir("/")
    _, record = header_of_the_run()
    from agent.loop import run
    from tests.agent.fake_actions import opener

    ended = run.resume(record.header["run"], Watch(), opener(tmp_path / "ledger"))
    assert ended.outcome.best.config == BEST


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.py:Mine", "No model file at"),
        ("my_models.py:Nothing", "has no Nothing; it has Mine, mine"),
        ("my_models.py:three", "is no ChatModel, it has no method respond; it has Mine"),
        ("my_models.py:Nameless", "is no ChatModel: give it a name"),
        ("my_models.py:Planner", "calls itself 'embedded'"),
        ("my_models.py:Needy", "cannot be made without arguments"),
        ("my_models.py", "my_models.py is a file: name the model in it, my_models.py:NAME"),
        ("no.such.module:Mine", "Model module no.such.module cannot be imported: ModuleNotFoundError"),
        ("nosuchmodule:Mine", "Model module nosuchmodule cannot be imported: ModuleNotFoundError"),
        ("json:loads", "json:loads is no ChatModel"),
    ],
)
def test_what_is_no_model_is_one_sentence_and_exit_code_2(mine, name, says, small_world, capsys):
    small_world()
    assert main(["maximise fused TFLOPS", "--model", name]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert says in err[-1]
    assert err[-1].startswith("error: ")
    assert not any("Traceback" in line for line in err)


def test_a_file_that_fails_on_import_names_its_line(mine):
    mine.write_text("x = 1\nx / 0\n")
    with pytest.raises(UsageError, match=rf"{mine}:2 cannot be imported: ZeroDivisionError"):
        choose.load_model(f"{mine}:Mine", None)


def test_an_answer_that_is_no_reply_is_refused(mine):
    with pytest.raises(AgentError, match=r"respond returns an agent.models.base.Reply, not dict"):
        choose.load_model(f"{mine}:Wrong", None).respond([], [], 1.0)


def test_options_of_a_server_are_refused(mine):
    with pytest.raises(UsageError, match="--base-url names a server"):
        choose.model_name("my_models.py:Mine", "http://127.0.0.1:1/v1")
    with pytest.raises(UsageError, match="--endpoint names a kind of server"):
        choose.load_model(f"{mine}:Mine", None, "vllm")


@pytest.mark.parametrize(
    ("name", "base_url", "own"),
    [
        ("gpt-5", None, False),
        ("qwen3:8b", None, False),
        ("ft:gpt-4o-mini-2024-07-18:org::id", None, False),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", None, False),
        ("mistral:latest", "http://127.0.0.1:11434/v1", False),
        ("my_models:Mine", "http://127.0.0.1:11434/v1", True),
        ("package.module:Mine", "http://127.0.0.1:11434/v1", True),
        ("/a/path.py:Mine", "http://127.0.0.1:11434/v1", True),
    ],
)
def test_a_servers_model_with_a_tag_is_no_reference(name, base_url, own, mine, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(mine).parent))
    assert is_own(name, base_url) is own
