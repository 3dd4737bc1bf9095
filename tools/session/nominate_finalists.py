"""Time measured configs again beside the fastest, and have them proven before others within noise of them. Free.

On a recorded device there are no more readings: the interval, if there is one, then holds the scatter between sittings
too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, create_model

from memory.shared_models import Closed
from tools.calling.arguments import as_text
from tools.declaration import Declaration

if TYPE_CHECKING:
    from kernels.spec import KernelSpec
    from tools.session.session import Session

DECLARATION = Declaration("timing finalists again", activity="measure", returns="finalists", on_device=True)

MOST = 4
"""Configs in one call: a final proof tries few."""


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    words = "measured configs, 1 to 4: a JSON list as in run_benchmark"
    configs: Any = Annotated[list[spec.config_type], as_text(words)]  # type: ignore[name-defined]
    field = Field(min_length=1, max_length=MOST)
    return create_model("NominateFinalists", __base__=Closed, configs=(configs, field))


def run(session: Session, args: Any, call_id: str) -> dict[str, Any]:
    """The new times, fastest first; a config that was not measured correctly is refused. The fastest config is timed
    beside them, and the row says so if it is not one of them."""
    refused = [c for c in dict.fromkeys(args.configs) if not session.is_candidate(c)]
    found = session.nominate([c for c in args.configs if c not in refused])
    rows = [
        {
            "config": m.config,
            "status": m.status,
            **({} if session.config(m.config) in args.configs else {"beside": "the fastest"}),
            **({"reason": m.reason} if m.reason else {}),
            **({"ms": round(m.ms, 5)} if m.ms is not None else {}),
            **({"ci_ms": [round(x, 5) for x in m.ci_ms]} if m.ci_ms else {}),
        }
        for m in found
    ]
    answer: dict[str, Any] = {"finalists": rows}
    if refused:
        answer["refused"] = [
            {"config": c.model_dump(mode="json"), "reason": "not measured correctly in this run: call run_benchmark"}
            for c in refused
        ]
    if found and session.device.info.kind != "live":
        answer["note"] = "a recorded device has no more readings: these are the same"
    return answer
