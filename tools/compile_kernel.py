"""Compile configs for the target GPU, in parallel and without using it: registers, spills, shared memory, occupancy,
matrix instructions, warnings, or why a config does not compile, which costs one evaluation, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tools.calling.arguments import config_list, describe_budget
from tools.declaration import Declaration

if TYPE_CHECKING:
    from kernels.spec import KernelSpec
    from tools.harness.results import CompileResult
    from tools.session.session import Session

DECLARATION = Declaration("compiling", activity="compile", returns="compilations")


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    return config_list("CompileKernel", spec, "configs to compile", text=True)


def run(session: Session, args: Any, call_id: str) -> dict[str, Any]:
    """Figures or the typed failure of every config, in the order asked."""
    results = session.compile(args.configs, call_id)
    good = sum(r.status == "correct" for r in results)
    found = {"results": [row(r) for r in results], "compiled": good, "failed": len(results) - good}
    return found | describe_budget(session, len(args.configs), len(results))


def row(r: CompileResult) -> dict[str, Any]:
    """What a reader needs of one compilation; zeros and absent figures are left out."""
    found = r.model_dump(exclude_none=True, exclude={"seconds", "fingerprint"})
    return {k: v for k, v in found.items() if v not in ("", [], 0)} | {"seconds": round(r.seconds, 2)}
