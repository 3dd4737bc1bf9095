"""The leaderboard as Markdown; ``python -m evals run --agents all --leaderboard FILE`` makes it in one go."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.agents import registry
from evals.scoring.score_tables import (
    COLUMNS,
    Standing,
    difference_lines,
    failure_lines,
    markdown_table,
    number,
    overall_cells,
    share,
    share_span,
    span,
    unscored_lines,
)

LITERATURE = (
    ("genetic algorithm, hyper-parameters tuned", "0.517"),
    ("simulated annealing", "0.06"),
    ("particle swarm, differential evolution", "below 0"),
)
"""Scores of Kernel Tuner's strategies over time on the community's own spaces (Willemsen et al. 2024)."""

MARKUP = re.compile(r"[\\`*_\[\]<>|]")
"""What Markdown reads as markup: an error message is text."""
ABOUT = """Of oracle: P as a share of what an oracle scores that names the best config of set A, the readings that
agents see, at its first evaluation. Regret: time of the final config over the optimum's, less 1, on set B, readings
that no agent has seen. To 1 %: median evaluations until the regret is at most 1 %. P is the performance score of the
auto-tuning methodology over evaluations (p = 0.95): 0 is random search, 1 the optimum at once. P50 is the same over
evaluations 1 to 50. To 95 %: median evaluations until the best config found has 95 % of the optimum's speed. Every
time: share of the landscapes on which every run came within 5 %. An evaluation is a reading or a failure, in the
compiler or on the device, of a config that the space holds. Intervals are 95 %, clustered by landscape; that of the
regret resamples set B's readings too."""


def describe_seeds(counts: Sequence[int]) -> str:
    """How many seeds each agent has of each landscape, if the agents have equally many; between which numbers, if
    not."""
    fewest, most = min(counts, default=0), max(counts, default=0)
    if fewest < most:
        return f"{fewest} to {most} seeds each: the column runs counts them over all landscapes."
    return f"{most} seed{'s' if most != 1 else ''} each."


def render(s: Standing) -> str:
    """Overall, per landscape, the literature beside it."""
    aggregates = s.overall()
    failures = ["- " + MARKUP.sub(r"\\\g<0>", line) for line in failure_lines(s)]
    names = ", ".join(s.boards)
    parts = [
        "# Leaderboard",
        ABOUT,
        " ".join(
            filter(
                None,
                (
                    f"Landscapes: {names}. {describe_seeds([a.runs // a.landscapes for a in aggregates])}",
                    f"Rules of counting: {describe_rules(s)}.",
                    made_with(s),
                    absent(s),
                ),
            )
        ),
        markdown_table(COLUMNS, map(overall_cells, aggregates)),
        "\n".join("- " + MARKUP.sub(r"\\\g<0>", line) for line in unscored_lines(s)),
        "\n".join(["## Runs that failed", "", *failures]) if failures else "",
        "## P on each landscape",
        _per_landscape(s),
        "## Regret on each landscape",
        _per_landscape(s, regret=True),
        "## The best against the others, paired by landscape and seed",
        "\n".join(
            f"- {line}" for line in difference_lines(d for d in s.differences() if d.first == aggregates[0].agent)
        ),
        "## In the literature",
        markdown_table(("strategy", "score"), LITERATURE),
        "Willemsen et al., *A methodology for comparing optimization algorithms for auto-tuning*, Future Generation "
        "Computer Systems 159 (2024), doi 10.1016/j.future.2024.05.021. Those scores are over time and on other "
        "spaces: they stand here for scale, not for ranking.",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def made_with(s: Standing) -> str:
    """The versions of the libraries that agents decide by, as the runs recorded them."""
    found: dict[str, set[str]] = {}
    for ledger in s.ledgers:
        for library, version in ledger.versions.items():
            if version != "none":
                found.setdefault(library, set()).add(version)
    named = ", ".join(f"{library} {' and '.join(sorted(versions))}" for library, versions in sorted(found.items()))
    unknown = sum(not ledger.versions for ledger in s.ledgers)
    parts = [
        f"Libraries: {named}." if named else "",
        f"Of {unknown} runs the libraries were not recorded." if unknown else "",
    ]
    return " ".join(filter(None, parts))


def absent(s: Standing) -> str:
    """The agents that come with the project and did not play."""
    missing = [name for name in registry.names() if name not in {agent for agent, _ in s.groups}]
    return f"Not played: {', '.join(missing)}." if missing else ""


def describe_rules(s: Standing) -> str:
    """The version of the rules by which the runs were counted."""
    versions = s.rules()
    if len(versions) == 1:
        return f"version {versions[0]}"
    return f"versions {', '.join(map(str, versions))}, which do not compare: run the older ones again"


def _per_landscape(s: Standing, regret: bool = False) -> str:
    """A table of P, or of the `regret`. The oracle stands first."""
    order = [(a.agent, a.variant) for a in s.overall()]
    cells = {
        (a.agent, a.variant, a.landscape): f"{share(a.regret, 2)} ({share_span(a.regret_ci, 2)})"
        if regret
        else f"{number(a.P)} ({span(a.P_ci)})"
        for a in s.by_landscape()
    }
    head = ["agent", *s.boards]
    oracle = [share(b.oracle_regret, 2) if regret else number(b.oracle_P) for b in s.boards.values()]
    rows = [["*oracle*", *oracle]]
    rows += [
        [
            agent if variant == "plain" else f"{agent} ({variant})",
            *(cells.get((agent, variant, x), "–") for x in s.boards),
        ]
        for agent, variant in order
    ]
    return markdown_table(head, rows)
