"""Plan, schedule, a stop in the middle, report, tuned file."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.campaign import campaign_runs
from agent.campaign.campaign_page import page
from agent.campaign.campaign_report import render, report_of
from agent.campaign.campaign_runs import conduct
from agent.campaign.command import campaign
from agent.campaign.plan import read_campaign
from agent.campaign.schedule import Standing, next_job
from agent.errors import AgentError, UsageError
from agent.loop import run
from agent.loop.progress import LineWatch, Watch
from kernels.ops import tuned_files
from tests.agent.fake_actions import FakeActions

TOML = """
name = "two-layers"
max_evals = 16
slice = 6
[[problem]]
name = "up"
kernel = "fused_matmul"
shape = "4096x4096x4096"
options = { activation = "none" }
count = 32
[[problem]]
name = "head"
kernel = "fused_matmul"
shape = "4096x1024x4096"
options = { activation = "none" }
"""
EXAMPLE = Path(__file__).parents[3] / "examples" / "llama3_8b.toml"


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(TOML)
    return read_campaign(path)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Runs on fake actions, a ledger per problem; ``world["stop_at"]`` presses Ctrl-C before that evaluation."""
    known = {"stop_at": None, "opened": [], "baseline_ms": 0.5}

    class Actions(FakeActions):
        def __init__(self, objective, ledger):
            super().__init__(objective, ledger, baseline_ms=known["baseline_ms"])
            self.before = len(self.measured())

        def left(self):
            left = super().left()
            used = left.used - self.before  # the ledger outlives the run, as memory does
            return type(left)(max(0, self.limits.max_evals - used), used, left.seconds)

        def run_benchmark(self, configs):
            if known["stop_at"] is not None and len(self.measured()) >= known["stop_at"]:
                raise KeyboardInterrupt
            return super().run_benchmark(configs)

    def open_(objective, memory, run_id, watch):
        known["opened"].append((run_id, objective.shape))
        return Actions(objective, tmp_path / f"ledger-{objective.shape or objective.options['N']}")

    monkeypatch.setattr(campaign_runs, "begin", partial(run.begin, open_=open_))
    monkeypatch.setattr(campaign_runs, "resume", partial(run.resume, open_=open_))
    return known


def conducted(plan):
    return conduct(plan, None, Watch(), lambda standings: None)


def test_every_problem_gets_a_run_and_the_rest_goes_where_most_is_to_be_saved(plan, world):
    standings = conducted(plan)
    assert [len(s.outcomes) for s in standings] == [2, 1]
    assert sum(o.evaluations for s in standings for o in s.outcomes) == 16
    assert world["opened"][0][1] == (4096, 4096, 4096)


def test_progress_says_which_problem_of_how_many(plan, world):
    lines = []
    conduct(plan, None, LineWatch(lines.append), lambda standings: None)
    begun = [line.partition(",")[0] for line in lines if "to be gained" in line]
    assert begun[:2] == ["problem 1 of 2", "problem 2 of 2"]


def test_a_finished_campaign_is_not_run_again(plan, world):
    first = report_of(plan, conducted(plan))
    world["opened"].clear()
    assert report_of(plan, conducted(plan)) == first
    assert world["opened"] == []


def test_more_budget_goes_on_where_the_campaign_ended(plan, world):
    conducted(plan)
    world["opened"].clear()
    standings = conducted(plan.model_copy(update={"max_evals": 20}))
    assert len(world["opened"]) == 1
    assert sum(o.evaluations for s in standings for o in s.outcomes) == 20


def test_a_campaign_stopped_in_the_middle_of_a_run_continues_that_run(plan, world, tmp_path):
    world["stop_at"] = 6
    with pytest.raises(AgentError, match="Stopped"):
        conducted(plan)
    stopped = world["opened"][-1][0]
    world["stop_at"] = None
    world["opened"].clear()
    standings = conducted(plan)
    assert world["opened"][0][0] == stopped
    assert sum(o.evaluations for s in standings for o in s.outcomes) <= plan.max_evals
    for ledger in tmp_path.glob("ledger-*"):
        lines = ledger.read_text().splitlines()
        assert len(lines) == len(set(lines))


