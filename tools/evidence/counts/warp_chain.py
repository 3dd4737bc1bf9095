"""How long one warp takes for a piece of SASS if nobody disturbs it: issue in order, and wait for what is not ready.

A scoreboard in software. An instruction issues when its source registers are there; results come after the latency of
their kind. Asynchronous copies and matrix instructions are waited for in groups, oldest first, as the waiting
instruction says. Loads through the tensor memory accelerator are left out: the bytes in flight speak for them.
Latencies: :data:`tools.evidence.rates.LATENCY`. The idea is that of llvm-mca, for a warp."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tools.evidence.code.assembly import Code, Instruction, Loop
from tools.evidence.code.matrix_shapes import sass_multiply_adds
from tools.evidence.code.sass_code import unit_of
from tools.evidence.rates import ISSUE_CLOCKS, LATENCY

PASSES = 6
"""Turns of a loop that are simulated; the second half counts, when copies are on their way."""
_REGISTER = re.compile(r"\b(U?[RP]\d+)\b")
_COUNT = re.compile(r"0x([0-9a-f]+)")
NO_RESULT = (
    "ST",
    "RED",
    "BAR",
    "BRA",
    "EXIT",
    "DEPBAR",
    "SYNCS",
    "WARPGROUP",
    "LDGDEPBAR",
    "LDGSTS",
    "UTMA",
    "NOP",
    "MEMBAR",
)
KIND = {
    "special": "special",
    "conversions": "special",
    "shared": "shared",
    "global": "memory",
    "local": "local",
    "shuffle": "shuffle",
    "atomics": "atomic",
}


class Warp:
    """The clock of one warp."""

    def __init__(self, memory_latency: float, matrix_clocks: float) -> None:
        """`memory_latency`: clocks of a load from global memory. `matrix_clocks`: clocks of a multiply-add on the
        tensor cores, for instructions that run apart from the warp."""
        self.memory_latency, self.matrix_clocks = memory_latency, matrix_clocks
        self.now = 0.0
        self.waits: Counter[str] = Counter()
        """Clocks waited, by what for."""
        self.ready: dict[str, tuple[float, str]] = {}
        self.copies: list[float] = []
        self.open_copy = 0.0
        self.groups: list[float] = []
        self.matrix_free = 0.0

    def run(self, x: Instruction) -> None:
        self.now += ISSUE_CLOCKS
        base = x.opcode.split(".")[0]
        registers = [_REGISTER.findall(o) for o in x.operands]
        stores = base.startswith(NO_RESULT) or not x.operands
        for name in [x.guard.lstrip("!"), *(r for found in registers[0 if stores else 1 :] for r in found)]:
            self._until(*self.ready.get(name, (0.0, "")))
        if base == "LDGSTS":
            self.open_copy = self.now + self.memory_latency
        elif base == "LDGDEPBAR":
            self.copies.append(self.open_copy)
        elif base == "DEPBAR":
            self._groups(self.copies, x, "memory")
        elif base.startswith("HGMMA") or base in ("IGMMA", "QGMMA"):
            self.matrix_free = max(self.matrix_free, self.now) + sass_multiply_adds(x.opcode) * self.matrix_clocks
            if "gsb0" in x.operands:
                self.groups.append(self.matrix_free + LATENCY["group"] / 2)
        elif base == "WARPGROUP" and "DEPBAR" in x.opcode:
            self._groups(self.groups, x, "matrix")
        elif base == "BAR":
            self._until(self.now + LATENCY["barrier"], "barrier")
        elif not stores:
            self._write(x, base)

    def _write(self, x: Instruction, base: str) -> None:
        unit = unit_of(x.opcode)
        kind = KIND.get(unit, "matrix" if unit == "tensor cores" else "arithmetic")
        kind = "constant" if base in ("LDC", "S2R", "S2UR") else kind
        latency = self.memory_latency if kind in ("memory", "atomic") else LATENCY[kind]
        found = _REGISTER.findall(x.operands[0])
        if not found:
            return
        name = found[0]
        count = _width(x.opcode, unit)
        prefix, first = name.rstrip("0123456789"), int(name.lstrip("URP"))
        for n in range(count):
            self.ready[f"{prefix}{first + n}"] = (self.now + latency, kind)
        if len(x.operands) > 1 and prefix in ("P", "UP"):
            for other in _REGISTER.findall(x.operands[1])[:1]:
                self.ready[other] = (self.now + latency, kind)

    def _until(self, when: float, kind: str) -> None:
        if when > self.now:
            self.waits[kind] += when - self.now  # type: ignore[assignment]
            self.now = when

    def _groups(self, pending: list[float], x: Instruction, kind: str) -> None:
        """Wait until at most as many groups are pending as the instruction's last number says."""
        numbers = _COUNT.findall(" ".join(x.operands))
        left = int(numbers[-1], 16) if numbers else 0
        while len(pending) > left:
            self._until(pending.pop(0), kind)


def _width(opcode: str, unit: str) -> int:
    if unit == "tensor cores":
        return 4 if "F32" in opcode or "16816" in opcode else 2
    if ".128" in opcode:
        return 4
    return 2 if ".64" in opcode or ".WIDE" in opcode or opcode.startswith("D") else 1


def chain(
    code: Code, weights: Sequence[float], warps: int, memory_latency: float, matrix_clocks: float
) -> tuple[float, Counter[str]]:
    """Clocks that a warp takes for all it runs in one block of the grid, and how many of them it waits, by kind.

    `weights`: runs of each instruction by all `warps` of the block. Of specialised warps, which run different code, the
    busiest is not known: the mean counts."""
    total, waits = 0.0, Counter[str]()
    pieces: list[tuple[Loop | None, list[int]]] = [(None, [])]
    pieces += [(loop, []) for loop in code.loops]
    place = {loop.header: n for n, (loop, _) in enumerate(pieces) if loop is not None}
    for n in range(len(code.starts)):
        own = code.own_loop(n)
        pieces[place[own.header] if own else 0][1].extend(code.block(n))
    for loop, members in pieces:
        run = [i for i in members if weights[i] > 0]
        if not run:
            continue
        warp = Warp(memory_latency, matrix_clocks)
        times = sum(weights[i] for i in run) / len(run) / warps
        passes = PASSES if loop is not None else 1
        half = (0.0, Counter[str]())
        for n in range(passes):
            if n == passes // 2:
                half = (warp.now, Counter(warp.waits))
            for i in run:
                warp.run(code.instructions[i])
        counted = passes - passes // 2
        total += (warp.now - half[0]) / counted * times
        for kind, clocks in warp.waits.items():
            waits[kind] += (clocks - half[1][kind]) / counted * times  # type: ignore[assignment]
    return total, waits
