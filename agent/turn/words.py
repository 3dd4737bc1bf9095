"""What kind of message a model wrote: calls, a conclusion, an announcement, a call written as text, or nothing."""

from __future__ import annotations

import re
from typing import Literal

from agent.models.base import Message

Spoke = Literal["", "calls", "words", "announces", "written", "nothing", "length", "refusal"]
"""What the last message was: tool calls, words that conclude, words that announce an action, a call written as text,
nothing, cut off, or a refusal."""


def classify_message(message: Message, finish: str) -> Spoke:
    """The kind of a message: ``calls`` if it has any, whatever else is in it."""
    if message.get("tool_calls"):
        return "calls"
    if finish == "length":
        return "length"
    if finish == "refusal":
        return "refusal"
    words = (message.get("content") or "").strip()
    if not words:
        return "nothing"
    if WRITTEN_CALL.search(words):
        return "written"
    return "announces" if announces(words) else "words"


WRITTEN_CALL = re.compile(
    r"<tool_call>|<\|?tool_calls?(_begin|_start)?\|?>|<function[=_ ]|\[TOOL_CALLS\]|<\|python_tag\|>|```tool_code|"
    r"<\|tool▁call|<invoke\b|"
    r"\b(run_benchmark|suggest_configs|compile_kernel|check_correctness|query_history|roofline_report)\s*\(\s*[\w{\[]|"
    r"""["']name["']\s*:\s*["'](functions\.)?\w+["']\s*,\s*["'](arguments|parameters)["']\s*:"""
)
"""How models write tool calls if nothing on the server turns them into calls: the marks of the Hermes, Llama, Mistral,
DeepSeek and Gemma templates, or a call in words."""

ANNOUNCEMENT = re.compile(
    r"\b(let me|let's|let us|i will|i'll|i am going to|i'm going to|i shall|now i|next,? i|next step|going to|"
    r"we will|we'll|proceed(ing)?( now)? (to|with)|first,? i|time to)\b[^.!?\n]{0,80}?"
    r"\b(call|run|measur|compil|check|ask|try|benchmark|test|suggest|query|start|begin|explor|look|use|evaluat|examin|"
    r"fetch|get|prob)",
    re.IGNORECASE,
)
CONCLUSION = re.compile(
    r"\b(conclu|in summary|the search is over|search ends|final (answer|result|config)|"
    r"best config(uration)? (is|found)|i am done|nothing (more|else|left)|no further|stop here|finished|done\.)",
    re.IGNORECASE,
)


def announces(words: str) -> bool:
    """Whether `words` announce an action and conclude nothing."""
    return ANNOUNCEMENT.search(words) is not None and CONCLUSION.search(words) is None


SLIPS: dict[Spoke, str] = {
    "words": "words without a call",
    "announces": "an announcement without a call",
    "written": "a call written as text",
    "nothing": "neither words nor a call",
    "length": "a message that was cut off",
    "refusal": "a refusal",
}
"""What is wrong with a message that makes no call."""
NO_TOOL_PARSER = (
    "the model wrote a tool call as text, so the server turns none into calls: start it with a tool parser (vLLM: "
    "--enable-auto-tool-choice --tool-call-parser NAME; llama.cpp: --jinja; SGLang: --tool-call-parser NAME)"
)
