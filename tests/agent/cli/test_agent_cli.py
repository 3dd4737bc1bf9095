"""The command line, as a user meets it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.loop import run
from agent.trace.trace import read_trace
from tests.agent.answers import completion, failure, tool_call
from tests.agent.fake_actions import BEST, opener

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]


def command(*arguments, **environment):
    """A process of its own: exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["make tea"], "Cannot read the goal"),
        (["fused matmul of unicorns"], "--yes runs that"),
        (["fused", "--option", "bias=perhaps"], "true or false"),
        (["attention", "--option", "colour=red"], "has no option colour"),
        (["run"], "names no kernel"),
        (["fused", "--bogus"], "--bogus"),
        (["fused", "--max-evals", "0"], "--max-evals"),
        (["fused", "--max-evals", "many"], "--max-evals"),
        (["fused", "--max-seconds", "-1"], "--max-seconds"),
        (["fused", "--max-seconds", "nan"], "--max-seconds"),
        (["fused", "--max-seconds", "inf"], "--max-seconds"),
        (["fused", "--seed", "-1"], "--seed"),
        (["fused", "--shape", "big"], "A shape is"),
        (["fused", "--dtype", "fp64"], "no dtype fp64"),
        (["fused", "--kernel", "nope"], "nope"),
        (["fused", "--base-url", "http://127.0.0.1:1"], "--model"),
        (["fused", "--model", "some-model"], "OPENAI_API_KEY"),
        (["fused", "--model", "m", "--base-url", "nonsense"], "base URL"),
        (["fused", "--model", "m", "--base-url", "http://127.0.0.1:1", "--endpoint", "x"], "--endpoint takes one of"),
        (["fused", "--endpoint", "vllm"], "add --model"),
        (["fused", "--api", "chat"], "add --model"),
        (["fused", "--model", "m", "--base-url", "http://127.0.0.1:1", "--api", "soap"], "--api"),
        (["resume", "20200101-000000-abcdef", "--api", "soap"], "--api"),
        (["fused", "--max-model-calls", "0"], "--max-model-calls"),
        (["replay", "no-such-file"], "no-such-file"),
        (["replay"], "TRACE"),
        (["resume", "20200101-000000-abcdef"], "There is no run"),
        (["resume", "../x"], "not the id"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, says, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in mistake(err)


def mistake(err):
    """The one sentence; on a machine that loads the kernels slowly the device was said before."""
    *before, last = err.strip().splitlines()
    assert last.startswith("error: ")
    assert all(line.startswith(("device: ", "    … ")) for line in before)
    return last


def test_a_wrong_word_in_the_environment_is_a_mistake_too(capsys, monkeypatch):
    monkeypatch.setenv("AUTOKERNEL_API", "soap")
    assert main(["fused", "--model", "m", "--base-url", "http://127.0.0.1:1"]) == 2
    assert "AUTOKERNEL_API take one of auto, responses, chat" in capsys.readouterr().err


def test_a_process_ends_with_the_sentence_and_the_code():
    code, out, err = command("make tea")
    assert (code, out) == (2, "")
    assert mistake(err).startswith("error: Cannot read the goal 'make tea'")


def test_a_goal_without_a_kernel_is_refused_before_anything_is_imported_or_printed():
    script = (
        "import sys; from agent.cli.commands import main; main(['resme', '20200101-000000-abcdef']);"
        "print({'torch', 'triton'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    [line] = done.stderr.splitlines()
    assert line.startswith("error: Cannot read the goal 'resme 2")
    assert line.endswith("Did you mean the command resume?")


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("capure", "-o", "run.capture", "--", "python", "train.py"), "capture"),
        (("aply", "tuned.json", "--report", "--", "python", "train.py"), "apply"),
        (("compre", "tuned.json", "--pairs", "5"), "compare"),
        (("capure",), "capture"),
    ],
)
def test_a_misspelt_command_alone_or_with_options_of_its_own_gets_the_nearest_one(words, near, capsys):
    assert main(list(words)) == 2
    assert capsys.readouterr().err == f"error: There is no command {words[0]}. Did you mean the command {near}?\n"


def test_an_unknown_option_of_a_goal_is_named(capsys):
    assert main(["maximise", "softmax", "--devise", "auto"]) == 2
    assert "No such option '--devise'" in capsys.readouterr().err


