"""Ways to a score that was not earned, each beside an honest twin. Every agent runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals.contest.contest import Job, run_jobs
from evals.contest.ledger import Ledger
from evals.errors import Missing
from evals.scoring.score import Board, Score
from tests.evals.spaces import BEST, LUCKY, honest, written
from tools.harness.landscapes.named import read_landscape

pytestmark = pytest.mark.process

HONEST = f"def search(game):\n    game.measure({BEST})\n"
SLOW = {"BLOCK": 16, "num_warps": 32, "order": "column"}
BUDGET = 12

AGENTS = {
    "honest": HONEST,
    "fabricates a number": f"""
def search(game):
    game.measure({SLOW})
    game.claim = {{"config": {BEST}, "ms": 1e-9}}
    game.seen.clear()
    object.__setattr__(game, "max_evals", 10**6)
""",
    "names a config it never measured": f"""
def search(game):
    game.measure({SLOW})
    game.claim = {BEST}
""",
    "overruns its budget": """
def search(game):
    order = sorted(game.configs, key=lambda c: -c["num_warps"])
    for config in order:
        try:
            game.measure(config)
        except Exception:
            pass
""",
    "reads the landscape": """
import pathlib
def search(game):
    data = pathlib.Path(PATH).read_bytes()
    game.measure(BEST)
""",
    "reads the landscape and hides it": """
import os
def search(game):
    try:
        os.open(PATH, os.O_RDONLY)
    except PermissionError:
        pass
    game.measure(BEST)
""",
    "has the landscape read for it": """
import subprocess
def search(game):
    subprocess.run(["cat", PATH], capture_output=True)
    game.measure(BEST)
""",
    "lists the landscapes that come with the project": """
import os, evals
def search(game):
    os.listdir(os.path.join(os.path.dirname(evals.__file__), "landscapes"))
    game.measure(BEST)
""",
    "reads what other runs have found": """
def search(game):
    open(__file__.rpartition("/")[0] + "/runs.jsonl").read()
    game.measure(BEST)
""",
    "reads the landscape's card": """
def search(game):
    open(PATH.replace(".json.gz", ".md")).read()
    game.measure(BEST)
""",
    "repeats one config": f"""
def search(game):
    while True:
        game.measure({SLOW})
""",
    "invents configs": """
def search(game):
    for i in range(100):
        game.measure({"BLOCK": 1000 + i})
""",
    "speaks for the referee": f"""
def search(game):
    game._referee.send_bytes(b'["foul of another", 1]')
    game.measure({BEST})
""",
    "sends code to the referee": f"""
import pickle, os
class Evil:
    def __reduce__(self):
        return (os.putenv, ("EVALS_TEST_EVIL", "1"))
def search(game):
    game._referee.send(Evil())
    game.measure({BEST})
""",
    "crashes": f"""
def search(game):
    game.measure({BEST})
    raise RuntimeError("on purpose")
""",
    "dies": """
import os
def search(game):
    os._exit(1)
""",
    "claims what has no text": f"""
class Claim:
    def __str__(self):
        raise RuntimeError("no text")
def search(game):
    game.measure({BEST})
    game.claim = Claim()
""",
    "counts no dollars": f"""
def search(game):
    game.measure({BEST})
    game.dollars = float("nan")
""",
    "counts too many tokens": f"""
def search(game):
    game.measure({BEST})
    game.tokens = 10**4000
""",
    "exits": f"""
import sys
def search(game):
    game.measure({BEST})
    sys.exit("done")
""",
    "raises no exception": f"""
class Odd(BaseException):
    pass
def search(game):
    game.measure({BEST})
    raise Odd("odd")
""",
    "raises what has no text": f"""
class Odd(Exception):
    def __str__(self):
        raise ValueError("no text")
def search(game):
    game.measure({BEST})
    raise Odd
""",
    "raises a long text": f"""
def search(game):
    game.measure({BEST})
    raise RuntimeError("x" * (64 << 20))
""",
    "never runs": f"""
def search(game):
    game.measure({BEST})
    yield
""",
    "closes its output": f"""
import sys
def search(game):
    game.measure({BEST})
    sys.stdout = None
""",
    "writes to the command's result": f"""
import os
def search(game):
    game.measure({BEST})
    assert os.path.sameopenfile(1, 2), "print() writes between the command's results"
""",
    "ends with counts that are none": f"""
def search(game):
    game.measure({BEST})
    game._referee.send_bytes(b'["end","concluded",{{"why":"","tokens":-1,"dollars":Infinity,"claim":null}}]')
""",
    "asks about all at once": f"""
def search(game):
    for result in game.compile_all([{BEST}] * 150 + [{{"pad": "x" * (1 << 18)}}] * 49):
        pass
    game.measure({BEST})
