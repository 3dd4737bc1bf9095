"""A run with variants goes on where it was killed, replays, and is forked from its trace: with another memory too."""

from __future__ import annotations

import functools
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.errors import AgentError
from agent.goal.objective import Objective
from agent.loop.progress import Watch
from agent.loop.run import Ended, open_actions, resume
from agent.models import choose
from agent.models.embedded import EDIT, Embedded
from agent.replay.replay import replay
from agent.trace.paths import trace_folder
from agent.trace.trace import Event, read_trace
from memory.store import Memory
from tests.agent.programs.nothing_to_compile import NothingToCompile
from tests.captures import ROOT
from tools.harness.compiling import cache
from tools.harness.devices import live
from tools.harness.devices.live import LiveDevice
from tools.harness.process import sandbox
from tools.harness.process.prestart import Prestart

pytestmark = [
    pytest.mark.long,
    pytest.mark.process,
    pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}"),
]
KERNEL = f"{ROOT / 'examples' / 'autotuned_scale.py'}:Scale"


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    """This machine seems to have an H200, on which variants take half the time."""
    folder = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.harness.measuring.telemetry.gpus_present", lambda: 1)
        patch.setattr(Prestart, "of", classmethod(lambda cls, *asked, **said: cls(folder, 0, None)))
        opened = functools.partial(LiveDevice.open, factory="tests.agent.programs.scripted_gpu:worker")
        patch.setattr(LiveDevice, "open", opened)
        patch.setattr(live, "LocalCompilePool", NothingToCompile)
        patch.setattr(cache, "default_cache", lambda: folder / "cache")
        yield


class Mortal(Embedded):
    """The planner, whose process dies once variants are measured."""

    def respond(self, messages, tools, seconds, tokens=None):
        if any(m["role"] == "tool" and '"edit"' in m["content"] and '"ms"' in m["content"] for m in messages):
            raise AgentError("The process is gone.")
        return super().respond(messages, tools, seconds, tokens)


@dataclass
class Parent:
    """A run that died after it had measured variants, and was resumed."""

    folder: Path
    trace: Path
    before: list[Event]
    """What the trace held when it died."""
    ended: Ended

    @property
    def turns(self) -> int:
        return sum(e.type == "decision" for e in read_trace(self.trace).events)

    @property
    def variants(self) -> set[str]:
        return {p.name for p in (self.folder / "variants").glob("*.json")}


@pytest.fixture(scope="module")
def parent(gpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent")
    words = ["run", "fastest", "--device", "cuda:0", "--edit", "--kernel", KERNEL, "--max-evals", "16"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        with patch.context() as mortal:
            mortal.setattr(choose, "load_model", lambda *given: Mortal())
            assert main([*words, "--memory", str(folder / "m.db")]) == 1
        (trace,) = trace_folder().glob("*.jsonl")
        before = read_trace(trace).events
        return Parent(folder, trace, before, resume(str(trace), Watch()))


def measured(memory: Path, trace: Path) -> list[str]:
    """Configs with a variant that the search of a run measured; the proof times its finalists again."""
    opened, record = Memory.open(memory), read_trace(trace)
    asked = (
        "SELECT config, tool_call_id FROM attempts JOIN configs ON configs.id = config_id "
        "WHERE run_id = ? AND kind = 'benchmark'"
    )
    try:
        rows = opened.ask(asked, [record.header["run"]])
    finally:
        opened.close()
    called = {e.key for e in record.events if e.type == "tool_call" and e.body["name"] == "run_benchmark"}
    return [r["config"] for r in rows if '"edit"' in r["config"] and r["tool_call_id"] in called]


def test_it_goes_on_with_its_variants_and_measures_none_twice(parent):
    assert EDIT in {e.body.get("name") for e in parent.before if e.type == "tool_call"}
    after = read_trace(parent.trace).events
    assert [(e.type, e.key, e.body) for e in after[: len(parent.before)]] == [
        (e.type, e.key, e.body) for e in parent.before
    ]
    assert parent.ended.outcome.best.config["edit"].partition(" ")[0] + ".json" in parent.variants
    configs = measured(parent.folder / "m.db", parent.trace)
    assert configs
    assert len(set(configs)) == len(configs)
    assert replay(parent.trace, Watch()).outcome.best == parent.ended.outcome.best


def test_a_later_run_beside_variants_is_told_of_the_same_space_and_may_name_any_edit(parent):
    asked = Objective.model_validate(read_trace(parent.trace).header["objective"])
    with closing(open_actions(asked, parent.folder / "m.db", "later", Watch())) as actions:
        schemas = [t.parameters for t in actions.tools if t.name == "run_benchmark"]
        setting = actions.setting
    first = read_trace(parent.trace).header
    assert setting.space == first["setting"]["space"]
    assert setting.space_size == first["setting"]["space_size"]
    edit = schemas[0]["properties"]["configs"]["items"]["properties"]["edit"]
    assert "enum" not in edit


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_fork_knows_the_variants_of_its_parent(elsewhere, parent, tmp_path, capsys):
    memory = (tmp_path if elsewhere else parent.folder) / "m.db"
    words = ["fork", str(parent.trace), "--at", str(parent.turns - 1), "--json", "--memory", str(memory)]
    assert main(words) == 0
    best = json.loads(capsys.readouterr().out)["best"]["config"]
    assert best == parent.ended.outcome.best.config
    assert {p.name for p in (memory.parent / "variants").glob("*.json")} == parent.variants
    (child,) = trace_folder().glob("*.jsonl")
    assert measured(memory, child) == []
    assert replay(child, Watch()).outcome.best.config == best


def test_a_variant_that_cannot_be_made_again_is_one_sentence(parent, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tools.session.rewriting.made_by", lambda *given: "it changes nothing by now")
    words = ["fork", str(parent.trace), "--at", str(parent.turns - 1), "--memory", str(tmp_path / "m.db")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "cannot be made again by this version" in said
    assert "Traceback" not in said
    assert list(trace_folder().glob("*.jsonl")) == []
