"""Decides whether a search goes on, and writes the note to the model before its next turn.

The harness limits the evaluations. This module limits turns, tokens, dollars and seconds, replaces a model that makes
no progress by the embedded planner, and asks a model that stops early once whether it wants to go on.
"""

from __future__ import annotations

from dataclasses import asdict

from agent.loop import prompt
from agent.loop.actions import Left
from agent.loop.state import Context, State
from agent.models.base import EMBEDDED, done_calls
from agent.models.context import estimate
from agent.models.prices import Price
from agent.trace.trace import JSON

MAX_CALLS = 16
"""Tool calls run of one message."""
FRUITLESS = 3
"""Turns in a row without one new tool result after which the embedded planner takes over or, if it decides already, the
search ends."""
IDLE = 10
"""Turns of a model in a row without a measurement, while evaluations are left, after which it takes over. The planner
itself gives up after so many configs that do not compile, however many turns they took."""
CLOSING = 4
"""Turns granted after the last evaluation, to check and to conclude."""
SHORTEST_REPLY = 256
"""Tokens of an answer below which a turn is not worth starting."""


def judge(state: State, context: Context) -> JSON:
    """The decision before a turn: ``stop`` or ``takeover`` (why, or empty), the ``note`` for the model, and what is
    ``left``."""
    left = context.actions.left()
    planner = context.objective.model == EMBEDDED or bool(state["takeover"])
    stop = reason_to_stop(state, context, left, planner)
    stuck = "" if stop else no_progress(state, left, planner)
    last = planner or context.objective.alone
    takeover = "" if last else stuck
    stop = stop or (stuck if last else "")
    note, pressed = ("", False) if stop or takeover or planner else write_note(state, context, left)
    return {
        "stop": stop + describe_takeover(state) if stop else "",
        "left": asdict(left),
        "tokens": state["tokens"],
        "cost": round(state["cost"], 6),
        "takeover": takeover,
        "note": prompt.TAKEOVER if takeover else note,
        "pressed": pressed,
    }


def reason_to_stop(state: State, context: Context, left: Left, planner: bool) -> str:
    """Why the search ends here; empty if it goes on."""
    limits = context.objective.limits
    if state["spoke"] == "words" and (planner or not (wants_evidence(state, left) or presses(state, context, left))):
        return "the planner concluded" if state["takeover"] else "the model concluded"
    if left.seconds <= 0:
        return f"the time is used up ({limits.max_seconds:g} s)"
    if state["closing"] >= CLOSING:
        return f"the evaluations are used up ({limits.max_evals})"
    if planner:
        return ""
    if state["model_calls"] >= limits.max_model_calls:
        return f"the model calls are used up ({limits.max_model_calls})"
    need = 0 if limits.max_tokens is None and limits.max_cost is None else prompt_tokens(state, context)
    if limits.max_tokens is not None and state["tokens"] + need + SHORTEST_REPLY > limits.max_tokens:
        return f"the tokens are used up ({state['tokens']} of {limits.max_tokens}; a turn needs about {need})"
    price = price_in(context)
    if limits.max_cost is not None and price.affords(limits.max_cost - state["cost"], need) < SHORTEST_REPLY:
        return f"the money is used up (${state['cost']:.4f} of ${limits.max_cost:g}; a turn's prompt has {need} tokens)"
    return ""


def no_progress(state: State, left: Left, planner: bool) -> str:
    """Why the model or the planner is considered stuck; empty if it is not."""
    if state["fruitless"] >= FRUITLESS:
        return f"{FRUITLESS} turns in a row brought nothing new"
    if not planner and state["idle"] >= IDLE and left.used == state["measured"] and left.evaluations:
        return f"{IDLE} turns in a row measured nothing"
    return ""


def describe_takeover(state: State) -> str:
    return f"; the embedded planner had taken over, because {state['takeover']}" if state["takeover"] else ""


def wants_evidence(state: State, left: Left) -> bool:
    """Whether nothing has been measured, so that a conclusion is not accepted."""
    return left.used == 0 and left.evaluations > 0


def presses(state: State, context: Context, left: Left) -> bool:
    """Whether to ask the model, once, if it really wants to leave most of its evaluations unused."""
    if state["pressed"] or left.evaluations <= left.used:
        return False
    done = done_calls(state["messages"], context.actions.tools)
    advice = [call.result for call in done if call.declared.returns == "proposals"]
    return not (advice and advice[-1].get("stop"))


def write_note(state: State, context: Context, left: Left) -> tuple[str, bool]:
    """The note to a language model before its turn, and whether it asks the model to go on."""
    if not state["turn"]:
        return "", False
    pressed = False
    lines = []
    if state["spoke"] == "words" and wants_evidence(state, left):
        lines.append(prompt.NO_EVIDENCE)
    elif state["spoke"] == "words" and presses(state, context, left):
        pressed = True
        lines.append(prompt.MORE_IS_LEFT.format(left=left.evaluations, all=left.evaluations + left.used))
    said = {"nothing": prompt.NUDGE, "length": prompt.CUT_OFF, "refusal": prompt.REFUSED}
    if state["spoke"] in said:
        lines.append(said[state["spoke"]])
    if state["dropped"]:
        lines.append(prompt.FLOODED.format(most=MAX_CALLS, dropped=state["dropped"]))
    limits = context.objective.limits
    spare = {
        "evaluations": left.evaluations,
        "seconds": round(left.seconds),
        "model_calls": limits.max_model_calls - state["model_calls"],
        "tokens": None if limits.max_tokens is None else limits.max_tokens - state["tokens"],
        "dollars": None if limits.max_cost is None else round(limits.max_cost - state["cost"], 4),
    }
    return "\n".join([*lines, prompt.remaining(spare)]), pressed


def prompt_tokens(state: State, context: Context) -> int:
    """Estimated tokens of the next prompt, scaled by how the endpoint counted the last one."""
    return int(estimate(state["messages"], context.actions.tools) * state["tokens_per_estimate"] * 1.1)


def answer_tokens(state: State, context: Context) -> int | None:
    """Tokens that the next answer may have; ``None`` means no limit."""
    limits = context.objective.limits
    if limits.max_tokens is None and limits.max_cost is None:
        return None
    allowed, need = [], prompt_tokens(state, context)
    if limits.max_tokens is not None:
        allowed.append(limits.max_tokens - state["tokens"] - need)
    if limits.max_cost is not None:
        allowed.append(price_in(context).affords(limits.max_cost - state["cost"], need))
    return max(SHORTEST_REPLY, min(allowed))


def price_in(context: Context) -> Price:
    """The price in the objective; zero if it is unknown, which is allowed only without a limit in dollars."""
    return Price(*(context.objective.price or (0.0, 0.0, 0.0)))
