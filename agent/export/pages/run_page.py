"""One web page of a run: a single file without outside resources, for any browser, offline.

Text from models, kernels and compilers is data: in the markup it is escaped, in the script it is JSON in a block that
no text can end, and the page's policy runs the one script whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib import resources
from typing import Any

from agent.export.story import Attempt, Call, Story, Turn, key, rows
from agent.goal.objective import Setting
from agent.loop.outcome import matters
from agent.trace.trace import JSON
from kernels.hardware import hardware_named

FIGURES = ("registers", "spill_bytes", "shared_bytes")
"""What the compiler said that the table shows."""


def export(story: Story) -> str:
    """The page."""
    style, script = read("page.css"), read("charts.js") + read("page.js").replace('"use strict";\n', "", 1)
    proof = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{proof}'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(story.setting.kernel)} {escape(story.setting.label)}: run {escape(story.run)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body(story)}
</main>
<script type="application/json" id="run">{embedded(data(story))}</script>
<script>{script}</script>
</body>
</html>
"""


def read(name: str) -> str:
    return resources.files("agent.export").joinpath(name).read_text(encoding="utf-8")


def embedded(value: JSON) -> str:
    """JSON that cannot end the script block it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def body(story: Story) -> str:
    """What is there without a script too: verdict, facts, turning points; and the places of charts and tables."""
    setting, outcome = story.setting, story.outcome
    points = "".join(f"<li>[{p.turn}] {escape(p.text)}</li>" for p in story.points[:200])
    if len(story.points) > 200:
        points += f"<li>and {len(story.points) - 200} more</li>"
    unit = escape(setting.unit)
    return f"""<h1>{escape(setting.kernel)} {escape(setting.label)}</h1>
{warnings(story)}<p class="verdict{" proven" if outcome and outcome.proven else ""}">{escape(verdict(story))}</p>
<dl class="facts">{"".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in facts(story) if v)}</dl>
<h2>Proof</h2>
<figure><div id="proof"></div><figcaption>Speed-up of the result over each baseline, timed in one sitting, with its
95 % interval. {escape(outcome.how) if outcome else ""}</figcaption></figure>
<div id="baselines" class="scroll"></div>
<h2>Best so far</h2>
<figure><div id="progress"></div><figcaption>{unit} of every evaluation; the line is the best so far, red
circles at the foot failed, dashed lines are the baselines. The slowest quarter may stand at the foot
too.</figcaption></figure>
<h2>Turning points</h2>
<ul>{points or "<li>none</li>"}</ul>
<h2>Proposals over the space</h2>
<figure><div id="ways"></div><figcaption>A line is a config that was proposed, compiled or measured; blue is fast, brown
slow, green the fastest, dashed red failed. The slowest tenth ends at the axis' foot.</figcaption></figure>
<h2>Roofline</h2>
<figure><div id="roofline"></div><figcaption>Datasheet roofs of {escape(setting.hardware)}; attempts stand at the
problem's arithmetic intensity, dashes are baselines.</figcaption></figure>
<h2>Where the time went</h2>
<figure><div id="time"></div><figcaption class="key">{legend(story)}</figcaption></figure>
<h2>Attempts</h2>
<div id="attempts"></div>
<h2>Conversation</h2>
<div id="conversation"></div>"""


def verdict(story: Story) -> str:
    if story.outcome is None:
        return f"Not finished: it stopped in turn {len(story.turns)}."
    return f"{'Proven' if story.outcome.proven else 'Not proven'}: {story.outcome.why}"


def warnings(story: Story) -> str:
    found = []
    if story.broken is not None:
        found.append(f"This trace was edited at event {story.broken}: do not trust what follows.")
    if story.torn:
        found.append("The last line of the trace is torn: the run was killed while it wrote.")
    return "".join(f'<p class="warning">{escape(text)}</p>\n' for text in found)


def facts(story: Story) -> list[tuple[str, str]]:
    """(name, value), empty values left out by the caller."""
    objective, setting, outcome = story.objective, story.setting, story.outcome
    best, parent = outcome.best if outcome else None, story.header.get("parent")
    versions = story.header.get("versions")
    made = " ".join(f"{n} {v}" for n, v in versions.items()) if isinstance(versions, dict) else ""
    return [
        ("goal", objective.goal),
        ("device", setting.where()),
        ("regime", setting.regime),
        ("model", f"{objective.model}, seed {objective.seed}"),
        ("best config", " ".join(f"{n}={v}" for n, v in best.config.items()) if best else ""),
        ("time", f"{best.ms:.4f} ms, {best.tflops:.1f} TFLOP/s" if best else ""),
        ("of the roof", f"{best.share_of_roofline:.1%}" if best and best.share_of_roofline else ""),
        ("search", f"{len(story.attempts)} evaluations, {len(story.turns)} turns, {story.seconds:.0f} s"),
        ("ended because", story.stopped),
        ("what matters", importance(story)),
        ("run", story.run),
        ("parent", f"{parent.get('run')}" if isinstance(parent, dict) else ""),
        ("made with", f"{made} {story.header.get('git') or ''}".strip()),
    ]


def importance(story: Story) -> str:
    found = story.outcome.importance if story.outcome else {}
    return f"{matters(found)} (of the predicted variation, each alone)" if found else ""


def legend(story: Story) -> str:
    spent: dict[str, float] = {}
    for activity, _, seconds, _ in story.spans:
        spent[activity] = spent.get(activity, 0.0) + seconds
    return "".join(f'<span><i class="{name}"></i>{name} {seconds:.1f} s</span>' for name, seconds in spent.items())


def data(story: Story) -> JSON:
    """What the script draws."""
    setting = story.setting
    return {
        "unit": setting.unit,
        "metric": setting.metric,
        "lower": setting.metric == "latency",
        "seconds": story.seconds,
        "parameters": parameters(story),
        "attempts": [attempt(setting, a) for a in story.attempts],
        "proposals": proposals(story),
        "baselines": baselines(story),
        "roof": roof(setting),
        "spans": [[name, round(began, 3), round(seconds, 4), what] for name, began, seconds, what in story.spans],
        "turns": [turn(t) for t in story.turns],
    }


def parameters(story: Story) -> list[str]:
    """The fields of the configs, in their order."""
    names: dict[str, None] = {}
    for config in (a.config for a in story.attempts[:50]):
        names.update(dict.fromkeys(config))
    return list(names)


def attempt(setting: Setting, a: Attempt) -> JSON:
    return {
        "number": a.number,
        "turn": a.turn,
        "status": a.status,
        "reason": a.reason,
        "why": a.why,
        "config": a.config,
        "ms": a.ms,
        "value": setting.value(a.ms) if a.ms else None,
        "tflops": setting.tflops(a.ms) if a.ms else None,
        "predicted_ms": a.predicted_ms,
        "record": a.record,
        "compiled": {name: a.compiled[name] for name in FIGURES if name in a.compiled},
    }


def proposals(story: Story) -> list[JSON]:
    """Every config that a tool was asked about or proposed, once, with what became of it."""
    found: dict[str, JSON] = {}
    for a in story.attempts:
        found[key(vars(a))] = {"config": a.config, "ms": a.ms, "status": a.status, "failed": a.ms is None}
    for call in (call for turn in story.turns for call in turn.calls if call.result):
        for name in ("proposals", "results"):
            for row in rows(call.result or {}, name):
                failed = name == "results" and row.get("status") != "correct"
                entry = {"config": row["config"], "ms": None, "status": str(row.get("status", "proposed"))}
                found.setdefault(key(row), {**entry, "failed": failed})["failed"] |= failed
    return list(found.values())


def baselines(story: Story) -> list[JSON]:
    setting = story.setting
    made = story.outcome.baselines if story.outcome else []
    return [
        row.model_dump(mode="json")
        | {
            "value": setting.value(row.ms) if row.ms else None,
            "tflops": setting.tflops(row.ms) if row.ms else None,
        }
        for row in made
    ]


def roof(setting: Setting) -> JSON | None:
    """Datasheet roofs in TFLOP/s and TB/s; ``None`` for hardware without facts."""
    try:
        hardware = hardware_named(setting.hardware)
    except ValueError:
        return None
    peak, intensity = hardware.peak.get(str(setting.problem.get("dtype"))), setting.flops / max(1, setting.bytes)
    if not peak:
        return None
    return {
        "peak": peak / 1e12,
        "bandwidth": hardware.bandwidth / 1e12,
        "intensity": intensity,
        "roof": min(peak, hardware.bandwidth * intensity) / 1e12,
        "hardware": hardware.name,
    }


def turn(t: Turn) -> JSON:
    asked = [{"role": str(m.get("role")), "content": str(m.get("content"))} for m in t.asked if m.get("role") != "tool"]
    about: dict[str, Any] = {"number": t.number, "began": t.began, "model": t.model, "tokens": t.tokens}
    return {**about, "words": t.words, "seconds": t.seconds, "asked": asked, "calls": [call(c) for c in t.calls]}


def call(c: Call) -> JSON:
    about = {"name": c.name, "arguments": c.arguments, "result": c.result, "seconds": c.seconds}
    return {**about, "error": c.error}
