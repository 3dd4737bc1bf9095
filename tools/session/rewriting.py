"""Makes variants of a kernel by the known rewrites, without a model: all whose condition holds, compiled together."""

from __future__ import annotations

import ast
import difflib
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from memory.edits.edit_rows import VariantRow, record_variant
from tools.session.variants.variant_verdicts import wrong_variants

if TYPE_CHECKING:
    from kernels.editing.rewrites import Rewrite, Rewritten
    from kernels.editing.variants import Variant
    from kernels.spec import Config
    from tools.session.session import Session

CONFIGS = 3
"""Of each variant that are compiled and measured at first."""
MOST_CONFIGS = 32
"""Of all variants: what a tool takes in one call."""
A_THREAD = (8, 16, 32)
"""Elements of a block that a thread has: loads of 16 bytes, and few enough for its registers."""
DIFF_LINES = 400


def made_by(session: Session, rewrite: Rewrite, parent: Variant | None, limits: Sequence[str]) -> Rewritten | str:
    """What `rewrite` makes of the owner's kernel or of `parent`, or why it makes nothing. `limits`: of the config that
    it is to speed up; empty if they are not known."""
    from kernels.editing.rewrites import MULTIPROCESSORS, rewritten

    if limits and not set(limits) & set(rewrite.limits):
        return f"it moves {' or '.join(rewrite.limits)}, and the kernel is limited by {', then '.join(limits)}"
    task = session.task
    spec: Any = task.spec
    names = [parent.name] if parent else spec.editable_functions(task.problem, task.hardware)
    for name in names:
        owner = spec.owner(task.problem, task.hardware, name)
        found = rewritten(owner, rewrite, parent, task.hardware.sms or MULTIPROCESSORS)
        if found is not None:
            return found
    return "there is nothing in the source that it would change"


def limits_of(session: Session, config: Config) -> list[str]:
    """The limit of a config and the next one, by name."""
    from tools.explain_kernel import limit_of

    found = limit_of(session, config)
    return [found[key]["name"] for key in ("limit", "next") if key in found]


def base_config(session: Session, parent: str) -> Config:
    """The fastest config of the variant `parent`, or of any; the default if nothing is measured."""
    for measured in session.ranked():
        config = session.config(measured.config)
        if not parent or str(getattr(config, "edit", "")).startswith(parent):
            return config
    return session.task.spec.default_config(session.task.problem, session.task.hardware)  # type: ignore[no-any-return]


