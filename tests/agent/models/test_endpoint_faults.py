"""Every way in which an endpoint is known to fail, over a real socket, through the real client, by either API."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import tenacity

from agent.errors import AgentError, UsageError
from agent.models.endpoint import retries
from agent.models.endpoint.faults import Outage
from agent.models.endpoint.retries import asked_wait
from tests.agent.answers import failure
from tests.agent.models.apis import both
from tests.agent.models.test_openai_chat import ASK, KEY, TOOLS, ask

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """The first wait after a failure that names none takes a tenth of its time. How long the waits are has its own
    test."""
    monkeypatch.setattr(retries, "FIRST_WAIT", retries.FIRST_WAIT / 10)


def reach(api, url, seconds=20.0, notify=lambda line: None):
    return api.model(url, notify=notify).respond(ASK, TOOLS, seconds)


def http(body, more="", length=None):
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length or len(body)}\r\n{more}\r\n"
    return (head + body).encode()


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@both
def test_nothing_listens(api):
    said, began = [], time.monotonic()
    with pytest.raises(Outage, match=r"Cannot reach 127.0.0.1:\d+ .*refused.*: check --base-url") as failed:
        reach(api, f"http://127.0.0.1:{closed_port()}/v1", 300, said.append)
    assert time.monotonic() - began < 60, "a server that never answered is not waited for, let alone for the 300 s"
    assert len(said) == 2
    assert "trying again" in said[0]
    assert (failed.value.exit_code, failed.value.out_of_time) == (1, False)


@both
def test_a_server_that_answered_before_is_waited_for(api):
    port = closed_port()
    model = api.model(f"http://127.0.0.1:{port}/v1")
    model._met = True

    def come_back():
        time.sleep(0.8)  # UNMET_TRIES are over by then
        with socket.create_server(("127.0.0.1", port)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 20)
                connection.sendall(http(api.ok[2]))

    threading.Thread(target=come_back, daemon=True).start()
    assert model.respond(ASK, TOOLS, 30).message["content"] == "ok"


@both
def test_no_such_host(api):
    with pytest.raises(Outage, match=r"Cannot reach no-such-host.invalid:1 \(.*\): check --base-url and the network"):
        reach(api, "http://no-such-host.invalid:1/v1", 5)


@both
def test_plain_http_where_tls_was_asked_for(api, server):
    began = time.monotonic()
    with pytest.raises(Outage, match=r"No TLS connection to 127.0.0.1:\d+ .*check the https"):
        reach(api, server.url.replace("http://", "https://"), 300)
    assert time.monotonic() - began < 60, "no retry mends a certificate"


@pytest.mark.parametrize(
    "answer",
    [
        failure(401, f"Incorrect API key provided: {KEY}"),
        failure(403, f"Country, region, or territory not supported for {KEY}"),
        failure(400, "API key not valid. Please pass a valid API key."),
        failure(400, "No connected db.", type="no_db_connection"),
    ],
)
@both
def test_a_bad_key(api, server, answer):
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as failed:
        api.ask(server, answer)
    assert failed.value.exit_code == 2
    assert KEY not in str(failed.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        failure(404, "The model `m` does not exist", code="model_not_found"),
        failure(400, "litellm.BadRequestError: Invalid model name passed in model=m", code="400"),
        failure(400, "The model `m` does not exist."),
        (404, {"content-type": "text/html"}, "<html>no</html>"),
    ],
)
@both
def test_an_unknown_model(api, server, answer):
    with pytest.raises(UsageError, match=r"no model 'm'.*--model") as failed:
        api.ask(server, answer)
    assert failed.value.exit_code == 2
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@both
def test_a_transient_failure_is_tried_again(api, server, status):
    assert api.ask(server, failure(status), failure(status), api.ok).message["content"] == "ok"
    assert len(server.asked) == 3


@pytest.mark.parametrize("tries", [1, 2, 3, 6, 20])
def test_waits_double_up_to_the_longest_and_differ(tries, monkeypatch):
    monkeypatch.undo()
    waited = [retries.wait(failed_again(tries)) for _ in range(200)]
    highest = 0.25 + min(30.0, 0.5 * 2 ** (tries - 1))
    assert all(0.25 <= w <= highest for w in waited)
    assert max(waited) > 0.25 + 0.8 * (highest - 0.25)
    assert min(waited) < 0.25 + 0.2 * (highest - 0.25)


def failed_again(tries):
    """What is known after so many tries that ended with an answer of no use."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = tries
    state.set_exception((retries.Garbled, retries.Garbled("no JSON"), None))
    return state


