"""The Agent Trajectory Interchange Format, version 1.7 (harbor-framework/harbor, RFC 0001), as one JSON document.

A turn of the embedded planner is a step without an inference (``llm_call_count`` 0) and therefore without metrics.
"""

from __future__ import annotations

import json
from typing import Any

from agent.export.story import Story, Turn, number
from agent.trace.trace import JSON

VERSION = "ATIF-v1.7"


def export(story: Story) -> str:
    """The trajectory, indented."""
    return json.dumps(trajectory(story), indent=1, ensure_ascii=True) + "\n"


def trajectory(story: Story) -> JSON:
    steps: list[JSON] = []
    for turn in story.turns:
        for message in turn.asked:
            if message.get("role") in ("system", "user"):
                step = {"timestamp": turn.at, "source": message["role"], "message": str(message.get("content") or "")}
                steps.append({"step_id": len(steps) + 1, **step})
        if turn.message is not None:
            steps.append({"step_id": len(steps) + 1, **agent_step(turn)})
    return {
        "schema_version": VERSION,
        "session_id": story.run,
        "trajectory_id": story.run,
        "agent": agent(story),
        "steps": steps or [{"step_id": 1, "source": "system", "message": "The run ended before its first turn."}],
        "final_metrics": totals(story, len(steps)),
        "extra": {
            "objective": story.objective.model_dump(mode="json"),
            "setting": story.setting.model_dump(mode="json"),
            "parent": story.header.get("parent"),
            "stopped": story.stopped,
            "proofs": story.proofs,
            "outcome": None if story.outcome is None else story.outcome.model_dump(mode="json"),
        },
    }


def agent(story: Story) -> JSON:
    versions = story.header.get("versions")
    packages = versions if isinstance(versions, dict) else {}
    tools = story.header.get("tools")
    functions = [
        {"type": "function", "function": {name: value for name, value in tool.items() if name != "declared"}}
        for tool in (tools if isinstance(tools, list) else ())
        if isinstance(tool, dict)
    ]
    return {
        "name": "triton-autokernel",
        "version": str(packages.get("triton-autokernel", "unknown")),
        "model_name": story.objective.model,
        "tool_definitions": functions,
        "extra": {"versions": packages, "git": story.header.get("git")},
    }


def agent_step(turn: Turn) -> JSON:
    calls_model = turn.model != "embedded"
    step: JSON = {
        "timestamp": turn.at,
        "source": "agent",
        "model_name": turn.model,
        "message": turn.words,
        "llm_call_count": int(calls_model),
        "extra": {"turn": turn.number, "seconds": turn.seconds},
    }
    if turn.calls:
        step["tool_calls"] = [
            {"tool_call_id": c.id, "function_name": c.name, "arguments": c.arguments, "extra": {"seconds": c.seconds}}
            for c in turn.calls
        ]
        answers = [c for c in turn.calls if c.result is not None]
        results = [{"source_call_id": c.id, "content": json.dumps(c.result)} for c in answers]
        step["observation"] = {"results": results}
    if calls_model:
        step["metrics"] = metrics(turn)
    return step


def metrics(turn: Turn) -> JSON:
    """Tokens as the endpoint counted them. If it did not, only the run's own total is given."""
    prompt, total = number(turn.response.get("prompt_tokens")), number(turn.usage)
    found: dict[str, Any] = {"extra": {"total_tokens": turn.tokens}}
    if prompt is not None and total is not None:
        found |= {"prompt_tokens": int(prompt), "completion_tokens": max(0, int(total - prompt))}
    if (cached := number(turn.response.get("cached_tokens"))) is not None:
        found["cached_tokens"] = int(cached)
    if (cost := number(turn.response.get("cost"))) is not None:
        found["cost_usd"] = cost
    return found


def totals(story: Story, steps: int) -> JSON:
    each = [metrics(turn) for turn in story.turns if turn.message is not None and turn.model != "embedded"]
    names = {"prompt_tokens": "total_prompt_tokens", "completion_tokens": "total_completion_tokens"}
    names |= {"cached_tokens": "total_cached_tokens", "cost_usd": "total_cost_usd"}
    sums = {total: sum(m[n] for m in each if n in m) for n, total in names.items() if any(n in m for m in each)}
    about = {"evaluations": len(story.attempts), "total_tokens": sum(turn.tokens for turn in story.turns)}
    return {**sums, "total_steps": max(1, steps), "extra": about}
