"""``python -m agent improve``: the loop on a scripted GPU, the interpreter's table, and one sentence for a mistake."""

from __future__ import annotations

import functools
import json
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.errors import StoppedError
from agent.loop.progress import LineWatch, Watch
from agent.programs.improvement import improve_work, improving, wanted_launches
from agent.programs.improvement.edited import edited_launches
from agent.programs.improvement.improve_plan import plan
from agent.programs.improvement.improve_work import Work
from agent.programs.improvement.improving import improve
from agent.programs.improvement.preparing.ahead import Ahead
from agent.programs.improvement.table_gaps import BRIDGE_S, HELD_OUT_S
from agent.programs.improvement.tuned_rows import KEPT
from agent.programs.improvement.wanted_launches import open_capture
from agent.replay.replay import replay
from agent.trace.paths import trace_path
from kernels.capture.capture_file import append, line_of, read
from kernels.capture.reading.captured_launches import read_capture
from kernels.hardware import hardware_named
from kernels.hardware.gpu_facts import to_json
from kernels.tuned.tuned_file import read_table, write_table
from kernels.tuned.tuned_table import TunedTable
from memory.store import Memory
from tests.agent.programs.nothing_to_compile import NothingToCompile
from tests.captures import GPU, ROOT, as_if_moved, as_if_on, capture_text
from tools.harness.checking.owner_survey import OwnerSurvey
from tools.harness.compiling import cache
from tools.harness.devices import live
from tools.harness.devices.live import LiveDevice
from tools.harness.process import sandbox
from tools.harness.process.prestart import Prestart

pytestmark = pytest.mark.process


BESIDE = {
    "cold": {"owner_ms": 0.1, "ms": 0.09, "saved_ms": [0.01, 0.009, 0.011]},
    "warm": {"owner_ms": 0.08, "ms": 0.077, "saved_ms": [0.003, 0.002, 0.004]},
}


class SurveyOnGpu(OwnerSurvey):
    """The interpreter's survey, under the name of a GPU."""

    def device_info(self):
        facts = to_json(hardware_named("H200"))
        return {"name": GPU, "triton": "3.9.0", "assembler": "ptxas 13.4", "facts": facts}

    def survey(self, kernel, exact, seed, damped=0):
        return replace(super().survey(kernel, exact, seed, damped), ms=0.1)

    def side_by_side(self, kernel, problem, config, seed):
        return BESIDE


@pytest.fixture(scope="module")
def example(captured_example, tmp_path_factory):
    """A copy in a folder of this file's own: tables and memories are kept beside it."""
    return Path(shutil.copy(captured_example, tmp_path_factory.mktemp("captured")))


