"""Agents by name: those of the table, a user's function by path or module, and what is refused."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from evals.agents import registry
from evals.commands.commands import cli
from evals.contest.run_files import fingerprint
from evals.errors import EvalsError, Missing
from tests.evals.spaces import BEST, honest, written

MINE = f"""
def measure_the_best(game):
    game.measure({BEST})

class Search:
    def __call__(self, game):
        game.measure({BEST})

search = Search()
three = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    path = tmp_path / "my_agents.py"
    path.write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return path


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_every_agent_of_the_table_loads():
    for name, agent in registry.AGENTS.items():
        if agent.library is None:  # the libraries' own agents import them when they search
            assert callable(registry.load(name)), name
    assert registry.names() == sorted(registry.AGENTS)


@pytest.mark.parametrize("how", ["my_agents.py:measure_the_best", "my_agents.py:search", "my_agents.py"])
def test_a_function_of_a_file_is_an_agent(mine, how, tmp_path):
    result = run("run", "--agents", how, "--landscape", written(honest(), tmp_path), "--seeds", 1, "--json")
    overall = json.loads(result.stdout)["overall"][0]
    assert (overall["agent"], overall["P"]) == (how, pytest.approx(1))


def test_a_function_of_a_module_is_an_agent(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    agent = "my_agents:measure_the_best"
    registry.check(agent)
    assert "my_agents" not in sys.modules  # checked, not imported
    assert registry.load(agent).__name__ == "measure_the_best"
    del sys.modules["my_agents"]


@pytest.mark.parametrize("agent", ["my_agents.py:search", "my_agents.py", "model:my_agents.py:Mine"])
def test_the_fingerprint_follows_the_users_file(mine, agent):
    before = fingerprint(agent)
    mine.write_text(MINE + "\n# edited\n")
    assert fingerprint(agent) != before


def test_a_users_chat_model_plays_in_the_loop(tmp_path):
    (tmp_path / "my_models.py").write_text(
        "from agent.models.base import Reply\n"
        "class Silent:\n"
        "    name = 'silent'\n"
        "    def respond(self, messages, tools, seconds, tokens=None):\n"
        "        return Reply({'role': 'assistant', 'content': 'nothing to do'}, usage=7)\n"
    )
    model, path = f"{tmp_path / 'my_models.py'}:Silent", written(honest(), tmp_path)
    result = run("run", "--agents", "", "--model", model, "--landscape", path, "--seeds", 1, "--json")
    score = json.loads(result.stdout)["scores"][0]
    assert (score["agent"], score["end"]) == (f"model:{model}", "concluded")
    assert score["tokens"] > 0
    assert score["tokens"] % 7 == 0
    wrong = run("run", "--agents", "", "--model", f"{model}s", "--landscape", path, "--seeds", 1)
    assert wrong.exit_code == 2
    assert "has no Silents; it has Silent" in wrong.stderr


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        ("nobody", "there is no agent 'nobody': choose among default"),
        ("nowhere.py", "there is no agent file nowhere.py: check the path"),
        ("nowhere.py:search", "there is no agent file nowhere.py: check the path"),
        ("no.such.module:search", "there is no module no.such.module"),
        ("model:", "model: names no model"),
    ],
)
def test_an_unknown_agent_is_one_sentence(agent, says):
    with pytest.raises(EvalsError) as caught:
        registry.check(agent)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        ("my_agents.py:nothing", "my_agents.py has no nothing; it defines measure_the_best, Search"),
        ("my_agents.py:three", "my_agents.py:three is no function search(game)"),
    ],
)
def test_what_is_no_function_stops_the_command(mine, agent, says, tmp_path):
    with pytest.raises(Missing) as caught:
        registry.load(agent)
    assert says in str(caught.value)
    result = run("run", "--agents", agent, "--landscape", written(honest(), tmp_path), "--seeds", 1)
    assert (result.exit_code, says in result.stderr) == (2, True)


def test_a_file_that_fails_on_import_names_its_line(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("x = 1\nx / 0\n")
    result = run("run", "--agents", f"{path}:search", "--landscape", written(honest(), tmp_path), "--seeds", 1)
    assert result.exit_code == 2
    assert f"{path}:2 cannot be imported: ZeroDivisionError" in result.stderr
