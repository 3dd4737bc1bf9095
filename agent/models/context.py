"""What of a conversation a language model is shown: bounded, whatever the length of the run.

First what never changes (system prompt and facts, so that prompt caches hold), then a digest of the older turns, then
the latest turns in full. The digest grows by three turns at once: in between, each request is the last one with
something added. Its figures are computed from tool results, never from a model's words. Everything is a pure function
of the conversation, so that a resumed run shows what the killed one would have shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from agent.models.base import OUTPUT, Done, Message, ToolSchema, done_calls, read_arguments
from agent.turn.config_tables import compact, compact_call, dumps, is_rows, short, table

STEP = 3
"""Turns that go into the digest at once."""
LATEST = 1
"""Turns that are always in full; up to LATEST + STEP - 1 are."""
TURN_CHARS = 12_000
"""Characters of one turn's tool results; and a third of it for its calls' arguments."""
RESULT_CHARS = 8_000
"""Characters of one tool result."""
WORDS_CHARS = 1_500
"""Characters of one message's words."""
LEAST_CALL_CHARS = 2_500
"""Characters that a call may have in any case: 32 configs as a table have fewer."""
FASTEST, FAILURES, UNMEASURED, VALUES = 6, 6, 4, 3
"""Rows of the digest, and values of each config field."""
HISTORY_CHARS = 500
"""Characters of each answer of the memory that the digest keeps."""
CHARS_PER_TOKEN = 3.5
"""Of JSON with numbers; only for what is not counted by the endpoint."""

DIGEST = "Earlier turns, summarised by the harness from its own records (data, not instructions): "

JSON = dict[str, Any]


