"""The loop: decide → act → decide … → verify → report.

`decide` asks the chat model, `act` runs its tool calls one after another (timings must never overlap), `verify` has the
harness prove the best config, `report` renders the outcome from what the harness said. State is plain JSON and is
checkpointed after every node; each step inside a node goes through the journal, so a node that was interrupted runs
again without repeating what it had finished.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agent import progress, prompt
from agent.hands import Hands, Left
from agent.models.base import ChatModel, Message, Reply, ToolSchema, parse_arguments
from agent.objective import Objective
from agent.report import Outcome, outcome_of
from agent.trace import JSON, Journal

MAX_CALLS = 16
"""Tool calls run of one message; the rest are answered with an error."""
FRUITLESS = 3
"""Turns in a row without one new tool result after which the search ends."""
CLOSING = 4
"""Turns granted after the last evaluation, to check and to conclude."""
FINALISTS = 3
"""Configs that `verify` tries to prove: the next one's turn comes when a proof fails."""


class State(TypedDict):
    """What a checkpoint holds."""

    messages: Annotated[list[Message], operator.add]
    turn: int
    """Messages asked of the model so far."""
    tokens: int
    fruitless: int
    closing: int
    """Turns since the evaluations ran out."""
    stop: str
    """Why the search ended; empty while it goes on."""
    proofs: list[JSON]
    outcome: JSON


@dataclass(frozen=True)
class Context:
    """What a run works with; never in a checkpoint."""

    objective: Objective
    model: ChatModel
    hands: Hands
    journal: Journal
    run_id: str
    trace_path: str
    elapsed: Callable[[], float]
    """Seconds since the run began."""
    notify: Callable[[str], None]
    """Progress for a person."""


def start(context: Context) -> State:
    """The state before the first turn."""
    return {
        "messages": prompt.opening(context.objective, context.hands.setting),
        "turn": 0,
        "tokens": 0,
        "fruitless": 0,
        "closing": 0,
        "stop": "",
        "proofs": [],
        "outcome": {},
    }


def decide(state: State, runtime: Runtime[Context]) -> JSON:
    """Stop, or ask the model for its next message."""
    context, turn = runtime.context, state["turn"]
    verdict = context.journal.once("decision", f"turn {turn}", lambda: judge(state, context))
    if verdict["stop"]:
        return {"stop": verdict["stop"]}
    left = Left(**verdict["left"])
    context.journal.once("model_request", f"turn {turn}", lambda: request(state["messages"], context.hands.tools))
    answer = context.journal.once("model_response", f"turn {turn}", lambda: respond(state, context, left))
    message = numbered(answer["message"], turn)
    context.notify(progress.spoken(turn, message.get("content")))
    added = [message]
    if not message.get("tool_calls") and not message.get("content"):
        added.append({"role": "user", "content": prompt.NUDGE})
    return {
        "messages": added,
        "turn": turn + 1,
        "tokens": state["tokens"] + answer["tokens"],
        "fruitless": state["fruitless"] + 1,
        "closing": state["closing"] + (left.evaluations == 0),
    }


def judge(state: State, context: Context) -> JSON:
    """Whether the search goes on, and what is left of its budget."""
    left, limits, last = context.hands.left(), context.objective.limits, state["messages"][-1]
    if last["role"] == "assistant" and not last.get("tool_calls"):
        stop = "the model concluded"
    elif left.seconds <= 0:
        stop = f"the time is used up ({limits.max_seconds:g} s)"
    elif limits.max_tokens is not None and state["tokens"] >= limits.max_tokens:
        stop = f"the tokens are used up ({state['tokens']} of {limits.max_tokens})"
    elif state["turn"] >= limits.max_model_calls:
        stop = f"the turns are used up ({limits.max_model_calls})"
    elif state["closing"] >= CLOSING:
        stop = f"the evaluations are used up ({limits.max_evals})"
    elif state["fruitless"] >= FRUITLESS:
        stop = f"{FRUITLESS} turns in a row brought nothing new"
    else:
        stop = ""
    return {"stop": stop, "left": asdict(left), "tokens": state["tokens"]}


def request(messages: list[Message], tools: list[ToolSchema]) -> JSON:
    """What is sent, as a hash of it all and the messages since the model's last one."""
    since = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    return {"hash": prompt.digest(messages, tools), "count": len(messages), "new": messages[since + 1 :]}


def respond(state: State, context: Context, left: Left) -> JSON:
    reply: Reply = context.model.respond(state["messages"], context.hands.tools, left.seconds)
    estimate = (len(str(state["messages"])) + len(str(reply.message))) // 4
    return {
        "model": context.model.name,
        "message": reply.message,
        "usage": reply.usage,
        "tokens": estimate if reply.usage is None else reply.usage,
        "seconds": round(reply.seconds, 3),
    }


def numbered(message: Message, turn: int) -> Message:
    """The message with its calls' ids made unique in the run: some endpoints number each message's calls afresh.

    Nine letters and digits, the strictest form an endpoint is known to ask for (Mistral)."""
    calls = [
        {"id": f"t{turn:04d}c{index:03d}", "type": "function", "function": dict(call["function"])}
        for index, call in enumerate(message.get("tool_calls") or ())
    ]
    return {**message, "tool_calls": calls} if calls else {"role": "assistant", "content": message.get("content")}


def act(state: State, runtime: Runtime[Context]) -> JSON:
    """Run the last message's tool calls in order and answer each."""
    context = runtime.context
    asked = [call for message in state["messages"] for call in message.get("tool_calls") or ()]
    calls = state["messages"][-1]["tool_calls"]
    before = {said(call) for call in asked[: len(asked) - len(calls)]}
    answers: list[Message] = []
    fruitful = False
    for index, call in enumerate(calls):
        result = run_call(call, index, context)
        context.notify(progress.answered(call["function"]["name"], result, context.hands.setting))
        fruitful |= "error" not in result and said(call) not in before
        before.add(said(call))
        answers.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
    return {"messages": answers, "fruitless": 0 if fruitful else state["fruitless"]}


def said(call: JSON) -> tuple[str, str]:
    return call["function"]["name"], call["function"]["arguments"]


def run_call(call: JSON, index: int, context: Context) -> JSON:
    """One tool call's answer. What is wrong with the call itself is an answer too."""
    call_id, name = call["id"], call["function"]["name"]
    arguments, problem = parse_arguments(call["function"]["arguments"])
    known = [tool.name for tool in context.hands.tools]

    def answer() -> JSON:
        if index >= MAX_CALLS:
            return {"result": {"error": "calls", "why": f"one message may hold {MAX_CALLS} tool calls; not run"}}
        if name not in known:
            return {"result": {"error": "unknown tool", "tool": name, "known": known}}
        if problem:
            return {"result": {"error": "arguments", "tool": name, "problems": [problem]}}
        began = context.elapsed()
        result = context.hands.call(call_id, name, arguments)
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
            turns=state["turn"],
            seconds=context.elapsed(),
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
