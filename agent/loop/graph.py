"""The loop: decide → act → decide … → verify → report.

`decide` asks the chat model, `act` runs its tool calls one after another (timings must never overlap), `verify` has the
harness prove the best config, `report` renders the outcome from what the harness said. State is plain JSON and is
checkpointed after every node; each step inside a node goes through the journal, so a node that was interrupted runs
again without repeating what it had finished.
"""

from __future__ import annotations

import json
import time
from typing import Any, Literal

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agent.failures import failures_in
from agent.loop import progress, prompt
from agent.loop.actions import Left
from agent.loop.outcome import Outcome, describe_stop, effects_in, importance_in, outcome_of
from agent.loop.search_end import answer_tokens, is_replaceable, judge, price_in, with_reserve
from agent.loop.state import Context as Context
from agent.loop.state import State, fresh
from agent.models.base import CLIENT, EMBEDDED, Message, Reply, ToolSchema, parse_arguments
from agent.models.choose import deputy_of
from agent.models.context import estimate, once
from agent.models.endpoint.faults import Outage
from agent.trace.trace import JSON
from agent.turn.calls import call_signature, correct_calls, number_calls
from agent.turn.earlier_answers import answers_by_call, call_configs, declined_configs, lasting
from agent.turn.words import NO_TOOL_PARSER, SLIPS, classify_message
from agent.verdict.next_finalist import Order
from agent.verdict.unmeasured_variants import unmeasured_variants

FINALISTS = 16
"""Configs at most that `verify` tries to prove, one after another."""


def start(context: Context) -> State:
    """The state before the first turn."""
    return fresh(list(context.opening or prompt.opening(context.objective, context.actions.setting)))


def decide(state: State, runtime: Runtime[Context]) -> JSON:
    """Stop, or get the next message from the model, or from the planner if it took over."""
    context, turn = runtime.context, state["turn"]
    word: Message = {"role": "user", "content": context.says.get(turn)}
    if turn in context.says and word not in state["messages"][-1:]:
        return {"messages": [word], "spoke": "", "slips": [], "idle": 0}
    verdict = context.journal.once("decision", f"turn {turn}", lambda: judge(state, context))
    if verdict["stop"]:
        return {"stop": verdict["stop"]}
    left = Left(**verdict["left"])
    left = with_reserve(left) if verdict["takeover"] else left
    takeover = "" if verdict.get("hands_back") else state["takeover"] or verdict["takeover"]
    context.watch.record_budget(left)
    speaker = EMBEDDED if takeover else context.objective.model
    context.watch.begin_step(f"{speaker} decides", counted=speaker == EMBEDDED)
    if verdict["takeover"]:
        context.watch.notify(f"the embedded planner takes over from {context.objective.model}: {takeover}")
    if verdict.get("hands_back"):
        context.watch.notify(f"the embedded planner hands back to {context.objective.model}")
    changes = verdict["takeover"] or verdict.get("hands_back")
    notes: list[Message] = [{"role": "user", "content": verdict["note"]}] if verdict["note"] else []
    heard: State = {**state, "messages": [*state["messages"], *notes], "takeover": takeover}
    context.journal.once("model_request", f"turn {turn}", lambda: request(heard["messages"], context.actions.tools))
    answer = context.journal.once("model_response", f"turn {turn}", lambda: respond(heard, context, left))
    for notice in answer.get("notices", ()):
        context.watch.notify(f"note: {notice}")
    if answer.get("error") and not is_replaceable(context):
        return {"messages": notes, "stop": f"the time is used up, and no answer came: {answer['error']}".rstrip(".")}
    numbered, dropped = number_calls(answer["message"], turn)
    message, corrected = correct_calls(numbered, context.actions.tools)
    context.watch.notify(progress.format_words(turn, message.get("content")))
    context.watch.record_words(message.get("content"))
    counted, ratio = answer.get("prompt_tokens"), state["tokens_per_estimate"]
    if counted:
        ratio = counted / estimate(heard["messages"], context.actions.tools)
    # A client over MCP is somebody else's agent: nobody takes its place.
    patience = 0 if context.objective.model == CLIENT else 1
    measured_since = left.used > state["measured"]
    language_model = not (takeover or context.objective.model == EMBEDDED)
    spoke = classify_message(message, answer.get("finish", ""))
    if spoke in ("announces", "written") and not (language_model and patience):
        spoke = "words"  # the planner and a client that finishes mean what they say
    if spoke == "written":
        context.watch.notify(f"note: {NO_TOOL_PARSER}")
    slips = [] if changes else state["slips"]
    if spoke != "calls" and patience:
        slips = [*slips, SLIPS[spoke]]
    changed: JSON = {
        "messages": [*notes, message],
        "turn": turn + 1,
        "model_calls": state["model_calls"] + language_model,
        "model_seconds": state.get("model_seconds", 0.0) + (answer["seconds"] if language_model else 0.0),
        "tokens": state["tokens"] + answer["tokens"],
        "cost": state["cost"] + answer.get("cost", 0.0),
        "tokens_per_estimate": ratio,
        "spoke": spoke,
        "dropped": dropped,
        "corrected": corrected,
        "slips": slips,
        "measured": left.used,
        "idle": 0 if measured_since or changes else state["idle"] + patience,
        "closing": state["closing"] + (left.evaluations == 0),
        "pressed": state["pressed"] or verdict["pressed"],
        "takeover": takeover,
    }
    if verdict["takeover"]:
        changed |= take_over(state, takeover, verdict.get("finishing", False), left)
    if answer.get("error"):
        why = f"no answer came: {answer['error']}".rstrip(".")
        context.watch.notify(f"the embedded planner takes over from {context.objective.model}: {why}")
        context.actions.release_reserve()
        left = with_reserve(left)
        changed |= take_over(state, why, True, left) | {"spoke": "", "slips": []}
        told: Message = {"role": "user", "content": prompt.describe_takeover(left.evaluations)}
        changed["messages"] = [*notes, message, told]
    return changed


