"""What a request leaves out, or adds, after a server has refused it (HTTP 400 or 422).

The server's words decide where they name a field; where they name none, the fields that fewest servers know go one by
one. Each step can be made once, so that a server that refuses everything is given up.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from agent.models.providers.profile import Profile, TokenField

GIVEN_UP = ("parallel_tool_calls", "tool_choice", "strict", "stream_options")
"""Fields in the order in which they are given up when a server does not say which one it refuses."""
EFFORT = re.compile(r"reasoning[_. ]effort|thinking[_ ]?level")
LIMIT = re.compile(r"max_(completion_|output_)?tokens|context len")
SIGNATURE = re.compile(r"thought[_ ]?signature")
ROLE = re.compile(r"\brole\b")

Adapted = tuple[Profile, str]
"""The profile of the next try, and what is different: ``without strict``."""


def adapt(profile: Profile, reason: str, effort: str | None = None) -> Adapted | None:
    """A profile that may pass where `profile` was refused in these words; ``None`` if nothing is left to change.

    `effort` is what the user asked for."""
    words = reason.lower()
    found = adapt_history(profile, words) or adapt_role(profile, words)
    if found:
        return found
    if profile.token_limit and LIMIT.search(words):
        return replace(profile, token_limit=other_limit(profile, words)), f"without {profile.token_limit}"
    thinks = profile.effort and effort is not None
    if thinks and EFFORT.search(words):
        return without_effort(profile)
    for field in (field for field in GIVEN_UP if field in words and getattr(profile, field)):
        return without(profile, field)
    if thinks:
        return without_effort(profile)
    for field in (field for field in GIVEN_UP if getattr(profile, field)):
        return without(profile, field)
    if profile.token_limit:
        return replace(profile, token_limit=None), f"without {profile.token_limit}"
    return None


def adapt_history(profile: Profile, words: str) -> Adapted | None:
    """Reasoning and signatures: wanted on earlier messages, or not permitted there."""
    if "reasoning_content" in words:
        known = "reasoning_content" in profile.returned
        if "passed back" in words or "missing" in words:
            returned = profile.returned if known else (*profile.returned, "reasoning_content")
            more = replace(profile, returned=returned, filled=True)
            return None if profile.filled and known else (more, "with reasoning_content on every turn with tool calls")
        if known:
            less = tuple(field for field in profile.returned if field != "reasoning_content")
            return replace(profile, returned=less, filled=False), "without reasoning_content"
    if SIGNATURE.search(words):
        if "missing" in words and not profile.unsigned:
            return replace(profile, unsigned=True), "with a stand-in for the signatures that earlier calls lack"
        if "missing" not in words and profile.signed:
            return replace(profile, signed=False, unsigned=True), "without the signatures of earlier calls"
    if "extra_content" in words and profile.signed:
        return replace(profile, signed=False), "without extra_content"
    return None


def adapt_role(profile: Profile, words: str) -> Adapted | None:
    """Another role for the rules where the server does not know this one."""
    role, *others = profile.roles
    if not others or not ROLE.search(words) or not re.search(rf"\b{role}\b|unexpected message role", words):
        return None
    return replace(profile, roles=tuple(others)), f"with the role {others[0]} in place of {role}"


def other_limit(profile: Profile, words: str) -> TokenField | None:
    """The newer name where the words ask for it, the older where only the newer was tried, else none."""
    too_long = "context len" in words or "too large" in words
    if profile.token_limit == "max_completion_tokens":
        return None if too_long else "max_tokens"
    return "max_completion_tokens" if "max_completion_tokens" in words and not too_long else None


def without(profile: Profile, field: str) -> Adapted:
    less: dict[str, Any] = {field: False}
    return replace(profile, **less), f"without {field}"


def without_effort(profile: Profile) -> Adapted:
    return replace(profile, effort=False), "without reasoning_effort"