@pytest.fixture(scope="module")
def on_gpu(example):
    return as_if_on(GPU, example, example.with_name("gpu.capture"))


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """This machine seems to have an H200."""
    monkeypatch.setattr("tools.harness.measuring.telemetry.gpus_present", lambda: 1)
    monkeypatch.setattr(Prestart, "of", classmethod(lambda cls, *asked, **said: cls(tmp_path, 0, None)))
    monkeypatch.setattr(improving, "OwnerSurvey", lambda device, gpu_lock: SurveyOnGpu("cpu"))
    opened = functools.partial(LiveDevice.open, factory="tests.agent.programs.scripted_gpu:worker")
    monkeypatch.setattr(LiveDevice, "open", opened)
    monkeypatch.setattr(live, "LocalCompilePool", NothingToCompile)
    monkeypatch.setattr(edited_launches, "LocalCompilePool", NothingToCompile)
    monkeypatch.setattr(cache, "default_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(improve_work, "MOST_EVALS", 10)
    monkeypatch.setattr(improve_work, "MOST_EDITED_EVALS", 14)


def test_a_launch_is_proven_on_a_gpu_and_the_rest_says_why(gpu, on_gpu, tmp_path, capsys, monkeypatch):
    loading = functools.partial(LiveDevice.open.func, factory="tests.agent.programs.scripted_gpu:loading_worker")
    monkeypatch.setattr(LiveDevice, "open", loading)
    out = tmp_path / "tuned.json"
    before = read_capture(str(as_if_moved(on_gpu, tmp_path / "before.capture", 3)))
    write_table(TunedTable(untuned=[x.entry() for x in plan(before, 0.0, None, GPU, None).untuned]), out)
    words = ["improve", str(on_gpu), "-o", str(out), "--kernel", "gated", "--json"]
    assert main([*words, "--memory", str(tmp_path / "m.db")]) == 0
    said = json.loads(capsys.readouterr().out)
    table = read_table(out)
    assert said["digest"] == table.digest
    kept, row = sorted(table.rows, key=lambda r: r.status == "proven")  # one is beyond the share
    assert (kept.status, kept.decision.constexprs, kept.decision.options["num_warps"]) == ("stock", {"BLOCK": 256}, 2)
    assert table.evidence[kept.name]["why"] == KEPT
    assert (row.function.qualname, row.status, row.environment.gpu) == ("gated", "proven", GPU)
    assert row.decision.options["num_warps"] == 8
    evidence = table.evidence[row.name]
    assert [b["name"] for b in evidence["baselines"]] == ["owner", "autotuner"]
    assert all(b["ci"][0] > 1 for b in evidence["baselines"])
    owner, tuner = (b["speedup"] for b in evidence["baselines"])
    assert owner == pytest.approx(0.1 / 0.08, rel=1e-3)  # not 0.11: it is launched where the config is
    assert tuner == pytest.approx(0.09 / 0.08, rel=1e-3)
    assert evidence["side_by_side"] == BESIDE
    assert evidence["why"].endswith("[9.00, 11.00] with a cold L2 and 3.00 us [2.00, 4.00] with a warm L2")
    assert evidence["overwritten"] == ["out_ptr"]
    assert 0 < evidence["error"]["out_ptr"] <= evidence["bounds"]["out_ptr"]
    assert evidence["inputs"] == ["large", "tiny", "negative"]
    assert evidence["evaluations"] == 10
    assert evidence["bits"] == said["launches"][0]["bits"] == "differ"
    (rest,) = table.untuned  # of the functions as they are now
    assert "beyond --share 0.95" in rest["reason"]


def test_if_every_config_is_wrong_the_owners_own_launch_is_named(gpu, on_gpu, tmp_path, capsys, monkeypatch):
    wrong = functools.partial(LiveDevice.open.func, factory="tests.agent.programs.scripted_gpu:worker_of_wrong_results")
    monkeypatch.setattr(LiveDevice, "open", wrong)
    out = tmp_path / "tuned.json"
    words = ["improve", str(on_gpu), "-o", str(out), "--kernel", "gated", "--json"]
    assert main([*words, "--memory", str(tmp_path / "m.db")]) == 3
    (row,) = json.loads(capsys.readouterr().out)["launches"]
    assert row["decision"] == "stock"
    assert row["why"].startswith("the owner's own launch disagrees with the reference on arguments made anew")
    assert "no config was judged" in row["why"]
    assert row["why"].endswith("capture the program anew (scale-relative error 1 is above the bound 4e-06)")


def test_several_are_searched_at_once_and_what_is_prepared_goes_first(gpu, on_gpu, tmp_path, capsys, monkeypatch):
    asked, a_row_is_there = [], threading.Event()
    reference, add = Ahead.reference, Work._add

    def slow_for_the_first(self, launch, damped=0):
        asked.append(launch)
        if launch == asked[0]:
            assert a_row_is_there.wait(60)
        return reference(self, launch, damped)

    monkeypatch.setattr(improve_work, "most_at_once", lambda: 3)
    monkeypatch.setattr(improve_work, "MOST_EVALS", 4)
    monkeypatch.setattr(Ahead, "reference", slow_for_the_first)
    monkeypatch.setattr(Work, "_add", lambda self, *row: (add(self, *row), a_row_is_there.set()))
    out = tmp_path / "tuned.json"
    words = ["improve", str(on_gpu), "-o", str(out), "--share", "1", "--json", "--memory", str(tmp_path / "m.db")]
    assert main(words) == 0
    said, table = capsys.readouterr(), read_table(out)
    assert not table.untuned
    launches = [table.evidence[r.name]["launch"] for r in table.rows]
    assert len(launches) == 4
    assert json.loads(said.out)["launches"][0]["launch"] != asked[0][:8]
    for launch in launches:
        lines = [x for x in said.err.splitlines() if f" {launch[:8]}: " in x]
        assert any("tuning captured." in x for x in lines)
        assert lines[-1].split(": ")[1] in ("proven", "stock")


@pytest.mark.parametrize("known", ["before the search", "after it"])
def test_a_function_that_has_changed_gets_no_row_whenever_that_is_known(
    gpu, on_gpu, tmp_path, capsys, monkeypatch, known
):
    ended, search = threading.Event(), improve_work.run_search

    def changed(self, kernel):
        assert known == "before the search" or ended.wait(300)
        return "it is another function now: capture the program anew"

    def searched(*about):
        outcome = search(*about)
        ended.set()
        return outcome

    monkeypatch.setattr(improve_work, "MOST_EVALS", 2)
    monkeypatch.setattr(SurveyOnGpu, "changed", changed)
    monkeypatch.setattr(improve_work, "run_search", searched)
    out = tmp_path / "tuned.json"
    words = ["improve", str(on_gpu), "-o", str(out), "--kernel", "gated", "--json", "--memory", str(tmp_path / "m.db")]
    assert main(words) == 3
    said, table = capsys.readouterr(), read_table(out)
    assert not json.loads(said.out)["launches"]
    assert any("it is another function now" in rest["reason"] for rest in table.untuned)
    assert all(table.evidence[row.name]["why"] == KEPT for row in table.rows)
    assert ended.is_set() == (known == "after it")


@pytest.mark.parametrize("file", ["/dev/full", "/proc/memory.db"])
def test_a_memory_that_cannot_be_used_is_known_before_anything_is_spent(gpu, on_gpu, file, tmp_path, capsys):
    out = tmp_path / "tuned.json"
    assert main(["improve", str(on_gpu), "-o", str(out), "--memory", file]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {file} ")
    assert (len(said.err.splitlines()), said.out, out.exists()) == (1, "", False)


def test_a_folder_of_traces_that_cannot_be_written_is_known_before_anything_is_spent(
    gpu, on_gpu, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", "/proc")
    out = tmp_path / "tuned.json"
    assert main(["improve", str(on_gpu), "-o", str(out), "--memory", str(tmp_path / "m.db")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Traces cannot be written to /proc/triton-autokernel/traces (")
    assert not out.exists()


def test_a_compile_cache_that_cannot_be_written_is_one_sentence(gpu, on_gpu, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    for words in (["captures", "compile", str(on_gpu)], ["improve", str(on_gpu), "-o", str(tmp_path / "tuned.json")]):
        assert main([*words, "--kernel", "normalise"]) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: the compile cache /proc/triton-autokernel/triton cannot be written ("), words


def test_what_is_said_after_ctrl_c_is_about_the_table(gpu, on_gpu, tmp_path, capsys, monkeypatch):
    def stopped(*asked):
        raise StoppedError("Stopped; to continue: python -m agent resume 1.")

    monkeypatch.setattr(improve_work, "run_search", stopped)
    out = tmp_path / "tuned.json"
    words = ["improve", str(on_gpu), "-o", str(out), "--kernel", "normalise", "--memory", str(tmp_path / "m.db")]
    assert main(words) == 130
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: Stopped; {out} holds the rows of the launches that were done")
    assert read_table(out).rows == []


SIZES = """
import sys, torch, triton, triton.language as tl
from agent.programs import capture

@triton.jit
def scaled(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2.5, mask=at < n)

with capture(sys.argv[1]):
    for n in (256, 512, 768, 1024, 1280):
        x = torch.randn(n)
        scaled[(4,)](x, torch.empty(n), n, BLOCK=512, num_warps=4)
"""


@pytest.mark.long
def test_neighbours_share_a_proven_config_and_a_held_out_launch_states_the_worst_case(
    gpu, tmp_path, capsys, monkeypatch
):
    sized = functools.partial(LiveDevice.open.func, factory="tests.agent.programs.scripted_gpu:sized_worker")
    monkeypatch.setattr(LiveDevice, "open", sized)

    def loses(survey, kernel, problem, config, seed):  # two warps at 512, in one process with the owner's launch
        lost = {"warm": {**BESIDE["warm"], "saved_ms": [-0.003, -0.004, -0.002]}}
        return BESIDE | (lost if config["num_warps"] == 2 and problem["what"].startswith("512:") else {})

    monkeypatch.setattr(SurveyOnGpu, "side_by_side", loses)
    source = as_if_on(GPU, capture_text(tmp_path / "sizes", SIZES), tmp_path / "sizes.capture")
    out = tmp_path / "tuned.json"
    words = ["improve", str(source), "-o", str(out), "--share", "1", "--held-out", "1", "--max-seconds", "600"]
    assert main([*words, "--memory", str(tmp_path / "m.db")]) == 0
    said, err = capsys.readouterr()
    assert err.count("the first because: won on a near problem") == 3  # all but the first learn from other sizes
    table = read_table(out)
    rows = sorted(table.rows, key=lambda r: r.key["arguments"]["n"])
    assert [r.key["arguments"]["n"] for r in rows] == [256, 512, 1024, 1280]
    assert [r.decision.options["num_warps"] for r in rows] == [8, 8, 2, 2]
    assert [[d.options["num_warps"] for d in r.also] for r in rows] == [[], [], [8], []]
    (entry,) = table.held_out
    assert (entry["kernel"], entry["config"]["num_warps"], entry["status"]) == ("scaled", 8, "correct")
    assert entry["speedup"] == pytest.approx(0.1 / 0.08, rel=1e-3)
    assert entry["between"] == f"{rows[1].name}-{rows[2].name}"
    assert "held out   1 between rows, 1 served by a config that is proven on both sides; worst 1.25" in said
    memory = Memory.open(tmp_path / "m.db")
    seconds = [json.loads(r["budget"])["max_seconds"] for r in memory.ask("SELECT budget FROM runs ORDER BY rowid")]
    memory.close()
    # Both sides of the gap are tried. A proof takes half of these seconds, whatever the command was given.
    assert seconds[4:] == [BRIDGE_S, BRIDGE_S, HELD_OUT_S]


@pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")
def test_with_edits_a_variant_is_proven_over_the_owners_code_tuned(gpu, on_gpu, tmp_path, capsys):
    out = tmp_path / "tuned.json"
    words = ["improve", str(on_gpu), "-o", str(out), "--kernel", "gated", "--json", "--edit"]
    assert main([*words, "--memory", str(tmp_path / "m.db")]) == 0
    table = read_table(out)
    (row,) = [r for r in table.rows if r.status == "proven"]
    source, evidence = row.decision.source, table.evidence[row.name]
    assert row.status == "proven"
    assert source["kernel"] == "gated"
    assert source["values"].keys() == source["meta"].keys()
    assert (tmp_path / "variants" / f"{source['hash']}.json").exists()
    baselines = {b["name"]: b for b in evidence["baselines"]}
    assert baselines.keys() == {"owner", "autotuner", "owner tuned"}
    assert baselines["owner tuned"]["ci"][0] > 1
    assert [step["hash"] for step in evidence["lineage"]][-1] == source["hash"]
    assert evidence["lineage"][0]["parent"] == ""
    assert list(evidence["held_out"].values()) == ["right"]  # the launch with half as many rows
    assert 0 < evidence["error"]["out_ptr"] <= evidence["bounds"]["out_ptr"]
    capsys.readouterr()
    assert main(["apply", str(out), "--", "true"]) == 2
    said = capsys.readouterr().err
    assert source["source"] in said
    assert "read it, then apply the table with --yes" in said
    assert main(["apply", str(out), "--yes", "--", "true"]) == 0


@pytest.mark.long
@pytest.mark.parametrize("found_out", ["worker_of_wrong_variants", "worker_of_variants_found_out_late"])
@pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")
def test_where_every_variant_is_wrong_the_owners_best_config_is_proven(
    found_out, gpu, on_gpu, tmp_path, monkeypatch, capsys
):
    opened = functools.partial(LiveDevice.open.func, factory=f"tests.agent.programs.scripted_gpu:{found_out}")
    monkeypatch.setattr(LiveDevice, "open", opened)
    out, memory = tmp_path / "tuned.json", tmp_path / "m.db"
    words = ["improve", str(on_gpu), "-o", str(out), "--kernel", "gated", "--json", "--edit"]
    assert main([*words, "--memory", str(memory)]) == 0
    table = read_table(out)
    (row,) = [r for r in table.rows if r.status == "proven"]
    assert row.decision.source is None
    assert row.decision.options["num_warps"] == 8
    baselines = [b["name"] for b in table.evidence[row.name]["baselines"]]
    assert baselines == ["owner", "autotuner"], "the owner's code is no rival of itself"
    store = Memory.open(memory)
    sittings = store.ask(
        "SELECT c.config, a.reason FROM attempts a JOIN configs c ON c.id = a.config_id WHERE a.kind = 'proof'"
    )
    verdicts = store.ask("SELECT verdict, why FROM variants WHERE verdict = 'correctness'")
    store.close()
    edited = [json.loads(s["config"])["edit"].partition(" ")[0] for s in sittings if '"edit"' in s["config"]]
    if found_out == "worker_of_wrong_variants":
        assert edited == []
        assert {v["why"].partition(": result")[0] for v in verdicts} == {"wrong on tiny inputs"}
    else:
        assert edited
        assert len(set(edited)) == len(edited), "a wrong variant has one sitting"
    run = table.evidence[row.name]["run"]
    assert replay(trace_path(run), Watch()).outcome.best.config["num_warps"] == 8


@pytest.mark.long
def test_bitwise_leaves_out_what_does_not_give_the_owners_bits(gpu, on_gpu, tmp_path, capsys):
    out = tmp_path / "tuned.json"
    words = ["improve", str(on_gpu), "-o", str(out), "--kernel", "gated", "--json", "--bitwise"]
    assert main([*words, "--memory", str(tmp_path / "m.db")]) == 3
    (row,) = json.loads(capsys.readouterr().out)["launches"]
    assert (row["decision"], row["bits"]) == ("stock", "same")  # four warps: the bits, and no faster than the owner
    assert "num_warps=8" not in row["config"]


def test_the_interpreter_checks_configs_and_says_that_nothing_was_timed(example, tmp_path, capfd, monkeypatch):
    out = tmp_path / "tuned.json"
    words = ["improve", str(example), "-o", str(out), "--device", "interpreter", "--share", "0.6"]
    assert main(words) == 3
    assert "0 of 2 launches proven faster on Triton's interpreter, which times nothing" in capfd.readouterr().out
    table = read_table(out)
    assert {r.status for r in table.rows} == {"stock"}
    kept = [r for r in table.rows if table.evidence[r.name]["why"] == KEPT]
    checked = [r for r in table.rows if r not in kept]
    assert ([r.function.qualname for r in kept], len(checked)) == (["gated"], 2)
    for row in checked:
        evidence = table.evidence[row.name]
        assert evidence["why"].startswith("nothing was timed")
        assert [c["status"] for c in evidence["checked"]] == ["correct"] * 3
        assert all(0 < e < 2e-3 for c in evidence["checked"] for e in c["error"].values())
        assert "ms" not in str(sorted(evidence)).replace("captured_ms", "")
        assert evidence["captured_ms"] is None
    tuned = next(r for r in checked if r.function.qualname == "gated")
    assert tuned.decision.constexprs == {"BLOCK": 256}  # saves the program its benchmark
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert main(["apply", str(out), "--report", "--", sys.executable, str(ROOT / "examples/captured_program.py")]) == 0
    assert f"2  gated  row {tuned.name} (stock)" in capfd.readouterr().err


def test_when_the_time_is_up_the_rest_is_left_out_and_it_ends(gpu, on_gpu, tmp_path, capsys):
    out = tmp_path / "tuned.json"
    assert main(["improve", str(on_gpu), "-o", str(out), "--max-seconds", "0.01", "--share", "1"]) == 3
    assert "the time was up (--max-seconds 0.01)" in capsys.readouterr().out
    assert len(read_table(out).untuned) == 4


@pytest.mark.long
def test_a_proof_that_the_time_cuts_short_is_none_and_the_command_ends(gpu, on_gpu, tmp_path, capsys, monkeypatch):
    slow = functools.partial(LiveDevice.open.func, factory="tests.agent.programs.scripted_gpu:slow_worker")
    monkeypatch.setattr(LiveDevice, "open", slow)
    out = tmp_path / "tuned.json"
    words = ["improve", str(on_gpu), "-o", str(out), "--kernel", "gated", "--json", "--memory", str(tmp_path / "m.db")]
    assert main([*words, "--max-seconds", "20"]) == 3  # its sitting alone would take as long
    found = json.loads(capsys.readouterr().out)
    assert found["seconds"] < 20 + 2.5
    assert not found["launches"]
    assert any("the time was up" in rest["reason"] for rest in found["not_tuned"])
    assert all(row.status == "stock" for row in read_table(out).rows)


def test_what_the_command_needs_to_start_counts(gpu, on_gpu, tmp_path, monkeypatch):
    opened, asked = [], []
    monkeypatch.setattr(
        wanted_launches, "open_capture", lambda path: opened.append(time.monotonic()) or open_capture(path)
    )
    monkeypatch.setattr(improving, "improve", lambda request, watch: asked.append(request) or improve(request, watch))
    main(["improve", str(on_gpu), "-o", str(tmp_path / "t.json"), "--max-seconds", "0.01"])
    assert asked[0].began < opened[0]
    late = replace(asked[0], max_seconds=50.0, began=time.monotonic() - 60)
    made = improve(late, LineWatch(lambda line: None))
    assert not made.rows
    assert made.seconds > 60


def test_a_slow_launch_in_the_interpreter_is_not_waited_for_beyond_the_time(example, tmp_path, capsys, monkeypatch):
    closed, close = threading.Event(), OwnerSurvey.close
    monkeypatch.setattr(OwnerSurvey, "survey", lambda self, *about: closed.wait(60))
    monkeypatch.setattr(OwnerSurvey, "close", lambda self: (closed.set(), close(self)))
    words = ["improve", str(example), "-o", str(tmp_path / "tuned.json"), "--device", "interpreter", "--share", "1"]
    assert main([*words, "--max-seconds", "2", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert not found["launches"]
    assert [rest["reason"] for rest in found["not_tuned"]] == ["the time was up (--max-seconds 2)"] * 4
    assert found["seconds"] < 4


def test_mistakes_are_one_sentence(example, on_gpu, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tools.harness.measuring.telemetry.gpus_present", lambda: 0)
    (tmp_path / "text").write_text("hello\n")
    newer = tmp_path / "newer"
    newer.write_bytes(line_of("capture", {"format": "autokernel-capture", "version": 9})[1])
    empty = tmp_path / "empty"
    append(str(empty), read_lines(example, {"capture"}))
    started: list[str] = []
    survey = improving.OwnerSurvey
    monkeypatch.setattr(improving, "OwnerSurvey", lambda device, gpu_lock: started.append(device) or survey(device))
    interpreted = ("--device", "interpreter")
    mistakes = {
        (str(example),): "There is no GPU here",
        (str(example), "--device", "cuda:0"): "There is no GPU here",
        (str(example), "--device", "tpu"): "cannot time launches on 'tpu'",
        (str(tmp_path / "none"), *interpreted): "cannot be read",
        (str(tmp_path / "text"), *interpreted): "is no capture",
        (str(newer), *interpreted): "format 9",
        (str(empty), *interpreted): "holds no launch",
        (str(example), "--kernel", "softmax", *interpreted): "choose one of gated, normalise",
        (str(example), "--edit", *interpreted): "--edit times what it writes, and the interpreter times nothing",
        (str(example), "--held-out", "1", *interpreted): "--held-out times launches, and the interpreter times nothing",
        (str(example), "--model", "m", *interpreted): "--model decides what is timed next, and the interpreter",
        (str(example), "--share", "nan", *interpreted): "is no part of the GPU time",
        (str(example), "--max-seconds", "0", *interpreted): "0 is not a number of seconds above 0",
        (str(example), "-o", str(tmp_path / "no" / "t.json"), *interpreted): "there is no folder",
        (str(example), "-o", str(example), *interpreted): "is what the command reads",
        (str(example), "-o", str(tmp_path / "text"), *interpreted): "is no table of tuned launches",
    }
    for words, message in mistakes.items():
        assert main(["improve", *words]) == 2, words
        err = capsys.readouterr().err
        assert message in err
        assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
        if "holds no launch" in message or "choose one" in message:
            assert not started  # no process is started for nothing
        started.clear()
    assert (tmp_path / "text").read_text() == "hello\n"


def test_a_capture_of_another_gpu_and_one_with_missing_parts(gpu, example, on_gpu, tmp_path, capsys):
    elsewhere = as_if_on("NVIDIA A100-SXM4-80GB", example, tmp_path / "a100.capture")
    assert main(["improve", str(elsewhere), "-o", str(tmp_path / "t.json")]) == 2
    assert "was captured on NVIDIA A100-SXM4-80GB, and this is NVIDIA H200" in capsys.readouterr().err
    cut = tmp_path / "cut.capture"
    append(str(cut), read_lines(on_gpu, {"capture", "launch", "counts", "observed"}))
    assert main(["improve", str(cut), "-o", str(tmp_path / "t.json")]) == 2
    assert "holds no launch that could be tuned" in capsys.readouterr().err


def read_lines(path: Path, kinds: set[str]) -> bytes:
    return b"".join(line_of(kind, body)[1] for _, kind, body in read(str(path))[0] if kind in kinds)
