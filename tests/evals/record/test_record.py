import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import evals
from evals.commands.commands import cli
from evals.record.card import render, spearman, stats
from evals.record.journal import Journal, JournalError
from evals.record.recording import ROUND_EVERY, SPOILT_IN_A_ROW, GpuLost, Plan, Recording
from tests.evals.toy import CUBLAS_MS, TOY_GPU, UNFUSED_MS, Toy, ToyCompiler, ToyConfig, ToyGpu, ToyProblem, true_ms
from tools.harness.landscapes.files import read_landscape, write_data
from tools.harness.landscapes.readings import Landscape

pytestmark = pytest.mark.process

LANDSCAPES = Path(evals.__file__).parent / "landscapes"


def recording(out: Path, gpu: ToyGpu, compiler: ToyCompiler | None = None, **plan) -> Recording:
    quiet = lambda what, done, total: None  # noqa: E731
    return Recording(Toy(), ToyProblem(), TOY_GPU, gpu, compiler or ToyCompiler(), Plan(out, **plan), quiet)


@pytest.fixture
def landscape(tmp_path) -> Landscape:
    made = recording(tmp_path / "toy.json.gz", ToyGpu()).run()
    assert made is not None
    return made


def test_every_config_of_the_space_is_recorded_with_what_became_of_it(landscape):
    by_status = {}
    for e in landscape.entries.values():
        by_status.setdefault(e.status, []).append(e)
    assert {k: len(v) for k, v in by_status.items()} == {"correct": 41, "compile": 4, "correctness": 3}
    assert [e.key for e in landscape.entries.values()] == [c.key() for c in Toy().space(ToyProblem(), TOY_GPU)]
    assert all(e.reason == "PassManager::run failed" and not e.sets for e in by_status["compile"])
    assert all(e.error == 0.5 and e.bound == 0.001 for e in by_status["correctness"])
    assert all(set(e.sets) == {"A", "B"} for e in by_status["correct"])


def test_the_owners_config_is_recorded_as_such(landscape, tmp_path):
    default = Toy().default_config(ToyProblem(), TOY_GPU)
    assert landscape.default == read_landscape(tmp_path / "toy.json.gz").default == default.model_dump(mode="json")


def test_the_passes_differ_in_order_and_depend_on_the_seed_alone(tmp_path):
    orders = []
    for i, seed in enumerate((0, 0, 1)):
        gpu = ToyGpu()
        recording(tmp_path / f"{i}.json.gz", gpu, seed=seed).run()
        orders.append([c for c, _ in gpu.asked])
    assert orders[0] == orders[1] != orders[2]
    first, second = orders[0][:44], orders[0][44:]
    assert sorted(c.key() for c in second) == sorted(
        c.key() for c in first if not (c.BLOCK == 128 and c.num_warps == 8)
    )
    assert [c for c in first if c in second] != second


def test_a_config_that_is_wrong_once_is_not_read_again(tmp_path):
    gpu = ToyGpu()
    recording(tmp_path / "toy.json.gz", gpu).run()
    wrong = [c for c, _ in gpu.asked if c.BLOCK == 128 and c.num_warps == 8]
    assert len(wrong) == 3
    assert {reference for _, reference in gpu.asked} == {"unfused"}


def test_drift_is_divided_out(landscape):
    s = stats(landscape)
    assert s.noise < 0.003 < s.raw_noise
    r = landscape.reference_ms
    for e in landscape.correct():
        expected = true_ms(ToyConfig.model_validate(e.config)) / UNFUSED_MS * r
        assert landscape.ms(e, "A") == pytest.approx(expected, rel=0.01)
        assert landscape.ms(e, "B") == pytest.approx(expected, rel=0.01)


def test_an_interrupted_recording_goes_on_without_repeating_anything(tmp_path):
    out = tmp_path / "toy.json.gz"
    compiler, first = ToyCompiler(), ToyGpu(stop_after=50)
    with pytest.raises(KeyboardInterrupt):
        recording(out, first, compiler).run()
    partial = tmp_path / "toy.json.gz.partial.jsonl"
    partial.write_bytes(partial.read_bytes() + b'{"kind":"reading","set":"B","k')  # killed in the middle of a line
    second = ToyGpu()
    made = recording(out, second, compiler).run()
    assert made is not None
    assert len(compiler.compiled) == 48
    assert len(first.asked) + len(second.asked) == 44 + 41
    assert not partial.exists()
    assert len(made.correct()) == 41


