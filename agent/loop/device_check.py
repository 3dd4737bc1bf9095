"""Whether a run fits the device that was opened for it."""

from __future__ import annotations

import re

from agent.errors import UsageError
from agent.goal.objective import Objective, Setting


def check_gpu(objective: Objective, setting: Setting) -> None:
    """A goal that names a GPU model means that one."""
    wanted = objective.gpu
    name = f"{setting.device.get('name')} {setting.hardware}".lower()
    if wanted is None:
        return
    model = re.sub(r"^(nvidia|amd|geforce|rtx|gtx|pro| )+", "", wanted)
    if not re.search(rf"(?<![0-9a-z]){re.escape(model)}(?![0-9a-z])", name):
        raise UsageError(
            f"The goal names {wanted.upper()} and the device is {setting.where()}: "
            "choose another with --device, or leave the name out."
        )


def check_same(before: Setting, now: Setting) -> None:
    """Readings of two devices do not mix in one run. A field that the problem has been given since has its default."""
    for what, old, new in (
        ("problem", before.problem, {name: now.problem.get(name) for name in before.problem}),
        ("device", before.device.get("name"), now.device.get("name")),
        ("kind of device", before.device.get("kind"), now.device.get("kind")),
    ):
        if old != new:
            raise UsageError(f"The run was made with the {what} {old} and now there is {new}: start a new run.")
