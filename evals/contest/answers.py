"""The referee's answers to an agent's requests, as plain JSON. A disguised run gets no compiler's figures and no
message: they would reveal which config it is."""

from __future__ import annotations

from typing import Any

from evals.contest.ledger import Referee, compile_failure
from tools.harness.landscapes.readings import Entry
from tools.harness.results import CompileResult

NOT_HELD = "not recorded: this space does not hold the config"


def answer(referee: Referee, disguised: bool, message: Any) -> dict[str, Any]:
    """The answer to ``["measure", config]``, ``["compile", configs]`` or ``["check", configs]``. Raises ValueError for
    anything else, Over if the run may send no more requests."""
    match message:
        case ["measure", dict(config)]:
            return measured(referee, disguised, config)
        case ["compile", [*configs]] if all(isinstance(c, dict) for c in configs):
            found = zip(referee.compile(configs), configs, strict=True)
            return {"results": [compiled(entry, config, disguised).model_dump() for entry, config in found]}
        case ["check", [*configs]] if all(isinstance(c, dict) for c in configs):
            return {"results": referee.check(configs)}
    raise ValueError("no request")


def measured(referee: Referee, disguised: bool, config: dict[str, Any]) -> dict[str, Any]:
    row = referee.measure(config)
    entry = referee.entry(row.config)
    reason = entry.reason if entry else NOT_HELD
    reason = row.status if disguised and row.ms is None else reason
    return {"status": row.status, "ms": row.ms, "reason": reason, "seconds": entry.run_seconds if entry else 0.0}


def compiled(entry: Entry | None, config: dict[str, Any], disguised: bool) -> CompileResult:
    if entry is None:
        return CompileResult(config=config, status="constraints", reason=NOT_HELD)
    failed = compile_failure(entry)
    if disguised or entry.compiled is None or failed not in (None, entry.compiled.status):
        return CompileResult(config=config, status=failed or "correct", reason="it does not compile" if failed else "")
    return entry.compiled