@both
def test_a_gateways_page_of_failure_is_not_quoted(api, server):
    with pytest.raises(Outage, match=r"is failing \(HTTP 502: no reason given\)"):
        api.ask(server, (502, {"content-type": "text/html"}, "<html><h1>Bad gateway</h1></html>"), seconds=1)


@both
def test_retry_after_is_honoured_and_said(api, server):
    said, began = [], time.monotonic()
    server.answers = [failure(429, headers={"retry-after": "0.7"}), api.ok]
    reach(api, server.url, notify=said.append)
    assert time.monotonic() - began >= 0.7
    assert "HTTP 429: trying again in 0.7 s" in said[0]


def in_days(days):
    return format_datetime(datetime.now(UTC) + timedelta(days=days), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "7"}, 7, 7),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25, 0.25),
        ({"retry-after": in_days(1)}, 80_000, 86_401),
        ({"retry-after": in_days(-1)}, 0, 0),
        ({"retry-after": "-3"}, 0, 0),
    ],
)
def test_the_ways_to_say_retry_after(headers, low, high):
    assert low <= asked_wait(headers) <= high


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "", "1e999"])
def test_a_retry_after_that_is_none_is_passed_over(text):
    assert asked_wait({"retry-after": text}) is None


@both
def test_a_retry_after_beyond_the_run_ends_at_once_and_says_that_time_is_what_lacks(api, server):
    began = time.monotonic()
    with pytest.raises(Outage, match="HTTP 429: slow down") as failed:
        api.ask(server, failure(429, "slow down", headers={"retry-after": "3600"}), seconds=300)
    assert time.monotonic() - began < 60
    assert failed.value.out_of_time
    assert len(server.asked) == 1


@both
def test_a_spent_quota_is_not_retried(api, server):
    with pytest.raises(Outage, match="You exceeded your quota"):
        api.ask(server, failure(429, "You exceeded your quota.", code="insufficient_quota"))
    assert len(server.asked) == 1


@both
def test_a_server_that_keeps_failing_ends_within_the_deadline(api, server):
    began = time.monotonic()
    with pytest.raises(Outage, match="HTTP 503: overloaded") as failed:
        api.ask(server, failure(503, "overloaded"), seconds=2)
    assert time.monotonic() - began < 60
    assert failed.value.out_of_time
    assert len(server.asked) > 1


@both
def test_a_hang(api, raw_server):
    url = raw_server(lambda connection, number: time.sleep(120))
    began = time.monotonic()
    with pytest.raises(Outage, match="did not answer within 1 s"):
        reach(api, url, 1)
    assert time.monotonic() - began < 60


@both
def test_an_answer_that_drips_for_ever(api, raw_server):
    def drip(connection, number):
        connection.sendall(http("", length=10**6))
        for _ in range(1200):
            connection.sendall(b" ")
            time.sleep(0.1)

    began = time.monotonic()
    with pytest.raises(Outage, match="the answer did not end within"):
        reach(api, raw_server(drip), 2)
    assert time.monotonic() - began < 60


@both
def test_a_connection_dropped_in_the_middle_of_a_body(api, raw_server):
    def drop(connection, number):
        connection.sendall(http(api.ok[2], length=5000) if number < 3 else http(api.ok[2]))

    assert reach(api, raw_server(drop)).message["content"] == "ok"
    assert len(raw_server.asked) == 3


