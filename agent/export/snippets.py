"""A run's result as lines to paste, or as the JSON object of ``--json``."""

from __future__ import annotations

from collections.abc import Callable

from agent.errors import UsageError
from agent.export.owner_line import config_line, decorator_line
from agent.export.story import Story
from agent.loop.outcome import Outcome


def triton(story: Story) -> str:
    """One ``triton.Config(…)`` line, with the owner's hook if the kernel has one."""
    return f"{config_line(story.objective.kernel, config_of(story))}{mark(story)}\n"


def autotune(story: Story) -> str:
    """One ``@triton.autotune(configs=[…], key=[…])`` line, with the owner's hooks and key if the kernel has some."""
    kernel = story.objective.kernel  # `path.py:NAME` of a kernel that is not registered
    return f"{decorator_line(kernel, config_of(story), story.setting.problem)}{mark(story)}\n"


def json(story: Story) -> str:
    """The outcome as ``python -m agent --json`` printed it."""
    return f"{finished_outcome(story).model_dump_json()}\n"


FORMATS: dict[str, Callable[[Story], str]] = {"triton": triton, "autotune": autotune, "json": json}


def mark(story: Story) -> str:
    """A comment behind a line whose times were looked up and not measured."""
    return f"  # {story.setting.where()}, {story.setting.regime}" if story.setting.recorded else ""


def config_of(story: Story) -> dict[str, object]:
    outcome = finished_outcome(story)
    if outcome.best is None:
        raise UsageError(f"This run found no config ({outcome.why}), so it has no result to write.")
    return outcome.best.config


def finished_outcome(story: Story) -> Outcome:
    if story.outcome is None:
        raise UsageError("This run was not finished, so it has no result: continue it with python -m agent resume.")
    return story.outcome
