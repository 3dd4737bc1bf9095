"""An explanation as JSON for a model, at most :data:`MOST_BYTES`, and as lines of text for a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.evidence.bottleneck import CAUSES, Limit, moved
from tools.evidence.counts.block_work import BlockWork
from tools.evidence.explain_config import ConfigExplained
from tools.evidence.explanation import Explained
from tools.evidence.live.profiled_card import Seen
from tools.harness.measuring.floor import UNKNOWN_BYTES

MOST_BYTES = 1500
"""Of the JSON answer: tool results stay in a model's view for many turns."""
DROPPED = ("waits", "loops", "widths", "instructions", "lines", "notes", "missing", "card")
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
    if found.card is not None:
        result |= card_facts(found, found.card)
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


def card_facts(found: ConfigExplained, card: Seen) -> Json:
    """What a card showed: times, achieved rates by the counts, what warps waited for; and what it did not show."""
    if card.ms is None:
        return {"missing": list(card.notes)}
    facts: Json = {"achieved": achieved(found, card.ms)}
    if total := sum(card.samples.values()):
        top = sorted(card.samples.items(), key=lambda item: -item[1])[:3]
        facts["stalls"] = {name: round(n / total, 2) for name, n in top}
    if card.cycles:
        facts["cycles"] = {name: round(n) for name, n in list(card.cycles.items())[:5]}
    if found.main.verdict.unexplained:
        facts["unexplained"] = "the card took far longer than the counts explain"
    if card.counters:
        facts["ncu"] = {n: round(x, 3) for n, x in card.counters.get(found.main.launch.name, {}).items()}
    result: Json = {"from": "card", "measured_ms": _round(card.ms), "card": facts}
    return result | ({"missing": list(card.notes)} if card.notes else {})


def achieved(found: ConfigExplained, ms: float) -> Json:
    """Counted bytes and operations of all launches over the measured time: TB/s and TFLOP/s."""
    dram = sum(moved(e.work, e.launch.blocks) for e in found.launches)
    through = sum(e.work.l2_bytes * e.launch.blocks for e in found.launches)
    multiplied = 2 * sum(sum(e.work.matrix.values()) * e.launch.blocks for e in found.launches)
    rates = {"dram_tb_per_s": dram / ms * 1e-9, "l2_tb_per_s": through / ms * 1e-9}
    if multiplied:
        rates["matrix_tflops"] = multiplied / ms * 1e-9
    return {name: _round(rate) for name, rate in rates.items()}


def shares(e: Explained, most: int = 6) -> dict[str, float]:
    """The busiest units and the largest losses, each with its share, from the largest on."""
    names = [n for n in (*e.verdict.model.units, "launch overhead", "tail wave", "imbalance") if n not in CAUSES]
    found = {n: round(e.verdict.share(n), 3) for n in names}
    return {n: s for n, s in sorted(found.items(), key=lambda item: -item[1])[:most] if s >= 0.01}


def traffic(found: ConfigExplained) -> Json:
    """MB: what the problem needs, what the code asks for through L2, and how often it reads the same again. What a
    captured launch needs is not known before its survey."""
    through = sum(e.work.l2_bytes * e.launch.blocks for e in found.launches)
    asked = sum(e.work.asked_bytes * e.launch.blocks for e in found.launches)
    result = {"problem_mb": _round(found.bytes / 1e6)} if found.bytes > UNKNOWN_BYTES else {}
    result["through_l2_mb"] = _round(through / 1e6)
    if found.bytes > UNKNOWN_BYTES:
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
    seen = found.card if found.card is not None and found.card.ms is not None else None
    lines = [
        f"{found.kernel} {found.problem} on {found.hardware.name}, from its code{' and the card' if seen else ''}",
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
    if found.card is not None:
        lines += card_lines(found, found.card)
    lines += [f"note   {note}" for note in main.notes]
    lines.append(f"kept   {found.folder}")
    return "\n".join(lines)


def card_lines(found: ConfigExplained, card: Seen) -> list[str]:
    """The card's part of the page."""
    lines = []
    if card.ms is not None:
        rates = ", ".join(
            f"{name.replace('_per_s', '/s').replace('_', ' ')} {x}" for name, x in achieved(found, card.ms).items()
        )
        lines.append(f"card   {card.ms:.4g} ms, {rates}")
    if card.between_starts_ms is not None:
        lines.append(f"       {card.between_starts_ms:.4g} ms from one launch to the next in a CUDA graph")
    if found.main.verdict.unexplained:
        lines.append("       far longer than what was counted explains: what warps waited for decides")
    if total := sum(card.samples.values()):
        top = sorted(card.samples.items(), key=lambda item: -item[1])[:5]
        lines.append(f"       of {total:,} samples: " + ", ".join(f"{name} {n / total:.0%}" for name, n in top))
    lines += [f"       {name}: {n:,} samples" for name, n in list(card.frames.items())[:LINES] if ":" in name]
    lines += [f"       scope {name}: {n:,.0f} clocks" for name, n in card.cycles.items()]
    for kernel, units in card.counters.items():
        lines.append(f"ncu    {kernel}: " + ", ".join(f"{name} {x:.0%}" for name, x in units.items()))
    return lines + [f"note   {note}" for note in card.notes]


def _limit(limit: Limit) -> Json:
    return {"name": limit.name, "share": round(limit.share, 3), "why": limit.why}


def _rounded(counts: Any) -> dict[str, int]:
    return {str(width): round(n) for width, n in sorted(counts.items())}


def _round(x: float) -> float:
    return float(f"{x:.4g}")
