"""Decides whether a search goes on, and writes the note to the model before its next turn.

The harness limits the evaluations. This module limits turns, tokens, dollars and seconds. It warns a model that makes
no progress, lets the embedded planner play a batch in its place and hands back. It asks a model that stops early once
whether it wants to go on. When the model's part has ended, the planner spends what is left, if it expects a gain.
"""

from __future__ import annotations

from dataclasses import asdict, replace

from agent.loop import prompt
from agent.loop.actions import Left
from agent.loop.state import Context, State
from agent.models.base import CLIENT, EMBEDDED, done_calls
from agent.models.context import estimate
from agent.models.prices import Price
from agent.trace.trace import JSON
from agent.turn.calls import MAX_CALLS

FRUITLESS = 3
"""Turns in a row that slip in the same way after which the embedded planner takes over or, if it decides already, the
search ends. Different slips are attempts to get it right."""
MOST_SLIPS = 6
"""The same for turns in a row that bring nothing new, however they differ."""
MOST_TAKEOVERS = 3
"""The planner plays one batch and hands back, until it takes over for the third time: then it decides to the end."""
IDLE = 10
"""Turns of a model in a row without a measurement, while evaluations are left, after which it takes over. The planner
itself gives up after so many configs that do not compile, however many turns they took."""
CLOSING = 4
"""Turns granted after the last evaluation, to check and to conclude."""
SHORTEST_REPLY = 256
"""Tokens of an answer below which a turn is not worth starting."""


def judge(state: State, context: Context) -> JSON:
    """The decision before a turn: ``stop`` or ``takeover`` (why, or empty), whether the planner then plays to the end
    (``finishing``) or has just handed back (``hands_back``), the ``note`` before the turn, and what is ``left``."""
    planner = context.objective.model == EMBEDDED or bool(state["takeover"])
    if state["finishing"]:
        context.actions.release_reserve()  # again, if the run was resumed since
    left = context.actions.left()
    verdict = judge_planner(state, context, left) if planner else judge_model(state, context, left)
    if verdict.get("takeover"):
        if verdict.get("finishing"):
            context.actions.release_reserve()
        verdict["note"] = prompt.describe_takeover(with_reserve(left).evaluations)
    stop = verdict.get("stop", "")
    return {
        "stop": stop + describe_takeover(state) if stop else "",
        "left": asdict(left),
        "tokens": state["tokens"],
        "cost": round(state["cost"], 6),
        "takeover": verdict.get("takeover", ""),
        "finishing": verdict.get("finishing", False),
        "hands_back": verdict.get("hands_back", False),
        "note": verdict.get("note", ""),
        "pressed": verdict.get("pressed", False),
    }


def with_reserve(left: Left) -> Left:
    """What is left after the reserve was given to whoever decides."""
    return replace(left, evaluations=left.evaluations + left.reserve, reserve=0)


def judge_planner(state: State, context: Context, left: Left) -> JSON:
    """The planner's turn: it stops, goes on, or hands back after a batch."""
    if state["spoke"] == "words":
        return {"stop": "the planner concluded" if state["takeover"] else "the model concluded"}
    if stop := used_up(state, context, left):
        return {"stop": stop}
    if stuck := no_progress(state, left, planner=True):
        return {"stop": stuck}
    if state["takeover"] and not state["finishing"] and left.used > state["taken_at"] and left.evaluations:
        why = prompt.HANDED_BACK.format(why=state["takeover"])
        return {"hands_back": True, "note": f"{why}\n{prompt.remaining(spare(state, context, left))}"}
    return {}


def judge_model(state: State, context: Context, left: Left) -> JSON:
    """A language model's turn: it goes on with a note, the planner takes its place, or the search ends."""
    replaceable = is_replaceable(context)
    if left.seconds <= 0:
        return {"stop": used_up(state, context, left)}
    if ended := reason_to_end(state, context, left):
        if replaceable and left.evaluations + left.reserve and not advised_to_stop(state, context):
            return {"takeover": ended, "finishing": True}
        return {"stop": ended}
    if stuck := no_progress(state, left, planner=False):
        if not replaceable:
            return {"stop": stuck}
        return {"takeover": stuck, "finishing": len(state["took_over"]) + 1 >= MOST_TAKEOVERS}
    note, pressed = write_note(state, context, left)
    return {"note": note, "pressed": pressed}


def is_replaceable(context: Context) -> bool:
    """Whether the planner may take the model's place: not in a scored run, and not that of somebody's coding agent."""
    return not context.objective.alone and context.objective.model not in (EMBEDDED, CLIENT)


