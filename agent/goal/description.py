"""A goal as it was understood, for ``--dry-run``: no device is opened and nothing is tuned."""

from __future__ import annotations

from typing import Any

from agent.goal.objective import Objective
from kernels.registry import get
from memory.terms import ENERGY_UNITS, UNITS


def describe(objective: Objective) -> dict[str, Any]:
    """What the run would be, with the kernel's own values of all that the goal leaves open."""
    spec = get(objective.kernel)
    problem = spec.parse_problem(objective.shape, dict(objective.options))
    metric = objective.metric or spec.metric
    return {
        "goal": objective.goal,
        "kernel": objective.kernel,
        "label": problem.label(),
        "problem": problem.model_dump(mode="json"),
        "metric": metric,
        "unit": ENERGY_UNITS.get(metric) or UNITS[metric],
        "targets": [target.model_dump(mode="json") for target in objective.targets],
        "against": list(objective.against),
        "bitwise": objective.bitwise,
        "regime": "sustained" if metric in ENERGY_UNITS else objective.regime,
        "device": objective.device,
        "gpu": objective.gpu,
        "model": objective.model,
        "limits": objective.limits.model_dump(mode="json"),
        "seed": objective.seed,
        "notices": list(objective.notices),
    }


def render(said: dict[str, Any]) -> str:
    """The same as lines."""
    limits = {name: value for name, value in said["limits"].items() if value is not None}
    lines = [
        f"goal       {said['goal'] or '(options only)'}",
        f"kernel     {said['kernel']} {said['label']}",
        f"problem    {' '.join(f'{name}={value}' for name, value in said['problem'].items())}",
        f"metric     {said['metric']} ({said['unit']}), {said['regime']}",
        *(f"target     {target['words']}" for target in said["targets"]),
        *([f"judged     against {', '.join(said['against'])} alone"] if said["against"] else ()),
        *(["bits       those of the owner's launch alone are proven"] if said["bitwise"] else ()),
        f"device     {said['device']}" + (f", which must be {said['gpu'].upper()}" if said["gpu"] else ""),
        f"model      {said['model']}, seed {said['seed']}",
        f"limits     {', '.join(f'{name} {value:g}' for name, value in limits.items())}",
        *(f"note       {notice}" for notice in said["notices"]),
        "Nothing was run: leave --dry-run out to run it.",
    ]
    return "\n".join(lines)
