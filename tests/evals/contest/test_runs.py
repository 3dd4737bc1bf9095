"""``python -m evals run | compare | report``: on our files, on other people's, interrupted, misused."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy
import pytest
from click.testing import CliRunner

from evals.agents.registry import AGENTS
from evals.commands.commands import cli, main
from evals.contest.contest import Job, run_jobs
from evals.contest.ledger import Ledger
from evals.contest.run_files import Results, read_results
from evals.errors import EvalsError
from evals.scoring.score import Board
from tests.evals.spaces import BEST, honest, written
from tools.harness.landscapes.named import find_landscape, list_landscapes, read_landscape

pytestmark = pytest.mark.process


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def conv(path: Path) -> Path:
    """A Kernel Tuner cache as that tool writes it: names no Python field may have, failures by name."""
    keys, cache = ["block_size_x", "_tile", "class", "model_config"], {}
    for a in (16, 32, 64, 128):
        for b in (1, 2, 4):
            for c in ("x", "y"):
                for d in (0.5, 1.5, None):
                    row = dict(zip(keys, (a, b, c, d), strict=True))
                    took = 1 + abs(a - 64) / 64 + abs(b - 2) * 0.3 + (c == "x") * 0.2 + (0.1 if d is None else d / 10)
                    figures = {
                        "times": [took, took],
                        "compile_time": 500,
                        "verification_time": 10,
                        "benchmark_time": 40,
                    }
                    cache[f"{a},{b},{c},{d}"] = row | (
                        {"time": "InvalidConfig"} if a * b > 256 else {"time": took} | figures
                    )
    about = {"device_name": "NVIDIA A4000", "kernel_name": "conv", "problem_size": [1, 2]}
    path.write_text(json.dumps({**about, "tune_params_keys": keys, "tune_params": {}, "cache": cache}))
    return path


def valid(x: int, y: int, ms: float) -> dict:
    return {
        "configuration": {"x": x, "y": y},
        "times": {"compilation": 3.0, "runtimes": [ms, ms]},
        "invalidity": "correct",
        "measurements": [{"name": "time", "value": ms, "unit": ""}],
    }


def lenient_t4(path: Path) -> Path:
    """A public file's shape: other spellings, missing parts, no measurement for what failed."""
    results = [valid(x, y, 1 + abs(x - 3) + 0.5 * abs(y - 2)) for x in range(8) for y in range(6)]
    results += [{"configuration": {"x": 9, "y": y}, "invalidity": "runtime"} for y in range(3)]
    path.write_text(json.dumps({"metadata": {"timeunit": "miliseconds"}, "results": results}))
    return path


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("made", "variant"), [(conv, "plain"), (lenient_t4, "plain"), (conv, "renamed"), (lenient_t4, "permuted")]
)
def test_every_agent_of_ours_plays_on_other_peoples_files(tmp_path, made, variant):
    landscape = read_landscape(made(tmp_path / "theirs.json"))
    board, scores = Board(landscape), {}
    jobs = [
        Job(a, landscape, "theirs", variant, 0, 40) for a in ("embedded", "random", "greedy", "default", "exhaustive")
    ]
    run_jobs(jobs, 2, lambda x: scores.update({x.agent: (x, board.score(x))}))
    assert {x.end for x, _ in scores.values()} <= {"concluded", "budget"}, [x.why for x, _ in scores.values()]
    assert scores["embedded"][1].passed
    assert scores["embedded"][1].P > scores["exhaustive"][1].P or variant != "plain"
    assert scores["default"][1].evaluations == 1


def test_the_processes_of_agents_do_not_hear_ctrl_c(tmp_path):
    """A terminal sends it to all processes of the command; a traceback of each agent would follow."""
    said = "raise RuntimeError(repr(signal.getsignal(signal.SIGINT)))"
    (tmp_path / "mine.py").write_text(f"import signal\ndef search(game):\n    {said}\n")
    ledgers, landscape = [], read_landscape(conv(tmp_path / "theirs.json"))
    run_jobs([Job(f"{tmp_path}/mine.py:search", landscape, "theirs", "plain", 0, 5)], 1, ledgers.append)
    assert "SIG_IGN" in ledgers[0].why


