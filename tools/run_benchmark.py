"""Measure configs on the device: median launch time with a 95 % interval, the timed outputs verified. A config that is
read or fails costs one evaluation, once.

Free are repeated configs, configs that the space does not hold, and configs that compile to the machine code of a
measured one. Configs are compiled first if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tools.calling.arguments import config_list, describe_budget
from tools.declaration import Declaration
from tools.session.variants.variant_proof import prove_variants, refuse_wrong

if TYPE_CHECKING:
    from kernels.spec import KernelSpec
    from tools.harness.results import Measurement
    from tools.session.session import Session

DECLARATION = Declaration(
    "measuring", activity="measure", returns="measurements", on_device=True, spends_evaluations=True
)


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    return config_list("RunBenchmark", spec, "configs to measure")


def run(session: Session, args: Any, call_id: str) -> dict[str, Any]:
    """Time and value of every config that the budget allowed, the best so far, and what is left. ``stressed``: what
    became of variants that were tried on inputs that nobody chose."""
    refuse_wrong(session, args.configs)
    results = session.measure(args.configs, call_id)
    stressed = prove_variants(session, args.configs, call_id)
    if stressed:
        results = [session.measured.get(session.config(m.config), m) for m in results]
    answer: dict[str, Any] = {"results": [row(session, m) for m in results]}
    best = session.best()
    answer["best"] = row(session, best) if best else None
    answer |= {"stressed": stressed} if stressed else {}
    return answer | describe_budget(session, len(args.configs), len(results))


def row(session: Session, m: Measurement) -> dict[str, Any]:
    """One measurement in the task's unit."""
    found: dict[str, Any] = {"config": m.config, "status": m.status}
    if m.reason:
        found["reason"] = m.reason
    if m.how and m.status == "correct":
        found["how"] = m.how
    if m.status == "correct" and m.ms is not None:
        found["ms"] = round(m.ms, 5)
        if session.task.metric != "latency":
            found[session.task.metric] = round(session.task.value(m.ms), 1)
        if m.ci_ms:
            found["ci_ms"] = [round(x, 5) for x in m.ci_ms]
    return found
