"""Machine code as instructions, basic blocks and loops: what PTX, SASS and AMDGCN have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Flow = Literal["", "branch", "switch", "exit"]
"""How an instruction leaves the line: not at all, to one target, to one of several, or out of the kernel."""


@dataclass(frozen=True)
class Source:
    """A line of the kernel's Python source."""

    file: str
    line: int


@dataclass(frozen=True)
class Instruction:
    opcode: str
    """With its modifiers, such as ``ld.global.v4.b32`` or ``LDG.E.128``."""
    operands: tuple[str, ...]
    guard: str = ""
    """The predicate under which it runs, such as ``!%p1``; empty without one."""
    source: Source | None = None
    flow: Flow = ""
    targets: tuple[str, ...] = ()
    """Labels of a branch."""


@dataclass(frozen=True)
class Loop:
    """A natural loop."""

    header: int
    """The block that every iteration begins with."""
    blocks: frozenset[int]
    """All its blocks, those of inner loops too."""
    depth: int
    """1 for an outermost loop."""


@dataclass(frozen=True)
class Code:
    """One kernel's instructions in the order of their addresses."""

    instructions: list[Instruction]
    labels: dict[str, int] = field(default_factory=dict)
    """Label to the place of the instruction that follows it."""

    @cached_property
    def starts(self) -> list[int]:
        """The first instruction of every basic block, in order."""
        first = {0} | {at for at in self.labels.values() if at < len(self.instructions)}
        first |= {i + 1 for i, x in enumerate(self.instructions) if x.flow and i + 1 < len(self.instructions)}
        return sorted(first)

    @cached_property
    def block_of(self) -> dict[int, int]:
        """Place of a block's first instruction to the block's number."""
        return {start: n for n, start in enumerate(self.starts)}

    def block(self, n: int) -> range:
        """Places of the instructions of block `n`."""
        end = self.starts[n + 1] if n + 1 < len(self.starts) else len(self.instructions)
        return range(self.starts[n], end)

    def target_block(self, label: str) -> int | None:
        at = self.labels.get(label)
        return None if at is None else self.block_of.get(at)

    @cached_property
    def successors(self) -> list[list[int]]:
        """For every block the blocks that may follow it."""
        found = []
        for n in range(len(self.starts)):
            last = self.instructions[self.block(n)[-1]]
            following = [b for label in last.targets if (b := self.target_block(label)) is not None]
            falls_through = not last.flow or bool(last.guard)
            if falls_through and n + 1 < len(self.starts):
                following.append(n + 1)
            found.append(list(dict.fromkeys(following)))
        entered = {0}.union(*found)
        for n in range(len(self.starts)):
            last = self.instructions[self.block(n)[-1]]
            if (
                last.flow == "switch" and not last.targets
            ):  # its table is not in the text: it leads to what else does not
                found[n] += [b for b in range(len(self.starts)) if b not in entered]
        return found

    @cached_property
    def loops(self) -> list[Loop]:
        """Every natural loop, outer ones before inner ones. Two back edges to one header make one loop."""
        predecessors: list[list[int]] = [[] for _ in self.starts]
        for n, following in enumerate(self.successors):
            for other in following:
                predecessors[other].append(n)
        above = self._dominators(predecessors)
        bodies: dict[int, set[int]] = {}
        for n, following in enumerate(self.successors):
            for header in following:
                if n in above and header in above[n]:
                    body = bodies.setdefault(header, {header})
                    waiting = [n]
                    while waiting:
                        block = waiting.pop()
                        if block not in body:
                            body.add(block)
                            waiting += [p for p in predecessors[block] if p in above]
        loops = []
        for header, body in bodies.items():
            depth = sum(body <= other for other in bodies.values())
            loops.append(Loop(header, frozenset(body), depth))
        return sorted(loops, key=lambda loop: (loop.depth, loop.header))

    def _dominators(self, predecessors: list[list[int]]) -> dict[int, set[int]]:
        """For every reachable block the blocks through which each way to it leads, itself among them."""
        order = list(self._reverse_postorder())
        place = {block: i for i, block in enumerate(order)}
        nearest: dict[int, int] = {0: 0}

        def meet(a: int, b: int) -> int:
            while a != b:
                while place[a] > place[b]:
                    a = nearest[a]
                while place[b] > place[a]:
                    b = nearest[b]
            return a

        changed = True
        while changed:  # Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"
            changed = False
            for block in order[1:]:
                known = [p for p in predecessors[block] if p in nearest]
                new = known[0]
                for other in known[1:]:
                    new = meet(new, other)
                if nearest.get(block) != new:
                    nearest[block], changed = new, True
        above: dict[int, set[int]] = {0: {0}}
        for block in order[1:]:
            above[block] = above[nearest[block]] | {block}
        return above

    def _reverse_postorder(self) -> Iterator[int]:
        done: list[int] = []
        seen = {0}
        stack = [(0, iter(self.successors[0]))]
        while stack:
            block, following = stack[-1]
            for other in following:
                if other not in seen:
                    seen.add(other)
                    stack.append((other, iter(self.successors[other])))
                    break
            else:
                stack.pop()
                done.append(block)
        return reversed(done)

    @cached_property
    def reachable(self) -> frozenset[int]:
        """Blocks to which a way leads from the kernel's entry."""
        return frozenset(self._reverse_postorder())

    @cached_property
    def _innermost(self) -> dict[int, Loop]:
        return {n: loop for loop in self.loops for n in loop.blocks}  # inner loops come last

    def own_loop(self, n: int) -> Loop | None:
        """The innermost loop that holds block `n`."""
        return self._innermost.get(n)

    def around(self, loop: Loop) -> Loop | None:
        """The innermost loop that holds `loop`."""
        holding = [x for x in self.loops if loop.header in x.blocks and x is not loop and x.depth < loop.depth]
        return holding[-1] if holding else None
