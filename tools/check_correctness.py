"""Check that configs compute the right thing, against a float64 reference on fresh random inputs. A config that fails
costs one evaluation, once; a check that passes costs none.

On the GPU at the true shape; on a recorded device in Triton's interpreter, on a reduced shape with the same edges. What
the interpreter cannot run is answered from the recording, and says so. A check is no measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tools.calling.arguments import config_list, describe_budget
from tools.declaration import Declaration
from tools.session.variants.variant_proof import refuse_wrong

if TYPE_CHECKING:
    from kernels.spec import KernelSpec
    from tools.session.session import Session

DECLARATION = Declaration("checking", activity="check", returns="checks", on_device=True)


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    return config_list("CheckCorrectness", spec, "configs to check", text=True)


def run(session: Session, args: Any, call_id: str) -> dict[str, Any]:
    """Status, error and bound of every config, in the order asked."""
    refuse_wrong(session, args.configs)
    results = session.check(args.configs, call_id)
    rows = []
    for r in results:
        row: dict[str, Any] = {"config": r.config, "status": r.status, "where": r.where}
        if r.reason:
            row["reason"] = r.reason
        if r.error is not None and r.bound is not None:
            row |= {"error": float(f"{r.error:.3g}"), "bound": float(f"{r.bound:.3g}")}
        rows.append(row)
    found = {"results": rows, "correct": sum(r.status == "correct" for r in results)}
    return found | describe_budget(session, len(args.configs), len(results))
