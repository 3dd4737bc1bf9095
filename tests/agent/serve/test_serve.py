"""The tools over MCP: with the official client, on the recorded H200 and on a small fake world.

``python -m tests.agent.serve.test_serve`` records the exchange anew."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from agent.errors import AgentError
from agent.loop.progress import Watch
from agent.loop.run import begin, resume
from agent.models.base import CLIENT
from agent.replay.replay import replay
from agent.serve.commands import main
from agent.serve.mcp_run import Run
from agent.trace.paths import trace_folder
from agent.trace.runs import runs
from tests.agent.fake_actions import BEST, SPACE, objective, opener

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
EXCHANGE = Path(__file__).parent / "exchanges" / "coding_agent.json"
SERVE = ["-m", "tools", "serve", "--device", "recorded", "--goal", "maximise fused TFLOPS"]
HURRIED = "from agent.serve import server; server.BEAT = 0.01; from agent.serve.commands import main; main()"
CONFIG = {
    "family": "persistent_tma", "BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "GROUP_M": 8, "num_warps": 8,
    "num_stages": 4, "EPILOGUE_SUBTILE": 4, "FLATTEN": True, "SPLIT_K": 1, "CONSUMERS": 1,
    "OVERLAP": False, "CLUSTER": 1,
}  # fmt: skip
SHORT = {name: value for name, value in CONFIG.items() if name not in ("SPLIT_K", "CONSUMERS", "OVERLAP", "CLUSTER")}
"""The same, without the fields that keep their defaults."""
SLOWER = {**CONFIG, "num_stages": 3, "EPILOGUE_SUBTILE": 2}
TOOLS = [
    "describe_task", "query_history", "suggest_configs", "compile_kernel", "check_correctness", "run_benchmark",
    "roofline_report", "record_lesson", "neighbours", "explain_kernel", "nominate_finalists", "finish",
]  # fmt: skip


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("AUTOKERNEL_TOKEN", raising=False)


# On the recorded H200, as a process of its own.


@asynccontextmanager
async def stdio_session(*options):
    """With a server that tells progress after 10 ms: however fast a step is here, it takes longer."""
    command = ["-c", HURRIED, *SERVE[2:], *options]
    server = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ), cwd=ROOT)
    async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        yield session


def test_the_official_client_lists_and_calls_every_tool():
    async def talk():
        said = []

        async def heard(progress, total, message):
            said.append(message)

        async with stdio_session("--budget", "1") as session:
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert list(tools) == TOOLS
            assert "BLOCK_M" in json.dumps(tools["run_benchmark"].input_schema)
            assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())

            async def call(name, arguments):
                answer = await session.call_tool(name, arguments, progress_callback=heard)
                assert answer.structured_content is not None
                return answer.structured_content, answer.is_error

            task, error = await call("describe_task", {})
            assert not error
            assert task["task"]["device"] == {**task["task"]["device"], "kind": "recorded", "name": "NVIDIA H200"}
            assert task["left"]["evaluations"] == 1
            chosen = {name for name, values in task["task"]["space"].items() if len(values) > 1}
            assert set(task["task"]["space_words"]["fields"]) == chosen
            assert task["task"]["baseline_ms"]["compiled"] > 0
            assert task["task"]["facts"]["measured_ceilings"]["matmul_tflops"] > 0
            assert task["source"]["text"].startswith("@triton.jit\ndef gemm_pointer(")
            assert (await call("query_history", {"question": "best"}))[0]["rows"] == []
            proposals, _ = await call("suggest_configs", {"count": 2})
            assert len(proposals["proposals"]) == 2
            compiled, _ = await call("compile_kernel", {"configs": [SHORT]})
            assert compiled["results"][0]["config"] == CONFIG
            assert compiled["results"][0]["status"] == "correct"
            checked, _ = await call("check_correctness", {"configs": [CONFIG]})
            assert checked["results"][0]["status"] == "correct"
            wrong, error = await call("run_benchmark", {"configs": [{"BLOCK_M": 7}]})
            assert (error, wrong["error"], wrong["tool"]) == (True, "arguments", "run_benchmark")
            measured, error = await call("run_benchmark", {"configs": [CONFIG, SLOWER]})
            assert not error
            assert measured["evaluations_left"] == 0
            assert measured["left_out"] == "1 configs: each may cost an evaluation, and the budget of 1 is spent"
            assert (await call("roofline_report", {}))[0]["bound"] == "compute"
            assert (await call("record_lesson", {"text": "Eight warps suit a 128x256 tile."}))[0]["recorded"] is True
            unknown, error = await call("no_such_tool", {})
            assert (error, unknown["error"]) == (True, "unknown tool")
            end, error = await call("finish", {"summary": "It is 9000 TFLOP/s."})
            assert (error, end["finished"], end["proven"]) == (False, True, True)
            assert end["report"].startswith("PROVEN: ")
            assert "9000" not in end["report"]
            assert (await call("finish", {}))[0] == end
            late, error = await call("run_benchmark", {"configs": [SLOWER]})
            assert (error, late["error"]) == (True, "ended")
            assert "compiling 1 config" in said
            return end["outcome"]

    outcome = asyncio.run(talk())
    assert outcome["evaluations"] == 1
    assert replay(Path(outcome["trace"]), Watch()).outcome.best.config == outcome["best"]["config"]


@pytest.mark.long
def test_a_coding_agents_session_goes_as_it_was_recorded():
    recorded = json.loads(EXCHANGE.read_text())
    again = exchange([step["request"] for step in recorded])
    for before, now in zip(recorded, again, strict=True):
        assert kept(now["response"]) == kept(before["response"]), before["request"]


def exchange(requests):
    """Raw messages to a server over stdio, and what it answers; stdout holds nothing else."""
    server = subprocess.Popen(
        [sys.executable, *SERVE, "--budget", "2"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    steps = []
    with server:
        for request in requests:
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            response = None
            while "id" in request and (response is None or response.get("id") != request["id"]):
                response = json.loads(server.stdout.readline())
            steps.append({"request": request, "response": response})
        server.stdin.close()
        assert server.stdout.read() == ""
    assert server.returncode == 0
    return steps


VARIES = {"seconds", "run", "trace", "report", "text", "version", "server_info", "serverInfo", "instructions", "hash"}
"""What differs from run to run, or with the versions of Triton and of this project."""


def kept(response):
    """What a replay must repeat: every status, time, verdict and refusal, of each config the fields that were sent."""
    if response is None or "result" not in response:
        return response
    result = response["result"]
    if "tools" in result:
        return [tool["name"] for tool in result["tools"]]
    return stable(result.get("structuredContent", {})) | {"isError": result.get("isError", False)}


def stable(value):
    if isinstance(value, list):
        return [stable(item) for item in value]
    if not isinstance(value, dict):
        return value
    wanted = {
        "config", "status", "ms", "tflops", "evaluations_left", "error", "finished", "proven", "recorded", "results",
        "best", "outcome", "evaluations", "bound", "question", "rows", *CONFIG,
    }  # fmt: skip
    return {name: stable(item) for name, item in value.items() if name in wanted}


def coding_agent():
    """What a coding agent sends that was asked to make the kernel fast, mistakes included."""

    def call(number, name, arguments):
        params = {"name": name, "arguments": arguments}
        return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}

    client = {"name": "coding-agent", "version": "1.0"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    return [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        call(2, "describe_task", {}),
        call(3, "query_history", {"question": "best"}),
        call(4, "finish", {"summary": "The kernel is fast already."}),
        call(5, "run_benchmark", {"configs": [{**CONFIG, "num_warps": "eight"}]}),
        call(6, "compile_kernel", {"configs": [SLOWER, {**CONFIG, "num_stages": 6}]}),
        call(7, "run_benchmark", {"configs": [SLOWER]}),
        call(8, "run_benchmark", {"configs": [SLOWER, CONFIG]}),
        call(9, "roofline_report", {}),
        call(10, "record_lesson", {"text": "Four stages beat three where the epilogue is stored in four pieces."}),
        call(11, "finish", {"summary": "Four stages with an epilogue in four pieces win."}),
    ]


def test_http_asks_for_its_token_and_for_a_host_of_this_machine(monkeypatch):
    import httpx2

    token = "a-token-of-the-test"
    monkeypatch.setenv("AUTOKERNEL_TOKEN", token)
    command = [sys.executable, *SERVE, "--transport", "http", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            said = []
            while not (said and said[-1].startswith("serving ")):
                said.append(server.stderr.readline())
                assert said[-1], said
            url = said[-1].split()[1]
            assert url.startswith("http://127.0.0.1:")
            assert not any(token in line for line in said)
            right = {"Authorization": f"Bearer {token}"}
            hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            accepts = {"Accept": "application/json, text/event-stream"}
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {token}"}):
                answer = httpx2.post(url, json=hello, headers={**accepts, **headers})
                assert (answer.status_code, answer.text) == (401, "")
            evil = {**accepts, **right, "Host": "evil.example"}
            assert httpx2.post(url, json=hello, headers=evil).status_code == 421
            evil = {**accepts, **right, "Origin": "http://evil.example"}
            assert httpx2.post(url, json=hello, headers=evil).status_code == 403

            async def talk():
                async with (
                    httpx2.AsyncClient(headers=right) as http,
                    streamable_http_client(url, http_client=http) as streams,
                    ClientSession(*streams[:2]) as session,
                ):
                    await session.initialize()
                    assert [tool.name for tool in (await session.list_tools()).tools] == TOOLS
                    return (await session.call_tool("query_history", {"question": "best"})).structured_content

            assert asyncio.run(talk())["question"] == "best"
        finally:
            server.terminate()


# On the fake world, in this process.


@contextmanager
def fake_run(tmp_path, begin_=begin, **limits):
    wanted = objective(**{"max_model_calls": 500, **limits}).model_copy(update={"model": CLIENT})
    world = opener(tmp_path / "ledger")

    def start(client):
        def open_(*given):
            return client.describe(world(*given))

        return begin_(wanted, None, None, client, open_, model=client)

    with Run(start, [].append) as client:
        yield client


def asked(client, name, **arguments):
    return client.ask(name, arguments, "a client").result(timeout=120)


def test_nobody_takes_the_place_of_a_client_that_gets_nowhere(tmp_path):
    with fake_run(tmp_path) as client:
        for _ in range(15):
            assert asked(client, "query_history", question="best")["rows"] == []
        assert asked(client, "run_benchmark", configs=[BEST])["evaluations_left"] == 39
        refused = asked(client, "finish")
        assert refused["finished"] is False
        assert "39 of 40 evaluations are left" in refused["why"]
        end = asked(client, "finish", summary="enough")
    assert (end["proven"], end["outcome"]["takeover"]) == (True, "")


def test_nothing_measured_is_nothing_to_finish(tmp_path):
    with fake_run(tmp_path) as client:
        for _ in range(3):
            assert "Nothing has been measured" in asked(client, "finish")["why"]


def test_a_spent_budget_ends_the_run_with_its_proof(tmp_path):
    with fake_run(tmp_path, max_evals=2) as client:
        assert asked(client, "run_benchmark", configs=SPACE[:3])["evaluations_left"] == 0
        answers = [asked(client, "roofline_report", config=SPACE[0]) for _ in range(6)]
        assert answers[-1]["error"] == "ended"
        assert asked(client, "finish")["outcome"]["stopped"] == "the evaluations are used up (2)"


def test_a_run_that_its_client_left_goes_on_where_it_was(tmp_path):
    with fake_run(tmp_path) as client:
        asked(client, "run_benchmark", configs=[BEST])
    assert "tools serve --resume" in str(client.failed)
    [left] = runs(trace_folder())
    assert left.state == "stopped"
    with pytest.raises(AgentError, match="tools serve --resume"):
        resume(left.run, Watch(), opener(tmp_path / "ledger"))

    def go_on(wanted, memory, base_url, watch, open_, model):
        return resume(left.run, watch, open_, model=model)

    with fake_run(tmp_path, go_on) as client:
        asked(client, "finish")
        end = asked(client, "finish")
    assert (end["proven"], end["outcome"]["run"], end["outcome"]["evaluations"]) == (True, left.run, 1)


def test_a_call_that_its_client_gave_up_does_not_hold_the_next_one(tmp_path):
    with fake_run(tmp_path) as client:
        given_up = client.ask("query_history", {"question": "best"}, "a client")
        given_up.cancel()
        assert asked(client, "query_history", question="nearest")["question"] == "nearest"


def test_calls_that_come_at_once_are_all_answered(tmp_path):
    with fake_run(tmp_path) as client:
        waiting = [client.ask("run_benchmark", {"configs": [config]}, "a client") for config in SPACE[:8]]
        left = [future.result(timeout=120)["evaluations_left"] for future in waiting]
    assert left == list(range(39, 31, -1))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve"], "--goal"),
        (["serve", "--goal", "make tea"], "Cannot read the goal"),
        (["serve", "--goal", "fused", "--budget", "0"], "--budget"),
        (["serve", "--goal", "fused", "--transport", "carrier-pigeon"], "--transport"),
        (["serve", "--goal", "fused", "--device", "recorded:nothing"], "nothing"),
        (["serve", "--goal", "fused", "--device", "recorded", "--bitwise"], "bitwise is not possible here"),
        (["serve", "--resume", "20200101-000000-abcdef"], "There is no run"),
        (["list", "--kernel", "tea"], "no kernel named 'tea'"),
        (["brew"], "brew"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, says, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_a_token_that_is_easily_guessed_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("AUTOKERNEL_TOKEN", "short")
    assert main(["serve", "--goal", "fused", "--transport", "http"]) == 2
    err = capsys.readouterr().err
    assert "at least 16" in err
    assert "short" not in err.replace("shorter", "")


def test_a_port_that_is_taken_is_said_before_anything_is_opened(monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", "--goal", "fused", "--transport", "http", "--port", port]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "choose another --port" in line
    assert not trace_folder().exists()


def test_without_the_package_one_sentence_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    assert main(["serve", "--goal", "fused"]) == 2
    assert "pip install 'triton-autokernel[mcp]'" in capsys.readouterr().err


def test_the_tools_are_listed_with_their_schemas(capsys):
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == TOOLS[1:-1]
    main(["list", "--json", "--kernel", "softmax"])
    schemas = {row["name"]: row["parameters"] for row in json.loads(capsys.readouterr().out)}
    assert schemas["suggest_configs"]["additionalProperties"] is False


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"XDG_DATA_HOME": home, "CUDA_VISIBLE_DEVICES": ""}
        text = json.dumps(exchange(coding_agent()), indent=1)
        text = text.replace(home, "/home/user/.local/share").replace(str(ROOT), "/home/user/triton-autokernel")
        EXCHANGE.write_text(text + "\n")