@both
def test_a_connection_dropped_again_and_again(api, raw_server):
    url = raw_server(lambda connection, number: connection.sendall(http(api.ok[2], length=5000)))
    with pytest.raises(Outage, match="the answer broke off"):
        reach(api, url, 1)


@both
def test_a_connection_closed_without_a_word(api, raw_server):
    url = raw_server(lambda connection, number: connection.sendall(http(api.ok[2])) if number == 2 else None)
    assert reach(api, url).message["content"] == "ok"
    with pytest.raises(Outage, match="Cannot reach"):
        reach(api, url, 1)
    assert len(raw_server.asked) > 2


@both
def test_no_http_at_all(api, raw_server):
    with pytest.raises(Outage, match="Cannot reach"):
        reach(api, raw_server(lambda connection, number: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")), 1)


@both
def test_a_web_page(api, server):
    with pytest.raises(Outage, match=r"answered with a web page, not JSON: check --base-url .*/v1"):
        api.ask(server, (200, {"content-type": "text/html"}, "<html>Welcome</html>"))
    assert len(server.asked) == 1


@both
def test_json_cut_short_is_tried_again_but_not_for_ever(api, server):
    assert api.ask(server, (200, {}, '{"choices": ['), api.ok).message["content"] == "ok"
    with pytest.raises(Outage, match="something that is no JSON"):
        api.ask(server, (200, {}, '{"choices": ['))
    assert len(server.asked) == 2 + 3


def events(*chunks, end="data: [DONE]\n\n"):
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end
    return 200, {"content-type": "text/event-stream"}, text


def delta(finish=None, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def test_a_stream_that_nobody_asked_for_is_put_together(server):
    part = [{"index": 0, "id": "a", "function": {"name": "run_benchmark", "arguments": '{"conf'}}]
    more = [{"index": 0, "function": {"arguments": 'igs": []}'}}]
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}}
    chunks = [
        delta(role="assistant", content="hm"),
        delta(tool_calls=part),
        delta("tool_calls", tool_calls=more),
        usage,
    ]
    reply = ask(server, events(*chunks))
    (call,) = reply.message["tool_calls"]
    assert (call["function"]["name"], call["function"]["arguments"]) == ("run_benchmark", '{"configs": []}')
    assert (reply.message["content"], reply.usage) == ("hm", 12)


@both
def test_a_stream_that_breaks_off_is_tried_again(api, server):
    assert api.ask(server, api.streamed("half", whole=False), api.ok).message["content"] == "ok"


@both
def test_a_request_that_is_refused_for_its_contents(api, server):
    with pytest.raises(Outage, match=r"refused the request \(HTTP 413: too large\)"):
        api.ask(server, failure(413, "too large"))
    assert len(server.asked) == 1


@pytest.mark.parametrize("words", ["x" * 10_000, "one\ntwo\x1b[31m", f"key {KEY} is wrong"])
@both
def test_a_servers_words_are_short_on_one_line_and_without_the_key(api, server, words):
    with pytest.raises(AgentError) as failed:
        api.ask(server, failure(418, words))
    text = str(failed.value)
    assert len(text) < 400
    assert text.isprintable()
    assert KEY not in text


@both
def test_a_key_that_a_server_echoes_reaches_nobody(api, server):
    reply = api.ask(server, api.says(f"Your key is {KEY}", ("f", {"text": KEY})))
    assert KEY not in json.dumps(reply.message)
    assert "[redacted]" in reply.message["content"]


@pytest.mark.parametrize("stand_in", ["none", "EMPTY", "ollama", "x"])
@both
def test_a_word_that_stands_in_for_a_key_is_left_in_texts(api, server, stand_in):
    reply = api.ask(server, api.says(f"activation {stand_in}"), key=stand_in)
    assert reply.message["content"] == f"activation {stand_in}"


def test_importing_the_model_reaches_for_nothing():
    script = (
        "import sys, agent.models.endpoint.openai_chat, agent.models.endpoint.openai_responses;"
        "print({'openai', 'tenacity', 'httpx2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
