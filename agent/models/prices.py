"""What a token costs: one table, overridable by a file.

US dollars per million tokens: prompt, prompt out of the endpoint's cache, answer (reasoning included). OpenAI's list
prices for standard processing as quoted in June 2026; prices change, so check them where a budget matters. A model that
is not in the table has no known price, and that is said rather than guessed.

``AUTOKERNEL_PRICES`` names a JSON file whose entries come first: ``{"my-model": [0.5, 0.05, 2.0]}``; a server of one's
own costs ``[0, 0, 0]``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.models.base import CLIENT, EMBEDDED

if TYPE_CHECKING:
    from agent.goal.objective import Objective

OVERRIDE = "AUTOKERNEL_PRICES"


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    cached: float
    answer: float

    def cost(self, prompt: int, cached: int, answer: int) -> float:
        """US dollars of one exchange; `cached` tokens are among those of the prompt."""
        known = min(max(cached, 0), prompt)
        return ((prompt - known) * self.prompt + known * self.cached + answer * self.answer) / 1e6

    def affords(self, dollars: float, prompt: int) -> int:
        """Tokens of an answer that `dollars` pay for after `prompt` tokens outside of any cache."""
        rest = dollars - prompt * self.prompt / 1e6
        return 10**9 if rest > 0 and self.answer == 0 else max(0, int(rest * 1e6 / (self.answer or 1)))


TABLE: dict[str, Price] = {
    "gpt-5.5": Price(5.0, 0.5, 30.0),
    "gpt-5.4": Price(2.5, 0.25, 15.0),
    "gpt-5.4-mini": Price(0.75, 0.075, 4.5),
    "gpt-5.4-nano": Price(0.2, 0.02, 1.25),
    "gpt-5.2": Price(1.75, 0.175, 14.0),
    "gpt-5.1": Price(1.25, 0.125, 10.0),
    "gpt-5": Price(1.25, 0.125, 10.0),
    "gpt-5-mini": Price(0.25, 0.025, 2.0),
    "gpt-5-nano": Price(0.05, 0.005, 0.4),
    "gpt-4.1": Price(2.0, 0.5, 8.0),
    "gpt-4.1-mini": Price(0.4, 0.1, 1.6),
    "gpt-4.1-nano": Price(0.1, 0.025, 0.4),
    "gpt-4o": Price(2.5, 1.25, 10.0),
    "gpt-4o-mini": Price(0.15, 0.075, 0.6),
    "o3": Price(2.0, 0.5, 8.0),
    "o4-mini": Price(1.1, 0.275, 4.4),
}

FREE = Price(0.0, 0.0, 0.0)
"""The embedded planner; a client over MCP, whose own words are not ours to count."""


def price_of(model: str, overrides: Mapping[str, Price] | None = None) -> Price | None:
    """The price of `model`, or ``None`` where it is unknown.

    ``openai/gpt-5`` is priced like ``gpt-5``, and ``gpt-5-2025-08-07`` too: a router's prefix and a snapshot's date
    change no list price."""
    if model in (EMBEDDED, CLIENT):
        return FREE
    overrides = read_overrides() if overrides is None else overrides
    if model in overrides:
        return overrides[model]
    return TABLE.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model.removeprefix("openai/")))


def priced(objective: Objective) -> Objective:
    """The objective with its model's price. Raises UsageError where money is limited and the price unknown."""
    price = price_of(objective.model)
    if price is None and objective.limits.max_cost is not None:
        raise UsageError(
            f"The price of {objective.model} is unknown, so --max-cost cannot hold: name a table of prices with "
            f"{OVERRIDE} (agent/models/prices.py says how), or use --max-tokens."
        )
    known = None if price is None else (price.prompt, price.cached, price.answer)
    return objective.model_copy(update={"price": known})


def read_overrides() -> dict[str, Price]:
    """The user's own prices. Raises UsageError with one sentence."""
    named = os.environ.get(OVERRIDE)
    if not named:
        return {}
    try:
        given = json.loads(Path(named).read_text())
        return {str(model): Price(*read_row(row)) for model, row in given.items()}
    except OSError as e:
        raise UsageError(f"Cannot read the prices {named} ({e.strerror}): mend {OVERRIDE}.") from e
    except (ValueError, TypeError, AttributeError) as e:
        raise UsageError(
            f"{named} is no table of prices: write JSON like "
            '{"my-model": [0.5, 0.05, 2.0]}, US dollars per million tokens of prompt, cached prompt and answer.'
        ) from e


def read_row(row: object) -> tuple[float, float, float]:
    if not isinstance(row, list) or len(row) != 3:
        raise ValueError("a price has three numbers")
    prompt, cached, answer = (float(value) for value in row)
    if not all(0 <= value < 1e6 for value in (prompt, cached, answer)):
        raise ValueError("a price is not negative")
    return prompt, cached, answer
