"""The graph that LangGraph's server opens, by the path that langgraph.json names, from an input with only a goal."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from agent import studio
from agent.serve import served_runs
from tests.agent.fake_actions import opener

ROOT = Path(__file__).parents[2]
GOAL = {"goal": "maximise fused TFLOPS", "device": "recorded", "max_evals": 6}


def thread(name: str) -> dict:
    return {"configurable": {"thread_id": name}}


@pytest.fixture
def graph(monkeypatch, tmp_path):
    """The graph over the fake world; no run of another test is open."""
    monkeypatch.setattr(served_runs, "open_actions", opener(tmp_path / "ledger"))
    monkeypatch.setattr(studio, "_RUNS", [])
    return studio.build(InMemorySaver())


def test_the_graph_is_found_by_its_path_and_draws_the_loop():
    [(name, where)] = json.loads((ROOT / "langgraph.json").read_text())["graphs"].items()
    path, _, factory = where.partition(":")
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    drawing = getattr(module, factory)({}).get_graph().draw_mermaid()
    for edge in (
        "__start__ --> open",
        "open -.-> decide",
        "decide -.-> act",
        "act --> decide",
        "decide -.-> verify",
        "verify --> report",
    ):
        assert edge in drawing


def test_a_goal_alone_runs_to_the_object_of_json(graph):
    found = graph.invoke(GOAL, thread("a"))
    assert set(found) == {"outcome", "steps"}
    assert found["outcome"]["best"]["config"]
    assert found["outcome"]["evaluations"] == 6
    assert found["steps"][0].startswith("tuning fused_matmul")
    assert any(line.startswith("[2] ") for line in found["steps"])
    assert not studio.served_runs()._open, "a finished run holds nothing"


def test_steps_stream_with_their_reasons(graph):
    parts = list(graph.stream(GOAL, thread("a"), stream_mode=["updates", "custom"]))
    lines = [part["line"] for mode, part in parts if mode == "custom"]
    updates = [node["steps"] for mode, part in parts if mode == "updates" for node in part.values()]
    opened, steps = updates[0].value, [line for lines_ in updates[1:] for line in lines_]
    assert any(line.startswith("[1] ") for line in lines)
    assert lines == [*opened, *steps]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"goal": "make coffee"}, "names no kernel"),
        ({**GOAL, "device": "cuda:x"}, ""),
        ({**GOAL, "effort": "x"}, "x"),
        ({**GOAL, "bitwise": True}, "bitwise is not possible here"),
    ],
)
def test_a_goal_that_cannot_be_run_is_the_outcome(monkeypatch, wrong, says):
    monkeypatch.setattr(studio, "_RUNS", [])
    found = studio.build(InMemorySaver()).invoke(wrong, thread("a"))["outcome"]
    assert found["exit_code"] == 2
    assert says in found["error"]


def test_approval_is_an_interrupt_whose_answer_counts(graph):
    asked = graph.invoke({**GOAL, "approve": True}, thread("a"))["__interrupt__"][0].value
    assert asked["batches"][0]["tool"] in ("compile_kernel", "run_benchmark", "check_correctness")
    found: dict = {"__interrupt__": [None]}
    rounds = 0
    while "__interrupt__" in found:
        state = graph.get_state(thread("a"))
        [question] = [i.value for task in state.tasks for i in task.interrupts]
        answers = {batch["id"]: {"verdict": "yes"} for batch in question["batches"]}
        found = graph.invoke(Command(resume={"answers": answers}), thread("a"))
        rounds += 1
    assert rounds > 1
    assert found["outcome"]["evaluations"] == 6


def test_a_server_that_was_started_anew_goes_on_with_the_thread(graph, tmp_path):
    first = graph.invoke({**GOAL, "approve": True}, thread("a"))
    run = graph.get_state(thread("a")).values["run"]
    for served in studio.served_runs()._open.values():
        served.close()
    studio._RUNS.clear()
    found = first
    while "__interrupt__" in found:
        [question] = [i.value for task in graph.get_state(thread("a")).tasks for i in task.interrupts]
        answers = {batch["id"]: {"verdict": "yes"} for batch in question["batches"]}
        found = graph.invoke(Command(resume={"answers": answers}), thread("a"))
    assert found["outcome"]["run"] == run
    assert found["outcome"]["evaluations"] == 6


def test_a_thread_may_hold_a_second_run(graph):
    first = graph.invoke(GOAL, thread("a"))
    second = graph.invoke({**GOAL, "seed": 1}, thread("a"))
    assert first["outcome"]["run"] != second["outcome"]["run"]
    assert second["outcome"]["turns"] == len([x for x in second["steps"] if x.startswith("[")])


@pytest.mark.long
@pytest.mark.skipif(shutil.which("langgraph") is None, reason="pip install 'triton-autokernel[langgraph]'")
def test_the_real_server_runs_a_goal(tmp_path):
    """``langgraph dev`` over HTTP; the recorded device is real."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    command = ["langgraph", "dev", "--no-browser", "--no-reload", "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ask = functools.partial(post, f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                made = ask("/threads", {})
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.5)
        goal = {"goal": "maximise rms_norm bandwidth", "device": "recorded", "max_evals": 20}
        found = ask(f"/threads/{made['thread_id']}/runs/wait", {"assistant_id": "autokernel", "input": goal})
        assert found["outcome"]["evaluations"] == 20
        wrong = ask(f"/threads/{made['thread_id']}/runs/wait", {"assistant_id": "autokernel", "input": {"goal": "tea"}})
        assert wrong["outcome"]["exit_code"] == 2
    finally:
        server.terminate()
        server.wait(30)


def post(base: str, path: str, body: dict) -> dict:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(base + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read())
