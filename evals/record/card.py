"""A landscape's card: what was recorded, when, with what, and how far its numbers can be trusted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median

import numpy as np

from tools.harness.landscapes.readings import Entry, Landscape


@dataclass(frozen=True)
class Stats:
    """What a landscape holds and how noisy it is. Times are set A, drift-corrected, ms."""

    configs: int
    space: int | None
    correct: int
    failures: dict[str, int]
    """Count by status, most frequent first."""
    best: Entry | None
    best_ms: float | None
    median_ms: float | None
    within: dict[int, int]
    """How many lie within so many per cent of the best."""
    spearman: float | None
    """Rank correlation of A and B over the correct configs."""
    noise: float | None
    """Median of |A/B - 1|."""
    raw_noise: float | None
    """The same before drift is divided out."""
    drift: tuple[float, float] | None
    """5th and 95th percentile of the reference beside the configs, relative to its median."""

    @property
    def invalid_share(self) -> float:
        return 1 - self.correct / self.configs


def stats(landscape: Landscape) -> Stats:
    """Figures of `landscape`; ``None`` where it has not the readings for one."""
    entries = list(landscape.entries.values())
    timed = [(ms, e) for e in entries if (ms := landscape.ms(e)) is not None]
    times = [ms for ms, _ in timed]
    best_ms, best = min(timed, key=lambda pair: pair[0], default=(None, None))
    a, b = (np.array(side) for side in zip(*landscape.pairs(), strict=True)) if landscape.pairs() else (None, None)
    raw = [abs(e.sets["A"].raw_ms / e.sets["B"].raw_ms - 1) for e in landscape.correct() if len(e.sets) == 2]
    beside = [median(s.reference_ms) for e in entries for s in e.sets.values() if s.reference_ms]
    low, high = np.quantile(beside, [0.05, 0.95]) / np.median(beside) if beside else (None, None)
    return Stats(
        configs=len(entries),
        space=landscape.space,
        correct=len(landscape.correct()),
        failures=dict(Counter(e.status for e in entries if e.status != "correct").most_common()),
        best=best,
        best_ms=best_ms,
        median_ms=median(times) if times else None,
        within={p: sum(t <= best_ms * (1 + p / 100) for t in times) if best_ms else 0 for p in (1, 5, 10)},
        spearman=None if a is None or b is None or len(a) < 3 else spearman(a, b),
        noise=None if a is None or b is None else float(np.median(np.abs(a / b - 1))),
        raw_noise=median(raw) if raw else None,
        drift=None if low is None or high is None else (float(low), float(high)),
    )


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; equal values share the mean of their ranks."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[place]
    return ranks


def render(landscape: Landscape) -> str:
    """The card as Markdown."""
    s, d = stats(landscape), landscape.device
    made_with = (
        ("torch", d.torch), ("triton", d.triton), ("assembler", d.assembler), ("variables", d.overrides),
        ("CUDA", d.cuda), ("driver", d.driver),
    )  # fmt: skip
    tools = ", ".join(f"{name} {version}" for name, version in made_with if version)
    failures = ", ".join(f"{n} {status}" for status, n in s.failures.items()) or "none"
    rows = [
        ("kernel, problem", f"{landscape.kernel}, {landscape.label}"),
        ("GPU", d.name + (f", power limit {d.power_limit_w:g} W" if d.power_limit_w else "")),
        ("made with", tools or "not stated"),
        (
            "recorded",
            f"{landscape.recorded_at or 'not stated'}, {landscape.seconds / 60:.0f} min, seed {landscape.seed}",
        ),
        ("kernel source", landscape.source or "not stated"),
        ("regime", f"{landscape.regime}, reference `{landscape.reference}` beside every reading"),
        ("configs", f"{s.configs}" + (f" of {s.space} in the space" if s.space else "")),
        ("correct", f"{s.correct}; failed: {failures} ({s.invalid_share:.1%})"),
    ]
    if s.best_ms is not None and s.best is not None:
        near = ", ".join(f"{n} within {p} %" for p, n in s.within.items())
        rows.append(("best", f"{s.best_ms:.5g} ms (median of the space {s.median_ms:.5g} ms); {near}"))
        rows.append(("best config", f"`{s.best.key}`"))
    if s.noise is not None:
        rank = "" if s.spearman is None else f"; Spearman {s.spearman:.4f}"
        rows.append(
            ("noise, A against B", f"median difference {s.noise:.2%}, {s.raw_noise:.2%} before drift correction{rank}")
        )
    if s.drift is not None:
        rows.append(
            (
                "drift",
                f"the reference lay {s.drift[0] - 1:+.1%} … {s.drift[1] - 1:+.1%} off its median (5th–95th percentile)",
            )
        )
    rows += [("ceiling", f"{k} {v:.4g}") for k, v in landscape.ceilings.items()]
    text = [f"# {landscape.name}", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows)]
    if landscape.baselines:
        text += ["", "| baseline | what | burst, ms | sustained, ms | rounds |", "|---|---|---|---|---|"]
        text += [_baseline_row(landscape, b.name) for b in landscape.baselines]
    return "\n".join(
        [*text, "", f"`--device recorded:{landscape.name}` runs on it; format: README.md beside this file.", ""]
    )


def _baseline_row(landscape: Landscape, name: str) -> str:
    b = landscape.baseline(name)
    assert b is not None
    cells = []
    for regime in ("burst", "sustained"):
        times = [median(r.samples_ms) for r in b.rounds if r.regime == regime]
        cells.append(f"{median(times):.5g}" if times else b.missing or "not read")
    return (
        f"| {b.name} | {b.title}{'' if b.equivalent else ' (less work)'} | {cells[0]} | {cells[1]} | {len(b.rounds)} |"
    )
