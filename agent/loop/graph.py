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
from agent.models.base import Message, Reply, ToolSchema, parse_arguments
from agent.models.choose import CLIENT, EMBEDDED, deputy_of
from agent.models.context import estimate
from agent.models.endpoint.faults import Outage
from agent.trace.trace import JSON

FINALISTS = 3
"""Configs that `verify` tries to prove: the next one's turn comes when a proof fails."""


def start(context: Context) -> State:
    """The state before the first turn."""
    return fresh(list(context.opening or prompt.opening(context.objective, context.hands.setting)))


def decide(state: State, runtime: Runtime[Context]) -> JSON:
    """Stop, or have the model (or the planner in its place) say its next message."""
    context, turn = runtime.context, state["turn"]
    word: Message = {"role": "user", "content": context.says.get(turn)}
    if turn in context.says and word not in state["messages"][-1:]:
        return {"messages": [word], "spoke": "", "fruitless": 0, "idle": 0}
    verdict = context.journal.once("decision", f"turn {turn}", lambda: judge(state, context))
    if verdict["stop"]:
        return {"stop": verdict["stop"]}
    left, takeover = Left(**verdict["left"]), state["takeover"] or verdict["takeover"]
    context.watch.left(left)
    context.watch.begins(f"{EMBEDDED if takeover else context.objective.model} decides")
    if verdict["takeover"]:
        context.notify(f"the embedded planner takes over from {context.objective.model}: {takeover}")
    notes: list[Message] = [{"role": "user", "content": verdict["note"]}] if verdict["note"] else []
    heard: State = {**state, "messages": [*state["messages"], *notes], "takeover": takeover}
    context.journal.once("model_request", f"turn {turn}", lambda: request(heard["messages"], context.hands.tools))
    answer = context.journal.once("model_response", f"turn {turn}", lambda: respond(heard, context, left))
    for notice in answer.get("notices", ()):
        context.notify(f"note: {notice}")
    if answer.get("error"):
        return {"messages": notes, "stop": f"the time is used up, and no answer came: {answer['error']}".rstrip(".")}
    message, dropped = numbered(answer["message"], turn)
    context.notify(progress.spoken(turn, message.get("content")))
    context.watch.says(message.get("content"))
    counted, ratio = answer.get("prompt_tokens"), state["tokens_per_estimate"]
    if counted:
        ratio = counted / estimate(heard["messages"], context.hands.tools)
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
        "spoke": spoke(message, answer.get("finish", "")),
        "dropped": dropped,
        "fruitless": 1 if verdict["takeover"] else state["fruitless"] + patience,
        "measured": left.used,
        "idle": 0 if measured_since or verdict["takeover"] else state["idle"] + patience,
        "closing": state["closing"] + (left.evaluations == 0),
        "pressed": state["pressed"] or verdict["pressed"],
        "takeover": takeover,
    }


def request(messages: list[Message], tools: list[ToolSchema]) -> JSON:
    """What is sent, as a hash of it all and the messages since the model's last one."""
    since = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    return {"hash": prompt.digest(messages, tools), "count": len(messages), "new": messages[since + 1 :]}


def respond(state: State, context: Context, left: Left) -> JSON:
    """One answer. That none came is one too, where the run's time ends meanwhile and there is something to prove."""
    speaker = deputy_of(context.model) if state["takeover"] else context.model
    try:
        reply = speaker.respond(state["messages"], context.hands.tools, left.seconds, answer_tokens(state, context))
    except Outage as e:
        if not e.out_of_time or not context.hands.anything_to_prove():
            raise
        reply = Reply({"role": "assistant", "content": None}, usage=0, error=str(e))
    tokens, cost = reply.usage, reply.cost
    if tokens is None:
        prompt_guess, answer_guess = estimate(state["messages"], context.hands.tools), len(str(reply.message)) // 3
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
        "cost": round(cost, 8),
        "finish": reply.finish,
        "notices": list(reply.notices),
        "error": reply.error,
    }
    return body | {name: value for name, value in more.items() if value}


