"""Progress of a run: a line for each step, and the state of the run between the lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from memory.terms import printable

if TYPE_CHECKING:
    from agent.goal.objective import Objective, Setting
    from agent.loop.actions import Left
    from agent.models.base import ToolSchema
    from agent.trace.trace import JSON

WIDTH = 160
"""Characters of a line; a model's words may be long."""


@dataclass(frozen=True)
class Standing:
    """The state of a run."""

    line: str = ""
    """The line that was just printed; empty if only the other fields changed."""
    doing: str = "opening"
    """The current step, such as ``measuring 5 configs``; empty between two steps."""
    why: str = ""
    """The model's last words."""
    best_ms: float | None = None
    best: str = ""
    """The best so far in the metric's unit, and its share of the roofline."""
    share_of_roofline: float | None = None
    evaluations: int = 0
    evaluations_left: int | None = None
    seconds_left: float | None = None
    """Seconds of search left at the time ``since``."""
    since: float = 0.0
    """``time.monotonic()`` when `doing` began."""


class Watch:
    """The one channel for progress. This class keeps the latest state and shows nothing; a class that shows progress
    overrides ``notify``, ``on_change`` and ``on_detail``."""

    def __init__(self) -> None:
        self.standing = Standing(since=time.monotonic())

    def notify(self, line: str) -> None:
        """A line for a person."""

    def begin_step(self, doing: str) -> None:
        """A step begins that may take over a second."""
        self._update(doing=doing)

    def record_words(self, words: str | None) -> None:
        """The model explained its next step in `words`."""
        self._update(why=clean(words)[:WIDTH], doing="")

    def record_budget(self, left: Left) -> None:
        """`left` is what the budget holds before a turn."""
        self._update(evaluations=left.used, evaluations_left=left.evaluations, seconds_left=left.seconds)

    def record_answer(self, name: str, result: JSON, setting: Setting) -> None:
        """The tool `name` answered `result`: the status of each config, and the best so far."""
        best = result.get("best")
        if isinstance(best, dict) and isinstance(best.get("ms"), int | float):
            ms = float(best["ms"])
            share = setting.floor_ms / ms if setting.floor_ms else None
            rate = f"{ms:.4f} ms" if setting.metric == "latency" else f"{setting.value(ms):.1f} {setting.unit}"
            said = rate if share is None else f"{rate}, {share:.1%} of the roofline"
            self._update(best_ms=ms, best=said, share_of_roofline=share)
        if isinstance(result.get("evaluations_left"), int):
            now, left = self.standing, int(result["evaluations_left"])
            used = now.evaluations + (now.evaluations_left or left) - left
            self._update(evaluations=used, evaluations_left=left)
        for line in describe_configs(result):
            self.on_detail(line)
        self._update(doing="")

    def on_change(self) -> None:
        """Called after every change of ``standing``."""

    def on_detail(self, line: str) -> None:
        """Called with a line for every config of an answer."""

    def _update(self, **changes: str | float | None) -> None:
        now = time.monotonic()
        if self.standing.seconds_left is not None and "seconds_left" not in changes:
            changes["seconds_left"] = max(0.0, self.standing.seconds_left - (now - self.standing.since))
        self.standing = replace(self.standing, since=now, **changes)  # type: ignore[arg-type]
        self.on_change()


class LineWatch(Watch):
    """A watch that hands every line to a function and keeps the rest."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write

    def notify(self, line: str) -> None:
        self._write(line)


def doing(tool: ToolSchema, arguments: JSON) -> str:
    """A tool call as something that goes on: ``measuring 5 configs``."""
    configs = arguments.get("configs")
    count = f" {len(configs)} config{'s' * (len(configs) != 1)}" if isinstance(configs, list) else ""
    return f"{clean(tool.declared.doing or tool.name)[:40]}{count}"


def describe_configs(result: JSON) -> list[str]:
    """A line for each config of an answer: its values and what became of it."""
    lines = []
    for row in [*(result.get("results") or ()), *(result.get("proposals") or ())]:
        if not isinstance(row, dict) or not isinstance(row.get("config"), dict):
            continue
        values = " ".join(f"{field}={value}" for field, value in row["config"].items())
        ms = row.get("ms") or row.get("predicted_ms")
        time_ = f" {ms:.4f} ms{' predicted' * ('predicted_ms' in row)}" if isinstance(ms, int | float) else ""
        said = " ".join(str(row[key]) for key in ("status", "reason") if row.get(key))
        lines.append(clean(f"        {values}:{time_} {said}")[: 2 * WIDTH].rstrip())
    return lines


def clean(text: str | None) -> str:
    """`text` on one line without control characters: it may be a model's. Leading space stays."""
    words = printable(text or "", " ")
    return words[: len(words) - len(words.lstrip())] + " ".join(words.split())


def describe_run(objective: Objective, setting: Setting, run_id: str) -> str:
    """The first line of a run: what is tuned, on which device, within which limits."""
    limits = objective.limits
    return (
        f"tuning {setting.kernel} {setting.label} on {setting.where()}: {setting.unit}, {setting.regime}, "
        f"model {objective.model}, at most {limits.max_evals} evaluations and {limits.max_seconds:g} s, run {run_id}"
    )


def format_words(turn: int, words: str | None) -> str:
    """The line of a turn: its number, and the model's words without control characters."""
    text = clean(words).strip()
    return f"[{turn + 1}] {text[:WIDTH]}" if text else f"[{turn + 1}]"


def describe_answer(name: str, result: JSON, setting: Setting) -> str:
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
        said = f"; stop: {result.get('why')}" if result.get("stop") else ""
        first: JSON = next(iter(result["proposals"]), {})
        if not said and first.get("reason"):
            said = f"; the first because: {clean(first['reason'])}"
        return f"    {name}: {len(result['proposals'])} proposals{said}"[:WIDTH]
    return f"    {name}: done"
