"""Scores of source tasks: speed-up over the owner's code tuned, share of the way to the known form and to the floor,
and wrong claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evals.source.source_runs import KNOWN, SourceRun
from evals.source.source_tasks import TASKS, TRAPS
from memory.shared_models import Closed

ENOUGH = 0.7
"""Share of the way to the known form that counts as done."""


class SourceScore(Closed):
    """Of one run."""

    task: str
    player: str
    speedup: float
    """Over the owner's code tuned; 1 without a claim, and for a wrong one."""
    share_of_known: float | None
    """(owner - ms) / (owner - known), each over the owner's code in its own sitting: 0 is no gain, 1 the known form;
    ``None`` if no run of the known form is at hand that gained something and was right on the other shape too."""
    share_of_floor: float | None
    """(owner - ms) / (owner - the roofline's least time)."""
    done: bool
    """Of a task: at least ENOUGH of the way to the known form. Of a trap: no wrong claim."""
    wrong: str
    unplayed: str


def known_speedups(runs: Sequence[SourceRun]) -> dict[str, float]:
    """Task → the speed-up of its known form at the task's own shape, where it was proven; the last of several runs.

    A form that is slower on the other shape counts too, although its claim is wrong: what it reached at the task's own
    shape can be had there. A form whose results are wrong on the other shape does not, and one that was not examined
    there neither."""
    return {run.task: run.speedup for run in _proven_forms(runs) if run.speedup}


def known_gpus(runs: Sequence[SourceRun]) -> dict[str, str | None]:
    """Task → the GPU on which its known form was timed, of those in :func:`known_speedups`; ``None`` if the run does
    not tell."""
    names = {run.task: run.device.get("name") for run in _proven_forms(runs)}
    return {task: None if name is None else str(name) for task, name in names.items()}


def _proven_forms(runs: Sequence[SourceRun]) -> list[SourceRun]:
    proven = (r for r in runs if r.player == KNOWN and r.task in TASKS and r.claimed and not r.unplayed)
    return [r for r in proven if r.speedup and (not r.wrong or r.elsewhere_speedup)]


def score(run: SourceRun, known: Mapping[str, float]) -> SourceScore:
    """The score of `run`, given the speed-ups of the known forms."""
    sound = run.claimed and not run.wrong and run.speedup is not None
    speedup = run.speedup if sound and run.speedup is not None else 1.0
    best = known.get(run.task, 1.0)
    share = gained(speedup) / gained(best) if best > 1 else None
    floor = run.owner_ms / run.floor_ms if run.owner_ms and run.floor_ms else 1.0
    trap = run.task in TRAPS
    return SourceScore(
        task=run.task,
        player=run.player,
        speedup=speedup,
        share_of_known=None if trap else share,
        share_of_floor=gained(speedup) / gained(floor) if floor > 1 and not trap else None,
        done=not run.unplayed and (not run.wrong if trap else share is not None and share >= ENOUGH),
        wrong=run.wrong,
        unplayed=run.unplayed,
    )


def gained(speedup: float) -> float:
    """The share of the owner's time that a speed-up saves."""
    return 1 - 1 / speedup


def table(runs: Sequence[SourceRun], known: Mapping[str, float]) -> str:
    """One line a run, and one for each player."""
    lines = [f"{'task':22} {'player':16} {'owner ms':>9} {'ms':>9}  speed-up               known  floor  verdict"]
    by_player: dict[str, list[SourceScore]] = {}
    for run in runs:
        found = score(run, known)
        by_player.setdefault(run.player, []).append(found)
        ci = f"[{run.ci[0]:.3f}, {run.ci[1]:.3f}]" if run.ci else ""
        ratio = f"{run.speedup:.3f}x {ci}" if run.speedup else "-"
        times = [f"{t:9.4f}" if t else "        -" for t in (run.owner_ms, run.ms)]
        shares = [f"{s:5.0%}" if s is not None else "    -" for s in (found.share_of_known, found.share_of_floor)]
        verdict = run.unplayed or run.wrong or (f"proven, {elsewhere(run)}" if run.claimed else unclaimed(run))
        shown = f"{run.task:22} {run.player[:16]:16} {' '.join(times)}  {ratio:22} {' '.join(shares)}  {verdict}"
        lines.append(shown[:200])
    for player, scores in by_player.items():
        lines.append(f"{player}: {summary(scores)}")
    return "\n".join(lines)


def unclaimed(run: SourceRun) -> str:
    """Why nothing is claimed: by what was sent, if little was, else by the verdict."""
    return f"{run.sent[0]}; {run.why}" if len(run.sent) == 1 else run.why


def elsewhere(run: SourceRun) -> str:
    """What the claim is on the other shape."""
    shape = "x".join(map(str, run.elsewhere))
    return f"{run.elsewhere_speedup:.2f}x at {shape}" if run.elsewhere_speedup else f"right at {shape}"


def summary(scores: Sequence[SourceScore]) -> str:
    """A player's tasks in one line."""
    played = [s for s in scores if not s.unplayed]
    tasks = [s for s in played if s.task in TASKS]
    scored = [s for s in tasks if s.share_of_known is not None]
    traps = [s for s in played if s.task in TRAPS]
    mean = math.exp(sum(math.log(s.speedup) for s in tasks) / len(tasks)) if tasks else 1.0
    sprung = [s.task for s in traps if s.wrong]
    wrong = [s.task for s in tasks if s.wrong]
    words = [
        f"{sum(s.done for s in scored)} of {len(scored)} tasks at least {ENOUGH:.0%} of the way to the known form",
        f"geometric mean {mean:.3f}x over the owner's code tuned",
        f"{len(sprung)} of {len(traps)} traps sprung" + (f" ({', '.join(sprung)})" if sprung else ""),
        f"wrong claims on tasks: {', '.join(wrong) or 'none'}",
    ]
    if len(scored) < len(tasks):
        words.append(f"{len(tasks) - len(scored)} without a time of the known form")
    if len(played) < len(scores):
        words.append(f"{len(scores) - len(played)} not played")
    return "; ".join(words)