def numbered(message: Message, turn: int) -> tuple[Message, int]:
    """The message with its calls' ids made unique in the run (some endpoints number each message's calls afresh), and
    how many calls beyond the first ones were left out.

    Nine letters and digits, the strictest form an endpoint is known to ask for (Mistral)."""
    given = message.get("tool_calls") or ()
    calls = [
        {**call, "id": f"t{turn:04d}c{index:03d}", "type": "function", "function": dict(call["function"])}
        for index, call in enumerate(given[:MAX_CALLS])
    ]
    if calls:
        return {**message, "tool_calls": calls}, len(given) - len(calls)
    return {"role": "assistant", "content": message.get("content")}, 0


def spoke(message: Message, finish: str) -> Spoke:
    """What kind of message it is; calls count, whatever else it says."""
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
    before = {said(call) for call in asked[: len(asked) - len(calls)]}
    verdicts = approved(calls, state["turn"] - 1, context) if context.objective.approve else {}
    answers: list[Message] = []
    fruitful = False
    for call in calls:
        result = run_call(call, context, verdicts.get(call["id"], {}))
        context.notify(progress.answered(call["function"]["name"], result, context.hands.setting))
        context.watch.answered(call["function"]["name"], result, context.hands.setting)
        fruitful |= "error" not in result and said(call) not in before
        before.add(said(call))
        answers.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
    return {"messages": answers, "fruitless": 0 if fruitful else state["fruitless"]}


def approved(calls: list[JSON], turn: int, context: Context) -> JSON:
    """What a person says to each batch that would run on the device, by call id."""
    on_device = {tool.name for tool in context.hands.tools if tool.declared.on_device}
    batches = []
    for call in calls:
        arguments, problem = parse_arguments(call["function"]["arguments"])
        if call["function"]["name"] in on_device and not problem:
            batches.append({"id": call["id"], "tool": call["function"]["name"], "arguments": arguments})
    if not batches:
        return {}
    key = f"turn {turn}"
    answers: JSON = context.journal.once("approval", key, lambda: context.hands.approve(key, batches))["answers"]
    return answers


def said(call: JSON) -> tuple[str, str]:
    return call["function"]["name"], call["function"]["arguments"]


def run_call(call: JSON, context: Context, approval: JSON) -> JSON:
    """One tool call's answer. What is wrong with the call itself is an answer too."""
    call_id, name = call["id"], call["function"]["name"]
    arguments, problem = parse_arguments(call["function"]["arguments"])
    known = {tool.name: tool for tool in context.hands.tools}
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
        context.watch.begins(progress.doing(known[name], arguments))
        result = context.hands.call(call_id, name, arguments)
        if approval.get("verdict") == "edit":
            result = {"note": "the user changed this batch before it ran", **result}
        return {"result": result, "seconds": round(context.elapsed() - began, 3)}

    context.journal.once("tool_call", call_id, lambda: {"name": name, "arguments": arguments})
    result: JSON = context.journal.once("tool_result", call_id, answer)["result"]
    return result


def verify(state: State, runtime: Runtime[Context]) -> JSON:
    """Have the fastest config proven; where a proof fails, the next fastest."""
    context = runtime.context
    chosen = context.journal.once(
        "decision", "finalists", lambda: {"stop": state["stop"], "finalists": context.hands.finalists(FINALISTS)}
    )
    proofs: list[JSON] = []
    for place, config in enumerate(chosen["finalists"]):
        context.notify(f"proving finalist {place + 1} against the baselines")
        context.watch.begins(f"proving finalist {place + 1}")
        key = f"finalist {place}"

        def prove(key: str = key, config: JSON = config) -> JSON:
            return {"config": config, "proof": context.hands.prove(key, config)}

        proofs.append(context.journal.once("verify", key, prove)["proof"])
        if proofs[-1]["status"] == "correct":
            break
    return {"proofs": proofs}


def report(state: State, runtime: Runtime[Context]) -> JSON:
    """The outcome, from the harness's records alone."""
    context = runtime.context

    def end() -> JSON:
        outcome: Outcome = outcome_of(
            context.objective,
            context.hands.setting,
            state["proofs"],
            run_id=context.run_id,
            trace=context.trace_path,
            stop=state["stop"],
            left=context.hands.left(),
            tokens=state["tokens"],
            cost=state["cost"],
            takeover=state["takeover"],
            turns=state["turn"],
            seconds=context.elapsed(),
            importance=importance_in(state["messages"], context.hands.tools),
        )
        row: JSON = outcome.model_dump(mode="json")
        context.hands.finish("error" if outcome.infrastructure else "proven" if outcome.proven else "unproven", row)
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
