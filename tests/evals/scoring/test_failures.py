"""An agent whose runs failed has a score, of what it measured until then. Every output says that the runs failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evals.commands.selection import print_standing
from evals.contest.ledger import Ledger, Row
from evals.scoring.leaderboard import render as leaderboard
from evals.scoring.report_page import render as page
from evals.scoring.score import Board
from evals.scoring.score_tables import as_json, failure_lines, markdown_table, overall_cells, standing, unscored_lines
from tests.evals.spaces import BEST, honest, written
from tools.harness.landscapes.named import read_landscape
from tools.harness.landscapes.readings import config_key

WHY = "TypeError: compile() got <b>deadline_s</b> and a_name"


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    path = written(honest(), tmp_path_factory.mktemp("contest"))
    landscape = read_landscape(path)
    best = Row(config_key(BEST), "correct", landscape.ms(landscape.entries[config_key(BEST)], "A"), 1.0)

    def ledger(agent, seed, end="concluded", why="", rows=()):
        return Ledger(
            agent, landscape.name, str(path), landscape.file, "plain", seed, 12, rows=list(rows), end=end, why=why
        )

    ledgers = [ledger("sound", seed, rows=[best]) for seed in range(3)]
    ledgers += [ledger("broken", seed, "crashed", WHY) for seed in range(2)]
    ledgers += [ledger("broken", 2, "deadline", "not done after 900 s", [best])]
    return standing(ledgers, {landscape.name: Board(landscape)})


def test_failed_runs_are_counted_beside_the_runs(contest):
    cells = {row[0]: row[-1] for row in map(overall_cells, contest.overall())}
    assert cells == {"sound": "3", "broken": "3, 3 failed"}
    failed = {row["agent"]: row["failed"] for row in as_json(contest)["overall"]}
    assert failed == {"sound": 0, "broken": 3}


def test_the_reasons_are_named_once_each(contest):
    assert failure_lines(contest) == [
        f"broken: 3 of 3 runs failed (2 crashed: {WHY}; 1 deadline: not done after 900 s). "
        "The score is of what these runs had measured until then."
    ]


def test_the_page_the_leaderboard_and_the_terminal_say_it(contest, capsys):
    assert "2 crashed: TypeError: compile() got &lt;b&gt;deadline_s&lt;/b&gt; and a_name" in page(contest)
    assert r"2 crashed: TypeError: compile() got \<b\>deadline\_s\</b\> and a\_name" in leaderboard(contest)
    print_standing(contest, False, None, None)
    assert failure_lines(contest)[0] in capsys.readouterr().out


def test_a_contest_without_a_failure_has_no_word_of_it(contest):
    sound = standing([x for x in contest.ledgers if x.agent == "sound"], contest.boards)
    stalled = replace(sound.ledgers[0], end="stalled", why="200 answers in a row taught nothing new")
    assert failure_lines(standing([stalled], contest.boards)) == []
    assert failure_lines(sound) == []
    assert "Runs that failed" not in page(sound) + leaderboard(sound)


def test_a_landscape_without_a_p_is_named_and_agents_are_ranked_by_regret(tmp_path, capsys):
    """A search that knows nothing is expected to hold the optimum of two configs at once."""
    two = honest()
    kept = [config_key(BEST), config_key({**BEST, "num_warps": 8})]
    two.entries = {key: two.entries[key] for key in kept}
    ledgers = [
        Ledger(agent, two.name, "x", "x", "plain", 0, 2, rows=[Row(key, "correct", 1.0, 1.0)])
        for agent, key in zip("ba", kept, strict=True)
    ]
    contest = standing([*ledgers, Ledger("0", two.name, "x", "x", "plain", 0, 2)], {two.name: Board(two)})
    assert [(a.agent, a.P) for a in contest.overall()] == [("b", None), ("a", None), ("0", None)]
    (line,) = unscored_lines(contest)
    assert line.startswith("honest has no P: ")
    print_standing(contest, False, None, None)
    assert all(line in text for text in (capsys.readouterr().out, page(contest), leaderboard(contest)))


def test_an_agents_name_breaks_no_table(contest):
    named = replace(contest.overall()[0], agent="\x1b[31mred\n| x")
    assert overall_cells(named)[0] == "?[31mred?| x"
    assert markdown_table(["agent"], [overall_cells(named)[:1]]).splitlines()[2] == r"| ?[31mred?\| x |"
