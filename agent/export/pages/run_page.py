"""Renders the web page of a run. :mod:`memory.pages.frame` has what all pages share."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from agent.export.edited_code import variants_made
from agent.export.story import Attempt, Call, Story, Turn, key, rows
from agent.goal.objective import Setting
from agent.loop.outcome import EFFECTS_MEAN, list_shares
from agent.trace.trace import JSON
from kernels.hardware import hardware_named
from kernels.hardware.gpu_facts import from_json
from memory.pages import frame

POINTS_LISTED = 200
"""Most turning points that the page lists. It gives the number of the others."""
REASONS_LISTED = 12
"""Most ends of attempts that the page of a run that is not proven lists."""
FIGURES = ("registers", "spill_bytes", "shared_bytes")
"""The compiler's figures that the table shows."""


def export(story: Story) -> str:
    """The page."""
    title = f"{story.setting.kernel} {story.setting.label}: run {story.run}"
    content = {
        "setting": story.setting,
        "outcome": story.outcome,
        "warnings": warnings(story),
        "verdict": verdict(story),
        "facts": facts(story),
        "points": story.points,
        "POINTS_LISTED": POINTS_LISTED,
        "evidence": evidence(story),
        "variants": variants_made(story),
        "activities": sum_activities(story),
        "total": total_seconds(story),
        "recorded": recorded(story),
        "where": story.setting.where(),
        "config": config_text(story),
        "tried": [] if story.outcome and story.outcome.proven else list_tried(story),
    }
    charts, tables = (frame.read_resource(f"agent.export.pages/{name}.js") for name in ("charts", "page"))
    script = charts + tables.replace('"use strict";\n', "", 1)
    return frame.page("agent.export.pages/run_page.html", title, content, script, data(story))


def verdict(story: Story) -> str:
    if story.outcome is None:
        return f"Not finished: it stopped in turn {len(story.turns)}."
    return story.outcome.headline()


def warnings(story: Story) -> list[str]:
    found = []
    if story.broken is not None:
        found.append(f"This trace was edited at event {story.broken}: do not trust what follows.")
    if story.torn:
        found.append("The last line of the trace is incomplete: the run was killed while it wrote.")
    return found


def facts(story: Story) -> list[tuple[str, str]]:
    """(name, value) pairs. The page leaves empty values out."""
    objective, setting, outcome = story.objective, story.setting, story.outcome
    best, parent = outcome.best if outcome else None, story.header.get("parent")
    evaluations = outcome.evaluations if outcome else len(story.attempts)  # a failed compilation costs one too
    versions = story.header.get("versions")
    rate = f", {best.value:.1f} {setting.unit}" if best and setting.metric != "latency" else ""
    made = " ".join(f"{n} {v}" for n, v in versions.items()) if isinstance(versions, dict) else ""
    return [
        ("goal", objective.goal),
        *(("note", notice) for notice in objective.notices),
        *(("target", target.describe()) for target in (outcome.targets if outcome else ())),
        ("device", setting.where()),
        ("regime", setting.regime),
        ("model", f"{objective.model}, seed {objective.seed}"),
        ("best config", " ".join(f"{n}={v}" for n, v in best.config.items()) if best else ""),
        ("time", f"{best.ms:.4f} ms{rate}" if best else ""),
        ("of the roof", f"{best.share_of_roofline:.1%}" if best and best.share_of_roofline else ""),
        ("a better proof", outcome.earlier.describe() if outcome and outcome.earlier else ""),
        ("search", f"{evaluations} evaluations, {len(story.turns)} turns, {total_seconds(story):.0f} s"),
        ("ended because", story.stopped),
        ("what matters", what_matters(story)),
        ("run", story.run),
        ("parent", f"{parent.get('run')}" if isinstance(parent, dict) else ""),
        ("made with", f"{made} {story.header.get('git') or ''}".strip()),
    ]


def what_matters(story: Story) -> str:
    """The effects of the parameters; of a run by an earlier version, their importance."""
    effects, importance = (story.outcome.effects, story.outcome.importance) if story.outcome else ({}, {})
    if effects:
        return f"{list_shares(effects)} ({EFFECTS_MEAN})"
    return f"{list_shares(importance)} (of the predicted variation, each alone)" if importance else ""