def test_no_words_at_all_show_the_help():
    code, out, _ = command()
    assert code == 2
    assert out.startswith("Usage: ")


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from agent.cli.commands import main; main(['--help']); main(['run', '--help']);"
        "print({'torch', 'triton', 'langgraph', 'openai', 'pydantic', 'numpy', 'sqlite_utils'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()")
    for word in ("run", "resume", "replay", "--max-evals", "--base-url", "--json", "Exit codes"):
        assert word in done.stdout


def test_a_proven_result_is_exit_code_0_and_says_where_and_how(small_world, capsys):
    small_world()
    assert main(["maximise fused TFLOPS", "--device", "recorded"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("PROVEN: 1.250x [1.240, 1.260] over unfused")
    for part in (
        "recorded NVIDIA H200",
        "tile=128 warps=4",
        "0.2000 ms",
        "1000.0 TFLOP/s",
        "75.0%",
        "replay",
        "23 evaluations",
    ):
        assert part in out
    assert "recorded NVIDIA H200" in err.splitlines()[0]
    (trace,) = [line.split()[1] for line in out.splitlines() if line.startswith("trace ")]
    assert read_trace(Path(trace)).last("end")["proven"] is True
    assert main(["replay", trace]) == 0
    assert capsys.readouterr().out.startswith("PROVEN")


def test_an_unproven_result_is_exit_code_3(small_world, capsys):
    small_world(baseline_ms=0.19)
    assert main(["maximise fused TFLOPS", "--max-evals", "9"]) == 3
    assert capsys.readouterr().out.startswith("NOT PROVEN")


def test_a_proof_that_our_own_machinery_spoilt_is_exit_code_1(small_world, capsys):
    small_world(verdicts=["infrastructure"] * 3)
    assert main(["maximise fused TFLOPS"]) == 1
    assert "could not be made" in capsys.readouterr().err


def test_how_a_goal_was_read_is_said_after_the_first_line(small_world, capsys):
    small_world()
    main(["recorded fused TFLOPS of fp16 unicorns", "--dtype", "bf16", "--yes"])
    out, err = capsys.readouterr()
    first, second, *more = err.splitlines()
    assert first == "device: recorded NVIDIA H200 (no GPU is used: times are looked up)"
    assert second.startswith("tuning fused_matmul")
    assert "note: --dtype bf16 overrules fp16 in the goal" in more[:2]
    assert any("unicorns" in line for line in more[:2])
    assert "note       --dtype bf16 overrules fp16 in the goal" in out.splitlines()


def test_notices_survive_quiet_and_stand_in_json_trace_and_show(small_world, capsys):
    small_world()
    notice = "--dtype bf16 overrules fp16 in the goal"
    words = ["fused TFLOPS fp16", "--dtype", "bf16", "--quiet"]
    assert main(words) == 0
    assert f"note       {notice}" in capsys.readouterr().out.splitlines()
    assert main([*words, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["notices"] == [notice]
    assert read_trace(Path(outcome["trace"])).header["objective"]["notices"] == [notice]
    assert main(["show", outcome["trace"]]) == 0
    assert notice in capsys.readouterr().out


def test_a_target_that_was_missed_is_exit_code_3_and_the_win_stays_proven(small_world, capsys):
    small_world()
    assert main(["fused matmul, 900 TFLOPS"]) == 0
    assert "target     900 tflops: reached, 1000 [" in capsys.readouterr().out
    assert main(["fused matmul, 1200 TFLOPS"]) == 3
    out = capsys.readouterr().out
    assert out.startswith("PROVEN: 1.250x [1.240, 1.260] over unfused")
    assert "target 1200 tflops: not reached" in out.splitlines()[0]
    [trace] = [line.split()[1] for line in out.splitlines() if line.startswith("trace ")]
    assert main(["replay", trace]) == 3


def test_a_dry_run_prints_the_problem_and_opens_nothing(monkeypatch, capsys):
    monkeypatch.setattr(run, "begin", None)
    words = ["attention, not causal, 16 heads, under 2 ms", "--option", "GROUP=4", "--dry-run"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "kernel     attention 4x16x4096x128 fp16 causal=False GROUP=4" in out
    assert "target     under 2 ms" in out
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["problem"]["causal"] is False
    assert (said["problem"]["GROUP"], said["metric"], said["unit"]) == (4, "latency", "ms")
    assert main(["attention, not causal, at dawn", "--dry-run"]) == 2
    assert "'dawn'" in capsys.readouterr().err


def test_json_is_one_object_with_the_promised_fields(small_world, capsys):
    small_world()
    assert main(["maximise", "fused", "TFLOPS", "--json", "--seed", "3"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    promised = {"run", "objective", "device", "best", "baselines", "evaluations", "seconds", "proven", "trace"}
    assert promised <= set(outcome)
    assert {"config", "ms", "tflops"} <= set(outcome["best"])
    assert {"name", "ms", "speedup", "ci"} <= set(outcome["baselines"][0])
    assert outcome["device"]["kind"] == "recorded"
    assert outcome["objective"]["seed"] == 3
    assert outcome["evaluations"] == 23
    assert main(["replay", outcome["trace"]]) == 0
    assert f"ended because {outcome['stopped']}" in capsys.readouterr().out
    assert outcome["stopped"] == "the planner found nothing more worth measuring"


def test_a_server_that_nobody_runs_is_exit_code_1_and_the_run_can_go_on(small_world, capsys, monkeypatch, tmp_path):
    small_world(seconds=1.0)
    key = "sk-never-to-be-written"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert main(["fused TFLOPS", "--model", "m", "--base-url", "http://user:pass-word@127.0.0.1:9/v1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Cannot reach 127.0.0.1:9" in err
    assert "agent resume" in err
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    assert len(written) >= 2
    for secret in (key, "pass-word"):
        assert secret not in err
        assert not any(secret.encode() in content for content in written)


def test_a_language_model_drives_a_whole_run(small_world, capsys, monkeypatch, server):
    small_world()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    server.answers = [
        failure(429, headers={"retry-after": "0.1"}),
        tool_call('{"configs": [{"tile": 128'),
        tool_call({"configs": [BEST]}),
        completion({"content": "I measured nine thousand TFLOP/s."}),
    ]
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--json", "--max-evals", "2"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    # After the model's conclusion the planner spends what is left, without a token.
    assert (outcome["evaluations"], outcome["tokens"]) == (2, 36)
    assert outcome["takeover"] == "the model concluded"
    assert outcome["best"]["config"] == BEST
    assert "nine thousand" not in json.dumps(outcome)  # digits may stand in a run's name
    last = server.asked[-1][2]["messages"]
    assert [m["role"] for m in last] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert "not JSON" in last[3]["content"]
    assert server.asked[0][2]["tools"][0]["function"]["name"] == "query_history"


def test_env_file_is_read_and_the_environment_wins(small_world, capsys, monkeypatch, tmp_path):
    small_world()
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://127.0.0.1:9/v1\nAUTOKERNEL_MODEL=from-file\n")
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_BASE_URL", "AUTOKERNEL_MODEL"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    assert main(["fused TFLOPS", "--patience-seconds", "1"]) == 1
    assert "model from-file" in capsys.readouterr().err
    monkeypatch.setenv("AUTOKERNEL_MODEL", "embedded")
    assert main(["fused TFLOPS"]) == 0
    assert "model embedded" in capsys.readouterr().err


def test_time_that_ends_on_a_failing_endpoint_proves_what_was_measured(small_world, capsys, monkeypatch, server):
    small_world()
    server.answers = [tool_call({"configs": [BEST]}), failure(503, "overloaded")]
    limit = ["--max-model-seconds", "1.5"]
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--json", *limit]) == 0
    out, err = capsys.readouterr()
    outcome = json.loads(out)
    assert outcome["best"]["config"] == BEST
    assert "no answer came: 127.0.0.1" in outcome["stopped"]
    assert "HTTP 503: trying again" in err
    assert main(["replay", outcome["trace"]]) == 0


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (failure(401), 2, "refused the key"),
        (failure(404), 2, "no model 'm'"),
        (failure(429, "slow", headers={"retry-after": "99"}), 1, "HTTP 429: slow"),
        (failure(503, "busy", headers={"retry-after": "99"}), 1, "HTTP 503: busy"),
        ((200, {"content-type": "text/html"}, "<html>"), 1, "a web page"),
    ],
)
def test_an_endpoint_that_fails_half_way_is_one_sentence_and_the_run_goes_on_later(
    small_world, capsys, monkeypatch, server, tmp_path, answer, code, says
):
    small_world(nothing_correct=True)
    server.answers = [tool_call({"configs": [BEST]}), answer]
    limits = ["--patience-seconds", "60", "--max-evals", "1"]
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url, *limits]) == code
    out, err = capsys.readouterr()
    last = err.strip().splitlines()[-1]
    assert out == ""
    assert last.startswith("error: ")
    assert says in last
    monkeypatch.setattr(run, "resume", functools.partial(run.resume, open_=opener(tmp_path / "ledger")))
    server.answers = [completion({"content": "Done."})]
    assert main(["resume", last.split()[-1], "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["evaluations"], outcome["best"]["config"]) == (1, BEST)


def test_a_key_without_a_models_name_chooses_nothing_and_says_so(small_world, capsys, monkeypatch):
    small_world()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    assert main(["fused TFLOPS"]) == 0
    err = capsys.readouterr().err
    assert "model embedded" in err
    assert err.count("--model NAME lets a model decide") == 1


def test_what_a_model_writes_neither_breaks_the_run_nor_reaches_the_terminal(small_world, capsys, server):
    small_world()
    odd = "\x1b[2J\ud800\x00\u202e"
    call = {"id": odd, "function": {"name": f"run_benchmark{odd}", "arguments": json.dumps({odd: odd})}}
    server.answers = [
        completion({"content": odd, "tool_calls": [call]}),
        completion({"content": [{"type": "text", "text": odd}]}),
        tool_call({"configs": [BEST]}),
    ]
    options = ["--model", "m", "--base-url", server.url, "--json", "--max-model-calls", "3"]
    assert main(["fused TFLOPS", *options]) == 0
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in err.splitlines())
    assert all(line.isprintable() for line in out.splitlines())


def test_quiet_says_nothing_but_the_result_and_verbose_says_every_config(small_world, capsys, tmp_path):
    small_world()
    assert main(["fused TFLOPS", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("PROVEN")
    assert err == ""
    (tmp_path / "ledger").unlink()
    main(["fused TFLOPS"])
    plain = capsys.readouterr().err
    (tmp_path / "ledger").unlink()
    main(["fused TFLOPS", "--verbose"])
    verbose = capsys.readouterr().err
    assert "        tile=128 warps=4: 0.2000 ms" in verbose
    assert "tile=128" not in plain


def test_a_mistake_is_said_even_to_the_quiet(capsys):
    assert main(["make tea", "-q"]) == 2
    assert "Cannot read the goal" in capsys.readouterr().err


def test_completion_knows_commands_options_and_values(monkeypatch, capsys):
    def asked(words):
        monkeypatch.setenv("_AUTOKERNEL_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        main([])
        return capsys.readouterr().out

    assert "plain,resume" in asked("autokernel res")
    assert "plain,--max-evals" in asked("autokernel run --max-e")
    assert "plain,fused_matmul" in asked("autokernel run --kernel fused")
    assert "plain,recorded:fused_matmul-4096x4096x4096-fp16-h200" in asked("autokernel run --device recorded")
    monkeypatch.delenv("_AUTOKERNEL_COMPLETE")
    assert main(["completion", "bash"]) == 0
    assert "_AUTOKERNEL_COMPLETE=bash_complete" in capsys.readouterr().out


def test_a_kernel_that_is_named_by_its_file_is_exported_with_its_owners_key(small_world, capsys):
    small_world()
    file = ROOT / "tests/kernels/launches/own_kernels.py"
    main(["maximise bandwidth", "--kernel", f"{file}:KeywordConstexpr", "--json"])
    trace = json.loads(capsys.readouterr().out)["trace"]
    assert main(["export", trace, "--as", "autotune"]) == 0
    line = capsys.readouterr().out
    assert "key=[]" in line, "the problem's dimensions are no key of this kernel"
    assert "cannot be loaded" not in line


def test_a_result_is_exported_as_lines_to_paste(small_world, capsys):
    small_world()
    main(["fused TFLOPS", "--json"])
    outcome = json.loads(capsys.readouterr().out)
    line = "triton.Config({'tile': 128, 'warps': 4})"
    assert main(["export", outcome["trace"], "--as", "triton"]) == 0
    assert capsys.readouterr().out.partition("  #")[0].strip() == line
    main(["export", outcome["trace"], "--format", "autotune"])
    decorator, _, mark = capsys.readouterr().out.partition("  # ")
    assert decorator.strip() == f"@triton.autotune(configs=[{line}], key=['M', 'N', 'K'])"
    assert ("recorded" in mark) == (outcome["device"]["kind"] == "recorded")
    main(["export", outcome["trace"], "--format", "json"])
    assert json.loads(capsys.readouterr().out) == outcome
