"""A whole run through a server that this project did not write: LiteLLM's proxy with mock replies.

``pip install "triton-autokernel[litellm]"`` brings it; elsewhere AUTOKERNEL_LITELLM names its command."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.trace.trace import read_trace
from tests.agent.fake_actions import BEST

BESIDE = Path(sys.executable).with_name("litellm")
LITELLM = os.environ.get("AUTOKERNEL_LITELLM") or shutil.which("litellm") or (str(BESIDE) if BESIDE.exists() else None)
pytestmark = pytest.mark.skipif(LITELLM is None, reason="needs LiteLLM's proxy: pip install triton-autokernel[litellm]")

KEY = "sk-master-0123456789"


def model(name, **mock):
    return {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_key": "unused", **mock}}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """The base URL of a proxy with a model that always calls a tool and one that only talks."""
    folder = tmp_path_factory.mktemp("litellm")
    function = {"name": "run_benchmark", "arguments": json.dumps({"configs": [BEST]})}
    config = {
        "model_list": [
            model("caller", mock_response="", mock_tool_calls=[{"id": "1", "type": "function", "function": function}]),
            model("talker", mock_response="I measured 8642 TFLOP/s."),
        ],
        "general_settings": {"master_key": KEY},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            [LITELLM, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"},
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health/liveliness", child, folder / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            child.terminate()
            child.wait(20)


def wait_for(url, child, log):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert child.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"LiteLLM did not come up: {log.read_text()[-2000:]}")


def drive(name, proxy, small_world, capsys, monkeypatch, key=KEY):
    small_world()
    monkeypatch.setenv("OPENAI_API_KEY", key)
    code = main(["fused TFLOPS", "--model", name, "--base-url", proxy, "--json"])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_run_with_tool_calls(proxy, small_world, capsys, monkeypatch):
    code, out, err = drive("caller", proxy, small_world, capsys, monkeypatch)
    outcome = json.loads(out)
    assert code == 0, err
    assert outcome["best"]["config"] == BEST
    assert outcome["tokens"] > 0
    events = read_trace(Path(outcome["trace"])).events
    answers = [e.body for e in events if e.type == "model_response" and e.body["model"] == "caller"]
    assert len(answers) == 4
    assert all(a["message"]["tool_calls"] and "finish" not in a for a in answers)
    assert "3 turns in a row brought nothing new" in outcome["takeover"]


def test_a_model_that_only_talks(proxy, small_world, capsys, monkeypatch):
    code, out, err = drive("talker", proxy, small_world, capsys, monkeypatch)
    assert code == 0, err
    assert "8642" not in out
    assert json.loads(out)["takeover"]


def test_a_bad_key_and_an_unknown_model(proxy, small_world, capsys, monkeypatch):
    code, out, err = drive("caller", proxy, small_world, capsys, monkeypatch, key="sk-wrong-0123456789")
    assert (code, out) == (2, ""), err
    assert "refused the key" in err
    code, out, err = drive("absent", proxy, small_world, capsys, monkeypatch)
    assert (code, out) == (2, "")
    assert "has no model 'absent'" in err
