"""Evidence from a card: what profilers write, what failing ones raise, and on a GPU the real thing."""

from __future__ import annotations

import contextlib
import json
import stat
import sys

import pytest

from tests.tools.evidence import fake_profilers
from tests.tools.evidence.exam import KERNELS
from tools.evidence.live import card_child, profiled_card
from tools.evidence.live.nsight import NoNcu, count, find_ncu, match, read_csv, why_nothing
from tools.evidence.live.profiled_card import Card
from tools.evidence.live.profiler_errors import BUSY, PERMISSION, meaning
from tools.evidence.live.proton_tree import SCOPE, read_tree
from tools.harness.measuring.telemetry import gpus_present


def node(name, children=(), **metrics):
    return {"frame": {"name": name}, "metrics": metrics, "children": list(children)}


LINE = node("planted.py:75@arithmetic", num_samples=7, stalled_long_scoreboard=5, stalled_wait=0)
OURS = node("arithmetic", [LINE], **{"time (ns)": 4000, "count": 2})
TREE = [
    node("ROOT", [node("fill", **{"time (ns)": 900, "count": 2}), node(SCOPE, [OURS])]),
    {"CUDA": {"0": {"arch": "90"}}},
]


def test_a_hatchet_tree_is_read_and_what_runs_beside_the_launch_is_left_out():
    found = read_tree(TREE)
    assert found["kernels"] == {"arithmetic": [4000.0, 2.0]}
    assert found["samples"] == {"long_scoreboard": 5}
    assert found["frames"] == {"planted.py:75@arithmetic": 7}


def test_without_a_scope_all_counts_and_cycles_are_read():
    found = read_tree(
        [node("ROOT", [node("k", [node("load", normalized_cycles=120.5)], **{"time (ns)": 5, "count": 1})])]
    )
    assert found["kernels"] == {"k": [5.0, 1.0]}
    assert found["cycles"] == {"load": 120.5}


