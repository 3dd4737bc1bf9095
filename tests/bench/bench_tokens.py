"""Tokens of a scripted run of 20 turns: ``python -m tests.bench.bench_tokens``.

The real tools on the recorded H200, compilations as they were recorded; behind the loopback server, a script that asks
for proposals, compiles and measures them (24 configs in 20 turns). Tokens are characters of the request's JSON over
3.5, which is what GPT-4o's tokeniser makes of it, give or take a tenth."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from agent.loop.progress import Watch
from tests.agent.follower import counted, follow, read_answer

LANDSCAPE = "fused_matmul-4096x4096x4096-fp16-h200"
TURNS = 20
BATCH = 4


class Model(BaseHTTPRequestHandler):
    """Follows the planner for TURNS turns, whether or not it says stop."""

    prompts: list[int] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        move = follow(body, BATCH)
        if isinstance(move, str):
            result = read_answer(body, body["messages"][-1]["content"])
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
    from agent.goal.objective import Limits, Objective
    from agent.loop.actions import LiveActions
    from agent.loop.progress import LineWatch
    from agent.loop.run import begin
    from evals.tasks.worlds import open_recorded_session
    from tools.harness.landscapes.named import named_landscape

    web = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    landscape = named_landscape(LANDSCAPE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_DATA_HOME": folder, "OPENAI_API_KEY": "none"}

        def open_(objective: Objective, memory: Path | None, run_id: str, watch: Watch) -> LiveActions:
            session = open_recorded_session(landscape, Path(folder) / "memory.db", run_id, 60, 0)
            ids = session.ids
            session.memory.start_run(run_id, "", {}, "scripted", ids.environment, ids.problem, {})
            return LiveActions(session)

        objective = Objective(
            goal="maximise fused TFLOPS",
            kernel="fused_matmul",
            device="recorded",
            model="scripted",
            alone=True,
            limits=Limits(max_evals=60),
        )
        ended = begin(objective, None, f"http://127.0.0.1:{web.server_port}/v1", LineWatch(print), open_=open_)
    outcome, prompts = ended.outcome, Model.prompts
    print("prompt tokens by turn:", *prompts, "in all:", sum(prompts))
    print(f"tokens of the run: {outcome.tokens}; evaluations {outcome.evaluations}: "
          f"{outcome.tokens / outcome.evaluations:.0f} tokens each; largest after turn 5 over largest until then: "
          f"{max(prompts[5:]) / max(prompts[:5]):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
