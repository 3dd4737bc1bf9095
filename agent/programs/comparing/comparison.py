"""What the pairs show: of the metric, of each kernel, of what the program saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from agent.programs.comparing.paired import Interval, Word, saving_interval, speedup_interval, word_of
from agent.programs.comparing.program_runs import Plan, ProgramRun
from agent.programs.comparing.same_files import Sameness, compare_files
from kernels.tuned.applying.apply_report import add_up
from memory.formats.tables import table
from memory.terms import count_of

Pairs = Sequence[tuple[ProgramRun, ProgramRun]]

MOST_KERNELS = 20


@dataclass(frozen=True)
class KernelChange:
    """One kernel's GPU time in a run of the program, ms."""

    kernel: str
    without: float
    with_: float
    saved: Interval
    word: Word


@dataclass(frozen=True)
class Comparison:
    """The result of ``agent compare``."""

    metric: str
    without: float
    """Mean over the pairs."""
    with_: float
    speedup: Interval
    word: Word
    pairs: int
    rows_used: dict[str, Any]
    """As ``AppliedTable.report``, over all runs with the table."""
    kernels: tuple[KernelChange, ...] = ()
    """What changed most first; the first is the sum of all."""
    same: Sameness | None = None
    own: Sameness | None = None
    """Whether the program without the table saves the same in each run."""

    @property
    def broken(self) -> bool:
        """Whether the program saves something else with the table, and the same in each run without it."""
        return self.same is not None and self.own is not None and self.own.same and not self.same.same

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_pairs(pairs: Pairs, plan: Plan, higher_is_better: bool, tolerance: float) -> Comparison:
    """What the pairs show. `tolerance`: for saved tensors."""
    without, with_ = ([run.figure for run in side] for side in zip(*pairs, strict=True))
    speedup = speedup_interval(without, with_, higher_is_better)
    same = own = None
    if plan.saved is not None:
        plain = [a.saved for a, _ in pairs if a.saved is not None]
        same = _worst([(a.saved, b.saved) for a, b in pairs if a.saved and b.saved], tolerance)
        own = _worst(list(combinations(plain[:2], 2)), tolerance)
    return Comparison(
        metric=plan.metric or "wall time, s",
        without=fmean(without),
        with_=fmean(with_),
        speedup=speedup,
        word=word_of(speedup),
        pairs=len(pairs),
        rows_used=add_up([r for _, run in pairs for r in run.reports]),
        kernels=tuple(_kernels(pairs)),
        same=same,
        own=own,
    )


def _worst(files: Sequence[tuple[Path, Path]], tolerance: float) -> Sameness:
    found = [compare_files(a, b, tolerance) for a, b in files]
    return min(found, key=lambda s: (s.same, -(s.difference or 0.0)))


def _kernels(pairs: Pairs) -> list[KernelChange]:
    names = sorted({n for pair in pairs for run in pair for n in run.kernels})
    if not names:
        return []
    found = [_change(n, [tuple(run.kernels.get(n, 0.0) for run in pair) for pair in pairs]) for n in names]
    found.sort(key=lambda c: -abs(c.saved.value))
    total = _change("all kernels", [tuple(sum(run.kernels.values()) for run in pair) for pair in pairs])
    return [total, *found]


def _change(name: str, times: Sequence[tuple[float, ...]]) -> KernelChange:
    without, with_ = ([t[i] for t in times] for i in (0, 1))
    saved = saving_interval(without, with_)
    return KernelChange(name, fmean(without), fmean(with_), saved, word_of(saved, 0.0))


def render_comparison(found: Comparison) -> str:
    """For people."""
    s = found.speedup
    figures = f"without {found.without:.6g}, with {found.with_:.6g}, {s.value:.4f}x [{s.low:.4f}, {s.high:.4f}]"
    lines = [f"{found.metric}: {figures} from {count_of(found.pairs, 'pair')}: {found.word}."]
    used = sum(r["launches"] for r in found.rows_used["used"])
    missed = sum(r["launches"] for r in found.rows_used["missed"])
    if not used:
        lines.append("No row of the table served a launch: `agent apply --report` lists the reasons.")
    else:
        lines.append(
            f"{used} launches were made by a row, {missed} as the program has them, in all runs with the table."
        )
    if found.kernels:
        rows = [
            {
                "kernel": k.kernel[:60],
                "without_ms": k.without,
                "with_ms": k.with_,
                "saved_ms": f"{k.saved.value:.4g} [{k.saved.low:.4g}, {k.saved.high:.4g}]",
                "": k.word,
            }
            for k in found.kernels[:MOST_KERNELS]
        ]
        lines += ["", table(rows, ("kernel", "without_ms", "with_ms", "saved_ms", "")), ""]
    for title, sameness in (("with and without the table", found.same), ("in two runs without it", found.own)):
        if sameness is not None:
            lines.append(f"Saved {title}: {'the same' if sameness.same else 'not the same'}: {sameness.how}.")
    if found.own is not None and not found.own.same:
        lines.append("The program does not save the same twice, so this does not show whether the table changes it.")
    return "\n".join(lines)
