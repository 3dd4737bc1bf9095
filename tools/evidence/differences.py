"""What changed from one explained config to another, and what it cost: ``explain A --against B``."""

from __future__ import annotations

import difflib
from typing import Any

from tools.evidence.answer import shares
from tools.evidence.explain_config import ConfigExplained

Json = dict[str, Any]
FIGURES = (
    "registers",
    "spill_bytes",
    "shared_bytes",
    "num_warps",
    "blocks_per_sm",
    "occupancy",
    "limited_by",
    "tensor_core",
    "tma",
)


def differences(a: ConfigExplained, b: ConfigExplained) -> Json:
    """From `b` to `a`: differing fields of the config, compiler's figures, busy shares, instructions, as ``[b, a]``."""
    ours, theirs = a.main, b.main
    figures = {}
    for name in FIGURES:
        before, after = getattr(theirs.compiled, name), getattr(ours.compiled, name)
        if before != after:
            figures[name] = [before, after]
    names = list(dict.fromkeys([*a.config, *b.config]))
    units = list(dict.fromkeys([*ours.work.by_unit, *theirs.work.by_unit]))
    counts = {
        u: (theirs.work.by_unit[u] * theirs.launch.blocks, ours.work.by_unit[u] * ours.launch.blocks) for u in units
    }
    busy = (shares(theirs, 20), shares(ours, 20))
    return {
        "config": {n: [b.config.get(n), a.config.get(n)] for n in names if b.config.get(n) != a.config.get(n)},
        "hardware": [b.hardware.name, a.hardware.name],
        "estimated_ms": [float(f"{b.ms:.4g}"), float(f"{a.ms:.4g}")],
        "limit": [theirs.verdict.limit.name, ours.verdict.limit.name],
        "figures": figures,
        "busy": {n: [busy[0].get(n, 0.0), busy[1].get(n, 0.0)] for n in dict.fromkeys([*busy[1], *busy[0]])},
        "warp_instructions": {u: [round(x), round(y)] for u, (x, y) in counts.items() if abs(x - y) > 0.01 * max(x, y)},
        "through_l2_mb": [float(f"{e.work.l2_bytes * e.launch.blocks / 1e6:.4g}") for e in (theirs, ours)],
        "opcodes": _opcodes(b, a),
    }


def _opcodes(b: ConfigExplained, a: ConfigExplained) -> Json:
    """Opcodes of the machine code that one has and the other lacks, with how often they stand there."""
    found = []
    for one in (b, a):
        code = one.main.code
        found.append([] if code is None else [x.opcode for x in code.instructions])
    gone, new = (sorted(set(x) - set(y)) for x, y in ((found[0], found[1]), (found[1], found[0])))
    return {
        "instructions": [len(found[0]), len(found[1])],
        "gone": {o: found[0].count(o) for o in gone[:12]},
        "new": {o: found[1].count(o) for o in new[:12]},
    }


def text_of(a: ConfigExplained, b: ConfigExplained) -> str:
    """The differences for a person."""
    found = differences(a, b)
    lines = [f"{'':24} {'against':>22} {'this':>22}"]

    def row(name: str, pair: list[Any]) -> None:
        lines.append(f"{name:24} {_cell(pair[0]):>22} {_cell(pair[1]):>22}")

    for name in ("hardware", "estimated_ms", "limit", "through_l2_mb"):
        row(name.replace("_", " "), found[name])
    for group in ("config", "figures", "busy", "warp_instructions"):
        for name, pair in found[group].items():
            row(f"{name}", pair)
    row("instructions in the code", found["opcodes"]["instructions"])
    for which in ("gone", "new"):
        if found["opcodes"][which]:
            lines.append(f"{which}: " + ", ".join(f"{o} {n}" for o, n in found["opcodes"][which].items()))
    return "\n".join(lines)


def assembly_diff(a: ConfigExplained, b: ConfigExplained, stage: str = "ptx") -> str:
    """The two configs' assembly as a unified diff; empty if either lacks it."""
    texts = [one.main.launch.text(stage) for one in (b, a)]
    if texts[0] is None or texts[1] is None:
        return ""
    before, after = (t.splitlines() for t in texts if t is not None)
    return "\n".join(difflib.unified_diff(before, after, "against", "this", lineterm="", n=1))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