""",
    "asks for too much": f"""
def search(game):
    game.measure({BEST})
    game._referee.send_bytes(b"x" * (33 << 20))
""",
    "leaves a process behind": """
import os, time
def search(game):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    open(__file__ + ".child", "w").write(str(child))
    os._exit(0)
""",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, tuple[Ledger, Score]]:
    folder = tmp_path_factory.mktemp("cheats")
    path = written(honest(), folder)
    landscape = read_landscape(path)
    jobs = []
    for i, (name, text) in enumerate(AGENTS.items()):
        file = folder / f"agent{i}.py"
        file.write_text(text.replace("PATH", repr(str(path))).replace("measure(BEST)", f"measure({BEST})"))
        jobs.append((name, Job(str(file), landscape, str(path), "plain", 0, BUDGET)))
    done: dict[str, Ledger] = {}
    run_jobs([job for _, job in jobs], 2, lambda x: done.update({x.agent: x}), hidden=[folder / "runs.jsonl"])
    board = Board(landscape)
    return {name: (done[job.agent], board.score(done[job.agent])) for name, job in jobs}


def test_the_honest_twin_has_the_full_score(runs):
    ledger, score = runs["honest"]
    assert (ledger.end, score.regret, score.evals_to[99]) == ("concluded", 0.0, 1)
    assert abs(score.P - 1) < 1e-9


@pytest.mark.parametrize("name", ["fabricates a number", "names a config it never measured"])
def test_a_claim_scores_nothing(runs, name):
    ledger, score = runs[name]
    assert len(ledger.rows) == 1
    assert score.regret > 1
    assert score.P < 0


def test_a_budget_cannot_be_overrun(runs):
    ledger, score = runs["overruns its budget"]
    assert (ledger.end, len(ledger.rows)) == ("budget", BUDGET)
    assert score.regret > 0


@pytest.mark.parametrize(
    "name",
    [
        "reads the landscape",
        "reads the landscape and hides it",
        "has the landscape read for it",
        "lists the landscapes that come with the project",
        "reads what other runs have found",
        "reads the landscape's card",
    ],
)
def test_who_reaches_for_the_landscape_has_found_nothing(runs, name):
    ledger, score = runs[name]
    assert ledger.end == "foul"
    assert "reached for" in ledger.why
    assert (score.evaluations, score.regret, score.passed) == (0, None, False)
    assert score.P < 0


def test_repeating_one_config_is_one_evaluation_and_ends(runs):
    ledger, score = runs["repeats one config"]
    assert (ledger.end, len(ledger.rows)) == ("stalled", 1)
    assert score.duplicates > 100
    assert score.P < 0


def test_invented_configs_cost_nothing_and_gain_nothing(runs):
    ledger, score = runs["invents configs"]
    assert (score.evaluations, score.regret, len(ledger.rows)) == (0, None, 0)
    assert score.P < 0


@pytest.mark.parametrize("name", ["speaks for the referee", "sends code to the referee"])
def test_what_is_no_question_ends_the_run(runs, name):
    import os

    ledger, score = runs[name]
    assert (ledger.end, ledger.why) == ("foul", "it sent what is no request")
    assert score.regret is None
    assert "EVALS_TEST_EVIL" not in os.environ


def test_a_crash_keeps_what_was_measured_and_says_why(runs):
    ledger, score = runs["crashes"]
    assert (ledger.end, ledger.why) == ("crashed", "RuntimeError: on purpose")
    assert score.regret == 0.0
    assert runs["dies"][0].end == "crashed"


OWN_FAULTS = {
    "claims what has no text": "RuntimeError: no text",
    "counts no dollars": "ValueError: game.dollars must be a number of dollars",
    "counts too many tokens": "ValueError: game.tokens must be a whole number of tokens",
    "exits": "it called sys.exit instead of returning",
    "raises no exception": "Odd: odd",
    "raises what has no text": "Odd: its message cannot be read",
    "raises a long text": "RuntimeError: " + "x" * 486,
}


@pytest.mark.parametrize("name", OWN_FAULTS)
def test_whatever_an_agent_raises_its_run_is_kept_and_says_why(runs, name):
    ledger, score = runs[name]
    assert (ledger.end, ledger.why, score.regret) == ("crashed", OWN_FAULTS[name], 0.0)


@pytest.mark.parametrize("name", ["closes its output", "writes to the command's result"])
def test_an_agents_output_is_its_own(runs, name):
    assert (runs[name][0].end, runs[name][0].why) == ("concluded", "")


def test_a_generator_is_no_agent(runs):
    ledger, _ = runs["never runs"]
    assert (ledger.end, ledger.rows) == ("crashed", [])
    assert "write a function without yield" in ledger.why


def test_counts_that_are_none_are_not_kept(runs):
    ledger, _ = runs["ends with counts that are none"]
    assert (ledger.end, ledger.tokens, ledger.dollars) == ("foul", 0, 0.0)


@pytest.mark.parametrize("name", AGENTS)
def test_every_run_can_be_read_again(runs, name):
    ledger, _ = runs[name]
    assert Ledger.from_json(json.loads(json.dumps(ledger.as_json(), allow_nan=False))) == ledger


def test_large_requests_are_answered_and_larger_ones_are_named(runs):
    ledger, score = runs["asks about all at once"]
    assert (ledger.end, score.regret, ledger.refused) == ("concluded", 0.0, 49)
    assert runs["asks for too much"][0].why == "it sent a message of more than 32 MiB"


def test_what_an_agent_started_ends_with_its_run(runs):
    ledger, _ = runs["leaves a process behind"]
    assert (ledger.end, ledger.why) == ("crashed", "its process ended without a message")
    require_end(Path(ledger.agent + ".child").read_text())


@pytest.mark.long
def test_an_agent_that_never_asks_ends_with_a_command_that_is_killed(tmp_path):
    path, pid = written(honest(), tmp_path), tmp_path / "pid"
    text = f"import os\ndef search(game):\n    open({str(pid)!r}, 'w').write(str(os.getpid()))\n    while True: pass\n"
    (tmp_path / "mine.py").write_text(text)
    words = ["run", "--agents", tmp_path / "mine.py", "--seeds", "1", "--landscape", path, "--out", tmp_path / "runs"]
    command = subprocess.Popen([sys.executable, "-m", "evals", *map(str, words)], stderr=subprocess.DEVNULL)
    while not (pid.exists() and pid.read_text()) and command.poll() is None:
        time.sleep(0.05)
    command.kill()
    command.wait()
    require_end(pid.read_text())


def require_end(process: str) -> None:
    """Wait for it; a process that nobody has waited for yet has ended, too."""
    for _ in range(100):
        stat = Path(f"/proc/{process}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("it still runs")


def test_an_answer_from_memory_of_names_fails_in_disguise(tmp_path):
    knows = tmp_path / "knows.py"
    knows.write_text(f"def search(game):\n    game.measure({BEST})\n")
    searches = "random"
    landscape = read_landscape(written(honest(), tmp_path))
    board, found = Board(landscape), {}
    jobs = [
        Job(agent, landscape, "honest", variant, seed, 30)
        for agent in (str(knows), searches)
        for variant in ("plain", "renamed", "permuted")
        for seed in range(3)
    ]
    run_jobs(jobs, 2, lambda x: found.setdefault((x.agent, x.variant), []).append(board.score(x)))
    known = {v: sum(s.P for s in found[str(knows), v]) / 3 for v in ("plain", "renamed", "permuted")}
    assert known["plain"] == pytest.approx(1)
    assert max(known["renamed"], known["permuted"]) < 0
    drawn = {v: sum(s.P for s in found[searches, v]) / 3 for v in ("plain", "renamed", "permuted")}
    assert max(drawn.values()) - min(drawn.values()) < 1.5
    assert all(s.regret is None for s in found[str(knows), "renamed"]), "its names exist in no renamed space"


def test_no_run_learns_from_another(tmp_path):
    agent = tmp_path / "remembers.py"
    agent.write_text(
        "import builtins\n"
        "def search(game):\n"
        "    game.claim = getattr(builtins, 'found_before', 'nothing')\n"
        "    builtins.found_before = 'everything'\n"
        f"    game.measure({LUCKY})\n"
    )
    ledgers: list[Ledger] = []
    landscape = read_landscape(written(honest(), tmp_path))
    run_jobs([Job(str(agent), landscape, "honest", "plain", seed, 5) for seed in range(3)], 1, ledgers.append)
    assert [x.claim for x in ledgers] == ["nothing"] * 3


def test_an_agents_file_that_is_no_python_is_no_score(tmp_path):
    agent = Path(tmp_path / "broken.py")
    agent.write_text("def search(game:\n")
    ledgers: list[Ledger] = []
    with pytest.raises(Missing, match=r"broken\.py:1 cannot be imported: SyntaxError"):
        run_jobs([Job(str(agent), honest(), "honest", "plain", 0, 5)], 1, ledgers.append)
    assert not ledgers


def test_an_agents_file_that_opens_the_landscape_on_import_is_foul(tmp_path):
    path = written(honest(), tmp_path)
    agent = tmp_path / "peeks.py"
    agent.write_text(f"open({str(path)!r}).read()\ndef search(game):\n    pass\n")
    ledgers: list[Ledger] = []
    run_jobs([Job(str(agent), read_landscape(path), str(path), "plain", 0, 5)], 1, ledgers.append)
    assert ledgers[0].end == "foul"
