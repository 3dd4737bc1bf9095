"""What memory gives a session back: what its own run has done, and, for a warm start, what other runs learnt.

Known results of this problem, made in this very environment from this very source, are taken as they are: they guide
the planner, cost no evaluation and are not made again. The final proof always is. Winners of near problems and devices
are only proposed: they have to be measured here. What corrects the planner's cost model comes from the same Triton, the
same assembler and the same variables alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from kernels.hardware import hardware_named
from kernels.hardware.gpu_facts import from_json
from kernels.spec import Config
from memory import queries
from memory.attempt import Row
from memory.terms import Kind
from memory.upkeep.spoilt import is_spoilt
from tools.harness.results import CheckResult, CompileResult, Measurement
from tools.planner.transfer import NearProblem
from tools.session.session import Session
from tools.session.variants.variant_proof import withdraw_wrong

NEAR = 4.0
"""Distance (``memory.queries.distance``) up to which a problem's winners are worth a try here: a factor of two in each
of the three dimensions and another device state, or a factor of four in one of them on another GPU model."""
SEEDS = 2
"""Winners proposed at most: they stand before what the planner chooses, which the same neighbours have taught."""
KINDS: tuple[Kind, ...] = ("compile", "check", "benchmark")
WINNERS = 2
"""Of one problem on one device."""
NEAR_PROBLEMS = 4
"""Near problems that the planner learns from."""
NEAR_CONFIGS = 100
"""Of each, the fastest configs."""


def resume(session: Session) -> None:
    """Give a session back what its run has finished before, and charge what that cost. What our machinery spoilt is
    tried again for free when asked for."""
    for row in session.memory.finished(session.run_id):
        config = _config(session, row["config"])
        if config is not None and row["regime"] in (None, "", session.task.regime):  # not the finalists' energy
            _take(session, config, row)
            known: dict[str, dict[Config, Any]] = {
                "compile": session.compiled,
                "check": session.checked,
                "benchmark": session.measured,
            }
            if row["kind"] in known:
                session.charge(row["kind"], config, known[row["kind"]][config])
    withdraw_wrong(session)


def warm_up(session: Session) -> None:
    """Give a session what other runs know: results of its problem as they are, near problems to learn from. If it is
    cold, only near problems that other runs of the same command have searched."""
    if session.cold and not session.alongside:
        return
    own = {"compile": set(session.compiled), "check": set(session.checked), "benchmark": set(session.measured)}
    for config, row in () if session.cold else _known(session):
        if config not in own[row["kind"]]:
            _take(session, config, row)
            if row["kind"] == "benchmark":
                session.known[config] = row["run_id"]
    withdraw_wrong(session)
    near = _near(session)
    session.seeds = _seeds(session, near)
    alike = [row for row in near if row["same_toolchain"]]  # of the same source another compiler makes another kernel
    session.near_problems = [problem for row in alike if (problem := _near_problem(session, row)) is not None]


def _known(session: Session) -> Iterator[tuple[Config, Row]]:
    """Verdicts that need not be made again."""
    ids, task, source = session.ids, session.task, session.task.spec.source_hash()
    compiled, checked, measured = (
        queries.known(session.memory, ids.problem, ids.of_kind(kind), source, kind, task.regime) for kind in KINDS
    )
    # What only compiled is compiled again: a device that is to launch it wants the code, not the figures.
    compiled = {key: row for key, row in compiled.items() if key in measured or row["status"] != "correct"}
    for rows in (compiled, checked, measured):
        for row in rows.values():
            config = _config(session, row["config"])
            if config is not None and not is_spoilt(row["status"], row["reason"]):
                yield config, row


def _near(session: Session) -> list[Row]:
    """The nearest problems that were searched, this one on other devices among them."""
    task, ids = session.task, session.ids
    problem, source = task.problem.model_dump(mode="json"), task.spec.source_hash()
    runs = session.alongside if session.cold else None
    found = queries.nearest(
        session.memory, task.spec.name, problem, ids.environment, source, task.regime, NEAR_PROBLEMS, NEAR_CONFIGS, runs
    )
    return [row for row in found if row["distance"] <= NEAR]


def _seeds(session: Session, near: list[Row]) -> list[Config]:
    """The winners of the nearest problems, one of each first, then their seconds."""
    winners = [row["winners"][:WINNERS] for row in near]
    ordered = [w[place]["config"] for place in range(WINNERS) for w in winners if place < len(w)]
    configs = (_config(session, values) for values in ordered)
    return list(dict.fromkeys(c for c in configs if c is not None and c not in session.measured))[:SEEDS]


def _near_problem(session: Session, row: Row) -> NearProblem | None:
    """A near problem for the planner; ``None`` where its kernel or its device is no longer known."""
    memory, spec = session.memory, session.task.spec
    problem = memory.ask("SELECT problem FROM problems WHERE id = ?", [row["problem_id"]])[0]["problem"]
    device = memory.ask("SELECT hardware, facts FROM environments WHERE id = ?", [row["environment_id"]])[0]
    try:
        there = spec.problem_type.model_validate(queries.values_of(problem))
        facts = json.loads(device["facts"] or "null")
        hardware = from_json(facts) if facts else hardware_named(device["hardware"] or "")
    except ValueError:
        return None
    times = {c: w["ms"] for w in row["winners"] if (c := _config(session, w["config"])) is not None}
    return NearProblem(there, hardware, times, row["distance"])


def _take(session: Session, config: Config, row: Row) -> None:
    """The row of an attempt as a result of the session."""
    common = {k: row[k] for k in ("config", "status")} | {"reason": row["reason"] or ""}
    if row["kind"] == "compile":
        kept = {k: v for k, v in row.items() if k in CompileResult.model_fields and v is not None}
        session.compiled[config] = CompileResult(**kept | common)
    elif row["kind"] == "check":
        figures = {k: row[k] for k in ("error", "bound")}
        session.checked[config] = CheckResult(**common, **figures, where=row["checked_where"] or "")
    elif row["kind"] == "benchmark":
        interval = None if row["ci_low"] is None else (row["ci_low"], row["ci_high"])
        session.measured[config] = Measurement(
            **common,
            regime=row["regime"] or session.task.regime,
            samples_ms=row["samples"] or [],
            ms=row["ms"],
            ci_ms=interval,
            error=row["error"],
            bound=row["bound"],
            how=row["how"] or "",
        )


def _config(session: Session, values: dict[str, Any]) -> Config | None:
    """The config as the kernel has it today; ``None`` where it no longer has such a one."""
    try:
        return session.config(values)
    except ValidationError:
        return None
