"""``bench --suite h200`` on a scripted card: targets, means, what is written when, what is skipped and what fails."""

import functools
import json
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from evals.bench import launch_overhead, suite, suite_command, suite_run, targets
from evals.bench.commands import cli
from evals.bench.suite import Case, Entry, Mean, Target
from tools.harness.compiling import cache, compile_pool
from tools.harness.devices.live import LiveDevice
from tools.harness.results import CompileResult

SMALL = Case("softmax", (64, 256))
OTHER = Case("rms_norm", (64, 256))
ENTRIES = (
    Entry(
        "one",
        SMALL,
        against={"burst": ("unfused", "compiled", "copy"), "sustained": ("unfused",)},
        targets=(Target("burst", "unfused", 2.4), Target("burst", "copy", 1.2), Target("burst", "best", 1.8)),
    ),
    Entry("joules", SMALL, ("energy",), {"energy": ("unfused",)}, contest=True),
    Entry("none", Case("softmax", (64, 256), {"dtype": "fp4"})),
    Entry("two", OTHER, ("burst",), {"burst": ("unfused", "compiled")}, (Target("burst", "compiled", 1.0),)),
)


@pytest.fixture(autouse=True)
def scripted_card(monkeypatch, tmp_path):
    monkeypatch.setattr(suite, "ENTRIES", ENTRIES)
    monkeypatch.setattr(suite, "NAMES", (*(e.name for e in ENTRIES), suite.LAUNCH))
    monkeypatch.setattr(suite_command, "MEANS", (Mean("both", ("one", "two"), "unfused", 2.0),))
    opened = functools.partial(LiveDevice.open, factory="tests.evals.bench.scripted_card:scripted")
    monkeypatch.setattr(LiveDevice, "open", opened)
    monkeypatch.setattr(cache, "default_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(compile_pool, "LocalCompilePool", NothingToCompile)
    launch = {"status": "correct", "mm_us": 5.0, "ops_us": 7.0, "over_us": 2.0, "over_us_ci": [1.5, 2.5]}
    monkeypatch.setattr(launch_overhead, "start", lambda tuned: NoChild())
    monkeypatch.setattr(launch_overhead, "measure", lambda child, device: launch)


class NothingToCompile:
    """Every config compiles at once."""

    def __init__(self, *about):
        pass

    def submit(self, spec, problem, config):
        done = Future()
        done.set_result(CompileResult(config=config.model_dump(mode="json"), status="correct"))
        return done

    def close(self):
        pass


class NoChild:
    def kill(self):
        pass


def call(*words):
    return CliRunner().invoke(cli, ["bench", "--suite", "h200", "--configs", "8", "--seconds", "0.1", *words])


def test_the_suite_end_to_end(tmp_path):
    out = tmp_path / "suite.json"
    answer = call("--json", str(out))
    assert answer.exit_code == 0, answer.output
    assert answer.stderr.startswith("about ")
    found = json.loads(out.read_text())
    rows = {(r["entry"], r["judged"]): r for r in found["rows"]}
    assert list(rows) == [
        ("one", "burst"),
        ("one", "sustained"),
        ("joules", "energy"),
        ("none", "burst"),
        ("none", "sustained"),
        ("two", "burst"),
    ]

    burst = rows["one", "burst"]
    assert burst["config"]["num_warps"] == 4
    assert [b["name"] for b in burst["baselines"]] == ["unfused", "compiled", "copy"]
    told = {t["against"]: (round(t["ratio"], 3), t["met"]) for t in burst["targets"]}
    assert told == {"unfused": (2.5, True), "copy": (1.125, False), "best": (1.875, True)}

    energy = rows["joules", "energy"]
    assert energy["config"]["num_warps"] != 4, "half the energy, though slower"
    assert [b["name"] for b in energy["baselines"]] == ["unfused", "fastest"]
    assert energy["joules"] == 0.3
    assert energy["baselines"][0]["saving"] == pytest.approx(3.0)

    assert rows["none", "burst"]["status"] == "skipped"
    assert "dtype" in rows["none", "burst"]["reason"]
    assert "no compiler" in next(b["missing"] for b in rows["two", "burst"]["baselines"] if b["name"] == "compiled")
    assert rows["two", "burst"]["targets"][0]["met"] is None, "what was not timed is neither met nor missed"

    [mean] = found["means"]
    assert (mean["of"], mean["asked"], mean["met"]) == (2, 2, True)
    assert mean["ratio"] == pytest.approx(2.5, rel=1e-3)
    assert found["launch"]["over_us"] == 2.0

    for words in ("entry", "2.500 [", ">= 2.4", "met", "missed", "open", "no compiler", "geometric mean of 2 of 2"):
        assert words in answer.stdout
    assert "+2.0 us [1.5, 2.5]" in answer.stdout


def test_only_some_entries_and_each_is_written_when_it_is_known(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(suite_command, "store", lambda out, found: kept.append([r["entry"] for r in found["rows"]]))
    answer = call("--only", "two,none")
    assert answer.exit_code == 0, answer.output
    assert kept == [["none", "none"], ["none", "none", "two"]]


def test_a_tuned_file_takes_the_place_of_the_search(tmp_path):
    first = tmp_path / "tuned.json"
    call("--only", "two", "--json", str(first))
    again = call("--only", "two", "--tuned", str(first), "--json")
    [row] = json.loads(again.stdout)["rows"]
    assert row["config"] == json.loads(first.read_text())["rows"][0]["config"]
    assert row["tried"] == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--only", "tea"], "no entry tea; it has one, joules"),
        (["--tuned", "/nowhere.json"], "no file of tuned configs at /nowhere.json"),
        (["--regime", "burst"], "leave --regime out"),
        (["--json", "softmax"], "--json last"),
        (["--json", "/nowhere/x.json"], "no folder /nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words, says):
    answer = call(*words)
    assert answer.exit_code == 2
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr


def row(entry, speedup, judged="burst", name="unfused", equivalent=True):
    rival = {"name": name, "speedup": speedup, "ci": (speedup * 0.99, speedup * 1.01), "equivalent": equivalent}
    return {"entry": entry, "judged": judged, "baselines": [rival | {"missing": None}], "status": "correct"}


def test_a_mean_over_less_than_was_asked_is_open():
    wanted = (Mean("m", ("a", "b"), "unfused", 1.2),)
    [part] = targets.means([row("a", 2.0)], wanted)
    assert (part["of"], part["met"]) == (1, None)
    [whole] = targets.means([row("a", 2.0), row("b", 0.5), row("b", 9.0, "sustained")], wanted)
    assert whole["ratio"] == pytest.approx(1.0)
    assert whole["met"] is False
    low, high = whole["ci"]
    assert high / low == pytest.approx((1.01 / 0.99) ** (1 / 2**0.5))
    assert targets.means([], wanted) == []


def test_best_is_the_fastest_that_computes_the_same():
    both = row("a", 1.3)
    both["baselines"] += row("a", 1.1, name="flash")["baselines"]
    both["baselines"] += row("a", 0.7, name="copy", equivalent=False)["baselines"]
    assert targets.ratio(both, "best")[0] == 1.1
    assert targets.ratio(both, "copy")[0] == 0.7
    assert targets.ratio(both, "gone") is None


def test_the_estimate_counts_a_case_that_two_entries_share_once():
    found = suite_run.estimate(ENTRIES, 50)
    assert set(found) == {"start", "one", "joules", "none", "two"}
    assert found["two"] > suite_run.BURST_S
    assert suite_run.estimate(ENTRIES[:1], 100)["one"] > suite_run.estimate(ENTRIES[:1], 10)["one"]


def test_every_choice_of_a_baseline_is_prepared_when_its_case_is_opened():
    """A choice prepared only in the proof would have the card wait for minutes of compilation."""
    spec, problem = suite.LOSS.case.load()
    needed = suite_run.find_needed_baselines(SimpleNamespace(spec=spec, problem=problem), [suite.LOSS])
    assert needed[:4] == ["unfused", "compiled", "compiled:ATen only", "compiled:Triton only"]