@pytest.mark.parametrize("library", ["optuna", "kernel_tuner"])
def test_agents_of_other_libraries_play_where_they_are_installed(tmp_path, library):
    pytest.importorskip(library, reason="the evals extra is not there")
    agents = [name for name, agent in AGENTS.items() if agent.library == library]
    landscape, ledgers = read_landscape(conv(tmp_path / "theirs.json")), {}
    jobs = [Job(agent, landscape, "theirs", "plain", 1, 20) for agent in agents]
    run_jobs(jobs, 2, lambda x: ledgers.update({x.agent: x}))
    assert {a: (x.end, len(x.rows)) for a, x in ledgers.items()} == dict.fromkeys(agents, ("budget", 20))


def test_the_embedded_agent_beats_random_search_on_the_recorded_h200():
    landscape = list_landscapes()[0]
    board, found = Board(landscape), {}
    jobs = [Job(a, landscape, landscape.name, "plain", s, board.budget) for a in ("embedded", "random") for s in (0, 1)]
    run_jobs(jobs, 2, lambda x: found.setdefault(x.agent, []).append(board.score(x)))
    assert min(s.P for s in found["embedded"]) > max(s.P for s in found["random"])
    assert all(s.passed for s in found["embedded"])
    assert find_landscape(landscape.name, landscape.kernel, problem_of(landscape)).name == landscape.name


def problem_of(landscape):
    from kernels.registry import get

    return get(landscape.kernel).problem_type.model_validate(landscape.problem)


def test_the_json_holds_scores_by_seed_and_in_aggregate(tmp_path):
    path = written(honest(), tmp_path)
    result = run("run", "--agents", "random,greedy", "--landscape", path, "--seeds", 2, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    wanted = {"agent", "landscape", "seed", "P", "P50", "evals_to_95", "evals_to_99", "regret", "invalid_share"}
    assert all(wanted <= set(row) for row in found["scores"])
    assert [(r["agent"], r["seed"]) for r in found["scores"]] == [
        ("greedy", 0), ("greedy", 1), ("greedy", "aggregate"), ("random", 0), ("random", 1), ("random", "aggregate"),
    ]  # fmt: skip
    assert {r["agent"] for r in found["overall"]} == {"random", "greedy"}
    again = run("run", "--agents", "random,greedy", "--landscape", path, "--seeds", 2, "--json", "--workers", 1)
    assert again.stdout == result.stdout


def test_an_interrupted_contest_goes_on_where_it_stood(tmp_path):
    path, out = written(honest(), tmp_path), tmp_path / "runs.jsonl"
    first = run("run", "--agents", "random", "--landscape", path, "--seeds", 3, "--out", out, "--json")
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(lines[0] + lines[1][:40])  # killed in the middle of a line
    second = run("run", "--agents", "random", "--landscape", path, "--seeds", 3, "--out", out, "--json")
    assert "1 of 3 runs were finished before" in second.stderr
    assert second.stdout == first.stdout
    assert len(read_results(out)) == 3


def small_t4(path: Path, configs: list[dict], factor: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**valid(0, 0, factor * (1 + i)), "configuration": c} for i, c in enumerate(configs)]
    path.write_text(json.dumps({"metadata": {"timeunit": "ms"}, "results": rows}))
    return path


EQUAL_IN_PYTHON = [{"x": v} for v in (1, 1.0, True, "1", "true", None, [1], 0, False, 0.5)]


@pytest.mark.parametrize("agent", ["embedded", "greedy", "tpe", "kt_greedy_ils"])
def test_every_agent_reaches_every_config_whatever_its_values_are(tmp_path, agent):
    if agent in ("tpe", "kt_greedy_ils"):
        pytest.importorskip("kernel_tuner" if agent.startswith("kt_") else "optuna", reason="no evals extra")
    configs = [*EQUAL_IN_PYTHON, {"x": float("nan")}, {"x": 2**70}, {"x": "\ud800"}]
    landscape, ledgers = read_landscape(small_t4(tmp_path / "odd.json", configs)), []
    run_jobs([Job(agent, landscape, "odd", "plain", 0, len(configs))], 1, ledgers.append)
    assert (ledgers[0].why, len({row.config for row in ledgers[0].rows})) == ("", len(configs))


