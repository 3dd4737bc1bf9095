"""What a goal means, as one line, and the table of goals (``goals.toml``)."""

from __future__ import annotations

import tomllib
from pathlib import Path

from agent.errors import UsageError
from agent.goal.description import describe
from agent.goal.goal import Given
from agent.goal.request import understood

TABLE = Path(__file__).with_name("goals.toml")
REFUSED = "refused: "


def table() -> dict[str, dict[str, str]]:
    """Section → goal → its meaning, or ``refused:`` and a part of the sentence."""
    found: dict[str, dict[str, str]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return found


def meaning(goal: str) -> str:
    """The problem with every option of its label, and whatever else the goal decides; or the refusal."""
    try:
        objective, notices = understood(goal, Given())
    except UsageError as e:
        return f"{REFUSED}{e}"
    said = describe(objective)
    parts = [f"{said['kernel']} {said['label']}"]
    parts += [said["metric"]] if objective.metric else []
    for target in objective.targets:
        of = target.metric or target.baseline or "roofline"
        parts.append(f"target {of} {target.value:g}")
    parts += ["sustained"] if objective.regime == "sustained" else []
    parts += [objective.device] if objective.device != "auto" else []
    parts += [f"GPU {objective.gpu}"] if objective.gpu else []
    limits = objective.limits.model_dump(exclude_defaults=True)
    parts += [f"{name} {value:g}" for name, value in limits.items()]
    return ", ".join(parts + list(notices))
