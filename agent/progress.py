"""What a person sees while a run goes on: one line for each step, on stderr."""

from __future__ import annotations

from agent.objective import Objective, Setting
from agent.trace import JSON

WIDTH = 160
"""Characters of a line; a model's words may be long."""


def opened(objective: Objective, setting: Setting, run_id: str) -> str:
    """The first line: what is tuned, and on what."""
    limits = objective.limits
    return (
        f"tuning {setting.kernel} {setting.label} on {setting.where()}: {setting.unit}, {setting.regime}, "
        f"model {objective.model}, at most {limits.max_evals} evaluations and {limits.max_seconds:g} s, run {run_id}"
    )


def spoken(turn: int, words: str | None) -> str:
    """A model's words on one line, without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in words or "").split())
    return f"[{turn + 1}] {text[:WIDTH]}" if text else f"[{turn + 1}]"


def answered(name: str, result: JSON, setting: Setting) -> str:
    """A tool call and its answer on one line."""
    if "error" in result:
        detail = result.get("why") or result.get("problems") or result.get("limit") or ""
        return f"    {name}: {result['error']} {detail}"[:WIDTH].rstrip()
    rows = result.get("results")
    if isinstance(rows, list):
        statuses = [str(row.get("status")) for row in rows]
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
        line = f"    {name} {len(rows)} configs: {counts or 'none'}"
        best = result.get("best")
        if isinstance(best, dict) and best.get("ms"):
            rate = "" if setting.metric == "latency" else f" = {setting.value(best['ms']):.1f} {setting.unit}"
            line += f"; best {best['ms']:.4f} ms{rate}; {result.get('evaluations_left')} evaluations left"
        return line
    if "proposals" in result:
        stop = f"; stop: {result.get('why')}" if result.get("stop") else ""
        return f"    {name}: {len(result['proposals'])} proposals{stop}"[:WIDTH]
    return f"    {name}: done"