def test_files_of_one_name_in_different_folders_are_different_landscapes(tmp_path):
    space = [{"x": i} for i in range(9)]
    paths = [small_t4(tmp_path / kernel / "A100.json", space, f) for kernel, f in (("gemm", 1.0), ("conv", 2.0))]
    here, out = [v for p in paths for v in ("--landscape", p)], tmp_path / "runs.jsonl"
    result = run("run", "--agents", "random,default", *here, "--seeds", 1, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    assert {r["landscape"] for r in json.loads(result.stdout)["scores"]} == {"gemm/A100", "conv/A100"}
    first = run("report", out, "--json")
    assert json.loads(first.stdout)["scores"] == json.loads(result.stdout)["scores"]
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[::-1]))
    assert run("report", out, "--json").stdout == first.stdout
    single = [tmp_path / f"{i}.jsonl" for i in range(2)]
    for path, kept in zip(paths, single, strict=True):
        run("run", "--agents", "random,default", "--landscape", path, "--seeds", 1, "--out", kept)
    assert run("report", *single, "--json").stdout == first.stdout
    again = run("run", "--agents", "random,default", *here, "--seeds", 1, "--json", "--out", single[0])
    assert "2 of 4 runs were finished before" in again.stderr
    assert again.stdout == result.stdout
    twice = run("compare", out, *single, "--json")
    assert json.loads(twice.stdout)["differences"][0]["pairs"] == 2


@pytest.mark.parametrize("text", ['{"results": []}', "", '{"results": []}\n', '{"code":"x","ledger":{}}\n'])
def test_keeping_runs_spoils_no_file_of_something_else(tmp_path, text):
    out = tmp_path / "theirs.json"
    out.write_text(text)
    result = run("run", "--agents", "default", "--landscape", written(honest(), tmp_path), "--out", out)
    assert (result.exit_code, out.read_text() == text) == ((0, False) if not text else (2, True))


