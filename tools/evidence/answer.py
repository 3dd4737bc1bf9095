"""An explanation as JSON for a model, at most :data:`MOST_BYTES`, and as lines of text for a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.evidence.bottleneck import CAUSES, Limit, share_of
from tools.evidence.counts.block_work import BlockWork
from tools.evidence.explain_config import ConfigExplained
from tools.evidence.explanation import Explained

MOST_BYTES = 1500
"""Of the JSON answer: tool results stay in a model's view for many turns."""
DROPPED = ("waits", "loops", "widths", "instructions", "lines", "notes")
"""What an answer does without first, if it is too long."""
LINES = 5

Json = dict[str, Any]


def answer(found: ConfigExplained) -> Json:
    """What limits the config, and the figures that say so. Shares are 0 to 1, times ms."""
    main = found.main
    compiled, verdict = main.compiled, main.verdict
    result: Json = {
        "config": found.config,
        "limit": _limit(verdict.limit),
        "next": _limit(verdict.next),
        "hardware": found.hardware.name,
        "from": "code",
        "estimated_ms": _round(found.ms),
        "busy": shares(main),
        "registers": compiled.registers,
        "spill_bytes": compiled.spill_bytes or 0,
        "occupancy": compiled.occupancy,
        "blocks_per_sm": compiled.blocks_per_sm,
        "capped_by": compiled.limited_by,
        "bytes": traffic(found),
        "lines": {name: round(share, 3) for name, share in hot_lines(main)[:LINES]},
        "instructions": mix(main.work),
        "widths": {memory: _rounded(found_) for memory, found_ in main.work.widths.items()},
        "loops": [[loop.source.line if loop.source else 0, loop.trips] for loop in main.work.loops[:5]],
    }
    if verdict.measured_ms is not None:
        result["measured_ms"] = _round(verdict.measured_ms)
    if main.chain is not None and main.chain[0]:
        result["waits"] = {kind: round(n / main.chain[0], 2) for kind, n in main.chain[1].most_common(3)}
    if len(found.launches) > 1:
        result["launches"] = {e.launch.name: _round(e.verdict.ms) for e in found.launches}
    if main.notes:
        result["notes"] = list(main.notes)[:3]
    for name in DROPPED:
        if len(json.dumps(result)) <= MOST_BYTES:
            break
        result.pop(name, None)
    return result


def shares(e: Explained, most: int = 6) -> dict[str, float]:
    """The busiest units and the largest losses, each with its share, from the largest on."""
    names = [n for n in (*e.verdict.model.units, "launch overhead", "tail wave", "imbalance") if n not in CAUSES]
    found = {n: round(share_of(e.verdict.model, n, e.verdict.measured_ms), 3) for n in names}
    return {n: s for n, s in sorted(found.items(), key=lambda item: -item[1])[:most] if s >= 0.01}


def traffic(found: ConfigExplained) -> Json:
    """MB: what the problem needs, what the code asks for through L2, and how often it reads the same again."""
    through = sum(e.work.l2_bytes * e.launch.blocks for e in found.launches)
    asked = sum(e.work.asked_bytes * e.launch.blocks for e in found.launches)
    result = {"problem_mb": _round(found.bytes / 1e6), "through_l2_mb": _round(through / 1e6)}
    if found.bytes:
        result["rereads"] = _round(asked / found.bytes)
    multiplied = 2 * sum(sum(e.work.matrix.values()) * e.launch.blocks for e in found.launches)
    if multiplied:
        result["gflop"] = _round(multiplied / 1e9)
        result["problem_gflop"] = _round(found.flops / 1e9)
    return result


def hot_lines(e: Explained) -> list[tuple[str, float]]:
    """Source lines as ``file.py:12`` with their share of the issue slots, special functions and products weighted."""
    total = sum(e.work.lines.values())
    return [(f"{Path(s.file).name}:{s.line}", n / total) for s, n in e.work.lines.most_common(20)] if total else []


def mix(work: BlockWork) -> Json:
    """Shares of the warp instructions by unit; matrix instructions by kind and dtype, in multiply-adds a block."""
    found: Json = {u: round(n / work.issued, 3) for u, n in work.by_unit.most_common() if n >= 0.01 * work.issued}
    return found | {f"{kind} {dtype}": f"{n:.3g}" for (kind, dtype), n in work.matrix.items()}


def page(found: ConfigExplained) -> str:
    """The explanation for a person, about thirty lines."""
    main = found.main
    compiled, verdict, work, launch = main.compiled, main.verdict, main.work, main.launch
    measured = "" if verdict.measured_ms is None else f", measured {verdict.measured_ms:.4g} ms"
    grid = "x".join(map(str, launch.grid))
    lines = [
        f"{found.kernel} {found.problem} on {found.hardware.name}, from its code",
        " ".join(f"{k}={v}" for k, v in found.config.items()),
        "",
        f"limit  {verdict.limit.name} {verdict.limit.share:.0%}: {verdict.limit.why}",
        f"next   {verdict.next.name} {verdict.next.share:.0%}: {verdict.next.why}",
        f"time   estimated {found.ms:.4g} ms{measured}",
        "",
        *(f"  {name:<20} {share:>5.0%} {'#' * round(40 * share)}" for name, share in shares(main, 10).items()),
        "",
        f"launch {launch.name}: {grid} blocks of {launch.num_warps} warps, {launch.shared_bytes:,} B of shared memory",
        f"       {compiled.registers} registers, {compiled.spill_bytes or 0} B spilled; {compiled.blocks_per_sm} "
        f"blocks on a multiprocessor, occupancy {compiled.occupancy or 0:.0%}, capped by {compiled.limited_by}",
        "bytes  " + ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in traffic(found).items()),
        "code   " + ", ".join(f"{k} {v:.0%}" if isinstance(v, float) else f"{k} {v}" for k, v in mix(work).items()),
    ]
    for memory, widths in work.widths.items():
        total = sum(widths.values()) or 1
        lines.append(f"access {memory}: " + ", ".join(f"{w} B {n / total:.0%}" for w, n in sorted(widths.items())))
    if work.bulk_bytes or work.async_bytes:
        kind = "the tensor memory accelerator" if work.bulk_bytes else "cp.async"
        lines.append(f"async  {(work.bulk_bytes + work.async_bytes) / 1024:.4g} KiB a block copied by {kind}")
    if work.loops:
        turns = (f"line {loop.source.line if loop.source else '?'}: {loop.trips:g} turns" for loop in work.loops)
        lines.append("loops  " + ", ".join(turns))
    if work.in_loops:
        lines.append("waits  in loops: " + ", ".join(f"{n} {name}" for name, n in work.in_loops.most_common(6)))
    if main.chain and main.chain[0]:
        waited = ", ".join(f"{kind} {n / main.chain[0]:.0%}" for kind, n in main.chain[1].most_common(5))
        lines.append(f"warp   {main.chain[0]:,.0f} clocks alone, of which it waits for {waited}")
    lines += [f"line   {name} {share:.0%}" for name, share in hot_lines(main)[:LINES]]
    lines += [f"note   {note}" for note in main.notes]
    lines.append(f"kept   {found.folder}")
    return "\n".join(lines)


def _limit(limit: Limit) -> Json:
    return {"name": limit.name, "share": round(limit.share, 3), "why": limit.why}


def _rounded(counts: Any) -> dict[str, int]:
    return {str(width): round(n) for width, n in sorted(counts.items())}


def _round(x: float) -> float:
    return float(f"{x:.4g}")
