"""What the servers that speak the OpenAI protocol take and give back beyond what they share.

A profile is set with ``--endpoint``, or known by the server's address, else by its first answer (a llama.cpp server,
for one, names itself in a header). It need not be right: ``refusals.py`` changes it when a server refuses a request.

Sources of the providers' profiles, read on 2026-11-28:

- anthropic: platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk (``strict`` and ``reasoning_effort``
  are ignored, ``parallel_tool_calls`` and ``max_tokens`` supported, system messages are moved to the beginning)
- deepseek: api-docs.deepseek.com/guides/thinking_mode; earendil-works/pi#1048 (no ``developer`` role);
  deepseek-ai/deepseek-harness discussion 739 (``reasoning_content`` must be there even if there is none)
- gemini: ai.google.dev/gemini-api/docs/thought-signatures and /openai
- mistral: langchain-ai/langchain#24668 (ids), editor-code-assistant/eca#231 (no ``max_completion_tokens``),
  charmbracelet/crush#1590 (no foreign fields in messages), avante-corp/avante.nvim#2347 (no ``stream_options``)
- moonshot: platform.kimi.ai/docs/guide/use-thinking-effort; java.agentscope.io/v2/en/integration/model/kimi (no
  ``strict``, ``max_completion_tokens``); continuedev/continue#11806 (``reasoning_content``)
- openrouter: openrouter.ai/docs, ChatRequestReasoningEffort and reasoning tokens
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from agent.models.base import ToolSchema

TokenField = Literal["max_completion_tokens", "max_tokens"]
Role = Literal["system", "developer", "user"]


@dataclass(frozen=True)
class Profile:
    """The optional fields of a request that an endpoint takes, and what of its replies it wants back."""

    name: str
    strict: bool = True
    """Tools marked ``strict``: the arguments are decoded under the schema."""
    tool_choice: bool = True
    parallel_tool_calls: bool = True
    effort: bool = True
    """``reasoning_effort``."""
    stream_options: bool = True
    """Whether a stream may be asked to state its usage. Some servers state it unasked and refuse the question."""
    token_limit: TokenField | None = "max_tokens"
    """The field that bounds an answer."""
    roles: tuple[Role, ...] = ("system", "developer", "user")
    """The first is the role of the rules; the others are tried in this order if the server refuses it."""
    returned: tuple[str, ...] = ()
    """Fields of its messages (reasoning) that it wants back with the conversation."""
    filled: bool = False
    """Whether every message with tool calls must have the ``returned`` fields, also one of another model."""
    signed: bool = True
    """Whether what a tool call carries in ``extra_content`` (Gemini's signature) goes back with it."""
    unsigned: bool = False
    """Whether a call without a signature is sent with Google's word for that, so that its check is skipped."""

    def fields(self, tools: list[ToolSchema], tokens: int, effort: str | None = None) -> dict[str, Any]:
        """The request's part that differs between endpoints: the tools, how they may be used, and the effort."""
        fields: dict[str, Any] = {"tools": [self.described(tool) for tool in tools]}
        if self.tool_choice:
            fields["tool_choice"] = "auto"
        if self.parallel_tool_calls:
            fields["parallel_tool_calls"] = True
        if self.token_limit:
            fields[self.token_limit] = tokens
        if self.effort and effort is not None:
            fields["reasoning_effort"] = effort
        return fields

    def described(self, tool: ToolSchema) -> dict[str, Any]:
        described = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        return {"type": "function", "function": {**described, "strict": True} if self.strict else described}


COMPATIBLE = Profile("compatible", parallel_tool_calls=False, tool_choice=False, returned=("reasoning_content",))
"""A server of which nothing is known. One that gives ``reasoning_content`` may stand before a model that wants it
back."""

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("openai", token_limit="max_completion_tokens", signed=False),
        Profile("openrouter", returned=("reasoning_details",)),
        Profile("litellm", returned=("reasoning_content",)),
        Profile("vllm"),
        # Ollama's compatibility page lists no tool_choice; llama.cpp turns strict schemas into grammars by itself.
        Profile("ollama", strict=False, tool_choice=False, parallel_tool_calls=False),
        Profile("llama.cpp", strict=False),
        Profile(
            "deepseek",
            strict=False,
            parallel_tool_calls=False,
            returned=("reasoning_content",),
            filled=True,
            signed=False,
        ),
        Profile(
            "moonshot",
            strict=False,
            tool_choice=False,
            parallel_tool_calls=False,
            token_limit="max_completion_tokens",
            returned=("reasoning_content",),
            filled=True,
            signed=False,
        ),
        # Its documentation lists neither field.
        Profile("gemini", strict=False, parallel_tool_calls=False),
        Profile("anthropic", strict=False, effort=False, signed=False),
        Profile("mistral", stream_options=False, signed=False),
        COMPATIBLE,
    )
}

HOSTS = {
    "api.openai.com": "openai",
    "openrouter.ai": "openrouter",
    "api.deepseek.com": "deepseek",
    "api.moonshot.ai": "moonshot",
    "api.moonshot.cn": "moonshot",
    "generativelanguage.googleapis.com": "gemini",
    "api.anthropic.com": "anthropic",
    "api.mistral.ai": "mistral",
}
PORTS = {11434: "ollama"}
"""Ports that one server alone uses by default."""


def profile_at(base_url: str) -> Profile:
    """The profile by address; ``compatible`` where the address says nothing."""
    parts = urlsplit(base_url)
    named = HOSTS.get(parts.hostname or "") or PORTS.get(parts.port or 0)
    return PROFILES[named or "compatible"]


def profile_of_answer(headers: Mapping[str, str], body: Any) -> Profile | None:
    """The profile by what an answer gives away; ``None`` where it gives nothing away."""
    names = {name.lower() for name in headers}
    if any(name.startswith("x-litellm-") for name in names):
        return PROFILES["litellm"]
    if "llama.cpp" in headers.get("server", ""):
        return PROFILES["llama.cpp"]
    found = body if isinstance(body, dict) else {}
    if found.get("system_fingerprint") == "fp_ollama":
        return PROFILES["ollama"]
    if {"prompt_logprobs", "kv_transfer_params"} & set(found):
        return PROFILES["vllm"]
    return None