class FakeProton:
    """``triton.profiler`` as far as the child uses it."""

    def __init__(self, tree=None, raises=None, off=False):
        self.tree, self.raises, self.off = tree, raises, off
        self.scope = lambda name: contextlib.nullcontext()

    def start(self, name, **options):
        if self.raises:
            raise RuntimeError(self.raises)
        self.name, fake_profilers.Launch.watched = name, True
        return None if self.off else 0

    def finalize(self, session):
        fake_profilers.Launch.watched = False
        if self.tree is not None:
            with open(f"{self.name}.hatchet", "w") as file:
                json.dump(self.tree, file)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A function: the child's answer to a job under a Proton that does what is said. `error` is raised by a launch that
    is watched."""

    def ask(mode, error=None, **proton):
        monkeypatch.setattr(fake_profilers.Launch, "watched", False)
        monkeypatch.setattr(fake_profilers.Launch, "error", error)
        monkeypatch.setattr(card_child, "ProfiledLaunch", fake_profilers.Launch)
        monkeypatch.setattr(card_child, "proton", FakeProton(**proton))
        return card_child.profiler({"index": 0, "lock": str(tmp_path / "lock")})({"mode": mode, "kernel": "k"})

    return ask


def test_times_are_read_from_what_proton_writes(asked):
    found = asked("times", tree=TREE)
    assert found["kernels"] == {"arithmetic": [4000.0, 2.0]}
    assert "between_starts_ms" not in found  # 0.2 ms are not short


@pytest.mark.parametrize("told", [fake_profilers.NO_PERMISSION, fake_profilers.HELD, "Could not load `libcupti.so`"])
def test_what_a_profiler_raises_is_one_answer(asked, told):
    answer = asked("stalls", raises=told)
    assert answer == {"missing": f"RuntimeError: {told}", "launches": 0} or answer == {
        "missing": f"RuntimeError: {told}"
    }


def test_a_kernel_that_fails_under_the_profiler_only_is_said(asked):
    answer = asked("times", error=RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"))
    assert "illegal memory access" in answer["missing"]


def test_a_proton_that_is_off_or_writes_nothing_is_said(asked):
    assert "switched off" in asked("times", off=True)["missing"]
    assert asked("times")["missing"] == "Proton wrote no file"


def test_a_kernel_without_scopes_has_no_cycles(asked, monkeypatch):
    monkeypatch.delitem(sys.modules, "triton.profiler.language", raising=False)
    assert "opens no scope" in asked("cycles")["missing"]


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (fake_profilers.NO_PERMISSION, PERMISSION),
        (fake_profilers.HELD, BUSY),
        ("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance", PERMISSION),
        ("PM sampling is already enabled on this device.", BUSY),
        (
            "Failed to execute cuptiPCSamplingEnable with error 1",
            "Failed to execute cuptiPCSamplingEnable with error 1",
        ),
    ],
)
def test_an_error_is_said_by_what_it_means(told, sentence):
    assert meaning(told).startswith(sentence)


@pytest.fixture
def seen(monkeypatch):
    """A function: what a card shows of the first planted kernel, if its child is a fake of this name."""

    def see(child):
        monkeypatch.setattr(profiled_card, "CHILD", f"tests.tools.evidence.fake_profilers:{child}")
        spec = KERNELS[0]()
        with Card() as card:
            return card.see(spec, spec.default_problem(), spec.config_type())

    return see


@pytest.mark.process
@pytest.mark.parametrize(
    ("child", "sentence"),
    [("dying", "the profiler's process failed (the process died (exit code 3))"), ("empty", "Proton saw no kernel")],
)
def test_what_is_missing_is_said(seen, child, sentence):
    found = seen(child)
    assert found.ms is None
    assert any(sentence in note for note in found.notes)


@pytest.mark.process
def test_without_permission_the_times_still_speak(seen):
    found = seen("aborted")
    assert found.ms == pytest.approx(0.0639)
    assert any(PERMISSION in note and "program counter" in note for note in found.notes)


def test_edited_code_is_not_profiled():
    spec = KERNELS[0]()
    spec.shut_in = True
    with Card() as card:
        assert "not shut in" in card.see(spec, spec.default_problem(), spec.config_type()).notes[0]


NCU_CSV = """==PROF== Connected to process 7
"ID","Process ID","Kernel Name","gpu__time_duration.sum","dram__throughput.avg.pct_of_peak_sustained_elapsed","x__y"
"","","","us","%","inst"
"0","7","at::native::vectorized_elementwise_kernel<4>(int)","3","1","1"
"1","7","arithmetic","1,463.5","91.3","n/a"
"""


def test_ncus_table_is_read():
    rows = read_csv(NCU_CSV)
    assert rows[1].metrics == {
        "gpu__time_duration.sum": 1.4635,
        "dram__throughput.avg.pct_of_peak_sustained_elapsed": 91.3,
    }
    assert match(rows, [["arithmetic"], ["reread"]]) == [[rows[1]], []]
    assert read_csv("==ERROR== nothing") == []


def program(path, text):
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.process
def test_ncu_is_asked_again_without_the_metrics_that_it_does_not_have(tmp_path):
    fake = program(
        tmp_path / "ncu",
        "import sys\n"
        "from pathlib import Path\n"
        "log = Path(sys.argv[sys.argv.index('--log-file') + 1])\n"
        "assert sys.argv[sys.argv.index('--clock-control') + 1] == 'none'\n"
        "bad = 'lts__t_sectors_op_red.sum'\n"
        "asked = sys.argv[sys.argv.index('--metrics') + 1]\n"
        f"log.write_text('==ERROR== Failed to find metric ' + bad if bad in asked else {NCU_CSV!r})\n",
    )
    rows = count([], 0, tmp_path / "lock", {}, ncu=fake)
    assert rows[1].share("dram__throughput.avg.pct_of_peak_sustained_elapsed") == pytest.approx(0.913)


@pytest.mark.process
def test_why_ncu_gave_nothing_is_one_sentence(tmp_path, monkeypatch):
    denied = program(tmp_path / "denied", "print('==ERROR== ERR_NVGPUCTRPERM - no permission')\nraise SystemExit(1)\n")
    with pytest.raises(NoNcu, match="does not permit counters"):
        count([], 0, tmp_path / "lock", {}, ncu=denied)
    slow = program(tmp_path / "slow", "import time\ntime.sleep(60)\n")
    with pytest.raises(NoNcu, match=r"did not end within 0\.2 s"):
        count([], 0, tmp_path / "lock", {}, deadline_s=0.2, ncu=slow)
    with pytest.raises(NoNcu, match="cannot be run"):
        count([], 0, tmp_path / "lock", {}, ncu=str(tmp_path / "none"))
    monkeypatch.setenv("NCU", str(tmp_path / "none"))
    with pytest.raises(NoNcu, match="install Nsight Compute"):
        find_ncu()
    assert why_nothing('{"job": 0, "missing": "illegal address"}', 0) == "ncu profiled nothing: illegal address"
    assert why_nothing("", 9) == "ncu ended with exit code 9 and profiled no kernel"


@pytest.mark.gpu
@pytest.mark.skipif(not gpus_present(), reason="needs a GPU")
def test_proton_times_a_kernel():
    spec = KERNELS[0]()
    with Card() as card:
        found = card.see(spec, spec.default_problem(), spec.config_type(), sampled=False)
    assert found.notes == ()
    assert 0.03 < found.ms < 1.0
