"""The loop: decide → act → decide … → verify → report.

`decide` asks the chat model, `act` runs its tool calls one after another (timings must never overlap), `verify` has the
harness prove the best config, `report` renders the outcome from what the harness said. State is plain JSON and is
checkpointed after every node; each step inside a node goes through the journal, so a node that was interrupted runs
again without repeating what it had finished.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agent.loop import progress, prompt
from agent.loop.actions import Left
from agent.loop.outcome import Outcome, importance_in, outcome_of
from agent.loop.search_end import MAX_CALLS, answer_tokens, judge, price_in
from agent.loop.state import Context as Context
from agent.loop.state import Spoke, State, fresh
from agent.models.base import CLIENT, EMBEDDED, OUTPUT, Message, Reply, ToolSchema, parse_arguments
from agent.models.choose import deputy_of
from agent.models.context import estimate, once
from agent.models.endpoint.faults import Outage
from agent.trace.trace import JSON
from agent.verdict.judgement import FIRST_BASELINE
from agent.verdict.tried import judge_tried

FINALISTS = 16
"""Configs at most that `verify` tries to prove, one after another."""
MOST_SPOILT = 3
"""Sittings spoilt by our own machinery, after which no more are tried."""


def start(context: Context) -> State:
    """The state before the first turn."""
    return fresh(list(context.opening or prompt.opening(context.objective, context.actions.setting)))


def decide(state: State, runtime: Runtime[Context]) -> JSON:
    """Stop, or get the next message from the model, or from the planner if it took over."""
    context, turn = runtime.context, state["turn"]
    word: Message = {"role": "user", "content": context.says.get(turn)}
    if turn in context.says and word not in state["messages"][-1:]:
        return {"messages": [word], "spoke": "", "fruitless": 0, "idle": 0}
    verdict = context.journal.once("decision", f"turn {turn}", lambda: judge(state, context))
    if verdict["stop"]:
        return {"stop": verdict["stop"]}
    left, takeover = Left(**verdict["left"]), state["takeover"] or verdict["takeover"]
    context.watch.record_budget(left)
    context.watch.begin_step(f"{EMBEDDED if takeover else context.objective.model} decides")
    if verdict["takeover"]:
        context.watch.notify(f"the embedded planner takes over from {context.objective.model}: {takeover}")
    notes: list[Message] = [{"role": "user", "content": verdict["note"]}] if verdict["note"] else []
    heard: State = {**state, "messages": [*state["messages"], *notes], "takeover": takeover}
    context.journal.once("model_request", f"turn {turn}", lambda: request(heard["messages"], context.actions.tools))
    answer = context.journal.once("model_response", f"turn {turn}", lambda: respond(heard, context, left))
    for notice in answer.get("notices", ()):
        context.watch.notify(f"note: {notice}")
    if answer.get("error"):
        return {"messages": notes, "stop": f"the time is used up, and no answer came: {answer['error']}".rstrip(".")}
    message, dropped = number_calls(answer["message"], turn)
    context.watch.notify(progress.format_words(turn, message.get("content")))
    context.watch.record_words(message.get("content"))
    counted, ratio = answer.get("prompt_tokens"), state["tokens_per_estimate"]
    if counted:
        ratio = counted / estimate(heard["messages"], context.actions.tools)
    # A client over MCP is somebody else's agent: nobody takes its place.
    patience = 0 if context.objective.model == CLIENT else 1
    measured_since = left.used > state["measured"]
    return {
        "messages": [*notes, message],
        "turn": turn + 1,
        "model_calls": state["model_calls"] + (not (takeover or context.objective.model == EMBEDDED)),
        "tokens": state["tokens"] + answer["tokens"],
        "cost": state["cost"] + answer.get("cost", 0.0),
        "tokens_per_estimate": ratio,
        "spoke": classify_message(message, answer.get("finish", "")),
        "dropped": dropped,
        "fruitless": 1 if verdict["takeover"] else state["fruitless"] + patience,
        "measured": left.used,
        "idle": 0 if measured_since or verdict["takeover"] else state["idle"] + patience,
        "closing": state["closing"] + (left.evaluations == 0),
        "pressed": state["pressed"] or verdict["pressed"],
        "takeover": takeover,
    }


def request(messages: list[Message], tools: list[ToolSchema]) -> JSON:
    """The request for the trace: a hash of everything that is sent, and the messages that are new to the model."""
    since = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    return {"hash": prompt.digest(messages, tools), "count": len(messages), "new": messages[since + 1 :]}


def respond(state: State, context: Context, left: Left) -> JSON:
    """Get one answer. If the run's time ends first and there is something to prove, the reply has ``error`` instead."""
    speaker = deputy_of(context.model) if state["takeover"] else context.model
    try:
        reply = speaker.respond(state["messages"], context.actions.tools, left.seconds, answer_tokens(state, context))
    except Outage as e:
        if not e.out_of_time or not context.actions.anything_to_prove():
            raise
        reply = Reply({"role": "assistant", "content": None}, usage=0, error=str(e))
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