def take_over(state: State, why: str, finishing: bool, left: Left) -> JSON:
    """What changes when the planner takes the model's place."""
    return {
        "takeover": why,
        "finishing": finishing,
        "took_over": [*state["took_over"], why],
        "taken_at": left.used,
        "slips": [],
        "closing": 0,
    }


def request(messages: list[Message], tools: list[ToolSchema]) -> JSON:
    """The request for the trace: a hash of everything that is sent, and the messages that are new to the model."""
    since = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    return {"hash": prompt.digest(messages, tools), "count": len(messages), "new": messages[since + 1 :]}


def respond(state: State, context: Context, left: Left) -> JSON:
    """Get one answer. If there will be none and there is something to prove, the reply has ``error`` instead. The time
    of a language model's answer is not the search's."""
    speaker = deputy_of(context.model) if state["takeover"] else context.model
    planner = bool(state["takeover"]) or context.objective.model == EMBEDDED
    limits = context.objective.limits
    seconds = left.seconds if planner else max(1.0, limits.max_model_seconds - state.get("model_seconds", 0.0))
    began = time.monotonic()
    try:
        reply = speaker.respond(state["messages"], context.actions.tools, seconds, answer_tokens(state, context))
    except Outage as e:
        replaced = is_replaceable(context) and not planner
        if not (e.out_of_time or replaced) or not context.actions.anything_to_prove():
            raise
        reply = Reply({"role": "assistant", "content": None}, usage=0, seconds=time.monotonic() - began, error=str(e))
    finally:
        if not planner:
            context.actions.excuse(time.monotonic() - began)
    tokens, cost = reply.usage, reply.cost
    if tokens is None:
        prompt_guess = estimate(state["messages"], context.actions.tools)
        answer_guess = len(str(once(reply.message))) // 3
        tokens, cost = prompt_guess + answer_guess, cost or price_in(context).cost(prompt_guess, 0, answer_guess)
    body: JSON = {
        "model": reply.model or speaker.name,
        "message": reply.message,
        "usage": reply.usage,
        "tokens": tokens,
        "seconds": round(reply.seconds, 3),
    }
    more = {
        "prompt_tokens": reply.prompt_tokens,
        "cached_tokens": reply.cached_tokens,
        "reasoning_tokens": reply.reasoning_tokens,
        "cost": round(cost, 8),
        "finish": reply.finish,
        "notices": list(reply.notices),
        "error": reply.error,
    }
    return body | {name: value for name, value in more.items() if value}


