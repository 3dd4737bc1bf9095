"""Makes the variants of earlier answers again, for a run that goes on from another run's trace.

A variant is a file beside the memory in which it was made. A run that goes on with another memory, or after the files
are gone, has the trace alone: the source that was sent, or the name of the rewrite.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels.editing.variants import Variant
    from tools.session.session import Session


def make_again(session: Session, arguments: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """Keep the variants of an answer of ``edit_kernel`` to a call with `arguments`, as far as they are not here.

    Returns the hashes of those that cannot be made again: the kernel, the fence or the rewrites are others now."""
    from kernels.editing.refused_edit import RefusedEdit
    from kernels.editing.variants import keep

    lost = []
    for wanted, rewrite in _answered(arguments, answer):
        if _known(session, wanted) is not None:
            continue
        try:
            variant = _made(session, arguments, rewrite)
        except RefusedEdit:
            variant = None
        if variant is None or variant.hash != wanted:
            lost.append(wanted)
        else:
            keep(variant, session.task.spec.folder)  # type: ignore[attr-defined]
            session.forget_space()
    return lost


def _answered(arguments: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each variant of an answer, with the rewrite that made it; an empty text if its source was sent."""
    if answer.get("fence") == "passed":
        yield answer["variant"], arguments.get("rewrite", "")
    for row in answer.get("variants", ()):
        if isinstance(row, dict):  # where the owner's code is shown, they are hashes
            yield row["variant"], row["rewrite"]


def _known(session: Session, name: str) -> Variant | None:
    from kernels.editing.refused_edit import RefusedEdit

    task = session.task
    spec: Any = task.spec
    try:
        found: Variant = spec.variant(name, task.problem, task.hardware)[0]
    except RefusedEdit:
        return None
    return found


def _made(session: Session, arguments: Mapping[str, Any], rewrite: str) -> Variant | None:
    """The variant of a call; None if the rewrite finds nothing to change. Raises RefusedEdit."""
    from kernels.editing.rewrites import BY_NAME
    from kernels.editing.variants import make_variant
    from tools.session.rewriting import made_by

    task = session.task
    spec: Any = task.spec
    source, grid = str(arguments.get("source", "")), str(arguments.get("grid", ""))
    meta: Mapping[str, Any] = {m["name"]: m["values"] for m in arguments.get("meta_parameters", ())}
    if rewrite:
        parent = _known(session, arguments["parent"]) if arguments.get("parent") else None
        if rewrite not in BY_NAME or (arguments.get("parent") and parent is None):
            return None
        found = made_by(session, BY_NAME[rewrite], parent, ())
        if isinstance(found, str):
            return None
        source, meta, grid = found.source, found.meta, found.grid
    name = ast.parse(source).body[-1].name  # type: ignore[attr-defined]
    return make_variant(spec.owner(task.problem, task.hardware, name), source, meta, grid)
