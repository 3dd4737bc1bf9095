"""List the configs that exist around a config, nearest first, as changes to it, with what is known of each. Free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, create_model

from memory.shared_models import Closed
from tools.calling.arguments import as_text
from tools.declaration import Declaration

if TYPE_CHECKING:
    from kernels.spec import Config, KernelSpec
    from tools.session.session import Session

DECLARATION = Declaration("looking around a config", activity="look")

MOST = 40


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    config: Any = Annotated[spec.config_type, as_text("the config in the middle as JSON text; it need not exist")]
    limit = Field(default=16, ge=1, le=MOST, description="configs at most")
    return create_model("Neighbours", __base__=Closed, config=(config, ...), limit=(int, limit))


def run(session: Session, args: Any, call_id: str) -> dict[str, Any]:
    """Whether the config exists, and the configs around it, nearest first, as changes to it."""
    refused = session.refusal(args.config)
    found = session.neighbourhood.around(args.config, args.limit)
    answer: dict[str, Any] = {"config": args.config.model_dump(mode="json"), "exists": refused is None}
    if refused is not None:
        answer["reason"] = refused
    return answer | {"neighbours": [{"change": change, **what_is_known(session, c)} for c, change in found]}


def what_is_known(session: Session, config: Config) -> dict[str, Any]:
    """What this run knows of a config: its time, or how it failed."""
    measured, compiled = session.measured.get(config), session.compiled.get(config)
    if measured is not None and measured.ms is not None:
        return {"ms": float(f"{measured.ms:.4g}")}
    known = measured or compiled
    return {"status": "compiled" if known is compiled and known.status == "correct" else known.status} if known else {}
