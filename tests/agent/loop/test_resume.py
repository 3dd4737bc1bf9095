"""The real session on the recorded device, killed and resumed. The 200 kills of bench_traces are this at length."""

from __future__ import annotations

from collections import Counter

import pytest

from agent.cli.commands import main
from agent.trace.trace import read_trace
from tests.agent.loop.killed import Place, outcome, repeated

pytestmark = pytest.mark.compile


@pytest.mark.long
def test_a_run_killed_while_it_checks_goes_on_and_repeats_nothing(tmp_path):
    killed = Place(tmp_path, seed=0, evaluations=1)
    killed.kill_in("check_correctness")
    before = [(e.type, e.key, e.body) for e in read_trace(killed.trace()).events]
    killed.finish()
    events = read_trace(killed.trace()).events
    assert [(e.type, e.key, e.body) for e in events[: len(before)]] == before
    assert [e.type for e in events].count("resume") == 1
    found = outcome(killed)
    assert found["result"]["evaluations"] == 1
    kinds = Counter(kind for kind, *_ in found["attempts"])
    assert kinds.pop("compile") >= 1  # the planner compiles a batch, whatever is left to measure
    assert kinds == {"benchmark": 1, "check": 1, "proof": 1}
    assert repeated(killed) == []


@pytest.mark.parametrize("content", [b"", b'{"seq":0,"at":"2026'])
def test_a_run_that_was_killed_before_it_began_says_to_start_it_again(content, tmp_path, capsys):
    from agent.trace.paths import trace_folder

    trace_folder().mkdir(parents=True)
    (trace_folder() / "20260101-000000-abcdef.jsonl").write_bytes(content)
    assert main(["resume", "20260101-000000-abcdef"]) == 2
    err = capsys.readouterr().err
    assert "killed before it began, start it again" in err
    assert len(err.strip().splitlines()) == 1
