"""Walks PTX for some blocks of a grid: how often each basic block runs, and which addresses its loads and stores touch.

Only what branches and addresses depend on is computed (the backward slice of their registers); everything else is
unknown, and so is loaded data, except for :mod:`known_memory`. A branch that depends on what is unknown falls through,
and the walk says how many there were.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tools.evidence.code.assembly import Instruction
from tools.evidence.code.ptx_code import Ptx, split_operands
from tools.evidence.counts.known_memory import KnownMemory, Numbers, reads_numbers, signal_of
from tools.evidence.counts.memory_access import Access, access_of
from tools.evidence.counts.ptx_values import LANES, Operation, Value, operation

VISITS = 2
"""Addresses are computed on the first two visits of a block: the first iteration and one that stands for the rest."""
BUDGET = 400_000
"""Instructions that the walk of one block may compute, about a second."""
ENOUGH = 200_000
"""Once so many are computed, no further block is walked."""
SKIP_AFTER = 64
"""Turns of a loop of one basic block after which the rest is computed at once, if it can be."""
POINTER_SHIFT = 44
"""An argument's tensor begins at ``(place + 1) << 44``: an address names the tensor that it lies in."""
PARAMETER_BASE = 1 << 30
"""Where the parameters themselves lie, by place in steps of 4 KiB, for descriptors that are read there."""
NO_RESULT = (
    "st",
    "red",
    "bar",
    "barrier",
    "bra",
    "brx",
    "ret",
    "cp",
    "fence",
    "membar",
    "wgmma",
    "stmatrix",
    "tcgen05",
)
UNKNOWN = ("ld", "atom", "ldmatrix")
"""Their results are data."""
_NAME = re.compile(r"[%A-Za-z_$][\w$.]*")
_PARAMETER = re.compile(r"^\[\s*([\w$]+)\s*(?:\+\s*0)?\s*\]$")


@dataclass(frozen=True)
class Launched:
    """What a walk has to know of a launch."""

    grid: tuple[int, int, int]
    warps: int
    values: dict[str, int]
    """Parameter name to its number; a pointer is an address as ``POINTER_SHIFT`` has it."""
    data: Mapping[int, Numbers] = field(default_factory=dict)
    """Place of a pointer parameter to the whole numbers that its tensor holds, where they are known."""
    partitions: tuple[tuple[int, int], ...] = ()
    """(first warp, warps) of each specialised partition, in the order of the jump table."""


@dataclass
class Walk:
    """What one walk saw."""

    counts: list[Counter[int]] = field(default_factory=list)
    """For every block of the grid that was walked, how many warps visited each basic block, how often."""
    accesses: dict[int, list[Access]] = field(default_factory=dict)
    """Place of an instruction to its accesses, of the visits whose addresses were computed."""
    atomics: list[tuple[int, Access]] = field(default_factory=list)
    """(block of the grid, access) of every computed atomic."""
    unknown_branches: set[int] = field(default_factory=set)
    """Places of branches that depend on data."""
    complete: bool = True
    """Whether the budget sufficed; if not, loops are longer than counted."""

    @cached_property
    def mean(self) -> dict[int, float]:
        """Visits of each basic block by warps, mean of the grid's blocks that were walked."""
        total: Counter[int] = Counter()
        for one in self.counts:
            total.update(one)
        return {block: n / max(1, len(self.counts)) for block, n in total.items()}


class Registers(dict[str, Value]):
    """Register name to value; what was never written is not known. Also reads numbers and names of symbols."""

    def __init__(self, special: dict[str, Value], symbols: dict[str, int]) -> None:
        super().__init__(special)
        self._symbols = symbols

    def __missing__(self, operand: str) -> Value:
        if operand.startswith("%"):
            return None
        number = _number(operand)
        if number is not None:
            self[operand] = number
            return number
        if operand.startswith("global_smem"):
            return 0
        return self._symbols.get(operand)

    def guard(self, x: Instruction) -> Value:
        if not x.guard:
            return 1
        value = self[x.guard.lstrip("!")]
        return (1 - value if x.guard[0] == "!" else value) if value is not None else None


