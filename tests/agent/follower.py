"""A server that speaks the OpenAI protocol and, as the model behind it, does what the planner proposes.

It sees only what a model is sent. Tokens are counted as characters of the request's JSON over 3.5."""

from __future__ import annotations

import json

from tests.agent.answers import completion


def follow(body, batch=6):
    """The next message: (name, arguments) of one call, or words."""
    tools = {tool["function"]["name"] for tool in body["tools"]}
    last = body["messages"][-1]
    if last["role"] != "tool":
        return ("query_history", {"question": "best", "limit": 5, "parameter": None})
    result = read_answer(body, last["content"])
    if "compiled" in result:
        ready = [row["config"] for row in result["results"] if row["status"] == "correct"]
        return ("run_benchmark", {"configs": ready}) if ready else ("suggest_configs", {"count": batch})
    if result.get("proposals") and not result["stop"]:
        return ("compile_kernel", {"configs": [row["config"] for row in result["proposals"]]})
    spent = result.get("evaluations_left") == 0 and not result.get("more_for_proposals_of_suggest_configs")
    if "proposals" in result or spent:
        return "The planner says that more is not worth its cost."
    assert "suggest_configs" in tools
    return ("suggest_configs", {"count": 8 if result.get("question") else batch})


def read_answer(body, text):
    """A tool's answer as a model reads it: its tables as rows again."""
    result, _ = json.JSONDecoder().raw_decode(text)
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in body["tools"]}
    fields = schemas["run_benchmark"]["properties"]["configs"]["items"].get("properties", {})
    for name in ("results", "proposals"):
        if isinstance(result.get(name), dict):
            result[name] = rows_of(result[name], fields)
    return result


def rows_of(table, fields):
    """The rows of a table, each with its config."""
    rows = []
    for line in table["rows"]:
        values = {**table.get("same", {}), **dict(zip(table["columns"], line, strict=True))}
        config = {name: values.pop(name) for name in fields if name in values}
        more = values.pop("more", None) or {}
        others = {name.removeprefix("_"): value for name, value in values.items()}
        shared = table.get("all", {})
        joined = {name: f"{others[name]}; {shared[name]}" for name in shared if name in others}
        rows.append({"config": config, **shared, **others, **joined, **more})
    return rows


def counted(body, move):
    """`move` as a completion with usage."""
    if isinstance(move, str):
        message = {"content": move}
    else:
        call = {"id": "c", "type": "function", "function": {"name": move[0], "arguments": json.dumps(move[1])}}
        message = {"content": None, "tool_calls": [call]}
    status, headers, text = completion(message)
    answer = json.loads(text)
    prompt, said = (int(len(json.dumps(x)) / 3.5) for x in ([body["messages"], body["tools"]], message))
    answer["usage"] = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
    return status, headers, json.dumps(answer)
