"""How often SASS instructions run: the assembler's loops are matched with those of PTX, whose counts are known.

Loops are matched by the source lines of their instructions. The assembler unrolls loops: the factor is the ratio of
what it neither adds nor removes (memory accesses, special functions, matrix instructions, shuffles), else of fp32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import sqrt

from tools.evidence.code.assembly import Code, Loop, Source
from tools.evidence.code.sass_code import unit_of
from tools.evidence.counts.memory_access import access_of

ANCHORS = ("special", "tensor cores", "global", "shared", "atomics", "shuffle")
SPECIAL_PTX = ("ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "tanh")
WAITING = 4
"""A loop of fewer instructions in PTX waits for a barrier: how often it turns is no work."""


def weights(sass: Code, ptx: Code, visits: Mapping[int, float], warps: int) -> list[float]:
    """For every SASS instruction, how many warps run it, how often, in one block of the grid: a warp's instruction
    count. `visits`: the same for the basic blocks of PTX. What no loop holds runs as its source lines do outside of
    loops, once for every one of `warps` where they are not found."""
    ptx_loops = [loop for loop in ptx.loops if _size(ptx, loop) >= WAITING]
    matched: dict[int, tuple[int, float]] = {}  # SASS loop's header: (place of the PTX loop, unrolled by)
    for loop in sass.loops:
        best = max(
            ((_alike(sass, loop, ptx, p), -abs(loop.depth - p.depth), n) for n, p in enumerate(ptx_loops)),
            default=(0.0, 0, -1),
        )
        if best[0] > 0 and _size(sass, loop) >= WAITING:
            matched[loop.header] = (best[2], _unrolled(sass, loop, ptx, ptx_loops[best[2]]))
    turns: dict[int, float] = {}
    for header, (place, factor) in matched.items():
        rivals = [f for p, f in matched.values() if p == place]
        times = visits.get(ptx_loops[place].header, 0.0)
        # Beside an unrolled loop the assembler keeps a short one for what is left over.
        most = max(rivals)
        turns[header] = times / factor if factor == most else (times / warps % most) * warps / factor
    outside = _outside(ptx, visits)
    reachable = sass.reachable
    found = []
    for n in range(len(sass.starts)):
        own = sass.own_loop(n)
        while own is not None and own.header not in turns:
            own = sass.around(own)
        for i in sass.block(n):
            if n not in reachable:
                found.append(0.0)
            elif own is not None:
                found.append(turns[own.header])
            else:
                source = sass.instructions[i].source
                found.append(outside.get(source, float(warps)) if source else float(warps))
    return found


def _lines(code: Code, loop: Loop) -> Counter[Source]:
    return Counter(s for b in loop.blocks for i in code.block(b) if (s := code.instructions[i].source) is not None)


def _size(code: Code, loop: Loop) -> int:
    return sum(len(code.block(b)) for b in loop.blocks)


def _alike(a: Code, of_a: Loop, b: Code, of_b: Loop) -> float:
    """Cosine of the two loops' counts of instructions by source line."""
    x, y = _lines(a, of_a), _lines(b, of_b)
    common = sum(x[line] * y[line] for line in x.keys() & y.keys())
    size = sqrt(sum(n * n for n in x.values()) * sum(n * n for n in y.values()))
    return common / size if size else 0.0


def _unrolled(sass: Code, loop: Loop, ptx: Code, original: Loop) -> float:
    ours = sum(unit_of(sass.instructions[i].opcode) in ANCHORS for i in _own(sass, loop))
    theirs = sum(_anchors(ptx.instructions[i].opcode) for i in _own(ptx, original))
    if not theirs:
        ours = sum(unit_of(sass.instructions[i].opcode) == "fp32" for i in _own(sass, loop))
        theirs = sum(_is_arithmetic(ptx.instructions[i].opcode) for i in _own(ptx, original))
    if not theirs:
        ours, theirs = len(_own(sass, loop)), len(_own(ptx, original))
    return float(max(1, round(ours / max(1, theirs))))


def _own(code: Code, loop: Loop) -> list[int]:
    """Places of a loop's instructions that no inner loop holds."""
    return [i for b in loop.blocks if code.own_loop(b) == loop for i in code.block(b)]


def _anchors(opcode: str) -> int:
    base = opcode.split(".")[0]
    kind = access_of(opcode)
    if kind is not None:
        return int(kind != "expect")
    if base in ("mma", "shfl", "redux") or opcode.startswith(("wgmma.mma_async", "tcgen05.mma")):
        return 1
    return int(is_special(opcode))


def _is_arithmetic(opcode: str) -> bool:
    return opcode.split(".")[0] in ("fma", "add", "sub", "mul", "max", "min") and opcode.endswith((".f32", ".f16x2"))


def is_special(opcode: str) -> bool:
    """Whether a PTX instruction goes through the special-function unit; a division takes one reciprocal."""
    return opcode.split(".")[0] in SPECIAL_PTX or (opcode.startswith("div.") and ".f32" in opcode)


def _outside(ptx: Code, visits: Mapping[int, float]) -> dict[Source, float]:
    """Mean visits of the instructions of each source line that stand in no loop."""
    total: Counter[Source] = Counter()
    count: Counter[Source] = Counter()
    for n in range(len(ptx.starts)):
        if ptx.own_loop(n) is None:
            for i in ptx.block(n):
                if (source := ptx.instructions[i].source) is not None:
                    total[source] += visits.get(n, 0.0)  # type: ignore[assignment]
                    count[source] += 1
    return {source: total[source] / count[source] for source in count}
