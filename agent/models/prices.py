"""What a token costs: one table, overridable by a file.

US dollars per million tokens: prompt, prompt out of the endpoint's cache, answer (reasoning included). The list prices
are in ``agent/models/price_table.py``. A model that is not in the table has no known price, and that is said rather
than guessed.

``AUTOKERNEL_PRICES`` names a JSON file whose entries come first: ``{"my-model": [0.5, 0.05, 2.0]}``, with a fourth
number if tokens that are put into the cache have a price of their own; a server of one's own costs ``[0, 0, 0]``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.models.base import CLIENT, EMBEDDED
from agent.models.price_table import TABLE
from agent.models.price_table import Price as Price
from memory.command_line.input_files import read_input

if TYPE_CHECKING:
    from agent.goal.objective import Objective

OVERRIDE = "AUTOKERNEL_PRICES"

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
    known = None if price is None else tuple(number for number in astuple(price) if number is not None)
    return objective.model_copy(update={"price": known})


def read_overrides() -> dict[str, Price]:
    """The user's own prices. Raises UsageError with one sentence."""
    named = os.environ.get(OVERRIDE)
    if not named:
        return {}
    try:
        given = json.loads(read_input(Path(named)))
        return {str(model): read_row(row) for model, row in given.items()}
    except OSError as e:
        raise UsageError(f"Cannot read the prices {named} ({e.strerror}): correct {OVERRIDE}.") from e
    except (ValueError, TypeError, AttributeError, RecursionError) as e:
        raise UsageError(
            f"{named} is no table of prices: write JSON like "
            '{"my-model": [0.5, 0.05, 2.0]}, US dollars per million tokens of prompt, cached prompt and answer.'
        ) from e


def read_row(row: object) -> Price:
    if not isinstance(row, list) or len(row) not in (3, 4):
        raise ValueError("a price has three or four numbers")
    numbers = [float(value) for value in row]
    if not all(0 <= value < 1e6 for value in numbers):
        raise ValueError("a price is not negative")
    return Price(*numbers)
