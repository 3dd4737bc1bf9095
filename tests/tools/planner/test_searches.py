"""Whole searches on functions whose optimum is known, with and without near problems."""

from __future__ import annotations

import math
from statistics import median

import numpy as np

from kernels.gemm.space import GemmProblem
from tests.tools.planner.problems import (
    H200,
    SPEC,
    SQUARE,
    STRANGE,
    Search,
    StrangeProblem,
    best_of,
    deviating,
    ms,
    strange,
    task,
)
from tools.planner.evidence import Evidence
from tools.planner.propose import Planner
from tools.planner.transfer import NearProblem
from tools.session.task import Task


def test_matmul_search_needs_few_evaluations():
    space = SPEC.space(SQUARE, H200)
    optimum = min(deviating(c).ms for c in space)
    seen = Search(Planner(task(), space), deviating).run(24)
    spent = list(seen.values())
    assert best_of(dict(enumerate(spent[:4]))) < 1.10 * optimum
    assert best_of(seen) < 1.015 * optimum


def test_foreign_search_beats_random_by_far():
    optimum = min(m.ms for c in STRANGE if (m := strange(c)).status == "correct")
    found, drawn = [], []
    for seed in range(5):
        t = Task(SPEC, StrangeProblem(), H200, seed=seed)
        found.append(best_of(Search(Planner(t, STRANGE), strange).run(30)) / optimum - 1)
        draws = np.random.default_rng(seed).choice(len(STRANGE), 30, replace=False)
        drawn.append(best_of({i: strange(STRANGE[i]) for i in draws}) / optimum - 1)
    assert median(found) < 0.012
    assert median(found) < 0.3 * median(drawn)


def test_what_a_neighbour_taught_moves_the_first_proposals():
    neighbour = GemmProblem(M=2048, N=4096, K=4096)
    there = [c for c in SPEC.space(neighbour, H200) if math.isfinite(ms(c, neighbour))]
    fastest = sorted(there, key=lambda c: ms(c, neighbour))[:80]
    lossy = {c: ms(c, neighbour) * (1.2 if c.num_stages == 4 else 1.0) for c in fastest}
    space = SPEC.space(SQUARE, H200)
    alone = Planner(task(), space).propose(Evidence(), 24)
    taught = Planner(task(), space, [NearProblem(neighbour, H200, lossy, 1.0)]).propose(Evidence(), 24)
    assert sum(p.config.num_stages == 4 for p in alone.proposals) >= 6
    assert sum(p.config.num_stages == 4 for p in taught.proposals) <= 2


def test_a_neighbour_tells_an_unknown_kernel_where_to_begin():
    t = Task(SPEC, StrangeProblem(length=2), H200)
    times = {c: m.ms for c in STRANGE[::5] if (m := strange(c)).status == "correct"}
    optimum = min(m.ms for c in STRANGE if (m := strange(c)).status == "correct")
    taught = Planner(t, STRANGE, [NearProblem(StrangeProblem(), H200, times, 1.0)]).propose(Evidence(), 4)
    found = [m.ms for p in taught.proposals if (m := strange(p.config)).status == "correct"]
    assert min(found) < 1.02 * optimum


def test_a_neighbour_with_a_few_times_or_none_teaches_nothing():
    space = SPEC.space(SQUARE, H200)
    few = NearProblem(GemmProblem(M=2048, N=4096, K=4096), H200, dict.fromkeys(space[:3], 1.0), 1.0)
    assert Planner(task(), space, [few]).propose(Evidence(), 8) == Planner(task(), space).propose(Evidence(), 8)
    assert Planner(task(), [], [few]).propose(Evidence(), 8).stop
