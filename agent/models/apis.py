"""The two APIs through which OpenAI and others serve a model, and the choice between them."""

from __future__ import annotations

from typing import Literal, get_args

ApiName = Literal["chat", "responses"]
PATHS: dict[ApiName, str] = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
"""The API's path, as OpenAI's messages name it."""
ApiChoice = Literal["auto", "responses", "chat"]
"""``auto`` finds out which one the server takes."""
API_CHOICES: tuple[ApiChoice, ...] = get_args(ApiChoice)
VARIABLE = "AUTOKERNEL_API"