def advised_to_stop(state: State, context: Context) -> bool:
    """Whether the planner has advised to stop, and nothing was measured since."""
    for call in reversed(list(done_calls(state["messages"], context.actions.tools))):
        if call.declared.returns == "measurements" and "error" not in call.result:
            return False
        if call.declared.returns == "proposals":
            return bool(call.result.get("stop"))
    return False


def used_up(state: State, context: Context, left: Left) -> str:
    """Which budget of the search is spent; empty if none is."""
    limits = context.objective.limits
    if left.seconds <= 0:
        return f"the time is used up ({limits.max_seconds:g} s)"
    if state["closing"] >= CLOSING:
        return f"the evaluations are used up ({limits.max_evals})"
    return ""


def reason_to_end(state: State, context: Context, left: Left) -> str:
    """Why the model's part of the search ends here; empty if it goes on."""
    limits = context.objective.limits
    if state["spoke"] == "words" and not (wants_evidence(state, left) or presses(state, context, left)):
        return f"the model concluded{f' with {left.evaluations} evaluations left' if left.evaluations else ''}"
    if spent := used_up(state, context, left):
        return spent
    if state["model_calls"] >= limits.max_model_calls:
        return f"the model calls are used up ({limits.max_model_calls})"
    if state["model_seconds"] >= limits.max_model_seconds:
        return f"the model's time is used up ({limits.max_model_seconds:g} s)"
    need = 0 if limits.max_tokens is None and limits.max_cost is None else prompt_tokens(state, context)
    if limits.max_tokens is not None and state["tokens"] + need + SHORTEST_REPLY > limits.max_tokens:
        return f"the tokens are used up ({state['tokens']} of {limits.max_tokens}; a turn needs about {need})"
    price = price_in(context)
    if limits.max_cost is not None and price.affords(limits.max_cost - state["cost"], need) < SHORTEST_REPLY:
        return f"the money is used up (${state['cost']:.4f} of ${limits.max_cost:g}; a turn's prompt has {need} tokens)"
    return ""


def no_progress(state: State, left: Left, planner: bool) -> str:
    """Why the model or the planner is considered stuck; empty if it is not."""
    slips = state["slips"]
    if len(slips) >= FRUITLESS and len(set(slips[-FRUITLESS:])) == 1:
        return f"{FRUITLESS} turns in a row brought nothing new ({slips[-1]})"
    if len(slips) >= MOST_SLIPS:
        return f"{MOST_SLIPS} turns in a row brought nothing new"
    if not planner and state["idle"] >= IDLE and left.used == state["measured"] and left.evaluations:
        return f"{IDLE} turns in a row measured nothing"
    return ""


def warn(state: State, context: Context, left: Left) -> str:
    """A warning one turn before the model would lose its place; empty if it is not so far."""
    slips = state["slips"]
    same = len(slips) >= FRUITLESS - 1 and len(set(slips[-(FRUITLESS - 1) :])) == 1
    if same or len(slips) == MOST_SLIPS - 1:
        why = f"{FRUITLESS - 1 if same else len(slips)} turns in a row brought nothing new ({slips[-1]})"
    elif state["idle"] == IDLE - 1 and left.used == state["measured"] and left.evaluations:
        why = f"{state['idle']} turns in a row measured nothing"
    else:
        return ""
    what = "the embedded planner takes over" if is_replaceable(context) else "the search ends"
    return prompt.WARNING.format(why=why, what=what)


def describe_takeover(state: State) -> str:
    took_over = "; ".join(dict.fromkeys(state["took_over"]))
    return f"; the embedded planner had taken over, because {took_over}" if took_over else ""


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
    said |= {"announces": prompt.ANNOUNCED, "written": prompt.WRITTEN}
    if state["spoke"] in said:
        lines.append(said[state["spoke"]])
    if state["dropped"]:
        lines.append(prompt.FLOODED.format(most=MAX_CALLS, dropped=state["dropped"]))
    if warning := warn(state, context, left):
        lines.append(warning)
    return "\n".join([*lines, prompt.remaining(spare(state, context, left))]), pressed


def spare(state: State, context: Context, left: Left) -> JSON:
    """What is left of each budget, for the model."""
    limits = context.objective.limits
    return {
        "evaluations": left.evaluations,
        "more_for_proposals_of_suggest_configs": left.reserve or None,
        "seconds": round(left.seconds),
        "model_calls": limits.max_model_calls - state["model_calls"],
        "tokens": None if limits.max_tokens is None else limits.max_tokens - state["tokens"],
        "dollars": None if limits.max_cost is None else round(limits.max_cost - state["cost"], 4),
    }


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
