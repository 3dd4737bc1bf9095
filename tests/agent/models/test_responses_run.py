"""Whole runs against OpenAI's rule: proven or not, killed and resumed, replayed and forked, and nothing encrypted
shown."""

from __future__ import annotations

import functools
import json
import multiprocessing
import random
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.loop import run
from agent.trace.trace import read_trace
from tests.agent.answers import completion, failure, function_call, response, spoken, thought, tool_call
from tests.agent.fake_actions import BEST, SPACE, opener
from tests.agent.follower import follow
from tests.agent.killed_run import PRELOAD, RUN, go_on
from tests.agent.openai_rule import OpenAIRule, outputs
from tests.agent.replay import elsewhere

KEY = "sk-of-the-test-0123456789"
TURNS = 8


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def secret(number):
    return f"gAAAA-{number}-" + "z" * 900


def script(rule):
    """Think, measure two configs in parallel calls, think again and measure a third. At last ask the planner, which
    knows nothing more to try, and conclude after TURNS: nobody has to take the model's place then."""

    def move(body):
        turn = len(rule.given)
        if turn >= TURNS:
            return [thought(f"{turn}", secret(turn)), spoken("Done.", turn)]
        advice = function_call({"count": 1}, "suggest_configs", f"call_{turn}d", f"{turn}d")
        two, one = SPACE[3 * turn : 3 * turn + 2], SPACE[3 * turn + 2]
        return [
            thought(f"{turn}a", secret(turn)),
            {"type": "program", "id": f"pr_{turn}", "state": turn},
            function_call({"configs": [two[0]]}, call_id=f"call_{turn}a", number=f"{turn}a"),
            function_call({"configs": [two[1]]}, call_id=f"call_{turn}b", number=f"{turn}b"),
            thought(f"{turn}c", secret(turn)),
            spoken("and one more", turn),
            function_call({"configs": [one]}, call_id=f"call_{turn}c", number=f"{turn}c"),
            *([advice] if turn == TURNS - 1 else []),
        ]

    return move


@pytest.fixture
def rule(server):
    found = OpenAIRule(server, None)
    found.move = script(found)
    server.answers = [found]
    return found


def paths(server):
    return Counter(path for path, _, _ in server.asked)


def test_a_run_on_the_recorded_device_is_proven_after_one_refusal(server, rule, tmp_path, capsys):
    def move(body):
        """What the planner proposes, with a thought before each call."""
        turn, seen = len(rule.given), outputs(body)
        last = {"role": "tool", "content": json.dumps(seen[-1])} if seen else {"role": "user"}
        tools = [{"function": tool} for tool in body["tools"]]
        said = follow({"tools": tools, "messages": [last]}, 2)
        if isinstance(said, str):
            return [thought(turn, secret(turn)), spoken(said, turn)]
        name, arguments = said
        return [thought(turn, secret(turn)), function_call(arguments, name, f"call_{turn}", turn)]

    rule.move = move
    options = ["--model", "m", "--base-url", server.url, "--max-evals", "2", "--memory", str(tmp_path / "m.db")]
    code = main(["fastest rms_norm", "--device", "recorded", *options, "--json"])
    out, err = capsys.readouterr()
    outcome = json.loads(out)
    assert code in (0, 3), err
    assert outcome["evaluations"] == 2
    assert rule.problems == []
    assert paths(server)["/v1/chat/completions"] == 1
    assert paths(server)["/v1/responses"] == outcome["turns"] > 4
    assert err.count("going on with /v1/responses") == 1
    assert main(["replay", outcome["trace"], "--json"]) == code
    assert json.loads(capsys.readouterr().out)["best"] == outcome["best"]


