"""Scores as rows: for ``--json``, for people, for the repository."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evals.contest.ledger import FAILED, Ledger
from evals.scoring.score import SHARES, Board, Score
from evals.scoring.summary import LEAST_PAIRS, Aggregate, Difference, aggregate, compare
from memory.terms import printable

Row = dict[str, Any]
REASONS = 3
"""Reasons that the line of an agent's failed runs names, the most frequent first."""


@dataclass
class Standing:
    """A contest, scored."""

    boards: dict[str, Board]
    scores: list[Score]
    ledgers: list[Ledger]
    groups: dict[tuple[str, str], list[Score]] = field(default_factory=dict)
    """(agent, variant) → its scores."""

    def __post_init__(self) -> None:
        for s in self.scores:
            self.groups.setdefault((s.agent, s.variant), []).append(s)

    def overall(self) -> list[Aggregate]:
        """Best first: by P, and agents without one by their regret."""
        return sorted((aggregate(scores) for scores in self.groups.values()), key=_rank)

    def rules(self) -> list[int]:
        """Versions of the rules by which the runs were counted (:data:`evals.contest.ledger.RULES`)."""
        return sorted({x.rules for x in self.ledgers})

    def by_landscape(self) -> list[Aggregate]:
        return [
            aggregate(here, name)
            for scores in self.groups.values()
            for name in dict.fromkeys(s.landscape for s in scores)
            for here in [[s for s in scores if s.landscape == name]]
        ]

    def differences(self) -> list[Difference]:
        """Every agent against every one that stands below it, in the same variant."""
        order = [(a.agent, a.variant) for a in self.overall()]
        pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :] if a[1] == b[1]]
        return [d for a, b in pairs if (d := compare(self.groups[a], self.groups[b])) is not None]


def _rank(a: Aggregate) -> tuple[bool, float, str, str]:
    if a.P is not None:
        return False, -a.P, a.agent, a.variant
    return True, math.inf if a.regret is None else a.regret, a.agent, a.variant


def standing(ledgers: Sequence[Ledger], boards: dict[str, Board]) -> Standing:
    """`boards` by the ledgers' landscape names."""
    ordered = sorted(ledgers, key=lambda x: (x.agent, x.variant, x.landscape, x.seed, x.max_evals))
    scores = [boards[x.landscape].score(x) for x in ordered]
    return Standing(boards, scores, ordered)


def as_json(s: Standing) -> Row:
    """One object; equal contests give equal bytes."""
    rows = [_score_row(x) for x in s.scores] + [_aggregate_row(a, a.landscape) for a in s.by_landscape()]
    places = list(dict.fromkeys([(x.agent, x.variant, x.landscape) for x in s.scores]))
    rows.sort(key=lambda r: places.index((r["agent"], r["variant"], r["landscape"])))
    return {
        "scores": rows,
        "overall": [_aggregate_row(a, None) for a in s.overall()],
        "differences": [
            {"agent": d.first, "against": d.second, "P": _short(d.P), "P_ci": _short(d.P_ci), "pairs": d.pairs,
             "landscapes": d.landscapes, "better": d.better}
            for d in s.differences()
        ],
        "landscapes": [_board_row(b) for b in s.boards.values()],
        "rules": s.rules(),
    }  # fmt: skip


def _score_row(s: Score) -> Row:
    row: Row = {"agent": s.agent, "landscape": s.landscape, "variant": s.variant, "seed": s.seed}
    row |= {"P_of_oracle": s.of_oracle, "regret": s.regret, "evals_to_1_percent": s.evals_to_near}
    row |= {"P": s.P, "P50": s.P50, "oracle_P": s.oracle_P} | _reached(s.evals_to, s.seconds_to)
    row |= {"evaluations": s.evaluations, "invalid_share": s.invalid_share}
    row |= {"duplicates": s.duplicates, "seconds": s.seconds, "tokens": s.tokens, "dollars": s.dollars}
    return {k: _short(v) for k, v in (row | {"within_5_percent": s.passed, "end": s.end}).items()}


def _aggregate_row(a: Aggregate, landscape: str | None) -> Row:
    row: Row = {"agent": a.agent}
    row |= {"variant": a.variant} if landscape is None else {"landscape": landscape, "variant": a.variant}
    row |= {"seed": "aggregate", "P_of_oracle": a.of_oracle, "P_of_oracle_ci": a.of_oracle_ci}
    row |= {"regret": a.regret, "regret_ci": a.regret_ci, "evals_to_1_percent": a.evals_to_near}
    row |= {"P": a.P, "P_ci": a.P_ci, "P50": a.P50, "P50_ci": a.P50_ci, "oracle_P": a.oracle_P}
    row |= _reached(a.evals_to, a.seconds_to)
    row |= {"invalid_share": a.invalid_share, "duplicates": a.duplicates, "seconds": a.seconds}
    row |= {"tokens": a.tokens, "dollars": a.dollars, "pass_rate": a.pass_rate, "pass_all": a.pass_all}
    return {k: _short(v) for k, v in (row | {"runs": a.runs, "failed": a.failed, "landscapes": a.landscapes}).items()}


