"""Files that begin with UTF-8's byte order mark, which some editors write, are read like those without."""

from __future__ import annotations

import json
import os
from codecs import BOM_UTF8

import pytest

from agent.campaign.plan import read_campaign
from agent.cli.environment import read_env
from agent.models.prices import OVERRIDE, read_overrides
from agent.programs.foreign.foreign_formats import read_foreign
from evals.contest.ledger import Ledger
from evals.contest.run_files import Results, read_results
from evals.judge.pair import module_pair
from evals.source.source_command import _kept
from evals.source.source_runs import SourceRun
from kernels.ops import tuned_files
from kernels.tuned.tuned_file import read_table, write_table
from memory.command_line.input_files import read_text_input
from tests.agent.campaign.test_campaign import TOML
from tests.agent.programs.foreign.files import FILES
from tests.kernels.tuned.tables import row, table


def mark(path):
    path.write_bytes(BOM_UTF8 + path.read_bytes())
    return path


def test_a_table_of_tuned_launches(tmp_path):
    made = table(row(n=64))
    write_table(made, tmp_path / "tuned.json")
    assert read_table(mark(tmp_path / "tuned.json")).digest == made.digest


def test_tuned_configs_of_the_ops(tmp_path):
    path = tmp_path / "tuned.json"
    rows = {"kernel": "softmax", "device": "NVIDIA H200", "status": "correct", "fields": {}, "config": {}, "ms": 1.0}
    path.write_text(json.dumps({"rows": [rows]}))
    before = tuned_files.load(path)
    assert len(before) == 1
    assert tuned_files.load(mark(path)) == before


@pytest.mark.parametrize(("form", "name", "text"), FILES, ids=lambda value: str(value)[:40])
def test_tables_of_other_projects(form, name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    before = read_foreign(path)
    assert before[0] == form
    assert read_foreign(mark(path)) == before


def test_a_campaign(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(TOML)
    before = read_campaign(path)
    assert read_campaign(mark(path)) == before
    assert read_text_input(path).startswith("\nname")


def test_runs_and_times_of_known_forms(tmp_path):
    results = Results(tmp_path / "runs.jsonl")
    results.keep(Ledger("random", "x", "x", "x", "plain", 0, 2), "code")
    assert [run.agent for run in read_results(mark(results.path))] == ["random"]
    known = SourceRun(task="padding", player="known", claimed=True, speedup=2.0)
    (tmp_path / "known.json").write_text(json.dumps({"runs": [known.model_dump(mode="json")]}))
    assert _kept(mark(tmp_path / "known.json")) == [known]


def test_a_problem_that_is_judged(tmp_path):
    reference, candidate = tmp_path / "reference.py", tmp_path / "candidate.py"
    reference.write_text("class Model: pass\ndef get_inputs(): pass\n")
    candidate.write_text("class ModelNew: pass\n")
    assert module_pair(mark(reference), mark(candidate)).candidate_sources == {
        "candidate.py": candidate.read_bytes()[3:].decode()
    }


def test_prices_and_the_file_of_variables(tmp_path, monkeypatch):
    prices = tmp_path / "prices.json"
    prices.write_text('{"mine": [1.0, 0.5, 2.0]}')
    monkeypatch.setenv(OVERRIDE, str(mark(prices)))
    assert set(read_overrides()) == {"mine"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://127.0.0.1:1\n")
    mark(tmp_path / ".env")
    try:
        read_env()
        assert os.environ["OPENAI_BASE_URL"] == "http://127.0.0.1:1"
    finally:
        os.environ.pop("OPENAI_BASE_URL", None)