@pytest.mark.parametrize(("world", "code"), [({}, 0), ({"baseline_ms": 0.19}, 3)])
def test_a_run_ends_proven_or_not_and_is_replayed_and_forked_without_network(
    small_world, server, rule, capsys, monkeypatch, tmp_path, world, code
):
    small_world(**world)
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--json"]) == code
    outcome = json.loads(capsys.readouterr().out)
    assert rule.problems == []
    assert outcome["turns"] == TURNS + 1
    assert (outcome["takeover"], outcome["evaluations"]) == ("", 3 * TURNS)
    assert paths(server) == {"/v1/chat/completions": 1, "/v1/responses": TURNS + 1}
    asked = len(server.asked)
    assert main(["replay", outcome["trace"], "--json"]) == code
    again = json.loads(capsys.readouterr().out)
    assert {**again, "seconds": 0} == {**outcome, "seconds": 0}
    assert len(server.asked) == asked
    monkeypatch.setattr("agent.loop.run.open_actions", elsewhere.opener(tmp_path / "child", **world))
    assert main(["fork", outcome["trace"], "--at", str(TURNS + 1), "--json"]) == code
    forked = json.loads(capsys.readouterr().out)
    assert forked["best"] == outcome["best"]
    assert rule.problems == []
    assert paths(server)["/v1/chat/completions"] == 1, "a fork knows which API its parent went over to"
    assert rule.inputs[-1] == rule.inputs[-2], "the turn is taken anew with the same items"
    own, parents = (read_trace(Path(o["trace"])).events for o in (forked, outcome))
    copied = [e.body for e in own if e.type == "model_response"][:TURNS]
    assert copied == [e.body for e in parents if e.type == "model_response"][:TURNS]
    asked = len(server.asked)
    assert main(["replay", forked["trace"], "--json"]) == code
    assert len(server.asked) == asked


def test_the_stable_prefix_and_the_cost_of_a_turn(small_world, server, rule, tmp_path):
    """As long as the digest does not grow, a request begins with the one before it, byte for byte; and reasoning aside
    a turn's request is about as long as that of Chat Completions."""
    small_world()
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url]) == 0
    bodies = [body for path, _, body in server.asked if path == "/v1/responses"]
    fixed = [json.dumps([b["instructions"], b["tools"], b["prompt_cache_key"]]) for b in bodies]
    assert len(set(fixed)) == 1
    begins = [later["input"][: len(earlier["input"])] == earlier["input"] for earlier, later in pairwise(bodies)]
    assert begins.count(False) <= len(begins) // 3
    sizes = [sum(map(words, b["input"])) + len(b["instructions"]) + len(json.dumps(b["tools"])) for b in bodies]

    (tmp_path / "ledger").unlink()
    server.asked.clear()

    def chat(body):
        items = rule.given[len(server.asked) - 1]
        calls = [
            {"id": i["call_id"], "function": {"name": i["name"], "arguments": i["arguments"]}}
            for i in items
            if i["type"] == "function_call"
        ]
        said = [part["text"] for i in items if i["type"] == "message" for part in i["content"]]
        return completion({"content": said[0], **({"tool_calls": calls} if calls else {})})

    server.answers = [chat]
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url]) == 0
    others = [len(json.dumps(b["messages"])) + len(json.dumps(b["tools"])) for _, _, b in server.asked]
    assert len(others) == len(sizes)
    ratios = [mine / other for mine, other in zip(sizes, others, strict=True)]
    assert all(0.9 <= ratio <= 1.1 for ratio in ratios), ratios


def words(item):
    """Bytes of an item of the request that a model reads; reasoning is what Chat Completions does not have."""
    return 0 if item.get("type") in ("reasoning", "program") else len(json.dumps(item)) + 2