def test_a_recording_whose_time_is_up_keeps_its_journal_and_writes_no_landscape(tmp_path):
    out = tmp_path / "toy.json.gz"
    assert recording(out, ToyGpu(), max_seconds=0).run() is None
    assert not out.exists()
    assert recording(out, ToyGpu()).run() is not None


@pytest.mark.parametrize(
    ("change", "named"), [({"seed": 1}, "seed"), ({"samples": 3}, "samples"), ({"limit": 5}, "configs")]
)
def test_a_journal_of_another_recording_is_refused(tmp_path, change, named):
    out = tmp_path / "toy.json.gz"
    recording(out, ToyGpu(), max_seconds=0).run()
    with pytest.raises(JournalError, match=f"differs in {named}"):
        recording(out, ToyGpu(), **change)


def test_a_journal_of_another_gpu_is_refused(tmp_path):
    out = tmp_path / "toy.json.gz"
    recording(out, ToyGpu(), max_seconds=0).run()
    with pytest.raises(JournalError, match="differs in device"):
        recording(out, ToyGpu(name="NVIDIA H100"))


def test_two_recordings_cannot_share_a_journal(tmp_path):
    journal = Journal(tmp_path / "j", {"kind": "recording"})
    with pytest.raises(JournalError, match="another recording is writing"):
        Journal(tmp_path / "j", {"kind": "recording"})
    journal.close()


@pytest.mark.parametrize("text", ["[1]\n", "nonsense\n", "{}\n", "[" * 100_000 + "\n"])
def test_a_damaged_journal_is_said_to_be_damaged(tmp_path, text):
    (tmp_path / "j").write_text(text)
    with pytest.raises(JournalError, match="damaged"):
        Journal(tmp_path / "j", {"kind": "recording"})


def test_what_the_machinery_spoilt_is_read_once_more(tmp_path):
    once = ToyConfig(BLOCK=16, num_warps=4, num_stages=1).key()
    always = ToyConfig(BLOCK=32, num_warps=4, num_stages=1).key()
    made = recording(tmp_path / "toy.json.gz", ToyGpu(spoil=[once, *[always] * 4])).run()
    assert made is not None
    assert made.entries[once].status == "correct"
    assert set(made.entries[once].sets) == {"A", "B"}
    assert made.entries[always].status == "infrastructure"
    assert made.entries[always].reason == "the worker was killed"


def test_a_gpu_that_is_lost_ends_the_recording_which_goes_on_later(tmp_path):
    out = tmp_path / "toy.json.gz"
    lost = ToyGpu(spoil=[c.key() for c in Toy().space(ToyProblem(), TOY_GPU)])
    with pytest.raises(GpuLost, match=r"5 readings in a row were spoilt \(the worker was killed\)"):
        recording(out, lost).run()
    assert len(lost.asked) == SPOILT_IN_A_ROW
    made = recording(out, ToyGpu()).run()
    assert made is not None
    assert len(made.correct()) == 41


def test_a_limit_draws_a_seeded_part_of_the_space(tmp_path):
    a = recording(tmp_path / "a.json.gz", ToyGpu(), limit=10).run()
    b = recording(tmp_path / "b.json.gz", ToyGpu(), limit=10).run()
    c = recording(tmp_path / "c.json.gz", ToyGpu(), limit=10, seed=1).run()
    assert a is not None
    assert b is not None
    assert c is not None
    assert len(a.entries) == 10
    assert a.space == 48
    assert list(a.entries) == list(b.entries) != list(c.entries)


