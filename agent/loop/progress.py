"""Progress of a run: a line for each step, and the state of the run between the lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.verdict.stressed_rows import rows_of_wrong
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
    counted: bool = True
    """Whether the step takes of `seconds_left`: to wait for a language model does not."""

    def left_at(self, now: float) -> float | None:
        """Seconds of search left at the time `now`."""
        if self.seconds_left is None or not self.counted:
            return self.seconds_left
        return max(0.0, self.seconds_left - (now - self.since))


class Watch:
    """The one channel for progress. This class keeps the latest state and shows nothing; a class that shows progress
    overrides ``notify``, ``on_change`` and ``on_detail``."""

    def __init__(self) -> None:
        self.standing = Standing(since=time.monotonic())

    def notify(self, line: str) -> None:
        """A line for a person."""

    def begin_step(self, doing: str, counted: bool = True) -> None:
        """A step begins that may take over a second. `counted`: whether its time is the search's."""
        self._update(doing=doing, counted=counted)

    def record_words(self, words: str | None) -> None:
        """The model explained its next step in `words`."""
        self._update(why=shorten(clean(words), WIDTH), doing="", counted=True)

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
        for line in describe_configs(result, setting):
            self.on_detail(line)
        self._update(doing="")

    def on_change(self) -> None:
        """Called after every change of ``standing``."""

    def on_detail(self, line: str) -> None:
        """Called with a line for every config of an answer."""

    def _update(self, **changes: str | float | bool | None) -> None:
        now = time.monotonic()
        changes.setdefault("seconds_left", self.standing.left_at(now))
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


def describe_configs(result: JSON, setting: Setting) -> list[str]:
    """A line for each config of an answer: its values, what became of it, and the figures that the answer has."""
    lines = []
    for row in [*(result.get("results") or ()), *(result.get("proposals") or ())]:
        if not isinstance(row, dict) or not isinstance(row.get("config"), dict):
            continue
        values = " ".join(f"{field}={value}" for field, value in row["config"].items())
        status = str(row.get("status") or "")
        said = "" if status == "correct" else f"{STATUS_WORDS.get(status, (status,))[0]} {reason(row)}".strip()
        told = ", ".join(filter(None, [said, *figures(row, setting)])) or ("correct" if status else "")
        lines.append(clean(f"        {values}: {told}").rstrip(": "))
    return lines


def reason(row: JSON) -> str:
    if not row.get("reason"):
        return ""
    return f"({row['reason']})" if row.get("status") else str(row["reason"])


def figures(row: JSON, setting: Setting) -> list[str]:
    """The figures of a config's answer, in words: time with its interval, rate, registers, spills, shared memory,
    occupancy, error."""
    found = []
    ms, ci, predicted = row.get("ms"), row.get("ci_ms"), row.get("predicted_ms")
    if isinstance(ms, int | float):
        interval = f" [{ci[0]:.4f}, {ci[1]:.4f}]" if isinstance(ci, list) and len(ci) == 2 else ""
        rate = "" if setting.metric == "latency" else f", {setting.value(ms):.1f} {setting.unit}"
        found.append(f"{ms:.4f} ms{interval}{rate}")
    if isinstance(predicted, int | float):
        found.append(f"{predicted:.4f} ms predicted")
    for name, words in FIGURES.items():
        if isinstance(row.get(name), int | float):
            found.append(words.format(row[name]))
    if isinstance(row.get("occupancy"), int | float):
        limit = f" (limited by {row['limited_by']})" if row.get("limited_by") else ""
        found.append(f"occupancy {row['occupancy']:.0%}{limit}")
    if isinstance(row.get("error"), int | float) and isinstance(row.get("bound"), int | float):
        found.append(f"error {row['error']:.2g} of {row['bound']:.2g} allowed")
    return found


FIGURES = {
    "registers": "{:.0f} registers a thread",
    "spill_bytes": "{:,.0f} B spilled",
    "shared_bytes": "{:,.0f} B shared memory",
}
STATUS_WORDS: dict[str, tuple[str, str]] = {
    "correct": ("correct", "correct"),
    "constraints": ("cannot be launched here", "cannot be launched here"),
    "compile": ("does not compile", "do not compile"),
    "runtime": ("fails when it runs", "fail when they run"),
    "timeout": ("takes too long", "take too long"),
    "correctness": ("gives a wrong result", "give wrong results"),
    "implausible": ("is faster than the hardware can be", "are faster than the hardware can be"),
    "infrastructure": ("was not judged", "were not judged"),
}
"""What became of a config, of one and of several."""


