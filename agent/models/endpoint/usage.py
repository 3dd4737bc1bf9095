"""Tokens and money of one exchange, as far as the endpoint says."""

from __future__ import annotations

from typing import Any

from agent.models.prices import Price


class Usage:
    """The `usage` object of either API: Chat Completions says prompt and completion, Responses input and output. The
    tokens of an answer include those of its reasoning."""

    def __init__(self, given: Any) -> None:
        usage = given if isinstance(given, dict) else {}
        self.prompt = counted(usage.get("prompt_tokens", usage.get("input_tokens")))
        self.answer = counted(usage.get("completion_tokens", usage.get("output_tokens")))
        self.cached = detail(usage, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens")
        self.written = detail(usage, ("prompt_tokens_details", "input_tokens_details"), "cache_write_tokens")
        self.reasoning = detail(usage, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
        total = counted(usage.get("total_tokens"))
        parts = None if self.prompt is None or self.answer is None else self.prompt + self.answer
        self.total = parts if total is None else max(total, parts or 0)
        cost = usage.get("cost")
        self._charged = float(cost) if isinstance(cost, int | float) and 0 <= cost < 1e6 else None

    def cost(self, price: Price | None) -> float:
        """US dollars: as charged where the endpoint says (OpenRouter does), else by the table, else 0."""
        if self._charged is not None and self._charged > 0:
            return self._charged
        if price is None or self.prompt is None or self.answer is None:
            return 0.0
        answer = max(self.answer, (self.total or 0) - self.prompt)
        return price.cost(self.prompt, self.cached or 0, answer, self.written or 0)


def detail(usage: dict[str, Any], names: tuple[str, str], field: str) -> int | None:
    """A count in the first of the objects `names` that is there."""
    found: dict[str, Any] = next((usage[name] for name in names if isinstance(usage.get(name), dict)), {})
    return counted(found.get(field))


def counted(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else None
