"""Say what limits a config, from its machine code: the busiest unit or the largest loss with its share, the next one
behind it, instruction mix, bytes and re-reads, occupancy, waits, hot source lines. With `live` a measured config also
runs under a profiler on the GPU for some seconds: achieved rates, stall reasons, sampled lines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, create_model

from memory.shared_models import Closed
from tools.calling.arguments import as_text
from tools.declaration import Declaration

if TYPE_CHECKING:
    from kernels.spec import Config, KernelSpec
    from tools.evidence.explain_config import ConfigExplained
    from tools.session.session import Session

DECLARATION = Declaration("reading the machine code", activity="compile")


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    described = as_text("a config as in run_benchmark, as JSON text; empty: the best measured one, else the default")
    config: Any = Annotated[spec.config_type | None, described]
    told = "also run it under a profiler on the GPU; only a config measured correctly in this run"
    return create_model(
        "ExplainKernel", __base__=Closed, config=(config, None), live=(bool, Field(default=False, description=told))
    )


def run(session: Session, args: Any, call_id: str) -> dict[str, Any]:
    """The limit of the given config, of the best measured one, or of the default."""
    from tools.evidence.answer import answer
    from tools.evidence.explain_config import CannotExplain

    best = session.best()
    if args.config is not None:
        config = args.config
    elif best is not None:
        config = session.config(best.config)
    else:
        config = session.task.spec.default_config(session.task.problem, session.task.hardware)
    try:
        return answer(profiled(session, config) if args.live else explained(session, config))
    except CannotExplain as e:
        return {"error": str(e)}


def profiled(session: Session, config: Config) -> ConfigExplained:
    """A config explained with what the session's GPU shows of it. What was not measured correctly before is not run: it
    may hang or write where it must not, and a person may have refused it. Raises CannotExplain."""
    from tools.evidence.explain_config import CannotExplain, explain_kept
    from tools.evidence.live.profiled_card import Card, Seen
    from tools.harness.devices.live import LiveDevice

    device = session.device
    if not isinstance(device, LiveDevice):
        kind = "recorded" if device.info.kind == "recorded" else "not one GPU of this machine"
        return replace(
            explained(session, config),
            card=Seen(None, notes=(f"nothing was run under a profiler: the device is {kind}",)),
        )
    measured = session.measured.get(config)
    if measured is None or measured.status != "correct":
        raise CannotExplain("live explains what was measured correctly in this run: call run_benchmark first")
    found = explained(session, config)
    with Card(device.workers.index, device.workers.lock, device.cache) as card:
        seen = card.see(session.task.spec, session.task.problem, config)
    return explain_kept(found.folder, measured.ms, seen)


def limit_of(session: Session, config: Config) -> dict[str, Any]:
    """The limit of a config and the next one, for other tools' answers; empty where the session has no compiler of its
    own, and a sentence where the config cannot be explained."""
    from tools.evidence.explain_config import CannotExplain
    from tools.harness.compiling.compile_pool import LocalCompilePool

    if not isinstance(session.pool, LocalCompilePool):
        return {}
    try:
        verdict = explained(session, config).main.verdict
    except CannotExplain as e:
        return {"limit_unknown": str(e)}
    limits = (("limit", verdict.limit), ("next", verdict.next))
    return {key: {"name": limit.name, "share": round(limit.share, 3)} for key, limit in limits}


def explained(session: Session, config: Config) -> ConfigExplained:
    """A config of the session explained, by the time measured for it if there is one. Raises CannotExplain."""
    from tools.evidence.explain_config import explain_config
    from tools.harness.compiling.compile_pool import LocalCompilePool

    task = session.task
    measured = session.measured.get(config)
    ms = measured.ms if measured is not None and measured.status == "correct" else None
    if isinstance(session.pool, LocalCompilePool):
        return explain_config(task.spec, task.problem, config, task.hardware, session.pool, ms)
    pool = LocalCompilePool(task.hardware, workers=1)
    try:
        return explain_config(task.spec, task.problem, config, task.hardware, pool, ms)
    finally:
        pool.close()
