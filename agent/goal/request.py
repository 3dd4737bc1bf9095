"""From words and options to an objective that can be run: for the command line, the Python API and the MCP server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.goal.goal import Given
    from agent.goal.objective import Objective


def understood(words: str, given: Given) -> tuple[Objective, list[str]]:
    """The objective of a goal and options, and what the user should know of how they were read. Raises UsageError, also
    for a problem that the kernel refuses."""
    from agent.goal.goal import read_goal, require_kernel
    from agent.goal.goal_targets import resolve, resolve_rival
    from agent.goal.words.vocabulary import registered, words_of
    from kernels.registry import get
    from kernels.spec import sentence

    if given.kernel is None:
        require_kernel(words)
    kernels = registered()
    option = None
    if given.kernel is not None:
        try:
            option = next((k for k in kernels if given.kernel in (k.name, *k.aliases)), None) or words_of(given.kernel)
        except (KeyError, ValueError) as e:
            raise UsageError(str(e.args[0])) from e
    objective, notices = read_goal(words, given, kernels, option)
    spec = get(objective.kernel)
    try:
        problem = spec.parse_problem(objective.shape, dict(objective.options))
        baselines = spec.baselines(problem) if objective.targets or objective.against else []
    except ValueError as e:
        raise UsageError(sentence(e)) from e
    rivals = {baseline.name: baseline.equivalent for baseline in baselines}
    targets = tuple(resolve(target, objective.kernel, tuple(rivals)) for target in objective.targets)
    against = tuple(dict.fromkeys(resolve_rival(name, objective.kernel, rivals) for name in objective.against))
    return objective.model_copy(update={"targets": targets, "against": against}), notices


def requested(words: str, given: Given, cold: bool = False, edit: bool = False) -> tuple[Objective, list[str]]:
    """As ``understood``, with the model's price, and the notices in the objective and as lines. A goal that holds the
    key is refused."""
    from agent.models.choose import secrets
    from agent.models.prices import priced

    if any(secret in words for secret in secrets()):
        raise UsageError("The goal holds your API key: leave it out, goals are written into traces.")
    objective, notices = understood(words, given)
    objective = priced(objective.model_copy(update={"cold": cold, "edit": edit}))
    notices += about_model(objective)
    if given.model == objective.model == "embedded" and os.environ.get("OPENAI_API_KEY"):
        notices.append("the embedded planner decides, although there is a key: --model NAME lets a model decide")
    objective = objective.model_copy(update={"notices": tuple(notices)})
    return objective, [f"note: {notice}" for notice in notices]


def about_model(objective: Objective) -> list[str]:
    """What the user should know of the model before it is asked anything."""
    from agent.models.base import EMBEDDED
    from agent.models.prices import OVERRIDE

    notices = []
    if objective.price is None:
        notices.append(f"the price of {objective.model} is unknown, its cost is not counted ({OVERRIDE} names a table)")
    if objective.model == EMBEDDED and objective.effort is not None:
        notices.append(f"the embedded planner has no reasoning effort: --effort {objective.effort} changes nothing")
    return notices
