"""A whole run through a server that this project did not write: LiteLLM's proxy with mock replies, by either API.

``pip install "triton-autokernel[litellm]"`` brings it; elsewhere AUTOKERNEL_LITELLM names its command."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.trace.trace import read_trace
from tests.agent.fake_actions import BEST

BESIDE = Path(sys.executable).with_name("litellm")
LITELLM = os.environ.get("AUTOKERNEL_LITELLM") or shutil.which("litellm") or (str(BESIDE) if BESIDE.exists() else None)
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(LITELLM is None, reason="needs LiteLLM's proxy: pip install triton-autokernel[litellm]"),
]

KEY = "sk-master-0123456789"


def model(name, kind="openai", **more):
    return {"model_name": name, "litellm_params": {"model": f"{kind}/{name}", "api_key": "unused", **more}}


FUNCTION = {"name": "run_benchmark", "arguments": json.dumps({"configs": [BEST]})}


@pytest.fixture(scope="module")
def upstream():
    """The same two models, behind a Chat Completions server that streams."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            call = {"index": 0, "id": "1", "type": "function", "function": FUNCTION}
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            delta = {"role": "assistant", "content": "I measured 8642 TFLOP/s."}
            if body["model"].startswith("caller"):
                delta["tool_calls"] = [call]
            usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for part in (
                {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
                {"choices": [], "usage": usage},
            ):
                self.wfile.write(f"data: {json.dumps({**chunk, **part})}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *args):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    yield web
    web.shutdown()
    web.server_close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, upstream):
    """The base URL of a proxy with a model that always calls a tool and one that only talks. LiteLLM's mock replies do
    not stream through Responses: there both are a Chat Completions server that LiteLLM translates."""
    folder = tmp_path_factory.mktemp("litellm")
    behind = f"http://127.0.0.1:{upstream.server_port}/v1"
    config = {
        "model_list": [
            model("caller", mock_response="", mock_tool_calls=[{"id": "1", "type": "function", "function": FUNCTION}]),
            model("talker", mock_response="I measured 8642 TFLOP/s."),
            model("caller-responses", "custom_openai", api_base=behind),
            model("talker-responses", "custom_openai", api_base=behind),
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


both = pytest.mark.parametrize("api", ["chat", "responses"])


def drive(name, proxy, small_world, capsys, monkeypatch, api, key=KEY):
    small_world()
    monkeypatch.setenv("OPENAI_API_KEY", key)
    name = f"{name}-responses" if api == "responses" and name != "absent" else name
    code = main(["fused TFLOPS", "--model", name, "--base-url", proxy, "--api", api, "--json"])
    out, err = capsys.readouterr()
    return code, out, err


@both
def test_a_run_with_tool_calls(proxy, small_world, capsys, monkeypatch, api):
    code, out, err = drive("caller", proxy, small_world, capsys, monkeypatch, api)
    outcome = json.loads(out)
    assert code == 0, err
    assert outcome["best"]["config"] == BEST
    assert outcome["tokens"] > 0
    events = read_trace(Path(outcome["trace"])).events
    answers = [e.body for e in events if e.type == "model_response" and e.body["model"] != "embedded"]
    assert len(answers) == 4
    assert all(a["message"]["tool_calls"] and "finish" not in a for a in answers)
    assert all(("output" in a["message"]) is (api == "responses") for a in answers)
    assert "3 turns in a row brought nothing new" in outcome["takeover"]


@both
def test_a_model_that_only_talks(proxy, small_world, capsys, monkeypatch, api):
    code, out, err = drive("talker", proxy, small_world, capsys, monkeypatch, api)
    assert code == 0, err
    assert "8642" not in out
    assert json.loads(out)["takeover"]


@both
def test_a_bad_key_and_an_unknown_model(proxy, small_world, capsys, monkeypatch, api):
    code, out, err = drive("caller", proxy, small_world, capsys, monkeypatch, api, key="sk-wrong-0123456789")
    assert (code, out) == (2, ""), err
    assert "refused the key" in err
    code, out, err = drive("absent", proxy, small_world, capsys, monkeypatch, api)
    assert (code, out) == (2, "")
    assert "has no model 'absent'" in err