@dataclass(frozen=True, slots=True)
class Step:
    """How one instruction is computed."""

    names: tuple[str, ...]
    """Registers that take the result."""
    function: Operation
    opcode: str
    operands: tuple[str, ...]
    guard: str
    negated: bool


class Walker:
    """Walks one kernel. The way is that of each warp's first lane; addresses are those of all its lanes."""

    def __init__(self, ptx: Ptx, launch: Launched) -> None:
        self.code, self.launch = ptx.code, launch
        self.symbols = {p.name: PARAMETER_BASE + (place << 12) for place, p in enumerate(ptx.parameters)}
        instructions = self.code.instructions
        self.results = [_results(x) for x in instructions]
        self.sources = [_sources(x) for x in instructions]
        self.kinds = [access_of(x.opcode) for x in instructions]
        self.memory = KnownMemory(launch.data, POINTER_SHIFT)
        self.signals = {i: signal for i, x in enumerate(instructions) if (signal := signal_of(x))}
        guards = {i: x.guard.lstrip("!") for i, x in enumerate(instructions) if x.guard}
        control = {r for i, x in enumerate(instructions) if x.flow in ("branch", "switch") for r in self.sources[i]}
        control |= {guards[i] for i, x in enumerate(instructions) if x.flow and i in guards}
        memory = {r for i, kind in enumerate(self.kinds) if kind for r in self.sources[i]}
        memory |= {guards[i] for i, kind in enumerate(self.kinds) if kind and i in guards}
        controlling, addressing = self._slice(control, guards), self._slice(memory, guards)
        blocks = range(len(self.code.starts))
        self.numbers = {i for i, x in enumerate(instructions) if launch.data and reads_numbers(x.opcode)}
        self.data_decides = bool(self.numbers & controlling)
        """Whether branches depend on numbers of the inputs that are known."""
        self.control = [
            [i for i in self.code.block(b) if i in controlling or i in self.signals or instructions[i].flow]
            for b in blocks
        ]
        self.exact = [[i for i in self.code.block(b) if i in addressing or self.kinds[i]] for b in blocks]
        self.steps = [self._plan(i) for i in range(len(instructions))]
        self.spent = 0

    def _slice(self, wanted: set[str], guards: dict[int, str]) -> frozenset[int]:
        """Indices of the instructions that the registers `wanted` depend on, directly or through other registers."""
        writers: dict[str, list[int]] = {}
        for i, names in enumerate(self.results):
            for name in names:
                writers.setdefault(name, []).append(i)
        found: set[int] = set()
        waiting = list(wanted)
        while waiting:
            for i in writers.pop(waiting.pop(), ()):
                if i not in found:
                    found.add(i)
                    waiting += [*self.sources[i], *([guards[i]] if i in guards else [])]
        return frozenset(found)

    def walk(self, blocks: Sequence[int]) -> Walk:
        """Walk the grid's blocks of these numbers: every warp of the first, and of the others one for all those that
        went the same way there. Addresses are computed for the first, and for one warp of the next three."""
        seen = Walk()
        alike: dict[int, int] = {}
        for n, block in enumerate(blocks):
            self.memory.forget()
            counts: Counter[int] = Counter()
            ways: dict[frozenset[tuple[int, int]], int] = {}
            for warp in alike or range(self.launch.warps):
                visits = self._warp(block, warp, seen, "every" if n == 0 else "atomics" if warp == 0 and n < 4 else "")
                if n == 0:
                    first = ways.setdefault(frozenset(visits.items()), warp)
                    alike[first] = alike.get(first, 0) + 1
                for at, times in visits.items():
                    counts[at] += times * (1 if n == 0 else alike[warp])
            seen.counts.append(counts)
            if not seen.complete or self.spent > ENOUGH:
                break
        return seen

    def _warp(self, block: int, warp: int, seen: Walk, addresses: str) -> Counter[int]:
        x, y, z = self.launch.grid
        special: dict[str, Value] = {
            "%tid.y": 0,
            "%tid.z": 0,
            "%warpid": warp,
            "%ntid.x": 32 * self.launch.warps,
            "%ctaid.x": block % x,
            "%ctaid.y": block // x % y,
            "%ctaid.z": block // (x * y),
            "%nctaid.x": x,
            "%nctaid.y": y,
            "%nctaid.z": z,
            "%cluster_ctarank": 0,
            "%clusterid.x": block % x,
        }
        first = Registers(special | {"%tid.x": 32 * warp, "%laneid": 0}, self.symbols)
        every = Registers(special | {"%tid.x": LANES + 32 * warp, "%laneid": LANES}, self.symbols)
        visits: Counter[int] = Counter()
        readings: Counter[int] = Counter()
        switched = False
        at: int | None = 0
        code, instructions = self.code, self.code.instructions
        while at is not None:
            visits[at] += 1
            if addresses and visits[at] <= VISITS:
                self._visit(at, every, block, seen, addresses == "every")
            following: int | None = at + 1 if at + 1 < len(code.starts) else None
            for i in self.control[at]:
                x_ = instructions[i]
                self.spent += 1
                if i in self.signals:
                    if not x_.guard or first.guard(x_):
                        self.memory.signal(*self.signals[i])
                    continue
                if not x_.flow:
                    self._compute(i, first)
                    if x_.opcode == "ld.shared.b8" and (place := _address(x_.operands[1], first)) is not None:
                        readings[i] += 1
                        first[x_.operands[0]] = self.memory.signalled(place, readings[i])
                    continue
                guard = first.guard(x_)
                if guard is None:
                    if i + 1 >= len(instructions) or instructions[i + 1].flow != "switch":
                        seen.unknown_branches.add(i)
                elif guard and x_.flow == "exit":
                    following = None
                elif guard and x_.flow == "branch":
                    target = code.target_block(x_.targets[0])
                    following = following if target is None else target
                elif guard:
                    following = self._switch(x_, first, warp, switched)
                    switched = True
            if self.spent > BUDGET:
                seen.complete = False
                break
            if following == at and visits[at] % SKIP_AFTER == 0:
                visits[at] += self._skip(at, first)
            at = following
        return visits

    def _skip(self, at: int, registers: Registers) -> int:
        """Take many turns of a loop of one basic block at once, if each changes the registers by the same amounts: all
        but the last that still end in another turn. How many were taken."""
        control = self.control[at]
        branch = self.code.instructions[control[-1]]
        deciding = next(
            (s for i in reversed(control) if (s := self.steps[i]) and branch.guard.lstrip("!") in s.names), None
        )
        if branch.flow != "branch" or deciding is None or deciding.opcode.split(".")[0] != "setp" or deciding.guard:
            return 0
        before = {n: registers[n] for i in control for n in self.results[i]}

        def turn(start: dict[str, Value]) -> tuple[dict[str, Value], Value]:
            """The registers after a turn from `start`, and by how much the compared numbers differ then."""
            registers.update(start)
            for i in control:
                self._compute(i, registers)
            self.spent += len(control)
            a, b = (registers[o] for o in deciding.operands[:2])
            return {n: registers[n] for n in before}, a - b if isinstance(a, int) and isinstance(b, int) else None

        once, first = turn(before)
        twice, second = turn(once)
        registers.update(before)
        if first is None or second is None or not all(isinstance(v, int) for v in (*before.values(), *twice.values())):
            return 0
        change = {n: once[n] - before[n] for n in before}
        towards = second - first
        # The comparison changes its answer where the difference passes through zero, or comes to it.
        if any(twice[n] - once[n] != change[n] for n in before) or not towards or first * towards > 0:
            return 0
        turns: int = max(0, -first // towards - 1 if first % towards == 0 else abs(first) // abs(towards) - 1)
        registers.update({n: before[n] + turns * change[n] for n in before})
        return turns

    def _visit(self, at: int, registers: Registers, block: int, seen: Walk, first: bool) -> None:
        """Compute the addresses in one basic block for all lanes of a warp. Those of the `first` block of the grid are
        kept, of others only atomics'."""
        near: set[int] = set()
        for i in self.exact[at]:
            x = self.code.instructions[i]
            self.spent += 1
            kind = self.kinds[i]
            if kind is not None:
                guard = registers.guard(x)
                lanes = np.ones(32, bool) if guard is None else np.broadcast_to(np.asarray(guard) != 0, (32,))
                addresses = [_address(o, registers) for o in x.operands if o.startswith("[")]
                numbers = [registers[o] for o in x.operands if not o.startswith(("[", "{"))]
                found = Access.of(x.opcode, kind, lanes, addresses, numbers, near)
                if kind == "atomic":
                    seen.atomics.append((block, found))
                if first:
                    seen.accesses.setdefault(i, []).append(found)
            self._compute(i, registers)

    def _switch(self, x: Instruction, registers: Registers, warp: int, again: bool) -> int | None:
        """The block that a jump table leads to. Of specialised warps the table says which part of the kernel a warp
        does, by a number that another warp left in shared memory: each does its own part once."""
        which = registers[x.operands[0]]
        if isinstance(which, int) and 0 <= which < len(x.targets):
            return self.code.target_block(x.targets[which])
        for place, (start, count) in enumerate(self.launch.partitions):
            if start <= warp < start + count and not again and place < len(x.targets):
                return self.code.target_block(x.targets[place])
        return None

    def _plan(self, i: int) -> Step | None:
        """How to compute the instruction at place `i`; ``None`` for one without a result."""
        x, names = self.code.instructions[i], self.results[i]
        if not names:
            return None
        base = x.opcode.split(".")[0]
        function: Operation = operation(x.opcode)
        operands = x.operands[1:]
        if x.opcode.startswith("ld.param"):
            found = _PARAMETER.match(x.operands[1])
            value = self.launch.values.get(found.group(1)) if found else None
            function, operands = (lambda opcode, read: value), ()
        elif base == "elect":
            function, operands = (lambda opcode, read: (read[0] == 0) * 1), ("%laneid",)
        elif base in UNKNOWN or (len(names) > 1 and "|" not in x.operands[0]):
            function, operands = (lambda opcode, read: None), ()
        return Step(names, function, x.opcode, operands, x.guard.lstrip("!"), x.guard.startswith("!"))

    def _load(self, i: int, step: Step, registers: Registers) -> None:
        """Load numbers that are known; a lane that the guard leaves out keeps what it had."""
        x = self.code.instructions[i]
        found = self.memory.load(x.opcode, _address(x.operands[1], registers))
        guard = registers.guard(x)
        for place, name in enumerate(step.names):
            value = found[place] if place < len(found) else None
            if isinstance(guard, int):
                if guard:
                    registers[name] = value
            elif guard is None or value is None:
                registers[name] = None if guard is None else value
            else:
                before = registers[name]
                registers[name] = None if before is None else np.where(guard != 0, value, before)

    def _compute(self, i: int, registers: Registers) -> None:
        step = self.steps[i]
        if step is None:
            return
        if i in self.numbers:
            self._load(i, step, registers)
            return
        try:
            value = step.function(step.opcode, [registers[o] for o in step.operands])
        except (ZeroDivisionError, OverflowError, TypeError, ValueError, IndexError, StopIteration):
            value = None  # an operand or an operation that is not known: nor is its result
        if not step.guard:
            for name in step.names:
                registers[name] = value
            return
        guard = registers[step.guard]
        if guard is not None and step.negated:
            guard = 1 - guard
        for name in step.names:
            if guard is None:
                registers[name] = None
            elif not isinstance(guard, int):
                before = registers[name]
                registers[name] = None if value is None or before is None else np.where(guard != 0, value, before)
            elif guard:
                registers[name] = value


def _address(operand: str, registers: Registers) -> Value:
    """The number that ``[%rd1 + 16]`` or ``[%rd1, {...}]`` names."""
    inner = split_operands(operand[1:].partition("]")[0])[0]
    base, _, offset = inner.partition("+")
    value, more = registers[base.strip()], _number(offset.strip() or "0")
    return None if value is None or more is None else value + more


def _number(text: str) -> int | None:
    try:
        return int(text.rstrip("U"), 0)
    except ValueError:
        return None


def _results(x: Instruction) -> tuple[str, ...]:
    if not x.operands or x.flow or x.opcode.split(".")[0] in NO_RESULT:
        return ()
    if x.opcode.startswith("mbarrier") and "wait" not in x.opcode:
        return ()
    return tuple(m for m in _NAME.findall(x.operands[0]) if m != "_")


def _sources(x: Instruction) -> tuple[str, ...]:
    first = 1 if _results(x) else 0
    return tuple(m for o in x.operands[first:] for m in _NAME.findall(o))
