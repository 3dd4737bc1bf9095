"""Argument models that several tools share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema, create_model

from memory.shared_models import Closed

if TYPE_CHECKING:
    from kernels.spec import KernelSpec
    from tools.session.session import Session

MAX_CONFIGS = 32
"""Configs in one call: enough to save turns, few enough that an answer stays small."""


def config_list(name: str, spec: KernelSpec[Any, Any], purpose: str, text: bool = False) -> type[BaseModel]:
    """A model with one field ``configs``: 1 to 32 of the kernel's own closed configs. With `text` its schema is that of
    a text which holds their JSON: one tool's schema tells the fields of a config."""
    words = f"{purpose}: a JSON list as in run_benchmark" if text else purpose
    field = Field(min_length=1, max_length=MAX_CONFIGS, description=words)
    configs: Any = list[spec.config_type]  # type: ignore[name-defined]
    annotation: Any = Annotated[configs, as_text(words)] if text else configs
    return create_model(name, __base__=Closed, configs=(annotation, field))


def as_text(description: str) -> WithJsonSchema:
    """The schema of an argument that is one config: a text with its JSON, because the fields of a config stand in the
    schemas of the tools that take many. An object is taken as well."""
    return WithJsonSchema({"type": "string", "description": description})


def describe_budget(session: Session, asked: int, answered: int) -> dict[str, Any]:
    """The end of an answer of a tool that may spend evaluations: what is left, and how many of the configs that were
    asked for the budget did not allow."""
    budget = session.budget
    found: dict[str, Any] = {"evaluations_left": budget.evals_left()}
    if budget.reserve:
        found["more_for_proposals_of_suggest_configs"] = budget.reserve
    if answered < asked:
        found["left_out"] = (
            f"{asked - answered} configs: each may cost an evaluation, and the budget of {budget.max_evals} is spent"
        )
    return found
