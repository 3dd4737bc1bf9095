"""What the servers that speak the OpenAI protocol take and give back beyond what they share.

A profile is set with ``--endpoint``, or known by the server's address, else by its first answer (a llama.cpp server,
for one, names itself in a header). It need not be right: a field that a server refuses is left out from then on, and
the user is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from agent.models.base import ToolSchema

TokenField = Literal["max_completion_tokens", "max_tokens"]


@dataclass(frozen=True)
class Profile:
    """The optional fields of a request that an endpoint takes, and the fields of a reply to hand back."""

    name: str
    strict: bool = True
    """Tools marked ``strict``: the arguments are decoded under the schema."""
    tool_choice: bool = True
    parallel_tool_calls: bool = True
    token_limit: TokenField | None = "max_tokens"
    """The field that bounds an answer."""
    returned: tuple[str, ...] = ()
    """Fields of its messages (reasoning) that it wants back with the conversation."""

    def fields(self, tools: list[ToolSchema], tokens: int) -> dict[str, Any]:
        """The request's part that differs between endpoints: the tools and how they may be used."""
        fields: dict[str, Any] = {"tools": [self.described(tool) for tool in tools]}
        if self.tool_choice:
            fields["tool_choice"] = "auto"
        if self.parallel_tool_calls:
            fields["parallel_tool_calls"] = True
        if self.token_limit:
            fields[self.token_limit] = tokens
        return fields

    def described(self, tool: ToolSchema) -> dict[str, Any]:
        described = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        return {"type": "function", "function": {**described, "strict": True} if self.strict else described}

    def without(self, reason: str) -> tuple[Profile, str] | None:
        """A profile that asks for less after a refusal in these words, and the field given up; ``None`` where nothing
        is left to give up.

        The field that the words name goes first, else the one that fewest servers know."""
        words = reason.lower()
        if self.token_limit and any(word in words for word in ("max_tokens", "max_completion_tokens", "context len")):
            return replace(self, token_limit=self._other_limit(words)), self.token_limit
        for field in (*(field for field in GIVEN_UP if field in words), *GIVEN_UP):
            if getattr(self, field):
                less: dict[str, Any] = {field: False}
                return replace(self, **less), field
        return (replace(self, token_limit=None), self.token_limit) if self.token_limit else None

    def _other_limit(self, words: str) -> TokenField | None:
        """The newer name where the words ask for it, the older where only the newer was tried, else none."""
        too_long = "context len" in words or "too large" in words
        if self.token_limit == "max_completion_tokens":
            return None if too_long else "max_tokens"
        return "max_completion_tokens" if "max_completion_tokens" in words and not too_long else None


GIVEN_UP = ("parallel_tool_calls", "tool_choice", "strict")
"""Fields in the order in which they are given up when a server does not say which one it refuses."""

COMPATIBLE = Profile("compatible", parallel_tool_calls=False, tool_choice=False)
"""A server of which nothing is known."""

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("openai", token_limit="max_completion_tokens"),
        Profile("openrouter", returned=("reasoning_details",)),
        Profile("litellm"),
        Profile("vllm"),
        # Ollama's compatibility page lists no tool_choice; llama.cpp turns strict schemas into grammars by itself.
        Profile("ollama", strict=False, tool_choice=False, parallel_tool_calls=False),
        Profile("llama.cpp", strict=False),
        Profile("deepseek", strict=False, parallel_tool_calls=False, returned=("reasoning_content",)),
        COMPATIBLE,
    )
}

HOSTS = {"api.openai.com": "openai", "openrouter.ai": "openrouter", "api.deepseek.com": "deepseek"}
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
