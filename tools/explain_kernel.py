"""Say what limits a config, from its machine code: the busiest unit or the largest loss with its share, the next one
behind it, instruction mix, bytes and re-reads, occupancy, waits, hot source lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, create_model

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
    return create_model("ExplainKernel", __base__=Closed, config=(config, None))


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
        return answer(explained(session, config))
    except CannotExplain as e:
        return {"error": str(e)}


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
