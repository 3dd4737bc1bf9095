"""Send new device code for the kernel: the whole source of its Triton function under its own name and arguments, and of
device functions before it. Without a source, the answer is the owner's. Only documented functions of triton.language
and libdevice; no imports, decorators, prints, Python built-ins, pointers made from numbers, or alignment claims that
the owner does not make. New meta-parameters are tl.constexpr arguments at the end. The answer is what the fence, the
compiler and the interpreter say, and a config to measure; the field `edit` of a config chooses a variant."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, Field

from memory.edits.edit_rows import VariantRow, record_variant
from memory.shared_models import Closed
from tools.declaration import Declaration

if TYPE_CHECKING:
    from kernels.editing.variants import Variant
    from kernels.spec import Config, KernelSpec
    from tools.session.session import Session

DECLARATION = Declaration("judging edited code", activity="compile")
EVERY = "every"
RewriteName = Literal[
    "", "every", "split rows", "smaller blocks", "pipelined loops", "unrolled loops", "split loops", "one reduction",
    "one pass", "second pass backwards", "streaming", "persistent", "several rows", "wider blocks", "swizzled order",
    "block descriptors", "base two", "exponential tanh", "single divisions", "reciprocal roots",
]  # fmt: skip
"""None, all, or one of ``kernels/editing/rewrites.py``, which this module does without until it is called."""
REWRITE_NAMES = get_args(RewriteName)[2:]
TO_MEASURE = "measure it with run_benchmark: a variant has proven nothing yet"
NO_TIME = "this device is recorded and holds no time of edited code: only a GPU can measure it"
SHORTEST_REASON = 10
INTERPRETER_S, INTERPRETER_SHARE, LEAST_INTERPRETER_S = 10.0, 0.25, 0.5
"""On a GPU: seconds that the interpreter's check of an edit may take, the same as a part of what is left of the search,
and the seconds below which it is not begun."""
MOST_EDITS = 60
"""Of one run."""


class MetaParameter(Closed):
    """A new constant of the kernel."""

    name: str = Field(min_length=1, max_length=40)
    values: list[int | str] = Field(min_length=1, max_length=16, description="all that may be tried, the default first")


class EditKernel(Closed):
    """New device code."""

    source: str = Field(default="", max_length=40_000, description="the functions, the kernel last; empty: show them")
    reason: str = Field(default="", max_length=600, description="what limits the kernel and why this moves it")
    rewrite: RewriteName = Field(
        default="", description="instead of a source: a known rewrite of the owner's code or of `parent`; or every one"
    )
    meta_parameters: list[MetaParameter] = Field(default=[], max_length=8)
    grid: str = Field(
        default="",
        max_length=500,
        description="empty: the owner's; else + - * // min max cdiv over integer arguments, meta-parameters and "
        "grid_0, grid_1, grid_2 of the owner, e.g. cdiv(n_rows, ROWS), 1",
    )
    parent: str = Field(
        default="", max_length=12, description="hash of the variant it was made from; empty: the owner's"
    )


def offered(spec: KernelSpec[Any, Any]) -> bool:
    """In a session that was opened with edits alone."""
    return spec.shut_in


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    return EditKernel


def run(session: Session, args: EditKernel, call_id: str) -> dict[str, Any]:
    """The verdict on the edit, and the variant that it has become if it passed the fence."""
    from kernels.editing.refused_edit import RefusedEdit
    from kernels.editing.variants import keep, text_of
    from tools.session.rewriting import difference, try_all
    from tools.session.variants.variant_verdicts import wrong_variants

    task = session.task
    spec: Any = task.spec
    if args.rewrite:
        try:
            found = try_all(session, args.parent, call_id) if args.rewrite == EVERY else _rewrite(session, args)
        except RefusedEdit as e:
            return {"error": "parent", "why": str(e)}
        if isinstance(found, dict):
            return found
        args = found
    elif not args.source.strip():
        return _shown(session)
    if len(args.reason.strip()) < SHORTEST_REASON:
        return {
            "error": "arguments",
            "tool": "edit_kernel",
            "problems": ["reason: say what limits it and why this helps"],
        }
    asked = "SELECT count(*) AS n FROM variants WHERE run_id = ?"
    if session.memory.ask(asked, [session.run_id])[0]["n"] >= MOST_EDITS:
        return {"error": "edits", "why": f"a run may send {MOST_EDITS} edits, and this one has"}
    try:
        parent = spec.variant(args.parent, task.problem, task.hardware)[0] if args.parent else None
        variant = _variant(spec, task.problem, task.hardware, args)
    except RefusedEdit as e:
        record_variant(session.memory, _row(session, args, "refused", str(e)))
        return {"fence": "refused", "why": str(e), "line": e.line}
    if why := wrong_variants(session.checked).get(variant.hash):
        record_variant(session.memory, _row(session, args, "correctness", why, hash=variant.hash))
        return {"fence": "passed", "variant": variant.hash, "wrong": why}
    keep(variant, spec.folder)
    session.forget_space()
    before = parent.edit.source if parent else ast.unparse(variant.owner.tree) + "\n"
    diff = difference(before, variant.edit.source, args.parent or "owner", variant.hash)
    first = {n: v[0] for n, v in variant.edit.meta.items()}
    config = _config(session, variant, text_of(variant, first))
    compiled = session.compile([config], call_id)
    answer: dict[str, Any] = {"fence": "passed", "variant": variant.hash, "config": config.model_dump(mode="json")}
    verdict, why = "unknown", "the budget is spent: nothing was compiled"
    if compiled:
        from tools.compile_kernel import row as figures

        answer["compile"] = figures(compiled[0])
        verdict, why = compiled[0].status, compiled[0].reason
    if verdict == "correct":
        checked = _interpreted(session, config)
        answer["interpreter"] = {k: v for k, v in checked.items() if v not in (None, "")}
        # What the interpreter cannot run is no verdict on the code: the device checks it.
        if checked["status"] != "infrastructure":
            sampled = f"in the interpreter {checked['programs']}" if checked["programs"] else ""
            verdict, why = checked["status"], checked["reason"] or sampled
    limits = _limits(session, config, args.parent) if verdict == "correct" else ("", "")
    if limits[1]:
        answer["limit"] = {"before": limits[0], "after": limits[1]}
    record_variant(
        session.memory,
        _row(
            session, args, verdict, why, hash=variant.hash, source=variant.edit.source, diff=diff,
            meta=variant.edit.meta, grid=variant.grid.text if variant.grid else "", limit_before=limits[0],
            limit_after=limits[1], parent=args.parent,
        ),
    )  # fmt: skip
    if verdict == "correct":
        answer["next"] = TO_MEASURE if session.refusal(config) is None else NO_TIME
    return answer


def _shown(session: Session) -> dict[str, Any]:
    """The owner's functions without comments and docstrings: they are data, and quoted as such."""
    task = session.task
    spec: Any = task.spec
    found = {}
    for name in spec.editable_functions(task.problem, task.hardware):
        owner = spec.owner(task.problem, task.hardware, name)
        parts = [p for d, p in owner.parts.items() if d != owner.digest and p["language"] == "triton"]
        helpers = {p["name"]: _bare(p["source"]) for p in parts}
        found[name] = {"quoted": _bare(owner.part["source"]), "device_functions": helpers}
    return {"functions": found, "variants": [v.hash for v in spec.known_variants(task.problem, task.hardware)]}