def test_the_report_counts_calls_and_says_what_is_recorded(plan, world):
    report = report_of(plan, conducted(plan))
    up = next(r for r in report.rows if r.name == "up")
    assert up.saved_ms == pytest.approx(32 * up.pytorch_ms * (1 - 1 / up.speedup))
    assert up.saved_ci_ms[0] < up.saved_ms < up.saved_ci_ms[1]
    assert report.saved_ms["NVIDIA H200"] == pytest.approx(sum(r.saved_ms for r in report.rows))
    assert "recorded: times were looked up" in render(report)
    assert "recorded" in page(report).lower()


def test_the_drawing_fits_any_width_and_no_baseline_is_called_none(plan, world):
    report = report_of(plan, conducted(plan))
    rows = [row.model_copy(update={"against": None}) for row in report.rows]
    html = page(report.model_copy(update={"rows": rows}))
    assert "None" not in html
    drawing = html[html.index("<svg") : html.index("</svg>")]
    assert 'width="100%"' in drawing
    ends = [float(x) for x in re.findall(r'x2?="([\d.]+)%"', drawing)]
    assert ends
    assert max(ends) <= 75.0  # what stands right of it is the number


def test_a_win_that_is_not_proven_saves_nothing(plan, world):
    world["baseline_ms"] = 0.1
    report = report_of(plan, conducted(plan))
    assert {r.status for r in report.rows} == {"unproven"}
    assert report.saved_ms == {"NVIDIA H200": 0.0}


def test_what_a_run_refuses_is_a_row_and_the_others_go_on(plan, world, monkeypatch):
    begin = campaign_runs.begin

    def refuse(objective, *args, **kwargs):
        if objective.shape == (4096, 1024, 4096):
            raise UsageError("no recorded device knows it.")
        return begin(objective, *args, **kwargs)

    monkeypatch.setattr(campaign_runs, "begin", refuse)
    report = report_of(plan, conducted(plan))
    assert {r.name: r.status for r in report.rows} == {"up": "proven", "head": "failed"}
    assert not report.complete


def test_ops_read_the_tuned_file(plan, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(campaign, [str(tmp_path / "c.toml"), "--json"], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert json.loads(done.stdout)["complete"]
    entries = tuned_files.load(tmp_path / "campaign-two-layers" / "tuned.json")
    assert {(e.kernel, e.hardware, e.problem["N"]) for e in entries} == {
        ("fused_matmul", "H200", 4096),
        ("fused_matmul", "H200", 1024),
    }
    assert all(e.problem["activation"] == "none" for e in entries)


def test_problems_without_a_run_come_first_by_their_work(plan):
    small, large = (Standing(job, floor) for job, floor in zip(plan.jobs(), (0.001, 1.0), strict=True))
    assert next_job([small, large]) is large
    assert next_job([]) is None


def test_a_campaign_that_demands_the_owners_bits_has_runs_of_its_own(plan):
    demanding = plan.model_copy(update={"bitwise": True})
    (first, _), (other, _) = plan.jobs(), demanding.jobs()
    assert (first.objective(6, 60.0).bitwise, other.objective(6, 60.0).bitwise) == (False, True)
    assert first.run_id(1) != other.run_id(1)


def test_a_mixed_fleet_has_a_job_for_each_type(plan):
    mixed = plan.model_copy(update={"device": "ray:auto", "device_types": ("H200", "H100")})
    assert [job.device for job in mixed.jobs()] == ["ray:auto,type=H200", "ray:auto,type=H100"] * 2
    assert len({job.run_id(1) for job in mixed.jobs()}) == 4


def test_the_example_is_the_model_it_names():
    example = read_campaign(EXAMPLE)
    parameters = sum(layer.count * layer.shape[1] * layer.shape[2] for layer in example.problem)
    embedding, norms = 128256 * 4096, 65 * 4096
    assert parameters + embedding + norms == 8_030_261_248


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("4096x1024x4096", "4096x1024"), "shape of 3 numbers"),
        (("fused_matmul", "fused_matnul"), "no kernel named"),
        (("max_evals", "max_eval"), "max_eval: there is no such field"),
        (("slice = 6", "edit = true"), "a campaign edits no device code"),
        (("slice = 6", "slice = 0"), "slice: it must be at least"),
        (("[[problem]]", "[[problem"), "is no TOML"),
        (("[[problem]]", f"a = {'[' * 5000}{']' * 5000}\n[[problem]]"), "nested too deep"),
        (('shape = "4096x1024x4096"', 'shape = "4096x4096x4096"'), "twice"),
        (('"two-layers"', '"two layers"'), "name: it must match"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, change, said):
    path = tmp_path / "c.toml"
    path.write_text(TOML.replace(*change))
    with pytest.raises(UsageError, match=said) as e:
        read_campaign(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_evals = 16", "max_seconds = inf", "max_seconds: it must be at most"),
        ("max_evals = 16", "max_evals = 10000000", "max_evals: it must be at most"),
        ('"two-layers"', '"two layers"', "[A-Za-z0-9]"),
    ],
)
def test_a_number_without_measure_or_a_wrong_name_is_one_sentence(tmp_path, old, new, said):
    (tmp_path / "c.toml").write_text(TOML.replace(old, new))
    with pytest.raises(UsageError) as caught:
        read_campaign(tmp_path / "c.toml")
    assert said in str(caught.value)