def _reached(evals: Any, seconds: Any) -> Row:
    return {f"evals_to_{p}": evals[p] for p in SHARES} | {f"seconds_to_{p}": seconds[p] for p in SHARES}


def _board_row(b: Board) -> Row:
    x = b.landscape
    notes: Row = {"notes": x.notes} if x.notes else {}
    return {
        "landscape": x.name, "kernel": x.kernel, "problem": x.label, "device": x.device.name, "file": x.file,
        "configs": len(x.entries), "valid": len(b.true), "optimum_ms": _short(b.scale.optimum),
        "cutoff_evaluations": b.scale.span()[-1], "oracle_P": _short(b.oracle_P),
    } | notes  # fmt: skip


def _short(value: Any) -> Any:
    """Floats to six digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return [_short(v) for v in value] if isinstance(value, tuple | list) else value


COLUMNS = (
    "agent",
    "of oracle",
    "of oracle 95 %",
    "regret",
    "regret 95 %",
    "to 1 %",
    "P",
    "P 95 %",
    "P50",
    "P50 95 %",
    "to 95 %",
    "within 5 %",
    "every time",
    "invalid",
    "runs",
)


def overall_cells(a: Aggregate) -> list[str]:
    """One agent as a line of the table."""
    name = printable(a.agent if a.variant == "plain" else f"{a.agent} ({a.variant})", "?")
    return [
        name, share(a.of_oracle), share_span(a.of_oracle_ci, 0), share(a.regret, 2), share_span(a.regret_ci, 2),
        count(a.evals_to_near), number(a.P), span(a.P_ci), number(a.P50), span(a.P50_ci), count(a.evals_to[95]),
        f"{a.pass_rate:.0%}", f"{a.pass_all:.0%}",
        f"{a.invalid_share:.1%}", f"{a.runs}, {a.failed} failed" if a.failed else str(a.runs),
    ]  # fmt: skip


def failure_lines(s: Standing) -> list[str]:
    """One line for each agent some of whose runs failed: how many, and why."""
    lines = []
    for (agent, variant), scores in s.groups.items():
        own = [x for x in s.ledgers if (x.agent, x.variant) == (agent, variant)]
        reasons = Counter((x.end, x.why) for x in own if x.end in FAILED)
        if not reasons:
            continue
        name = agent if variant == "plain" else f"{agent} ({variant})"
        told = "; ".join(f"{runs} {end}: {why}" for (end, why), runs in reasons.most_common(REASONS))
        left = len(reasons) - REASONS
        more = f"; and {left} more reason{'s' if left > 1 else ''}" if left > 0 else ""
        lines.append(
            f"{name}: {reasons.total()} of {len(scores)} runs failed ({printable(told, '?')}{more}). "
            "The score is of what these runs had measured until then."
        )
    return lines


def unscored_lines(s: Standing) -> list[str]:
    """One line for each landscape on which nobody can have a P."""
    return [
        f"{printable(name, '?')} has no P: a random search is expected to hold its optimum at every evaluation that "
        "counts. Regret and evaluations are what there is to compare."
        for name, board in s.boards.items()
        if board.oracle_P is None
    ]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(printable(c, "?").replace("|", "\\|") for c in line) + " |" for line in lines)


def number(x: float | None) -> str:
    return "–" if x is None else f"{x:.3f}"


def span(ci: tuple[float, float] | None) -> str:
    return "–" if ci is None else f"{ci[0]:.2f} … {ci[1]:.2f}"


def share(x: float | None, digits: int = 0) -> str:
    """A percentage with so many digits after the point."""
    return "–" if x is None else f"{x:.{digits}%}"


def share_span(ci: tuple[float, float] | None, digits: int) -> str:
    return "–" if ci is None else f"{ci[0] * 100:.{digits}f} … {ci[1] * 100:.{digits}f} %"


def count(x: float | None) -> str:
    return "never" if x is None else f"{x:g}"


def difference_lines(differences: Iterable[Difference]) -> list[str]:
    """In words."""
    return [
        f"{d.first} − {d.second}: {d.P:+.3f} ({span(d.P_ci)}), "
        f"{describe_difference(d)}, "
        f"{d.pairs} paired run{'s' if d.pairs > 1 else ''} on {d.landscapes} landscape{'s' if d.landscapes > 1 else ''}"
        for d in differences
    ]


def describe_difference(d: Difference) -> str:
    """``better``, ``worse``, or why that cannot be told."""
    if d.pairs < LEAST_PAIRS:
        return f"too few runs to tell (at least {LEAST_PAIRS} are needed)"
    if d.distinct < LEAST_PAIRS:
        return f"too few different runs to tell (at least {LEAST_PAIRS} are needed; repeated runs count once)"
    if not d.enough:
        return "not told apart: every run differs by the same"
    return "better" if d.better else "worse" if d.better is False else "not told apart"