@pytest.mark.parametrize("option", ["--out", "--html", "--leaderboard"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_what_cannot_be_written_is_one_sentence(tmp_path, option):
    result = run("run", "--agents", "default", "--landscape", written(honest(), tmp_path), option, "/dev/full")
    assert (result.exit_code, result.stderr.count("/dev/full")) == (2, 1)
    assert re.search("cannot (be written|write)", result.stderr)


@pytest.mark.parametrize("change", [{"seed": "a"}, {"rows": [{}]}, {"seconds": None}, {"tokens": "many"}, {"more": 1}])
def test_kept_runs_that_were_edited_into_something_else_are_refused(tmp_path, change):
    path, out = written(honest(), tmp_path), tmp_path / "runs.jsonl"
    run("run", "--agents", "default", "--landscape", path, "--seeds", 1, "--out", out)
    line = json.loads(out.read_text())
    out.write_text(
        json.dumps({"code": line["code"], "ledger": {**line["ledger"], **change}}, separators=(",", ":")) + "\n"
    )
    result = run("report", out)
    assert (result.exit_code, "line 1 cannot be read" in result.stderr) == (2, True)


def test_a_file_of_ones_own_is_an_agent(tmp_path):
    agent = tmp_path / "mine.py"
    agent.write_text(f"def search(game):\n    game.measure({BEST})\n")
    result = run("run", "--agents", agent, "--landscape", written(honest(), tmp_path), "--seeds", 1, "--json")
    assert json.loads(result.stdout)["overall"][0]["P"] == pytest.approx(1)


def test_compare_and_report_read_kept_runs(tmp_path):
    path, out = written(honest(), tmp_path), tmp_path / "runs.jsonl"
    run("run", "--agents", "random,default", "--landscape", path, "--seeds", 2, "--out", out)
    compared = run("compare", out)
    assert compared.exit_code == 0, compared.output
    assert "2 paired runs on 1 landscape" in compared.stdout
    html, board = tmp_path / "r.html", tmp_path / "b.md"
    assert run("report", out, "--html", html, "--leaderboard", board).exit_code == 0
    page = html.read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "honest" in board.read_text()
    assert "0.517" in board.read_text()
    assert f"numpy {numpy.__version__}" in board.read_text()
    one = run("compare", out, "--agents", "random")
    assert (one.exit_code, "one agent only" in one.stderr) == (2, True)


def test_a_landscape_that_changed_since_is_not_scored_with(tmp_path):
    path, out = written(honest(), tmp_path), tmp_path / "runs.jsonl"
    run("run", "--agents", "default", "--landscape", path, "--seeds", 1, "--out", out)
    other = honest()
    next(iter(other.entries.values())).sets["B"].samples_ms[0] = 0.1
    written(other, tmp_path)
    result = run("report", out)
    assert (result.exit_code, "has changed since" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--agents", "nobody"], "there is no agent 'nobody': choose among"),
        (["run", "--agents", ","], "names nobody"),
        (["run", "--agents", "model:"], "names no model"),
        (["run", "--agents", "random", "--base-url", "http://127.0.0.1:9/v1"], "add --model NAME"),
        (["run", "--agents", "no/such.py"], "there is no agent file"),
        (["run", "--landscape", "nothing"], "there is no landscape nothing"),
        (["run", "--landscape", "no/such.json"], "cannot read the landscape"),
        (["run", "--html", "no/folder/x.html"], "there is no folder"),
        (["run", "--seeds", "0"], "--seeds"),
        (["compare", "no-such-file"], "does not exist"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("text", ["{}", "[]", '{"results": []}', "not json", '{"cache": {}, "tune_params_keys": []}'])
def test_a_file_that_is_no_landscape_is_one_sentence(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    result = run("run", "--agents", "random", "--landscape", path)
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_results_file_of_something_else_is_refused(tmp_path):
    out = tmp_path / "x.jsonl"
    out.write_text('{"a": 1}\n')
    for command in (["compare", out], ["run", "--agents", "default", "--out", out]):
        result = run(*command)
        assert (result.exit_code, "line 1 cannot be read" in result.stderr) == (2, True)
    assert out.read_text() == '{"a": 1}\n'


class Endpoint(BaseHTTPRequestHandler):
    """A chat endpoint that measures the best config, then is content."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message: dict = {"role": "assistant", "content": "It is found."}
        if asked["messages"][-1]["role"] != "tool":
            call = {"name": "run_benchmark", "arguments": json.dumps({"configs": [BEST]})}
            message = {"role": "assistant", "content": None}
            message["tool_calls"] = [{"id": "c1", "type": "function", "function": call}]
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args) -> None:
        """Quiet."""


def test_a_language_model_plays_through_the_same_loop(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    ledgers = []
    run_jobs([Job("model:toy", honest(), "honest", "plain", 0, 5)], 1, ledgers.append)
    server.shutdown()
    assert (ledgers[0].end, len(ledgers[0].rows), ledgers[0].why) == ("concluded", 1, "")
    assert ledgers[0].tokens >= 240
    assert Board(honest()).score(ledgers[0]).regret == 0.0


class Talker(Endpoint):
    """Chats; its tool calls are nonsense."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": "What a lovely kernel."}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        body["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Refusing(Endpoint):
    """Knows no key."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def served(monkeypatch):
    servers = []

    def serve(handler: type[Endpoint]) -> str:
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/v1"

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    yield serve
    for server in servers:
        server.shutdown()


def test_a_model_that_only_chats_is_not_credited_with_what_the_planner_would_find(tmp_path, served):
    path, url = written(honest(), tmp_path), served(Talker)
    result = run(
        "run", "--agents", "default", "--model", "m", "--base-url", url, "--landscape", path, "--seeds", 1, "--json"
    )
    assert result.exit_code == 0, result.output
    (row,) = [r for r in json.loads(result.stdout)["scores"] if r["agent"] == "model:m" and r["seed"] == 0]
    assert (row["evaluations"], row["regret"], row["within_5_percent"]) == (0, None, False)


def test_an_endpoint_that_gives_no_answer_is_no_score(tmp_path, served):
    path, out = written(honest(), tmp_path), tmp_path / "runs.jsonl"
    contest = ["run", "--agents", "default,model:m", "--base-url", served(Refusing), "--landscape", path]
    result = run(*contest, "--seeds", 1, "--out", out, "--workers", 1)
    assert result.exit_code == 2
    assert "refused the key (HTTP 401)" in result.stderr
    assert "agent resume" not in result.stderr
    assert [x.agent for x in read_results(out)] == ["default"]


def test_help_imports_nothing_heavy():
    code = (
        "import sys, evals.commands.commands; "
        "sys.exit(bool({'torch', 'numpy', 'pydantic', 'langgraph'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["brew"], "brew"),
        (["run", "--agents", "nobody"], "no agent 'nobody'"),
        (["compare"], "RESULTS"),
        (["record", "--kernel", "matmul", "--out", "x.json", "--shape", "4x"], "--shape 4x is not a shape"),
        (["record", "--kernel", "tea", "--out", "x.json"], "no kernel named 'tea'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(words, says, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_a_line_that_was_cut_off_is_reported_and_the_other_runs_are_kept(tmp_path, capsys):
    results = Results(tmp_path / "runs.jsonl")
    for seed in range(3):
        results.keep(Ledger("random", "x", "x", "x", "plain", seed, 2), "code")
    whole = results.path.read_bytes()
    results.path.write_bytes(whole[:-20])
    assert [x.seed for x in read_results(results.path)] == [0, 1]
    assert capsys.readouterr().err == f"{results.path}: line 3, the last one, is cut off and left out\n"
    results.path.write_bytes(whole[:-1])
    assert [x.seed for x in read_results(results.path)] == [0, 1, 2]
    assert not capsys.readouterr().err
    Results(results.path)
    assert results.path.read_bytes() == whole
    results.path.write_bytes(whole + b'{"code":' + b"[" * 100_000)
    assert [x.seed for x in read_results(results.path)] == [0, 1, 2]
    assert "line 4, the last one, is cut off" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        ({1: b"\xff\xfe", 3: b"\xff"}, 2),
        ({0: b"no run", 3: b"no run"}, 1),
        ({2: b'{"code":1}', 3: b"\xff"}, 3),
        ({3: b"\xff"}, 4),
    ],
)
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["no end", "end"])
def test_the_first_line_that_cannot_be_read_is_named(damage, number, end, tmp_path):
    results = Results(tmp_path / "runs.jsonl")
    for seed in range(3):
        results.keep(Ledger("random", "x", "x", "x", "plain", seed, 2), "code")
    lines = [*results.path.read_bytes().splitlines(), b""]
    results.path.write_bytes(b"\n".join(damage.get(i, line) for i, line in enumerate(lines)) + end)
    for read in (read_results, Results):
        with pytest.raises(EvalsError, match=f"line {number} cannot be read"):
            read(results.path)


def test_a_run_that_does_not_fit_on_the_disk_leaves_the_runs_before_it(tmp_path):
    results = Results(tmp_path / "runs.jsonl")
    first, second = (Ledger("random", "x", "x", "x", "plain", seed, 2) for seed in range(2))
    results.keep(first, "code")
    whole = results.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
    try:
        with pytest.raises(EvalsError, match="free some space, then run the same command again"):
            results.keep(second, "code")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert results.path.read_bytes() == whole
    Results(results.path).keep(second, "code")
    assert [x.seed for x in read_results(results.path)] == [0, 1]


def test_two_commands_that_write_to_one_file_keep_each_others_runs(tmp_path):
    path = tmp_path / "runs.jsonl"

    def keep(agent: str) -> None:
        own = Results(path)
        for seed in range(20):
            own.keep(Ledger(agent, "x", "x", "x", "plain", seed, 2, claim=agent * 100_000), "code")

    threads = [threading.Thread(target=keep, args=(agent,)) for agent in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((x.agent, x.seed) for x in read_results(path)) == [(a, s) for a in "abc" for s in range(20)]


@pytest.mark.parametrize(("left", "kept"), [(-9, [0, 2]), (-1, [0, 1, 2])], ids=["cut off", "without its end"])
def test_a_command_goes_on_behind_a_line_that_another_left_unfinished(tmp_path, left, kept):
    path = tmp_path / "runs.jsonl"
    results, other = Results(path), Results(path)
    results.keep(Ledger("random", "x", "x", "x", "plain", 0, 2), "code")
    other.keep(Ledger("random", "x", "x", "x", "plain", 1, 2), "code")
    os.truncate(path, path.stat().st_size + left)
    results.keep(Ledger("random", "x", "x", "x", "plain", 2, 2), "code")
    assert [x.seed for x in read_results(path)] == kept


@pytest.mark.parametrize(
    ("field", "value"), [("tokens", 10**4000), ("dollars", float("nan")), ("seed", -1), ("seconds", 1e308)]
)
def test_kept_runs_with_counts_that_are_none_are_refused(tmp_path, field, value):
    path = tmp_path / "runs.jsonl"
    Results(path).keep(replace(Ledger("random", "x", "x", "x", "plain", 0, 2), **{field: value}), "code")
    with pytest.raises(EvalsError, match="line 1 cannot be read"):
        read_results(path)