def test_baselines_are_read_among_the_configs_and_longer_in_both_regimes_at_the_end(landscape):
    unfused, cublas, compiled = landscape.baselines
    burst = [r for r in unfused.rounds if r.regime == "burst"]
    assert len(burst) == 2 * -(-41 // ROUND_EVERY) + 1
    assert len(burst[-1].samples_ms) > len(burst[0].samples_ms)
    assert [r.regime for r in unfused.rounds][-1] == "sustained"
    assert [r.number for r in unfused.rounds] == [r.number for r in cublas.rounds]
    assert not cublas.equivalent
    assert compiled.missing == "this torch has no compiler"
    assert not compiled.rounds


def test_the_file_that_was_written_reads_back_as_what_was_recorded(tmp_path, landscape):
    read = read_landscape(tmp_path / "toy.json.gz")
    assert read.file.startswith("toy.json.gz sha256:")
    stamped = {k: v.model_copy(update={"timestamp": read.entries[k].timestamp}) for k, v in landscape.entries.items()}
    assert read.model_copy(update={"file": ""}) == landscape.model_copy(update={"entries": stamped})


def test_the_card_tells_coverage_failures_noise_and_drift(tmp_path, landscape):
    card = (tmp_path / "toy.md").read_text()
    assert card == render(landscape)
    for said in ("48 of 48 in the space", "41; failed: 4 compile, 3 correctness (14.6%)", "Spearman", "cublas", "H200"):
        assert said in card
    s = stats(landscape)
    assert s.best.config == {"BLOCK": 64, "num_warps": 4, "num_stages": 1}
    assert s.within[1] == 1
    assert s.within[5] == 2
    assert s.best_ms * 1.3 > CUBLAS_MS


def test_spearman_shares_ranks_between_equal_values():
    assert spearman([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]) == pytest.approx(1)
    assert spearman([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    assert spearman([1.0, 2.0, 2.0, 3.0], [1.0, 3.0, 2.0, 4.0]) == pytest.approx(0.9486833)  # scipy.stats.spearmanr


def test_list_prints_json(tmp_path):
    result = CliRunner().invoke(cli, ["list", "--json"])
    assert result.exit_code == 0
    told = {x["name"]: x for x in json.loads(result.output)["landscapes"]}
    assert set(told) == {p.name.removesuffix(".json.gz") for p in LANDSCAPES.glob("*.json.gz")}
    square = told["fused_matmul-4096x4096x4096-fp16-h200"]
    assert (square["kernel"], square["device"], square["regime"]) == ("fused_matmul", "NVIDIA H200", "burst")
    assert square["problem"].startswith("4096x4096x4096 fp16")
    assert 0 < square["correct"] < square["configs"]
    assert 0.15 < square["best_ms"] < 0.3
    assert square["file"].startswith("fused_matmul-4096x4096x4096-fp16-h200.json.gz sha256:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x.csv"], "must end in .json.gz or .json"),
        (["--out", "no/such/folder/x.json"], "there is no folder"),
        (["--out", "x.json", "--shape", "4096*4096"], "is not a shape"),
        (["--out", "x.json", "--shape", "0x4x4"], "is not a shape"),
        (["--out", "x.json", "--device", "recorded"], "is not a GPU"),
        (["--out", "x.json", "--option", "twist"], "is not NAME=VALUE"),
        (["--out", "x.json", "--samples", "1"], "--samples"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["record", "--kernel", "fused_matmul", *arguments])
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_an_existing_file_is_not_overwritten(tmp_path):
    out = tmp_path / "x.json.gz"
    out.write_bytes(gzip.compress(b"{}"))
    result = CliRunner().invoke(cli, ["record", "--kernel", "fused_matmul", "--out", str(out)])
    assert result.exit_code == 2
    assert "exists already" in result.output


def test_help_imports_nothing_heavy():
    code = "import sys, evals.commands.commands; sys.exit(bool({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_space_can_be_compiled_first_and_measured_later(tmp_path):
    out = tmp_path / "toy.json.gz"
    idle, compiler = ToyGpu(), ToyCompiler()
    assert recording(out, idle, compiler, compile_only=True).run() is None
    assert not idle.asked
    assert not out.exists()
    again = ToyCompiler()
    made = recording(out, ToyGpu(), again).run()
    assert made is not None
    assert len(made.entries) == 48
    assert not again.compiled


def test_on_another_machine_only_what_is_still_to_be_read_is_compiled_again(tmp_path, monkeypatch):
    out = tmp_path / "toy.json.gz"
    with pytest.raises(KeyboardInterrupt):
        recording(out, ToyGpu(stop_after=60), ToyCompiler()).run()
    first = Journal(tmp_path / "toy.json.gz.partial.jsonl", recorded_head(out))
    read = {(x["set"], x["key"]) for x in first.of("reading")}
    results = {x["key"]: x["result"] for x in first.of("compile")}
    first.close()
    monkeypatch.setattr("evals.record.recording.boot", lambda: "another machine")
    compiler = ToyCompiler()
    made = recording(out, ToyGpu(), compiler).run()
    again = {c.key() for c in compiler.compiled}
    assert again == {k for k, r in results.items() if r["status"] == "correct" and not {("A", k), ("B", k)} <= read}
    assert 0 < len(again) < len(results)
    assert made is not None
    assert {k: e.compiled.model_dump(mode="json") for k, e in made.entries.items()} == results


def recorded_head(out: Path) -> dict:
    return json.loads((out.parent / f"{out.name}.partial.jsonl").read_text().splitlines()[0])


def test_a_pipe_is_written_to_and_gets_no_sum(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_data(pipe, b"{}\n")
    assert os.read(reader, 64) == b"{}\n"
    os.close(reader)
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]
