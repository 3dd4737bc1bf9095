"""Tokens of a scripted run of 20 turns: ``python -m tests.bench.bench_tokens``.

The real tools on the recorded H200; behind the loopback server, a script that asks for proposals, compiles and measures
them (24 configs in 20 turns). Tokens are characters of the request's JSON over 3.5, which is what GPT-4o's tokeniser
makes of it, give or take a tenth."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.agent.follower import counted, follow

TURNS = 20
BATCH = 4


class Model(BaseHTTPRequestHandler):
    """Follows the planner for TURNS turns, whether or not it says stop."""

    prompts: list[int] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        move = follow(body, BATCH)
        if isinstance(move, str):
            result, _ = json.JSONDecoder().raw_decode(body["messages"][-1]["content"])
            configs = [row["config"] for row in result.get("proposals", ())]
            move = ("compile_kernel", {"configs": configs}) if configs else ("suggest_configs", {"count": BATCH})
        if len(self.prompts) >= TURNS - 1:
            move = "Done."
        status, _, text = counted(body, move)
        self.prompts.append(json.loads(text)["usage"]["prompt_tokens"])
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


def main() -> None:
    from agent.goal.goal import Given
    from agent.goal.request import understood
    from agent.loop.progress import LineWatch
    from agent.loop.run import begin

    web = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_DATA_HOME": folder, "OPENAI_API_KEY": "none"}
        given = Given(model="scripted", max_evals=60, device="recorded")
        objective, _ = understood("maximise fused TFLOPS", given)
        ended = begin(objective, None, f"http://127.0.0.1:{web.server_port}/v1", LineWatch(print))
    outcome, prompts = ended.outcome, Model.prompts
    print("prompt tokens by turn:", *prompts)
    print(f"tokens of the run: {outcome.tokens}; evaluations {outcome.evaluations}: "
          f"{outcome.tokens / outcome.evaluations:.0f} tokens each; largest after turn 5 over largest until then: "
          f"{max(prompts[5:]) / max(prompts[:5]):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
