from __future__ import annotations

import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent.loop import run
from agent.models.waiting import VARIABLES
from tests.agent.fake_actions import opener


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Traces go under the test's folder; the developer's keys and models stay out."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "AUTOKERNEL_MODEL",
        "AUTOKERNEL_EFFORT",
        "AUTOKERNEL_API",
        *VARIABLES.values(),
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    """Answers with ``server.answers`` in turn (the last one for ever; one that can be called is given the request's
    body); what it was asked is in ``server.asked``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.asked.append((self.path, headers, json.loads(body)))
            answer = web.answers.pop(0) if len(web.answers) > 1 else web.answers[0]
            status, headers, text = answer(web.asked[-1][2]) if callable(answer) else answer
            if text is None:
                time.sleep(headers["hang"])
                return
            self.send_response(status)
            headers = {"content-type": "application/json", "content-length": str(len(text.encode())), **headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    web.answers, web.asked = [], []
    web.url = f"http://127.0.0.1:{web.server_port}/v1"
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    yield web
    web.shutdown()
    web.server_close()


@pytest.fixture
def small_world(monkeypatch, tmp_path):
    """The command line over the fake world; returns a function that sets the world's options."""

    def use(**options):
        open_ = opener(tmp_path / "ledger", **options)
        monkeypatch.setattr(run, "begin", functools.partial(run.begin, open_=open_))
        return open_

    return use