def evidence(story: Story) -> JSON | None:
    """The last answer of the run that explains a config from its code: its limit, the busy share of each unit, and its
    hot lines; ``None`` if there is none. An answer is a trace's: what is no number there is left out."""
    found = None
    for call_ in (c for t in story.turns for c in t.calls):
        result = call_.result or {}
        limits = [result.get(name) for name in ("limit", "next")]
        if all(isinstance(x, dict) for x in limits) and isinstance(result.get("busy"), dict):
            named = [(str(x.get("name")), _share(x.get("share")), str(x.get("why", ""))) for x in limits if x]
            shares = {name: _shares(result.get(name)) for name in ("busy", "lines")}
            found = {"limits": named, "hardware": str(result.get("hardware")), **shares}
    return found


def _shares(given: Any) -> dict[str, float]:
    return {str(name): _share(value) for name, value in given.items()} if isinstance(given, dict) else {}


def _share(given: Any) -> float:
    return float(given) if isinstance(given, int | float) else 0.0


def recorded(story: Story) -> str:
    """What a reader has to know of a recorded device; empty for a GPU."""
    device = story.setting.device
    if device.get("kind") != "recorded":
        return ""
    source, gpu = device.get("landscape"), device.get("name")
    return f"Recorded: no GPU was used. Times were looked up in {source}, measured on {gpu}."


def config_text(story: Story) -> str:
    """The best config as JSON, to be copied."""
    best = story.outcome.best if story.outcome else None
    return json.dumps(best.config) if best else ""


def list_tried(story: Story) -> list[str]:
    """What became of the attempts of a run that proved nothing: how many ended alike and why, the most frequent first;
    then the final sittings."""
    ends = Counter((a.status, "" if a.status == "correct" else a.reason or "") for a in story.attempts)
    lines = [f"{count} × {status}{f': {reason}' if reason else ''}" for (status, reason), count in ends.most_common()]
    more = len(lines) - REASONS_LISTED
    lines = lines[:REASONS_LISTED] + ([f"and {more} more ends, in the table of attempts"] if more > 0 else [])
    for number, proof in enumerate(story.proofs, 1):
        rows = [row for row in proof.get("comparisons") or () if isinstance(row, dict) and row.get("speedup")]
        over = ", ".join(f"{row['speedup']:.3f}x over {row.get('name')}" for row in rows)
        lines.append(f"final sitting {number}: {over or proof.get('reason') or proof.get('status')}")
    return lines


def total_seconds(story: Story) -> float:
    """The search's time as the report prints it; of a run that has not ended, the time since its first event."""
    return story.outcome.seconds if story.outcome else story.seconds


def sum_activities(story: Story) -> dict[str, float]:
    """Seconds of each activity; ``other`` is what is left of the search's time."""
    spent: dict[str, float] = {}
    for activity, _, seconds, _ in story.spans:
        spent[activity] = spent.get(activity, 0.0) + seconds
    return {**spent, "other": max(0.0, total_seconds(story) - sum(spent.values()))}


def data(story: Story) -> JSON:
    """The data that the page's script draws."""
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
    """Every config that a tool proposed or received, once, with its result."""
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
    """Roofs in TFLOP/s and TB/s by the GPU's facts; ``None`` for hardware without facts."""
    facts = setting.device.get("facts")
    try:
        hardware = from_json(facts) if facts else hardware_named(setting.hardware)
    except ValueError:
        return None
    peak, intensity = hardware.peak.get(str(setting.problem.get("dtype"))), setting.flops / max(1, setting.bytes)
    if not peak:
        return None
    return {
        "peak": peak / 1e12,
        "bandwidth": hardware.bandwidth / 1e12,
        "intensity": intensity,
        "floor_ms": setting.floor_ms,
        "roof": min(peak, hardware.bandwidth * intensity) / 1e12,
        "hardware": hardware.name,
        "origin": hardware.describe_origin("bandwidth", "peak"),
    }


def turn(t: Turn) -> JSON:
    asked = [{"role": str(m.get("role")), "content": str(m.get("content"))} for m in t.asked if m.get("role") != "tool"]
    about: dict[str, Any] = {"number": t.number, "began": t.began, "model": t.model, "tokens": t.tokens}
    return {**about, "words": t.words, "seconds": t.seconds, "asked": asked, "calls": [call(c) for c in t.calls]}


def call(c: Call) -> JSON:
    about = {"name": c.name, "arguments": c.arguments, "result": c.result, "seconds": c.seconds}
    return {**about, "error": c.error}
