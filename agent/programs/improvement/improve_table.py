"""What came of improving a capture, as a table for people and as JSON."""

from __future__ import annotations

from typing import Any

from agent.loop.outcome import Outcome
from agent.programs.improvement.improve_plan import Job
from agent.programs.improvement.improve_request import Improved
from agent.programs.improvement.table_gaps import describe_held_out
from agent.programs.improvement.tuned_rows import Judged
from memory.formats.tables import table
from memory.terms import count_of, printable

COLUMNS = ("launch", "kernel", "launches", "decision", "owner_ms", "ms", "speedup", "interval", "bits", "config")


def rows(made: Improved) -> list[dict[str, Any]]:
    """One row for each launch that was tuned or checked."""
    return [_row(*entry) for entry in made.rows]


def _row(job: Job, judged: Judged, outcome: Outcome | None) -> dict[str, Any]:
    rivals = {b.name: b for b in outcome.baselines} if outcome else {}
    owner = rivals.get("owner")
    best = outcome.best if outcome else None
    rival = rivals.get(outcome.against or "") if outcome else None
    rival = rival or owner
    return {
        "launch": job.launch.digest[:8],
        "kernel": job.launch.name,
        "launches": job.launch.count,
        "decision": judged.status,
        "owner_ms": owner.ms if owner else None,
        "ms": best.ms if best else None,
        "speedup": rival.speedup if rival else None,
        "interval": f"[{rival.ci[0]:.3f}, {rival.ci[1]:.3f}]" if rival and rival.ci else None,
        "over": rival.name if rival else None,
        "config": " ".join(f"{n}={v}" for n, v in judged.config.items()) if judged.config else "the owner's",
        "bits": outcome.bits if outcome else None,
        "why": judged.why,
        "run": outcome.run if outcome else None,
        "evaluations": outcome.evaluations if outcome else 0,
    }


def render(made: Improved, out: str) -> str:
    """Rows, what they rest on, what was left out, and what to do next."""
    found = rows(made)
    lines = []
    if found:
        shown = [c for c in COLUMNS if any(r[c] is not None for r in found)]
        lines += [table(found, shown), ""]
        lines += [printable(f"{r['kernel']} {r['launch']}: {r['decision']}: {r['why']}") for r in found]
    if made.untuned:
        lines += ["", "not tuned:"] if lines else ["not tuned:"]
        lines += [printable(f"  {u.kernel}: {u.reason}") for u in made.untuned]
    if made.capture.damaged:
        damaged = count_of(made.capture.damaged, "damaged line")
        lines += ["", f"Left out of the capture: {damaged}; launches and counts may be too low."]
    whole = made.whole
    stay = sum(not any(row is new for new in made.table.rows) for row in whole.rows)
    kept = len(whole.rows) - stay - len(found)
    if kept > 0:
        lines += ["", f"{count_of(kept, 'further row')}: the autotuner's choice as captured, without its benchmark"]
    if stay:
        lines += ["", f"{out} keeps {count_of(stay, 'row')} of before, for launches that were not decided anew"]
    taken_out = made.taken_out
    if taken_out:
        lines += ["", f"{out} loses {count_of(len(taken_out), 'row')} of before: {made.earlier.fault(taken_out[0])}"]
    if made.table.held_out:
        lines += ["", printable(describe_held_out(made.table.held_out))]
    proven = sum(r["decision"] == "proven" for r in found)
    where = made.environment.gpu if made.timed else "Triton's interpreter, which times nothing"
    lines += ["", f"{proven} of {len(found)} launches proven faster on {where}, in {made.seconds:.0f} s; table {out}"]
    if proven:
        lines += [f"next       python -m agent apply {out} -- COMMAND"]
    return "\n".join(lines)


def as_json(made: Improved, out: str) -> dict[str, Any]:
    return {
        "capture": made.capture.path,
        "tuned": out,
        "digest": made.whole.digest,
        "timed": made.timed,
        "gpu": made.environment.gpu,
        "triton": made.environment.triton,
        "launches": rows(made),
        "held_out": made.table.held_out,
        "taken_out": [row.name for row in made.taken_out],
        "not_tuned": [{"kernel": u.kernel, "reason": u.reason} for u in made.untuned],
        "damaged_lines": made.capture.damaged,
        "seconds": round(made.seconds, 1),
    }
