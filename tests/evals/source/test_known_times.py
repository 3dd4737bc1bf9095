"""Times of the known forms as a yardstick: which of them count, and what a measured file says of another player."""

import json

import pytest
from click.testing import CliRunner

from evals.commands.commands import cli
from evals.commands.selection import UsageMistake
from evals.source import parallel_runs, source_command
from evals.source.source_runs import KNOWN, SourceRun
from evals.source.source_scores import known_speedups, score, summary
from evals.source.source_tasks import TASKS, TRAPS
from tests.docs.pages import ROOT
from tools.harness.measuring.telemetry import gpus_present

MEASURED = ROOT / "docs" / "data" / "known-forms-h200.json"


def known(**more):
    found = {"claimed": True, "speedup": 2.0, "owner_ms": 2.0, "floor_ms": 0.5, **more}
    return SourceRun(task="padding", player=KNOWN, **found)


@pytest.mark.parametrize(
    ("run", "counts"),
    [
        (known(), True),
        (known(elsewhere_speedup=1.2), True),
        (known(elsewhere_speedup=0.83, wrong="0.83x of the owner's speed at 1000x5000"), True),
        (known(wrong="correctness: off by 3"), False),
        (known(unplayed="the GPU fell off the bus"), False),
        (known(claimed=False), False),
    ],
    ids=["proven", "right elsewhere", "slower elsewhere", "wrong elsewhere", "not examined elsewhere", "not proven"],
)
def test_a_known_form_that_was_right_on_both_shapes_says_what_can_be_had(run, counts):
    assert known_speedups([run]) == ({"padding": 2.0} if counts else {})


def test_a_form_that_is_slower_elsewhere_is_a_yardstick_and_no_gain_of_its_own():
    form = known(elsewhere_speedup=0.83, wrong="0.83x of the owner's speed at 1000x5000")
    times = known_speedups([form])
    assert score(form, times).share_of_known == 0.0
    other = known(speedup=1.6).model_copy(update={"player": "a"})
    assert score(other, times).share_of_known == pytest.approx(0.75)


def test_a_newer_time_of_a_form_takes_the_place_of_an_older_one_and_a_failure_does_not():
    assert known_speedups([known(), known(speedup=3.0)]) == {"padding": 3.0}
    assert known_speedups([known(), known(claimed=False), known(unplayed="no GPU")]) == {"padding": 2.0}


def measured():
    return [SourceRun.model_validate(row) for row in json.loads(MEASURED.read_text())["runs"]]


def test_the_measured_file_gives_a_share_for_each_task():
    times = known_speedups(measured())
    assert set(times) == set(TASKS)
    half = {task: 1 / (1 - (1 - 1 / speedup) / 2) for task, speedup in times.items()}
    for task, speedup in half.items():
        found = score(SourceRun(task=task, player="a", claimed=True, speedup=speedup), times)
        assert found.share_of_known == pytest.approx(0.5)
    again = {run.task: score(run, times) for run in measured()}
    assert again == {row["task"]: type(again["padding"]).model_validate(row) for row in written("scores")}
    text = summary([again[task] for task in again])
    assert "12 of 12 tasks" in text
    assert "0 of 3 traps sprung; wrong claims on tasks: none" in text


def written(name):
    return json.loads(MEASURED.read_text())[name]


def test_the_command_scores_another_player_by_the_measured_file(monkeypatch, tmp_path):
    """Runs that are at hand in the place of those that a GPU would play."""
    played = [
        SourceRun(task="second_pass", player="embedded", claimed=True, speedup=1.2, owner_ms=0.2, floor_ms=0.1),
        SourceRun(task="unswizzled", player="embedded", why="level with owner", owner_ms=0.9, floor_ms=0.5),
        SourceRun(task=next(iter(TRAPS)), player="embedded", why="level with owner"),
    ]

    class Played:
        def __init__(self, jobs, *more):
            self.jobs = jobs

        def ended(self):
            yield from (run for run in played if any(job.task == run.task for job in self.jobs))

    monkeypatch.setattr(source_command, "_check_device", lambda device: None)
    monkeypatch.setattr(source_command, "_gpu_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(parallel_runs, "ParallelRuns", Played)
    asked = ["source", "--tasks", ",".join(r.task for r in played), "--known", str(MEASURED), "--json"]
    ended = CliRunner().invoke(cli, [*asked, "--out", str(tmp_path / "runs.json")])
    assert ended.exit_code == 0, ended.output
    scores = {row["task"]: row for row in json.loads(ended.stdout)["scores"]}
    assert scores["second_pass"]["share_of_known"] == pytest.approx((1 - 1 / 1.2) / (1 - 1 / 1.4314303), rel=1e-4)
    assert scores["unswizzled"]["share_of_known"] == 0.0
    assert scores["nothing_better"]["share_of_known"] is None
    assert scores["nothing_better"]["done"]
    assert json.loads((tmp_path / "runs.json").read_text()) == json.loads(ended.stdout)


@pytest.mark.parametrize(
    ("gpus", "says"),
    [
        (("NVIDIA H200",), None),
        (("NVIDIA B200",), "has the time of padding on NVIDIA B200, and --device cuda:0 is NVIDIA H200"),
        # The last run of a form is the one that counts.
        (("NVIDIA B200", "NVIDIA H200"), None),
        (("NVIDIA H200", "NVIDIA B200"), "has the time of padding on NVIDIA B200, and --device cuda:0 is NVIDIA H200"),
        ((None,), "does not tell the GPU on which it has timed padding"),
    ],
)
def test_times_of_known_forms_must_be_of_the_gpu_that_plays(gpus, says, monkeypatch, tmp_path):
    runs = [known(device={"name": name} if name else {}).model_dump(mode="json") for name in gpus]
    # What says nothing of known forms may be of any GPU.
    runs.append({**runs[0], "player": "embedded", "device": {"name": "NVIDIA A100"}})
    (tmp_path / "known.json").write_text(json.dumps({"runs": runs}))
    monkeypatch.setattr(source_command, "_check_device", lambda device: None)
    monkeypatch.setattr(source_command, "_gpu_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(source_command, "_played", lambda *asked: (run for run in [known()]))
    file = ["--known", str(tmp_path / "known.json")]
    ended = CliRunner().invoke(cli, ["source", "--tasks", "padding", "--players", "known", *file])
    assert ended.exit_code == (0 if says is None else 2), ended.output
    if says is not None:
        assert " ".join(ended.output.split()).count(says) == 1


@pytest.mark.long
@pytest.mark.skipif(gpus_present() > 0, reason="it would be found")
def test_a_gpu_that_is_not_there_is_refused_before_any_run():
    with pytest.raises(UsageMistake, match="name another --device"):
        source_command._gpu_name("cuda:0")


def test_tasks_without_a_known_time_are_counted_apart():
    text = summary([score(SourceRun(task="padding", player="a", claimed=True, speedup=1.5), {})])
    assert "0 of 0 tasks" in text
    assert "1 without a time of the known form" in text
