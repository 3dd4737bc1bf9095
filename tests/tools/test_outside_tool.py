"""A tool of another package: it is shown to the model, called, approved, traced, replayed, shown, exported and forked
by what it declares, without a change to any file of this project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.cli.show import show
from agent.errors import UsageError
from agent.export import atif, otel
from agent.export.pages import run_page
from agent.export.reader import read_story
from agent.goal.objective import Limits, Objective
from agent.loop.progress import Watch
from agent.loop.run import begin
from agent.models import choose
from agent.replay.fork import fork
from agent.replay.replay import replay
from agent.trace.trace import read_trace
from kernels.registry import get
from tests.agent.scripted import Scripted, calls, words
from tools import registry
from tools.harness.landscapes.named import find_landscape

TOOL = '''
"""Measure one config after another. Costs an evaluation each."""

from tools.calling.arguments import config_list
from tools.declaration import Declaration

DECLARATION = Declaration(
    "timing one by one", activity="measure", returns="measurements", on_device=True, spends_evaluations=True
)


def arguments(spec):
    return config_list("TimeOneByOne", spec, "configs to time")


def run(session, args, call_id):
    rows = []
    for config in args.configs:
        [m] = session.measure([config], call_id)
        rows.append({"config": m.config, "status": m.status, "ms": m.ms})
    best = min(rows, key=lambda row: row["ms"])
    return {"results": rows, "best": best, "evaluations_left": session.budget.evals_left()}
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder in which a package is installed that offers ``time_one_by_one``."""
    site = tmp_path_factory.mktemp("site")
    (site / "somebodys_tool.py").write_text(TOOL)
    about = site / "somebodys-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[autokernel.tools]\ntime_one_by_one = somebodys_tool\n")
    return site


@pytest.fixture(scope="module")
def config():
    spec = get("rms_norm")
    landscape = find_landscape(None, spec.name, spec.default_problem(), "burst")
    entry = next(e for e in landscape.entries.values() if e.status == "correct")
    return entry.config


class Listener(Watch):
    def __init__(self):
        super().__init__()
        self.seen, self.lines = [], []

    def notify(self, line):
        self.lines.append(line)
        super().notify(line)

    def on_change(self):
        self.seen.append(self.standing.doing)


class Hearing(Scripted):
    def respond(self, messages, tools, seconds, tokens=None):
        self.tools = [tool.name for tool in tools]
        return super().respond(messages, tools, seconds, tokens)


@pytest.fixture(scope="module")
def run(package, config, tmp_path_factory):
    """A whole run on the recorded device in which a scripted model calls the tool and a person approves."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(package))
        patch.setenv("XDG_DATA_HOME", str(folder))
        model = Hearing(calls(("time_one_by_one", {"configs": [config]})), words("done"), words("done"))
        questions, watch = [], Listener()

        def ask(question):
            questions.append(question)
            return {"answers": {batch["id"]: {"verdict": "yes"} for batch in question["batches"]}}

        objective = Objective(
            goal="fast", kernel="rms_norm", device="recorded", model="other", approve=True, limits=Limits(max_evals=1)
        )
        ended = begin(objective, folder / "m.db", None, watch, ask=ask, model=model)
        yield SimpleNamespace(
            ended=ended,
            model=model,
            asked=questions,
            lines=watch.lines,
            doing=watch.seen,
            trace=Path(ended.outcome.trace),
        )


@pytest.fixture
def not_installed(package, monkeypatch):
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(package)])
    monkeypatch.delitem(sys.modules, "somebodys_tool", raising=False)
    assert "time_one_by_one" not in registry.modules()


def test_the_model_is_offered_it_after_the_built_in_tools_and_its_call_counts(run):
    assert run.model.tools == [*registry.NAMES, "time_one_by_one"]
    assert run.ended.outcome.evaluations == 1
    assert run.ended.outcome.best is not None


def test_a_person_sees_what_it_does_and_is_asked_before_it_uses_the_device(run, config):
    assert "timing one by one 1 config" in run.doing
    assert [b["tool"] for q in run.asked for b in q["batches"]] == ["time_one_by_one"]
    assert any("time_one_by_one 1 config: 1 correct" in line for line in run.lines)


@pytest.mark.usefixtures("not_installed")
def test_its_trace_is_replayed_shown_and_exported_where_it_is_not_installed(run, config):
    record = read_trace(run.trace)
    declared = record.header["tools"][-1]["declared"]
    assert (declared["doing"], declared["returns"], declared["on_device"]) == (
        "timing one by one",
        "measurements",
        True,
    )
    assert replay(run.trace, Watch()).outcome.best == run.ended.outcome.best
    story = read_story(record)
    assert [a.config for a in story.attempts] == [config]
    assert "measure" in {activity for activity, *_ in story.spans}
    text = show(story, str(run.trace))
    assert "time_one_by_one 1 config: 1 correct" in text
    assert "Evaluations 1: 1 correct" in text
    assert "timing one by one" not in json.dumps(json.loads(atif.export(story))["agent"]["tool_definitions"])
    assert "execute_tool time_one_by_one" in otel.export(story)
    assert "time_one_by_one" in run_page.export(story)


def test_a_fork_inherits_what_it_measured(run, package, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(choose, "load_model", lambda *given: Scripted(words("done"), words("done")))
    forked = fork(read_trace(run.trace), 2, watch=Watch(), memory=tmp_path / "m.db")
    assert forked.outcome.evaluations == 1
    assert forked.outcome.best.config == run.ended.outcome.best.config


def test_a_package_whose_tool_cannot_be_used_is_named_in_one_sentence(tmp_path, monkeypatch):
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[autokernel.tools]\nbroken = broken_tool\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(registry.ToolError, match=r"^the tool broken cannot be imported from broken_tool \("):
        registry.tools_of(get("rms_norm"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with pytest.raises(UsageError, match=r"^the tool broken cannot be imported"):
        begin(Objective(goal="", kernel="rms_norm", device="recorded"), tmp_path / "m.db", None, Watch())
    (tmp_path / "broken_tool.py").write_text("def run(session, args, call_id): ...\n")
    with pytest.raises(registry.ToolError, match="is unfinished: define arguments, DECLARATION in broken_tool"):
        registry.tools_of(get("rms_norm"))


def test_a_tool_is_registered_in_a_process_and_cannot_take_a_built_in_name(package, monkeypatch):
    monkeypatch.syspath_prepend(str(package))
    with pytest.raises(registry.ToolError, match="run_benchmark is a built-in tool"):
        registry.register("run_benchmark", "somebodys_tool")
    registry.register("mine", "somebodys_tool")
    try:
        assert registry.tools_of(get("rms_norm"))["mine"].declared.doing == "timing one by one"
    finally:
        registry.unregister("mine")
    assert "mine" not in registry.modules()


def test_the_built_in_declarations_are_read_without_torch():
    code = (
        "import sys; from tools.registry import builtin_declarations as all_; d = all_(); "
        "assert d['run_benchmark'].spends_evaluations; print(*{'torch', 'sklearn', 'triton'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