def number_calls(message: Message, turn: int) -> tuple[Message, int]:
    """Give the calls of a message ids that are unique in the run, because some endpoints number the calls of each
    message from the start. Returns the message and the number of calls beyond :data:`MAX_CALLS` that were left out.

    An id is nine letters and digits, the strictest form that an endpoint is known to require (Mistral)."""
    given = message.get("tool_calls") or ()
    calls = [
        {**call, "id": f"t{turn:04d}c{index:03d}", "type": "function", "function": dict(call["function"])}
        for index, call in enumerate(given[:MAX_CALLS])
    ]
    if calls:
        return {**message, "tool_calls": calls}, len(given) - len(calls)
    kept = {OUTPUT: message[OUTPUT]} if OUTPUT in message else {}
    return {"role": "assistant", "content": message.get("content"), **kept}, 0


def classify_message(message: Message, finish: str) -> Spoke:
    """The kind of a message: ``calls`` if it has any, whatever else is in it."""
    if message.get("tool_calls"):
        return "calls"
    if finish == "length":
        return "length"
    if finish == "refusal":
        return "refusal"
    return "words" if (message.get("content") or "").strip() else "nothing"


def act(state: State, runtime: Runtime[Context]) -> JSON:
    """Run the last message's tool calls in order and answer each."""
    context = runtime.context
    asked = [call for message in state["messages"] for call in message.get("tool_calls") or ()]
    calls = state["messages"][-1]["tool_calls"]
    before = {call_signature(call) for call in asked[: len(asked) - len(calls)]}
    verdicts = ask_approval(calls, state["turn"] - 1, context) if context.objective.approve else {}
    answers: list[Message] = []
    fruitful = False
    for call in calls:
        result = run_call(call, context, verdicts.get(call["id"], {}))
        context.watch.notify(progress.describe_answer(call["function"]["name"], result, context.actions.setting))
        context.watch.record_answer(call["function"]["name"], result, context.actions.setting)
        fruitful |= "error" not in result and call_signature(call) not in before
        before.add(call_signature(call))
        answers.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
    return {"messages": answers, "fruitless": 0 if fruitful else state["fruitless"]}


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


def call_signature(call: JSON) -> tuple[str, str]:
    """Tool and arguments: equal calls have equal answers."""
    return call["function"]["name"], call["function"]["arguments"]


def run_call(call: JSON, context: Context, approval: JSON) -> JSON:
    """Run one tool call and return its answer; a wrong call is answered with ``error``."""
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
            return {"result": {"error": "refused", "why": "the user refused this batch; propose another or conclude"}}
        began = context.elapsed()
        context.watch.begin_step(progress.doing(known[name], arguments))
        result = context.actions.call(call_id, name, arguments)
        if approval.get("verdict") == "edit":
            result = {"note": "the user changed this batch before it ran", **result}
        return {"result": result, "seconds": round(context.elapsed() - began, 3)}

    context.journal.once("tool_call", call_id, lambda: {"name": name, "arguments": arguments})
    result: JSON = context.journal.once("tool_result", call_id, answer)["result"]
    return result


def verify(state: State, runtime: Runtime[Context]) -> JSON:
    """Try to prove the configs within noise of the fastest, one after another until one is proven. Those behind them
    are tried if none of these passes its sitting."""
    context = runtime.context
    chosen = context.journal.once(
        "decision", "finalists", lambda: {"stop": state["stop"], **context.actions.finalists(FINALISTS)}
    )
    proofs: list[JSON] = []
    for place, config in enumerate(chosen["finalists"]):
        context.watch.notify(f"proving finalist {place + 1} against the baselines")
        context.watch.begin_step(f"proving finalist {place + 1}")
        key = f"finalist {place}"

        def prove(key: str = key, config: JSON = config) -> JSON:
            return {"config": config, "proof": context.actions.prove(key, config)}

        proofs.append(context.journal.once("verify", key, prove)["proof"])
        if not worth_another(proofs, place + 1 < chosen.get("close", 1), context):
            break
    return {"proofs": proofs}


def worth_another(proofs: list[JSON], close: bool, context: Context) -> bool:
    """Whether the next finalist is tried; `close` if it lies within noise of the best. Not after one that is proven,
    nor if a rival could not be timed or is so far ahead that it beats every near config."""
    if sum(proof["status"] == "infrastructure" for proof in proofs) >= MOST_SPOILT:
        return False
    tried = judge_tried(proofs, context.actions.setting.energy, context.objective.against, context.rule)
    if not tried or proofs[-1]["status"] != "correct":
        return close or not tried
    judged = tried[-1][2]
    return context.rule != FIRST_BASELINE and close and judged.verdict in ("level", "slower") and not judged.hopeless


def report(state: State, runtime: Runtime[Context]) -> JSON:
    """The outcome, from the harness's records alone."""
    context = runtime.context

    def end() -> JSON:
        outcome: Outcome = outcome_of(
            context.objective,
            context.actions.setting,
            state["proofs"],
            run_id=context.run_id,
            trace=context.trace_path,
            stop=state["stop"],
            evaluations=context.actions.left().used,
            tokens=state["tokens"],
            cost=state["cost"],
            takeover=state["takeover"],
            turns=state["turn"],
            seconds=context.elapsed(),
            importance=importance_in(state["messages"], context.actions.tools),
            earlier=context.actions.earlier_proof(context.objective.against),
            rule=context.rule,
        )
        row: JSON = outcome.model_dump(mode="json")
        context.actions.finish(
            "error" if outcome.infrastructure else "proven" if outcome.proven else "unproven",
            row | {"cost_usd": row["cost"]},
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