def test_a_kernel_of_the_users_that_is_wrong_is_named_before_the_first_run(tmp_path):
    text = (EXAMPLE.parent / "add_relu.py").read_text()
    (tmp_path / "own.py").write_text(text + "\n    def flops(self, problem):\n        return None\n")
    layer = f'name = "own"\n[[problem]]\nkernel = "{tmp_path}/own.py:AddRelu"\nshape = "4096"\n'
    (tmp_path / "c.toml").write_text(layer)
    with pytest.raises(UsageError, match="flops returns None"):
        read_campaign(tmp_path / "c.toml")


def test_a_campaign_none_of_whose_problems_can_be_tuned_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(TOML)
    answer = CliRunner().invoke(campaign, ["c.toml", "--device", "abacus"])
    assert isinstance(answer.exception, UsageError)
    assert "there is no device 'abacus'" in str(answer.exception)
    assert answer.stdout == ""


@pytest.mark.parametrize("device", ["cuda:0", "cuda:all", "abacus", "recorded:nope"])
def test_a_device_that_cannot_be_used_is_refused_once(tmp_path, monkeypatch, device):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.harness.measuring.telemetry.gpus_present", lambda: 0)
    (tmp_path / "c.toml").write_text(TOML)
    answer = CliRunner().invoke(campaign, ["c.toml", "--device", device])
    assert isinstance(answer.exception, UsageError)
    assert (answer.stdout, answer.stderr) == ("", "")
    assert "recorded" in str(answer.exception) or "there is no landscape nope" in str(answer.exception)


def test_the_problems_of_a_device_that_is_not_there_are_left_out_together(plan, world, tmp_path, monkeypatch):
    monkeypatch.setattr("tools.harness.measuring.telemetry.gpus_present", lambda: 0)
    other = [layer.model_copy(update={"device": "cuda:0", "count": 5}) for layer in plan.problem]
    plan = plan.model_copy(update={"problem": (*other, plan.problem[1])})
    lines = []
    standings = conduct(plan, None, LineWatch(lines.append), lambda standings: None)
    assert [bool(s.failed) for s in standings] == [True, True, False]
    assert len([line for line in lines if "left out" in line]) == 1
    assert "and 1 more: left out: cuda:0 names a GPU" in "\n".join(lines)


def test_a_folder_that_cannot_be_written_is_found_before_the_first_run(tmp_path, world):
    (tmp_path / "c.toml").write_text(TOML)
    (tmp_path / "taken").write_text("")
    answer = CliRunner().invoke(campaign, [str(tmp_path / "c.toml"), "--out", str(tmp_path / "taken")])
    assert "choose another with --out" in str(answer.exception)
    assert world["opened"] == []