@pytest.mark.parametrize("moments", [2, pytest.param(10, marks=pytest.mark.long)])
def test_killed_at_some_moments_it_asks_the_same_and_nothing_twice(server, rule, tmp_path, moments):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    dice = random.Random(16)
    undisturbed = tmp_path / "calm"
    undisturbed.mkdir()
    process = context.Process(target=go_on, args=(str(undisturbed), server.url))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    calm = list(rule.inputs)
    assert len(calm) == len(set(calm)) == TURNS + 1

    rule.inputs.clear()
    folder = tmp_path / "killed"
    folder.mkdir()
    trace = folder / "triton-autokernel" / "traces" / f"{RUN}.jsonl"
    known = []
    """(answers in the trace, questions asked) at each kill."""
    for _ in range(moments):
        before = lines(trace)
        process = context.Process(target=go_on, args=(str(folder), server.url))
        process.start()
        wanted, until = before + dice.randrange(1, 9), time.monotonic() + 20
        while lines(trace) < wanted and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.01))
        process.kill()
        process.join()
        answers = sum('"type":"model_response"' in line for line in trace.read_text().splitlines())
        known.append((answers, len(rule.inputs)))
    process = context.Process(target=go_on, args=(str(folder), server.url))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert rule.problems == []
    assert list(dict.fromkeys(rule.inputs)) == calm, "the same items in the same order"
    for answers, asked in known:
        assert not set(rule.inputs[asked:]) & set(calm[:answers]), "what was answered is not asked again"
    events = read_trace(trace).events
    kinds = Counter(event.type for event in events)
    assert kinds["resume"] >= moments / 2
    assert kinds["model_response"] == TURNS + 1
    ledger = (folder / "ledger").read_text().splitlines()
    assert len(ledger) == len(set(ledger)) == 3 * TURNS
    refused = [path for path, _, _ in server.asked if path == "/v1/chat/completions"]
    assert len(refused) <= 3, "once in each run, and again only before the first answer was written"


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_reasoning_of_another_key_is_dropped_after_a_resume_and_the_run_goes_on(
    small_world, server, capsys, monkeypatch, tmp_path
):
    small_world()
    first = response(thought(1, secret(1)), function_call({"configs": [BEST]}))
    server.answers = [first, failure(401, "no such key")]
    options = ["--model", "m", "--base-url", server.url, "--api", "responses"]
    assert main(["fused TFLOPS", *options]) == 2
    found = capsys.readouterr().err.split()[-1]
    monkeypatch.setattr(run, "resume", functools.partial(run.resume, open_=opener(tmp_path / "ledger")))
    refusal = failure(
        400, f"The encrypted content {secret(1)} could not be verified.", code="invalid_encrypted_content"
    )
    server.answers = [refusal, response("Done.")]
    assert main(["resume", found, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["best"]["config"] == BEST
    assert "no longer accepts the reasoning of earlier turns" in err
    assert "zzz" not in err
    sent = ["gAAAA" in json.dumps(body["input"]) for _, _, body in server.asked]
    assert sent[2:4] == [True, False]
    assert not any(sent[4:])


def test_a_resume_takes_another_api(small_world, server, capsys, monkeypatch, tmp_path):
    small_world()
    server.answers = [tool_call({"configs": [BEST]}), failure(400, "Please use /v1/responses instead.")]
    options = ["--model", "m", "--base-url", server.url, "--api", "chat"]
    assert main(["fused TFLOPS", *options]) == 2
    err = capsys.readouterr().err
    assert "use --api responses or --api auto" in err
    monkeypatch.setattr(run, "resume", functools.partial(run.resume, open_=opener(tmp_path / "ledger")))
    server.answers = [response("Done.")]
    assert main(["resume", err.split()[-1], "--api", "responses", "--json"]) == 0
    assert server.asked[-1][0] == "/v1/responses"


def test_a_fork_takes_another_api_and_sends_it_no_reasoning(small_world, server, rule, capsys, monkeypatch, tmp_path):
    small_world()
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    server.asked.clear()
    server.answers = [completion({"content": "Done."})]
    monkeypatch.setattr("agent.loop.run.open_actions", elsewhere.opener(tmp_path / "child"))
    assert main(["fork", outcome["trace"], "--at", "3", "--api", "chat", "--json"]) == 0
    forked = json.loads(capsys.readouterr().out)
    assert forked["takeover"].startswith("the model concluded with "), "the planner spent what it left"
    assert forked["best"] == outcome["best"]
    assert forked["objective"]["api"] == "chat"
    assert set(paths(server)) == {"/v1/chat/completions"}
    assert "gAAAA" not in json.dumps([body for _, _, body in server.asked])


def test_what_is_encrypted_is_shown_nowhere(small_world, server, rule, capsys, tmp_path):
    small_world()
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--verbose"]) == 0
    out, err = capsys.readouterr()
    (trace,) = [line.split()[1] for line in out.splitlines() if line.startswith("trace ")]
    assert secret(0) in Path(trace).read_text(), "a resume needs it"
    shown = [out, err]
    for command in (["show", trace, "--all"], ["show", trace, "--json"], ["replay", trace], ["runs", "--json"]):
        assert main(command) == 0
        shown += capsys.readouterr()
    for format_ in ("html", "atif", "otel", "json", "triton"):
        assert main(["export", trace, "--format", format_, "-o", "-"]) == 0
        shown += capsys.readouterr()
    assert not [text for text in shown if "gAAAA" in text]
    assert "gAAAA" not in (tmp_path / "ledger").read_text()


def test_what_leaves_the_context_takes_its_reasoning_along(small_world, server, rule):
    small_world()
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url]) == 0
    last = server.asked[-1][2]["input"]
    thoughts = {item["id"] for item in last if item.get("type") == "reasoning"}
    calls = {item["id"] for item in last if item.get("type") == "function_call"}
    assert 0 < len({name.strip("rs_ac") for name in thoughts}) < TURNS - 2
    assert {name.strip("rs_ac") for name in thoughts} == {name.strip("fc_abd") for name in calls}