def act(state: State, runtime: Runtime[Context]) -> JSON:
    """Run the last message's tool calls in order and answer each."""
    context = runtime.context
    calls = state["messages"][-1]["tool_calls"]
    if context.objective.approve:
        context.actions.decline(declined_configs(state["messages"]))
    known = answers_by_call(state["messages"])
    verdicts = ask_approval(calls, state["turn"] - 1, context) if context.objective.approve else {}
    answers: list[Message] = []
    slips: list[str] = []
    fruitful = False
    for call in calls:
        name = call["function"]["name"]
        notes = state.get("corrected", {}).get(call["id"], [])
        result = run_call(call, context, verdicts.get(call["id"], {}), notes)
        context.watch.notify(progress.describe_answer(name, result, context.actions.setting))
        context.watch.record_answer(name, result, context.actions.setting)
        if result.get("error") == "refused":
            context.actions.decline(call_configs(call))
        signature, told = call_signature(call), lasting(result)
        if "error" in result:
            slips.append(f"{name}: {json.dumps([result['error'], *result.get('problems', ())][:2])[:120]}")
        elif known.get(signature) == told:
            slips.append(f"{name} repeated")
            result = {**result, "repeats": prompt.REPEATED}
        else:
            fruitful = True
        known[signature] = told
        answers.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
    slip = [] if context.objective.model == CLIENT else ["; ".join(dict.fromkeys(slips))]
    return {"messages": answers, "slips": [] if fruitful else [*state["slips"], *slip]}


def ask_approval(calls: list[JSON], turn: int, context: Context) -> JSON:
    """Ask a person about each batch that would run on the device; the verdicts by call id."""
    on_device = {tool.name for tool in context.actions.tools if tool.declared.on_device}
    batches = []
    for call in calls:
        arguments, problem = parse_arguments(call["function"]["arguments"])
        if call["function"]["name"] in on_device and not problem:
            batches.append({"id": call["id"], "tool": call["function"]["name"], "arguments": arguments})
    if not batches:
        return {}
    key = f"turn {turn}"
    answers: JSON = context.journal.once("approval", key, lambda: context.actions.approve(key, batches))["answers"]
    return answers


def run_call(call: JSON, context: Context, approval: JSON, corrected: list[str]) -> JSON:
    """Run one tool call and return its answer, which says what was `corrected` in the call; a wrong call is answered
    with ``error``."""
    call_id, name = call["id"], call["function"]["name"]
    arguments, problem = parse_arguments(call["function"]["arguments"])
    known = {tool.name: tool for tool in context.actions.tools}
    if approval.get("verdict") == "edit":
        arguments = approval["arguments"]

    def answer() -> JSON:
        if name not in known:
            return {"result": {"error": "unknown tool", "tool": name[:100], "known": list(known)}}
        if problem:
            given = call["function"]["arguments"][:200]
            return {"result": {"error": "arguments", "tool": name, "problems": [problem], "given": given}}
        if approval.get("verdict") == "no":
            return {"result": {"error": "refused", "why": "the user refused this batch; propose other configs"}}
        began = context.elapsed()
        context.watch.begin_step(progress.doing(known[name], arguments))
        result = context.actions.call(call_id, name, arguments)
        if approval.get("verdict") == "edit":
            result = {"note": "the user changed this batch before it ran", **result}
        if corrected:
            result = {**result, "repaired": [*corrected, *result.get("repaired", ())]}
        return {"result": result, "seconds": round(context.elapsed() - began, 3)}

    context.journal.once("tool_call", call_id, lambda: {"name": name, "arguments": arguments})
    result: JSON = context.journal.once("tool_result", call_id, answer)["result"]
    return result