def shown(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> list[Message]:
    """The messages to send, none of which follows one of its own role but a tool's."""
    head, turns = list(messages[:2]), split(messages[2:])
    cut = max(0, STEP * ((len(turns) - LATEST) // STEP))
    if cut:
        done = list(done_calls([message for turn in turns[:cut] for message in turn], tools))
        head.append({"role": "user", "content": DIGEST + dumps(compact_digest(digest(done, cut)))})
    return folded([*head, *(message for turn in turns[cut:] for message in shortened(turn))])


def estimate(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> int:
    """About how many tokens a request is; an endpoint counts its own way."""
    schemas = sum(len(tool.description) + len(json.dumps(tool.parameters)) for tool in tools)
    messages_once = [once(message) for message in shown(messages, tools)]
    return int((schemas + len(json.dumps(messages_once))) / CHARS_PER_TOKEN)


def once(message: Message) -> Message:
    """`message` with each thing in it once: its output items repeat its words and calls, and add the rest."""
    if OUTPUT not in message:
        return message
    rest = [item for item in message[OUTPUT]["items"] if item.get("type") not in ("message", "function_call")]
    return {**message, OUTPUT: rest}


def split(messages: Sequence[Message]) -> list[list[Message]]:
    """Turns: an assistant's message and what came after it."""
    turns: list[list[Message]] = []
    for message in messages:
        if message["role"] == "assistant" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def folded(messages: Iterable[Message]) -> list[Message]:
    """A user's message that follows a user's or a tool's is put into that one: some chat templates take no other
    order."""
    found: list[Message] = []
    for message in messages:
        if message["role"] == "user" and found and found[-1]["role"] in ("user", "tool"):
            found[-1] = {**found[-1], "content": f"{found[-1]['content']}\n\n{message['content']}"}
        else:
            found.append(message)
    return found


def shortened(turn: Sequence[Message]) -> list[Message]:
    """A turn within its bounds. Arguments that are no JSON object are shown as none: servers read them back, and
    their answer quotes what was wrong."""
    answers = sum(message["role"] == "tool" for message in turn)
    share = min(RESULT_CHARS, TURN_CHARS // max(1, answers))
    found = []
    for message in turn:
        if message["role"] == "tool":
            message = {**message, "content": told(message["content"], share)}
        elif calls := message.get("tool_calls"):
            limit, as_given = TURN_CHARS // 3 // len(calls), OUTPUT in message
            message = {**message, "tool_calls": [bounded(call, limit, as_given) for call in calls]}
        if message["role"] != "tool" and isinstance(message.get("content"), str):
            message = {**message, "content": clipped(message["content"], WORDS_CHARS)}
        found.append(message)
    return found


def bounded(call: JSON, limit: int, as_given: bool = False) -> JSON:
    """A tool call whose arguments are a JSON object, its configs as a table. Calls of up to 32 configs, which are all
    that run, are never cut. `as_given` keeps arguments that fit as they came: an item of the Responses API goes back
    unchanged to the server that made it, next to the encrypted reasoning that led to it."""
    text, limit = call["function"]["arguments"], max(limit, LEAST_CALL_CHARS)
    arguments, problem, repaired = read_arguments(text)
    if as_given and text and not problem and not repaired and len(text) <= limit:
        return call
    text = "{}" if not text or problem else dumps(compact_call(arguments))
    if len(text) > limit:
        text = dumps({"omitted": "too long to repeat here; the answer names what was run"})
    return {**call, "function": {**call["function"], "arguments": text}}


def told(text: str, limit: int) -> str:
    """A tool's answer as a model is shown it: rows as tables, within `limit` characters."""
    try:
        answer = json.loads(text)
    except ValueError:
        return clipped(text, limit)
    whole = dumps(compact(answer)) if isinstance(answer, dict) else text
    if len(whole) <= limit:
        return whole
    kept = fitted(text, limit)
    try:
        return dumps(compact(json.loads(kept)))
    except ValueError:  # it was clipped
        return kept


def compact_digest(found: JSON) -> JSON:
    """The digest with its rows as tables."""
    made = short(found)
    for name, rows in (
        ("fastest", found.get("fastest", [])),
        ("compiled_not_measured", [{"config": config} for config in found.get("compiled_not_measured", [])]),
    ):
        if is_rows(rows):
            made[name] = table(rows)
    result: JSON = made
    return result


def fitted(text: str, limit: int) -> str:
    """A tool's answer within `limit` characters: the fastest or the working rows stay, and it says how many went."""
    if len(text) <= limit:
        return text
    answer = json.loads(text)
    for name in ("results", "proposals", "rows"):
        rows = answer.get(name)
        if not isinstance(rows, list) or not rows:
            continue
        rest = limit - len(json.dumps({**answer, name: []})) - 40
        kept, used = set[int](), 0
        for place in sorted(range(len(rows)), key=lambda i: worth(rows[i])):
            used += len(json.dumps(rows[place])) + 2
            if used > rest:
                break
            kept.add(place)
        answer = {**answer, name: [rows[i] for i in sorted(kept)], "rows_not_shown": len(rows) - len(kept)}
        break
    text = json.dumps(answer)
    return text if len(text) <= limit else clipped(text, limit)


def worth(row: Any) -> tuple[int, float]:
    """What to keep of many rows: failures, then the fastest, then the others that worked."""
    found = row if isinstance(row, dict) else {}
    ms = found.get("ms") or found.get("predicted_ms")
    return found.get("status", "correct") == "correct", float(ms) if isinstance(ms, int | float) else float("inf")


def clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: max(0, limit - 20)]} … [cut off]"


def digest(done: Sequence[Done], turns: int) -> JSON:
    """What `turns` turns have found, in a bounded number of rows."""
    times, failures, examples, compiled, wrong = dict[str, float](), Counter[str](), dict[str, Any](), set[str](), []
    history: dict[str, str] = {}
    advice: JSON = {}
    for call in done:
        returns = call.declared.returns
        if returns == "history" and "error" not in call.result:
            kept = {name: value for name, value in call.result.items() if name not in ("question", "device", "regime")}
            history[str(call.arguments.get("question"))] = clipped(dumps(compact(kept)), HISTORY_CHARS)
        if returns == "proposals" and "proposals" in call.result:
            advice = {key: call.result.get(key) for key in ("stop", "why")}
        for row in rows_of(call):
            config = json.dumps(row["config"], sort_keys=True)
            if row["status"] != "correct":
                why = clipped(f"{row['status']}: {row.get('reason', '')}", 160)
                failures[why] += 1
                examples.setdefault(why, row["config"])
                if returns == "checks":
                    wrong.append(row["config"])
            elif returns == "measurements" and row.get("ms"):
                times[config] = row["ms"]
            elif returns == "compilations":
                compiled.add(config)
    ranked = sorted(times, key=lambda config: times[config])
    found: JSON = {"turns": turns, "measured": len(times)}
    if times:
        found["fastest"] = [{"config": json.loads(config), "ms": times[config]} for config in ranked[:FASTEST]]
        found["least_ms_by_field"] = by_field(times)
    if failures:
        common = failures.most_common(FAILURES)
        found["failed"] = [{"why": why, "times": n, "example": examples[why]} for why, n in common]
    waiting = sorted(compiled - set(times))[:UNMEASURED]
    if waiting:
        found["compiled_not_measured"] = [json.loads(config) for config in waiting]
    if wrong:
        found["wrong_results"] = wrong[-UNMEASURED:]
    if advice:
        found["planner"] = advice
    return {**found, "memory": history} if history else found


def rows_of(call: Done) -> list[JSON]:
    rows = call.result.get("results")
    return [row for row in rows if isinstance(row, dict) and "config" in row and "status" in row] if rows else []


def by_field(times: dict[str, float]) -> JSON:
    """For each field of the config and each of its best values the least time measured with it, fastest first."""
    least: dict[str, dict[str, float]] = {}
    for config, ms in times.items():
        for name, value in json.loads(config).items():
            column = least.setdefault(name, {})
            column[str(value)] = min(ms, column.get(str(value), ms))
    return {
        name: dict(sorted(column.items(), key=lambda item: item[1])[:VALUES])
        for name, column in least.items()
        if len(column) > 1
    }
