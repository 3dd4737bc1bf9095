"""The options of ``python -m evals`` that say how a language model is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import click

from agent.goal.limits import MOST
from agent.models.apis import API_CHOICES
from agent.models.effort import EFFORTS
from evals.variables import variables
from memory.command_line.strict_commands import FiniteRange, WholeRange

ABOVE_0 = FiniteRange(min=0, min_open=True)


@dataclass(frozen=True)
class ModelOptions:
    """What was given; ``None`` is the environment's, else a default."""

    base_url: str | None
    effort: str | None
    api: str | None
    attempt_seconds: float | None
    patience_seconds: float | None
    reply_tokens: int | None

    def set(self) -> None:
        """Put them where the agents' processes look, until the command ends. Raises EvalsError where a variable of the
        environment holds a wrong word."""
        from agent.errors import UsageError
        from agent.models import apis, waiting
        from agent.models.choose import api_name
        from agent.models.effort import VARIABLE, read_effort
        from evals.errors import EvalsError

        values = {} if self.base_url is None else {"OPENAI_BASE_URL": self.base_url}
        try:
            limits = waiting.waiting_of(self.attempt_seconds, self.patience_seconds, self.reply_tokens)
            values |= {VARIABLE: read_effort(self.effort) or "", apis.VARIABLE: self.api or api_name(None, "")}
        except UsageError as e:
            raise EvalsError(str(e)) from e
        stated = {n: v for n, v in limits.model_dump().items() if v is not None}
        values |= {waiting.VARIABLES[name]: str(value) for name, value in stated.items()}
        click.get_current_context().with_resource(variables(values))

    def refuse(self) -> None:
        """Raises EvalsError for an option that a language model alone can follow, where none plays."""
        from evals.errors import EvalsError

        for field in fields(self):
            if getattr(self, field.name) is not None:
                option = f"--{field.name.replace('_', '-')}"
                raise EvalsError(f"{option} is for a language model, and none is chosen: add --model NAME")


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, as its argument `asked`, a ModelOptions."""

    @functools.wraps(command)
    def with_options(**arguments: Any) -> Any:
        asked = ModelOptions(**{f.name: arguments.pop(f.name) for f in fields(ModelOptions)})
        return command(asked=asked, **arguments)

    for option in reversed(
        (
            click.option("--base-url", metavar="URL", help="The model's server, which speaks the OpenAI protocol."),
            click.option("--effort", type=click.Choice(EFFORTS), help="How hard a model thinks; its own default."),
            click.option("--api", type=click.Choice(API_CHOICES), help="Which of OpenAI's APIs it is asked (auto)."),
            click.option("--attempt-seconds", type=ABOVE_0, metavar="S", help="One try of an answer (300)."),
            click.option("--patience-seconds", type=ABOVE_0, metavar="S", help="Tries of an answer (600)."),
            click.option("--reply-tokens", type=WholeRange(256, MOST), metavar="N", help="Tokens of an answer."),
        )
    ):
        with_options = option(with_options)
    return with_options