def verify(state: State, runtime: Runtime[Context]) -> JSON:
    """Try to prove the configs within noise of the fastest, one after another until one is proven. Those behind them
    are tried if none of these passes its sitting (:mod:`agent.verdict.next_finalist`)."""
    context = runtime.context
    searched = context.elapsed()
    chosen = context.journal.once(
        "decision", "finalists", lambda: {"stop": state["stop"], **context.actions.finalists(FINALISTS)}
    )
    limits, close = context.objective.limits, chosen.get("close", 1)
    order = Order(
        chosen["finalists"],
        close,
        limits.max_finalists or FINALISTS,
        context.actions.setting.energy,
        context.objective.against,
        context.rule,
    )
    proofs: dict[int, JSON] = {}
    while (place := order.after(proofs)) is not None:
        context.watch.notify(f"proving finalist {place + 1} against the baselines")
        context.watch.begin_step(f"proving finalist {place + 1}")
        key, config = f"finalist {place}", chosen["finalists"][place]

        def prove(key: str = key, config: JSON = config) -> JSON:
            return {"config": config, "proof": context.actions.prove(key, config)}

        proofs[place] = context.journal.once("verify", key, prove)["proof"]
    return {"searched": searched, "proofs": list(proofs.values()), "level": chosen["finalists"][:close]}


def report(state: State, runtime: Runtime[Context]) -> JSON:
    """The outcome, from the harness's records alone."""
    context = runtime.context

    def end() -> JSON:
        left, seconds = context.actions.left(), context.elapsed()
        outcome: Outcome = outcome_of(
            context.objective,
            context.actions.setting,
            state["proofs"],
            run_id=context.run_id,
            trace=context.trace_path,
            stop=state["stop"],
            evaluations=left.used,
            evaluations_left=left.evaluations + left.reserve,
            tokens=state["tokens"],
            cost=state["cost"],
            takeover="; ".join(dict.fromkeys(state["took_over"])),
            turns=state["turn"],
            seconds=seconds,
            proof_seconds=seconds - state.get("searched", seconds),  # absent where an earlier version paused
            effects=effects_in(state["messages"], context.actions.tools),
            importance=importance_in(state["messages"], context.actions.tools),
            earlier=context.actions.earlier_proof(context.objective.against),
            rule=context.rule,
            failures=failures_in(state["messages"], context.actions.tools),
            level=state.get("level", []),  # absent where an earlier version paused
            unmeasured=unmeasured_variants(state["messages"], context.actions.tools),
        )
        row: JSON = outcome.model_dump(mode="json")
        context.actions.finish(
            "error" if outcome.infrastructure else "proven" if outcome.proven else "unproven",
            row | {"cost_usd": row["cost"], "stopped": describe_stop(outcome)},
        )
        return row

    return {"outcome": context.journal.once("end", "end", end)}


def after_decide(state: State) -> Literal["verify", "act", "decide"]:
    if state["stop"]:
        return "verify"
    return "act" if state["messages"][-1].get("tool_calls") else "decide"


def build(checkpointer: Any = None) -> Any:
    """The compiled graph."""
    graph = StateGraph(State, context_schema=Context)
    graph.add_node("decide", decide)
    graph.add_node("act", act)
    graph.add_node("verify", verify)
    graph.add_node("report", report)
    graph.add_edge(START, "decide")
    graph.add_conditional_edges("decide", after_decide)
    graph.add_edge("act", "decide")
    graph.add_edge("verify", "report")
    graph.add_edge("report", END)
    return graph.compile(checkpointer=checkpointer)
