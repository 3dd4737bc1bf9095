"""The first proof of a variant on a GPU: before its config is searched for, it has to be right on inputs that nobody
chose.

1. Once a config of a variant was measured correctly, the fastest one is launched as a finalist is: on changed values,
   and on other shapes, for which it is compiled before (:mod:`tools.session.compiled_for_proof`).
2. If it is wrong there, the whole variant is: all its configs are `correctness` from then on. None is measured,
   proposed or proven any more, and memory says why.
3. In one call variants that have not been tried are, the fastest first, until three are right: each for at most EACH_S
   seconds without the wait for a float64 reference, and all of them for at most SHARE of what is left of the search.
   What was left out is tried when it is measured again, and in the final sitting, whose own test is a whole one.

The test is an attempt of the kind ``check`` whose place ends with PLACE: a run that is resumed or forked, and a later
run, know it by that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from memory.edits.edit_rows import refute_variant
from memory.terms import variant_of
from tools.harness.results import CheckResult, Measurement, StressResult
from tools.session.variants.variant_verdicts import PLACE, tried_variants, wrong_variants

if TYPE_CHECKING:
    from kernels.spec import Config
    from tools.session.session import Session

EACH_S, SHARE, LEAST_S = 4.0, 0.25, 0.3
"""Seconds for a variant; of what is left of the search, for all that are tried in one call; and what a test needs."""
COMPILING = 0.5
"""Of a variant's seconds, the part for compiling it for other shapes."""
MOST = 3
"""Right variants in one call after which slower ones are not tried."""


def prove_variants(session: Session, measured: Iterable[Config], call_id: str) -> list[dict[str, Any]]:
    """Try the variants of the configs that were `measured` in this call, as far as they have not been tried; a row for
    each."""
    if not session.task.spec.shut_in or session.device.info.kind != "live":
        return []
    tried = tried_variants(session.checked)
    fastest: dict[str, Config] = {}
    for m in session.ranked():
        fastest.setdefault(variant_of(m.config), session.config(m.config))
    asked = {name for c in measured if (name := variant_of(c)) and name not in tried}
    waiting = [(name, config) for name, config in fastest.items() if name in asked]
    ends_at = time.monotonic() + SHARE * session.budget.seconds_left()
    rows: list[dict[str, Any]] = []
    for name, config in waiting:
        enough = sum(row.get("status") == "correct" for row in rows) >= MOST
        if enough or ends_at - time.monotonic() < LEAST_S:
            why = f"{MOST} faster ones are right" if enough else "no time"
            rows.append({"variant": name, "left_out": f"not tried on inputs that nobody chose: {why}"})
            continue
        rows.append(_prove(session, name, config, ends_at, call_id))
    return rows


def refuse_wrong(session: Session, configs: Sequence[Config]) -> None:
    """Have the configs of wrong variants among `configs` known as wrong: nobody measures or checks them."""
    if not session.task.spec.shut_in:
        return
    wrong = wrong_variants(session.checked)
    for config in configs:
        why = wrong.get(variant_of(config))
        if why is not None:
            values = config.model_dump(mode="json")
            session.measured.setdefault(config, _wrong(session, config, why))
            session.checked.setdefault(config, CheckResult(config=values, status="correctness", reason=why))


def withdraw_wrong(session: Session) -> list[Config]:
    """Take back the measurements of wrong variants; their configs."""
    wrong = wrong_variants(session.checked)
    found = [c for c, m in session.measured.items() if m.status == "correct" and variant_of(c) in wrong]
    for config in found:
        session.measured[config] = _wrong(session, config, wrong[variant_of(config)])
    for known in (session.contended, session.nominated, session.known):
        for config in [c for c in known if variant_of(c) in wrong]:
            del known[config]
    if wrong:
        session.forget_space()
    return found


def _wrong(session: Session, config: Config, why: str) -> Measurement:
    values = config.model_dump(mode="json")
    return Measurement(config=values, status="correctness", reason=why, regime=session.task.regime)


def _prove(session: Session, name: str, config: Config, ends_at: float, call_id: str) -> dict[str, Any]:
    """Try one variant at `config`, and take it out of the search if it is wrong."""
    found: list[StressResult] = []

    def run(configs: list[Config]) -> list[CheckResult]:
        found.append(_stress(session, config, ends_at))
        kept = {k: v for k, v in found[0].model_dump().items() if k in CheckResult.model_fields}
        where = f"gpu {session.task.problem.label()}{PLACE}"
        return [CheckResult(**{**kept, "where": where, "reason": _sentence(found[0])})]

    (checked,) = session.record("check", [config], call_id, run)
    session.checked[config] = checked
    row: dict[str, Any] = {"variant": name, "config": checked.config, "status": checked.status, "where": checked.where}
    if checked.status == "correct":
        return row | {"found": found[0].summary()}
    row["reason"] = checked.reason
    if checked.status != "infrastructure":
        wrong = withdraw_wrong(session)
        if wrong:
            session.record("benchmark", wrong, call_id, lambda configs: [session.measured[c] for c in configs])
        refute_variant(session.memory, name, session.ids.problem, checked.reason)
    return row


def _stress(session: Session, config: Config, ends_at: float) -> StressResult:
    """Compile for other shapes, then launch. By `ends_at` (``time.monotonic()``) it is over."""
    from tools.harness.checking.verify import BLIND  # these import Triton
    from tools.session.compiled_for_proof import compile_for_proof

    task, began = session.task, time.monotonic()
    seconds = min(EACH_S, ends_at - began)
    compiled_by = min(began + COMPILING * seconds, session.budget.ends_at)
    refused = compile_for_proof(session.pool, task.spec, task.problem, config, task.hardware, compiled_by)
    if refused is not None:
        return StressResult(config=config.model_dump(mode="json"), status=refused[0], reason=refused[1])
    found = session.device.stress(config, max(LEAST_S, began + seconds - time.monotonic()), ends_at)
    if found.status == "correctness" and found.reason.startswith(BLIND):
        return found.model_copy(update={"status": "infrastructure"})  # the owner's code would be accepted no better
    return found


def _sentence(found: StressResult) -> str:
    """What is wrong, such as ``wrong on tiny inputs: scale-relative error 0.1 is above the bound 0.01``."""
    if found.status in ("correct", "infrastructure"):
        return found.reason
    if found.status == "correctness":
        return (
            f"wrong {found.reason}" if found.reason.startswith(("on ", "with ", "for ")) else f"wrong: {found.reason}"
        )
    return f"{found.status} on inputs that nobody chose: {found.reason}"