def _bare(source: str) -> str:
    from kernels.editing.owner_function import function_tree

    return ast.unparse(function_tree({"source": source}))


def _rewrite(session: Session, args: EditKernel) -> EditKernel | dict[str, Any]:
    """The edit that a known rewrite makes, or why it makes none."""
    from kernels.editing.rewrites import BY_NAME
    from tools.session.rewriting import as_meta, base_config, limits_of, made_by

    task = session.task
    spec: Any = task.spec
    rewrite = BY_NAME[args.rewrite]
    parent = spec.variant(args.parent, task.problem, task.hardware)[0] if args.parent else None
    found = made_by(session, rewrite, parent, limits_of(session, base_config(session, args.parent)))
    if isinstance(found, str):
        return {"rewrite": rewrite.name, "applies": False, "why": found}
    return EditKernel(
        source=found.source,
        reason=rewrite.reason,
        meta_parameters=[MetaParameter.model_validate(m) for m in as_meta(found.meta)],
        grid=found.grid,
        parent=args.parent,
    )


def _variant(spec: Any, problem: Any, hardware: Any, args: EditKernel) -> Variant:
    from kernels.editing.fencing.source_limits import parse
    from kernels.editing.refused_edit import RefusedEdit
    from kernels.editing.variants import make_variant

    name = parse(args.source)[-1].name
    meta = {m.name: m.values for m in args.meta_parameters}
    if len(meta) < len(args.meta_parameters):
        raise RefusedEdit("a new meta-parameter is stated twice")
    return make_variant(spec.owner(problem, hardware, name), args.source, meta, args.grid)


def _config(session: Session, variant: Variant, text: str) -> Config:
    """The variant with the values of the best measured config, else with others that launch its function."""
    best, task = session.best(), session.task
    spec: Any = task.spec
    liked = session.config(best.config) if best else None
    config = spec.config_with(variant, task.problem, task.hardware, liked)
    return session.config({**config.model_dump(mode="json"), "edit": text})


def _interpreted(session: Session, config: Config) -> dict[str, Any]:
    """What Triton's interpreter says, in a process that is shut in, on a reduced problem with the same edges. On a GPU,
    which checks every measured config, it has INTERPRETER_S seconds and INTERPRETER_SHARE of the search at most."""
    from tools.harness.checking.interpreter import CARD_DECIDES, Interpreter, describe_not_enough

    task, limit_s = session.task, None
    if session.device.info.kind == "live":
        limit_s = min(INTERPRETER_S, INTERPRETER_SHARE * session.budget.seconds_left())
        if limit_s < LEAST_INTERPRETER_S:
            return {"status": "infrastructure", "reason": describe_not_enough(limit_s) + CARD_DECIDES}
    if session.interpreter is None:
        session.interpreter = Interpreter(shut_in=True)
    (found,) = session.interpreter.check(task.spec, task.problem, [config], task.hardware.name, limit_s)
    return found.model_dump(mode="json", include={"status", "reason", "where", "programs", "error", "bound"})


def _limits(session: Session, config: Config, parent: str) -> tuple[str, str]:
    """What limits the same config without the edit (or with its parent), and with it; empty if that is not known."""
    from pydantic import ValidationError

    from tools.explain_kernel import limit_of

    names = []
    for text in (parent, str(getattr(config, "edit", ""))):
        try:
            found = limit_of(session, config.model_copy(update={"edit": text}))
        except ValidationError:
            found = {}
        names.append(found["limit"]["name"] if "limit" in found else "")
    return names[0], names[1]


def _row(session: Session, args: EditKernel, verdict: str, why: str, **more: Any) -> VariantRow:
    from tools.session.rewriting import edit_row

    return edit_row(session, args.reason, verdict, why, **more)
