"""From a ledger to figures. Only which configs were evaluated, and in which order, is read from it: their times come
from the landscape.

The incumbent after k evaluations is the config with the best reading of set A, what the agent saw; what it is worth is
its reading of set B, which no agent has seen. A lucky reading in A earns nothing. Other people's files have no set B:
there both are the same. In a live run the GPU's own readings, which the ledger holds, choose the incumbent; what it is
worth is again its recorded reading of set B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from evals.contest.disguise import LIVE
from evals.contest.ledger import Ledger
from evals.errors import EvalsError
from evals.scoring.methodology import Scale
from evals.scoring.regret import Floats, resample_time
from tools.harness.landscapes.readings import Landscape
from tools.harness.measuring.statistics import RESAMPLES

SHARES = (90, 95, 99)
"""Per cent of the optimum's speed: 95 means a time of at most optimum / 0.95."""
CLOSE = 0.05
"""Regret up to which a run counts as passed."""
NEAR = 0.01
"""Regret that counts as found: sittings of one config differ by as much."""


@dataclass(frozen=True)
class Score:
    """One run. ``None``: it never got there, or there is nothing to say."""

    agent: str
    landscape: str
    variant: str
    seed: int
    max_evals: int
    """Evaluations that the run was allowed."""
    P: float | None
    """Performance score of the auto-tuning methodology, 0 random search, 1 the optimum at once."""
    P50: float | None
    """The same over evaluations 1 to 50."""
    oracle_P: float | None
    """P of an oracle that names set A's best config at once, by set B."""
    evals_to_near: int | None
    """Evaluations until the incumbent's regret is at most NEAR."""
    evals_to: dict[int, int | None]
    seconds_to: dict[int, float | None]
    """Simulated."""
    regret: float | None
    """Of the final incumbent: its time over the optimum's, less 1."""
    evaluations: int
    invalid_share: float
    """Of the evaluations."""
    duplicates: int
    seconds: float
    tokens: int
    dollars: float
    end: str
    passed: bool
    """Whether the final incumbent is within 5 % of the optimum."""
    resampled_regret: Floats | None = field(default=None, repr=False, compare=False)
    """The regret for every resample of set B's readings (:mod:`evals.scoring.regret`)."""

    @property
    def of_oracle(self) -> float | None:
        """P as a share of the oracle's; ``None`` where the oracle itself is no better than random search."""
        if self.P is None or self.oracle_P is None or self.oracle_P <= 0:
            return None
        return self.P / self.oracle_P


class Board:
    """A landscape as a score sheet."""

    def __init__(self, landscape: Landscape) -> None:
        """Raises EvalsError where there is nothing to find."""
        self.landscape = landscape
        seen, true = {}, {}
        for key, entry in landscape.entries.items():
            a, b = landscape.ms(entry, "A"), landscape.ms(entry, "B")
            if a is not None:
                seen[key], true[key] = a, a if b is None else b
        if not true:
            raise EvalsError(f"{landscape.name} holds no valid config: nothing can be found there, leave it out")
        self.seen, self.true = seen, true
        self._resampled: dict[str, Floats] = {}

    @cached_property
    def scale(self) -> Scale:
        return Scale.of(self.true.values())

    @cached_property
    def _oracle_ms(self) -> float:
        """What set A's best config is worth by set B, ms."""
        return self.true[min(self.seen, key=self.seen.__getitem__)]

    @cached_property
    def oracle_P(self) -> float | None:
        """P of an oracle that names set A's best config at the first evaluation."""
        return self.scale.score([self._oracle_ms], self.scale.span())

    @property
    def oracle_regret(self) -> float:
        return self._oracle_ms / self.scale.optimum - 1

    def resample_regret(self, config: str) -> Floats:
        """Regret of a valid `config` for every resample of set B's readings; all 0 for the best config itself."""
        best = min(self.true, key=self.true.__getitem__)
        if config == best:
            return np.zeros(RESAMPLES)
        for key in (best, config):
            if key not in self._resampled:
                self._resampled[key] = resample_time(self.landscape, self.landscape.entries[key])
        return np.asarray(self._resampled[config] / self._resampled[best] - 1)

    @property
    def budget(self) -> int:
        """Evaluations that both P and P50 look at, as far as the space goes."""
        return min(len(self.landscape.entries), max(self.scale.span()[-1], self.scale.short_span()[-1]))

    def curve(self, ledger: Ledger) -> list[float]:
        """F(k): true time of the incumbent after each evaluation, ms; the median while there is none."""
        return [self.scale.median if best is None else self.true[best] for best in self.incumbents(ledger)]

    def incumbents(self, ledger: Ledger) -> list[str | None]:
        """The config with the best reading after each evaluation; ``None`` while there is none."""
        found: list[str | None] = []
        best, least = None, math.inf
        for row in ledger.rows:
            ms = row.ms if ledger.variant == LIVE else self.seen.get(row.config)
            if ms is not None and ms < least and row.config in self.true:
                best, least = row.config, ms
            found.append(best)
        return found

    def score(self, ledger: Ledger) -> Score:
        """A foul run has found nothing, whatever it holds."""
        rows = [] if ledger.end == "foul" else ledger.rows
        kept = Ledger(**{**vars(ledger), "rows": rows})
        curve, optimum = self.curve(kept), self.scale.optimum
        final = next(iter(self.incumbents(kept)[-1:]), None)
        valid = [row.config in self.seen and (ledger.variant != LIVE or row.ms is not None) for row in rows]
        first = valid.index(True) if any(valid) else len(rows)
        reached = {p: next((i for i in range(first, len(rows)) if curve[i] <= optimum * 100 / p), None) for p in SHARES}
        near = next((i + 1 for i in range(first, len(rows)) if curve[i] <= optimum * (1 + NEAR)), None)
        regret = curve[-1] / optimum - 1 if any(valid) else None
        return Score(
            agent=ledger.agent,
            landscape=ledger.landscape,
            variant=ledger.variant,
            seed=ledger.seed,
            max_evals=ledger.max_evals,
            P=self.scale.score(curve, self.scale.span()),
            P50=self.scale.score(curve, self.scale.short_span()),
            oracle_P=self.oracle_P,
            evals_to_near=near,
            evals_to={p: None if i is None else i + 1 for p, i in reached.items()},
            seconds_to={p: None if i is None else rows[i].at for p, i in reached.items()},
            regret=regret,
            evaluations=len(rows),
            invalid_share=valid.count(False) / len(rows) if rows else 0.0,
            duplicates=ledger.duplicates,
            seconds=ledger.seconds,
            tokens=ledger.tokens,
            dollars=ledger.dollars,
            end=ledger.end,
            passed=regret is not None and regret <= CLOSE,
            resampled_regret=None if final is None else self.resample_regret(final),
        )
