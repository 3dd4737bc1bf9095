"""Which launches are held out, and which configs are tried at which launch so that neighbours share one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from agent.programs.improvement import table_gaps
from kernels.tuned.tuned_table import Decision, TunedEnvironment, TunedFunction, TunedRow, TunedTable


@pytest.mark.parametrize("count", [7, 10**9, 10**30])
def test_more_held_out_launches_than_there_are_is_every_second_one(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(table_gaps, "families", lambda jobs: [list(jobs)])
    monkeypatch.setattr(table_gaps, "split_sizes", lambda key: ((), key))
    monkeypatch.setattr(table_gaps, "lies_between", lambda low, at, high: low < at < high)
    jobs = [SimpleNamespace(key=place) for place in range(7)]
    assert [job.key for job in table_gaps.hold_out(jobs, count)] == [1, 3, 5]


HERE = TunedEnvironment("NVIDIA H200", "3.6.0", "ptxas 12.8")


def decision(name: str) -> Decision:
    """A config that is named by a constant of it."""
    return Decision({"BLOCK": ord(name)}, {})


class Sizes:
    """A table with one proven row for each letter, the config that is proven there, in the order of sizes."""

    def __init__(self, proven: str, gains: dict[int, float] | None = None) -> None:
        self.table, self.tried = TunedTable(), set[tuple[str, str]]()
        self.jobs: list[Any] = []
        for n, name in enumerate(proven):
            key = {"grid": None, "arguments": {"n": n}, "options": {}}
            function = TunedFunction("m", "f", "0")
            self.table.add(TunedRow(function, HERE, key, "proven", decision(name)), {"speedup": 1.1})
            launch = SimpleNamespace(function={"module": "m", "qualname": "f", "identity": "0"})
            self.jobs.append(SimpleNamespace(launch=launch, key=key, gain_ms=(gains or {}).get(n, 0.0)))

    def work(self, is_proven: Any = lambda place, name: True) -> list[tuple[int, str]]:
        """What is tried until nothing is left: place and config, and for each launch all at once."""
        done: list[tuple[int, str]] = []
        while (found := table_gaps.most_wanted(self.table, self.jobs, self.tried)) is not None:
            job, row, _ = found
            text = ""
            while (more := table_gaps.most_wanted(self.table, self.jobs, self.tried, job)) is not None:
                chosen = more[2][0]
                name = chr(chosen.constexprs["BLOCK"])
                text += name
                self.tried.add((row.name, chosen.digest))
                if is_proven(job.key["arguments"]["n"], name):
                    now = next(r for r in self.table.rows if r.name == row.name)
                    self.table.add(replace(now, also=(*now.also, chosen)), {"speedup": 1.1})
            done.append((job.key["arguments"]["n"], text))
        return done


def gaps_of(sizes: Sizes) -> int:
    return len(table_gaps.pairs_without_a_shared_config(sizes.table, sizes.jobs))


def test_one_launch_closes_the_gaps_on_both_its_sides() -> None:
    sizes = Sizes("aabaa")
    assert (sizes.work(), gaps_of(sizes)) == ([(2, "a")], 0)
    sizes = Sizes("abc")
    assert (sizes.work(), gaps_of(sizes)) == ([(1, "ac")], 0)


def test_what_costs_most_time_comes_first_and_the_other_side_if_it_is_not_proven() -> None:
    sizes = Sizes("abbbcc", {4: 9.0, 1: 2.0})
    assert sizes.work(lambda place, name: (place, name) != (4, "b")) == [(4, "b"), (1, "a"), (3, "c")]
    assert gaps_of(sizes) == 0


def test_nothing_is_tried_twice() -> None:
    sizes = Sizes("abc")
    assert sizes.work(lambda place, name: False) == [(1, "ac"), (0, "b"), (2, "b")]
    assert gaps_of(sizes) == 2


def test_the_h200s_table_needs_eight_launches_for_its_thirteen_gaps() -> None:
    # The decisions of docs/data/moe-table-h200.json's rows from 16 to 16384 tokens, as letters.
    sizes = Sizes("abbbcccddefdedeeghef", {n: float(n) for n in range(20)})
    assert gaps_of(sizes) == 13
    done = sizes.work()
    assert (len(done), sum(len(text) for _, text in done), gaps_of(sizes)) == (8, 12, 0)


def test_the_time_that_is_kept_is_bounded() -> None:
    jobs, held_out = Sizes("a" * 21).jobs, Sizes("a").jobs
    assert table_gaps.seconds_kept(jobs, [], 1000.0) == 20 * table_gaps.PAIR_S
    assert table_gaps.seconds_kept(jobs, held_out, 1000.0) == 20 * table_gaps.PAIR_S + table_gaps.HELD_OUT_S
    assert table_gaps.seconds_kept(jobs, held_out, 100.0) == 25.0