def count_statuses(statuses: Sequence[str]) -> str:
    """``5 correct, 1 does not compile``."""
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    words = {status: STATUS_WORDS.get(status, (status, status)) for status in counts}
    return ", ".join(f"{n} {words[status][n > 1]}" for status, n in counts.items())


def shorten(text: str, width: int) -> str:
    """`text` in `width` characters at most; what is left out is marked, and words stay whole where they can."""
    if len(text) <= width:
        return text
    head = text[: width - 2]
    return f"{head.rsplit(' ', 1)[0] if ' ' in head.strip() else head} …"


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
        + ("; edited code is compiled and checked, and never timed" if objective.edit and setting.recorded else "")
    )


def format_words(turn: int, words: str | None) -> str:
    """The line of a turn: its number, and the model's words without control characters."""
    text = clean(words).strip()
    return f"[{turn + 1}] {shorten(text, WIDTH)}" if text else f"[{turn + 1}]"


def describe_answer(name: str, result: JSON, setting: Setting) -> str:
    """A tool call and its answer on one line."""
    if "error" in result:
        detail = result.get("why") or result.get("problems") or result.get("limit") or ""
        return shorten(f"    {name}: {result['error']} {detail}".rstrip(), WIDTH)
    rows = result.get("results")
    if isinstance(rows, list):
        statuses = [str(row.get("status")) for row in rows]
        line = f"    {name} {len(rows)} config{'s' * (len(rows) != 1)}: {count_statuses(statuses) or 'none'}"
        best = result.get("best")
        if isinstance(best, dict) and best.get("ms"):
            rate = "" if setting.metric == "latency" else f" = {setting.value(best['ms']):.1f} {setting.unit}"
            line += f"; best {best['ms']:.4f} ms{rate}; {result.get('evaluations_left')} evaluations left"
        wrong = [f"variant {r.get('variant')}: {clean(r.get('reason'))}" for r in rows_of_wrong(result)]
        return "; ".join([line, *wrong])
    if "proposals" in result:
        said = f"; stop: {result.get('why')}" if result.get("stop") else ""
        first: JSON = next(iter(result["proposals"]), {})
        if not said and first.get("reason"):
            said = f"; the first because: {clean(first['reason'])}"
        return shorten(f"    {name}: {len(result['proposals'])} proposals{said}", WIDTH)
    return shorten(f"    {name}: {clean(describe_edit(result) or 'done')}", WIDTH)


def describe_edit(result: JSON) -> str:
    """What became of an edit or of known rewrites; empty for other answers."""
    if result.get("applies") is False:
        return f"{result.get('rewrite')} is not made: {result.get('why')}"
    if result.get("fence") == "refused":
        return f"refused: {result.get('why')}"
    if result.get("wrong"):
        return f"variant {result.get('variant')}: {result.get('wrong')}"
    if result.get("fence") == "passed":
        judged = [result[step] for step in ("compile", "interpreter") if isinstance(result.get(step), dict)]
        wrong = next((j for j in judged if j.get("status") not in ("correct", "infrastructure")), None)
        if wrong is not None:
            status = str(wrong.get("status"))
            return f"variant {result.get('variant')} {STATUS_WORDS.get(status, (status,))[0]}: {wrong.get('reason')}"
        sound = [j for j in judged if j.get("status") == "correct"]
        found = ("is not compiled", "compiles", "compiles and is correct in the interpreter")[len(sound)]
        more = [str(j.get("programs") or j.get("reason") or "") for j in judged[1:]]  # of the interpreter
        return f"variant {result.get('variant')} {': '.join(filter(None, [found, *more]))}"
    variants = result.get("variants")
    if isinstance(variants, list) and isinstance(result.get("left_out"), dict):
        statuses = [str(v.get("compile")) for v in variants if isinstance(v, dict)]
        if not statuses:
            return f"none of {len(result['left_out'])} known rewrites applies"
        compiled = statuses.count("correct")
        return f"{len(statuses)} known rewrites made, of which {compiled} compile; {len(result['left_out'])} left out"
    return ""
