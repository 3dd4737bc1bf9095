"""What a forked run takes over from its parent: the answers of the tools before the fork."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent.errors import UsageError
from agent.export.story import rows
from agent.models.embedded import EDIT
from agent.trace.recorded_tools import declared_in
from agent.trace.trace import JSON, Event
from tools.declaration import UNDECLARED

if TYPE_CHECKING:
    from kernels.spec import Config
    from tools.session.session import Session


def inherit(session: Session, events: Sequence[Event]) -> None:
    """Give `session` the configs that the tool results among `events`, which begin with the header, compiled, checked
    and measured.

    What the session knows itself stays. Figures are those that the model was shown, rounded as it saw them. Raises
    UsageError for a config that the kernel no longer has."""
    from tools.harness.results import UNDECIDED, CheckResult, CompileResult, Measurement
    from tools.session.variants.variant_proof import withdraw_wrong

    regime = session.task.regime
    declared = declared_in(events[0].body if events else {})
    if session.task.spec.shut_in:
        inherit_variants(session, events)
    for name, row in tool_rows(events, "finalists"):
        if declared.get(name, UNDECLARED).returns == "finalists" and "beside" not in row:
            session.nominated |= {c: None for c in [_config(session, row)] if session.refusal(c) is None}
    for name, row in tool_rows(events, "proposals"):
        if declared.get(name, UNDECLARED).returns == "proposals":
            session.budget.proposed.add(_config(session, row).key())
    for _, row in tool_rows(events, "stressed"):
        checked = CheckResult(**select_fields(CheckResult, row))
        if checked.status != "infrastructure" or checked.reason == UNDECIDED:
            session.checked.setdefault(_config(session, row), checked)
    for name, row in tool_rows(events, "results"):
        returns = declared.get(name, UNDECLARED).returns
        try:
            config = session.config(row["config"])
            if session.refusal(config) is not None:
                continue  # it was never tried
            if returns == "compilations":
                compiled = CompileResult(**select_fields(CompileResult, row))
                session.charge("compile", config, session.compiled.setdefault(config, compiled))
            elif returns == "checks":
                checked = CheckResult(**select_fields(CheckResult, row))
                session.charge("check", config, session.checked.setdefault(config, checked))
            elif returns == "measurements":
                measured = Measurement(**select_fields(Measurement, row) | {"regime": regime})
                session.charge("benchmark", config, session.measured.setdefault(config, measured))
                session.known.pop(config, None)  # its evaluation was the parent's, and so this run's
        except ValidationError as e:
            raise _unknown(row) from e
    withdraw_wrong(session)


def _config(session: Session, row: JSON) -> Config:
    try:
        return session.config(row["config"])
    except ValidationError as e:
        raise _unknown(row) from e


def _unknown(row: JSON) -> UsageError:
    return UsageError(f"The kernel no longer knows the config {row['config']} of this trace: start a new run.")


def inherit_variants(session: Session, events: Sequence[Event]) -> None:
    """Make the variants of these events again, if they are not beside the session's memory: configs name them. Raises
    UsageError if one cannot be made."""
    from tools.session.earlier_variants import make_again

    calls = {e.key: e.body for e in events if e.type == "tool_call" and e.body.get("name") == EDIT}
    for event in itertools.takewhile(lambda e: e.type != "fork", events):
        answer = event.body.get("result")
        if event.type == "tool_result" and event.key in calls and isinstance(answer, dict):
            lost = make_again(session, calls[event.key].get("arguments", {}), answer)
            if lost:
                raise UsageError(
                    f"The variant {lost[0]} of this trace cannot be made again by this version: give the memory that "
                    "it was made in as --memory, or start a new run."
                )


def tool_rows(events: Sequence[Event], key: str) -> Iterator[tuple[str, JSON]]:
    """(tool, row) for every row under `key` of a tool result before the fork."""
    names = {event.key: str(event.body.get("name")) for event in events if event.type == "tool_call"}
    for event in events:
        if event.type == "fork":
            return
        result = event.body.get("result")
        if event.type == "tool_result" and isinstance(result, dict):
            for row in rows(result, key):
                yield names.get(event.key, ""), row


def select_fields(model: Any, row: JSON) -> JSON:
    """The fields of `row` that `model` has."""
    return {name: value for name, value in row.items() if name in model.model_fields}