def try_all(session: Session, parent_hash: str, call_id: str) -> dict[str, Any]:
    """Every known rewrite of the owner's kernel, or of the variant `parent_hash`, whose condition holds: its variant,
    the configs of it that compiled, and why the others were not made. Raises RefusedEdit if there is no such
    variant."""
    from kernels.editing.refused_edit import RefusedEdit
    from kernels.editing.rewrites import REWRITES
    from kernels.editing.variants import keep, make_variant

    task = session.task
    spec: Any = task.spec
    parent = spec.variant(parent_hash, task.problem, task.hardware)[0] if parent_hash else None
    base = base_config(session, parent_hash)
    limits = limits_of(session, base)
    wrong = wrong_variants(session.checked)
    left_out: dict[str, str] = {}
    made: dict[str, tuple[Variant, Rewrite, list[Config]]] = {}
    for rewrite in REWRITES:
        found = made_by(session, rewrite, parent, limits)
        if isinstance(found, str):
            left_out[rewrite.name] = found
            continue
        name = ast.parse(found.source).body[-1].name  # type: ignore[attr-defined]
        try:
            variant = make_variant(spec.owner(task.problem, task.hardware, name), found.source, found.meta, found.grid)
        except RefusedEdit as e:
            left_out[rewrite.name] = str(e)
            row = edit_row(session, rewrite.reason, "refused", str(e), parent=parent_hash)
            record_variant(session.memory, row)
            continue
        if variant.hash in wrong:
            left_out[rewrite.name] = wrong[variant.hash]
            continue
        keep(variant, spec.folder)
        liked = spec.config_with(variant, task.problem, task.hardware, base)
        made[rewrite.name] = variant, rewrite, first_configs(session, variant, found, liked)
    session.forget_space()
    share = max(1, MOST_CONFIGS // max(1, len(made)))
    chosen = {n: configs[:share] for n, (_, _, configs) in made.items()}
    compiled = session.compile([c for configs in chosen.values() for c in configs], call_id)
    by_config = {session.config(r.config): r for r in compiled}
    answer = []
    for name, (variant, rewrite, _) in made.items():
        results = [by_config[c] for c in chosen[name] if c in by_config]
        sound = [r.config for r in results if r.status == "correct"]
        verdict, why = "unknown", "the budget is spent: nothing was compiled"
        if results:
            verdict, why = ("correct", "") if sound else (results[0].status, results[0].reason)
        before = parent.edit.source if parent else ast.unparse(variant.owner.tree) + "\n"
        row = edit_row(
            session, rewrite.reason, verdict, why, hash=variant.hash, source=variant.edit.source,
            diff=difference(before, variant.edit.source, parent_hash or "owner", variant.hash),
            meta=variant.edit.meta, grid=variant.grid.text if variant.grid else "", parent=parent_hash,
            limit_before=limits[0] if limits else "",
        )  # fmt: skip
        record_variant(session.memory, row)
        answer.append(
            {"rewrite": name, "variant": variant.hash, "compile": verdict, "configs": sound}
            | ({"why": why} if why else {})
        )
    return {"limits": limits, "variants": answer, "left_out": left_out}


def first_configs(session: Session, variant: Variant, found: Rewritten, liked: Config) -> list[Config]:
    """The configs of a variant that are tried first: with each value of its constants, and the number of warps that
    gives each thread A_THREAD elements if the rewrite chooses the size of a block."""
    from kernels.editing.variants import text_of

    names = list(variant.edit.meta)
    rows = [dict(zip(names, row, strict=True)) for row in itertools.product(*variant.edit.meta.values())]
    configs: list[Config] = []
    for values in rows:
        base = {**liked.model_dump(mode="json"), "edit": text_of(variant, values)}
        size = values.get(found.elements)
        for warps in _warps(liked, size) if isinstance(size, int) else [base.get("num_warps")]:
            more = {} if warps is None else {"num_warps": warps}
            if isinstance(size, int) and "maxnreg" in base:
                more["maxnreg"] = None  # a limit was chosen for the owner's blocks
            configs.append(session.config({**base, **more}))
    sound = [c for c in dict.fromkeys(configs) if session.refusal(c, timed=False) is None]
    return sound[: 2 * CONFIGS] if found.elements else sound[:CONFIGS]


def _warps(liked: Config, size: int) -> Sequence[int | None]:
    """Numbers of warps for blocks of `size`, two of them."""
    info = type(liked).model_fields.get("num_warps")
    allowed = [w for w in get_args(info.annotation) if isinstance(w, int)] if info else []
    if not allowed:
        return [None]
    wanted = [size // (32 * n) for n in A_THREAD]
    near = [min(allowed, key=lambda w, x=x: abs(w - max(1, x))) for x in wanted]  # type: ignore[misc]
    return list(dict.fromkeys(near))[:2]


def difference(before: str, after: str, name: str, new: str) -> str:
    """A unified diff of two sources as the fence writes them."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, new, lineterm="", n=2)
    return "\n".join(list(lines)[:DIFF_LINES])


def edit_row(session: Session, reason: str, verdict: str, why: str, **more: Any) -> VariantRow:
    """A row of the table of edits."""
    ids, words = session.ids, " ".join(reason.split())
    return VariantRow(session.run_id, session.task.spec.name, ids.problem, ids.environment, words, verdict, why, **more)


def as_meta(meta: Mapping[str, Sequence[int | str]]) -> list[dict[str, Any]]:
    """Constants as the arguments of ``edit_kernel``."""
    return [{"name": n, "values": list(values)} for n, values in meta.items()]
