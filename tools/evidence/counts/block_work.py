"""What one block of the grid does, from PTX and SASS: instructions by unit, bytes by port. Mean of some blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.evidence.code.assembly import Code, Source
from tools.evidence.code.matrix_shapes import group_operand_bytes, ptx_matrix, tensor_memory_shape
from tools.evidence.code.ptx_code import Ptx, read_ptx
from tools.evidence.code.sass_code import unit_of
from tools.evidence.counts.kept_launch import KeptLaunch, Parameters, Tensor, parameters_of
from tools.evidence.counts.loop_match import WAITING, is_special, weights
from tools.evidence.counts.memory_access import Access
from tools.evidence.counts.ptx_walk import Walk, Walker

BLOCKS = 48
"""Blocks of the grid that are walked at most."""
MORE_BLOCKS = 1024
"""If numbers among the inputs decide how often loops turn."""
COST = {"special": 2.0, "tensor cores": 8.0}
"""Of an instruction against another, for lines and for blocks that do more than others."""


@dataclass
class LoopFact:
    """A loop of the source."""

    source: Source | None
    trips: float
    """Turns of one warp that enters it, in a block of the grid."""


@dataclass
class BlockWork:
    """Of one block of the grid; counts of warp instructions are of all its warps."""

    by_unit: Counter[str] = field(default_factory=Counter)
    """Warp instructions by the unit that executes them (``sass_code.UNITS``)."""
    issued: float = 0.0
    special_lanes: float = 0.0
    """Exponentials, logarithms, reciprocals, roots and the like, of all lanes."""
    matrix: dict[tuple[str, str], float] = field(default_factory=dict)
    """Multiply-adds by kind of instruction and dtype of its operands."""
    loaded: dict[str, float] = field(default_factory=dict)
    stored: dict[str, float] = field(default_factory=dict)
    """Bytes by tensor; ``?`` where the address depends on data."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    l2_bytes: float = 0.0
    """Through the port to L2: whole sectors."""
    asked_bytes: float = 0.0
    """Of these, what threads asked for."""
    bulk_bytes: float = 0.0
    """Of these, loaded by the tensor memory accelerator."""
    async_bytes: float = 0.0
    """Of these, copied to shared memory by threads (cp.async)."""
    shared_passes: float = 0.0
    """Clocks of the shared-memory port, for threads."""
    fewest_passes: float = 0.0
    """The same without a bank conflict."""
    operand_bytes: float = 0.0
    """That matrix instructions read from shared memory themselves."""
    atomics: float = 0.0
    """Lanes."""
    hottest: float = 0.0
    """Of all atomics of the grid, the share that goes to the word that most of them want."""
    atomic_words_known: bool = True
    local_bytes: float = 0.0
    widths: dict[str, Counter[int]] = field(default_factory=dict)
    """Bytes a lane moves at once, by memory, with the warp accesses of each."""
    loops: list[LoopFact] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    """Instructions of each walked block of the grid, for how unequal they are."""
    lines: Counter[Source] = field(default_factory=Counter)
    """Issue slots by source line, special and matrix instructions weighted by :data:`COST`."""
    in_loops: Counter[str] = field(default_factory=Counter)
    """Barriers, waits and the like inside loops, each once."""
    notes: list[str] = field(default_factory=list)
    """What could not be known, a sentence each."""
    chain: tuple[float, Counter[str]] | None = None
    """Clocks of one warp alone and what it waits for, where the assembly itself says so (AMD)."""


def block_work(launch: KeptLaunch, ptx_text: str, sass: Code | None) -> tuple[BlockWork, list[float]]:
    """The work of one block, and for every SASS instruction how many warps run it how often."""
    ptx = read_ptx(ptx_text)
    parameters = parameters_of(launch, ptx.parameters)
    walker = Walker(ptx, parameters.launched)
    blocks = sample(launch.blocks, BLOCKS)
    if walker.data_decides:  # the numbers may hold one block that is unlike all others
        blocks = list(dict.fromkeys([*blocks, *sample(launch.blocks, MORE_BLOCKS)]))
    walk = walker.walk(blocks)
    work = BlockWork(tensors={t.name: t for t in parameters.tensors.values()})
    _memory(work, ptx, walk, parameters)
    _matrix(work, ptx, walk)
    special = {n: sum(is_special(ptx.code.instructions[i].opcode) for i in ptx.code.block(n)) for n in walk.mean}
    work.special_lanes = 32 * sum(times * special[n] for n, times in walk.mean.items())
    _loops(work, ptx, walk)
    _atomics(work, walk, launch.blocks)
    work.costs = [sum(times * len(ptx.code.block(b)) for b, times in one.items()) for one in walk.counts]
    if not walk.complete:
        work.notes.append("loops are longer than was counted: counts are lower bounds")
    if walk.unknown_branches:
        lines = sorted({s.line for i in walk.unknown_branches if (s := ptx.code.instructions[i].source)})
        work.notes.append(
            f"{len(walk.unknown_branches)} branches depend on data (lines {', '.join(map(str, lines[:4]))}): "
            "they were taken to fall through"
        )
    if sass is None:
        return work, []
    runs = weights(sass, ptx.code, walk.mean, launch.num_warps)
    _instructions(work, sass, runs)
    return work, runs


def sample(blocks: int, most: int) -> list[int]:
    """Numbers of at most `most` blocks, evenly over the grid: the first, the last, then ever finer between them, so
    that a walk that ends early has not seen one end alone."""
    count = min(blocks, most)
    even = [round(n * (blocks - 1) / max(1, count - 1)) for n in range(count)]
    order = sorted(range(1, max(1, count - 1)), key=lambda n: _reversed_bits(n, count))
    return list(dict.fromkeys([even[0], even[-1], *(even[n] for n in order)]))


def _reversed_bits(n: int, count: int) -> int:
    """`n` read backwards in binary: neighbours come far apart."""
    width = max(1, (count - 1).bit_length())
    return int(f"{n:0{width}b}"[::-1], 2)


def _memory(work: BlockWork, ptx: Ptx, walk: Walk, parameters: Parameters) -> None:
    expected = 0.0
    boxes: Counter[int] = Counter()
    for n, times in walk.mean.items():
        for i in ptx.code.block(n):
            seen = walk.accesses.get(i)
            if not seen:
                continue
            each = times / len(seen)
            for access in seen:
                if not access.lanes:
                    continue
                if access.kind == "expect":
                    expected += each * access.bytes
                elif access.kind in ("bulk_load", "bulk_store"):
                    _bulk(work, access, each, parameters, boxes)
                else:
                    _threads(work, access, each, parameters)
    if expected:
        work.bulk_bytes = expected
        work.l2_bytes += expected
        work.asked_bytes += expected
        known = sum(boxes.values())
        for place, size in boxes.items():
            name = parameters.tensors[place].name
            work.loaded[name] = work.loaded.get(name, 0.0) + expected * size / known
        if not known:
            work.loaded["?"] = work.loaded.get("?", 0.0) + expected


def _bulk(work: BlockWork, access: Access, each: float, parameters: Parameters, boxes: Counter[int]) -> None:
    place = parameters.descriptor_at(access.addresses[0]) if access.addresses else None
    if place is None:
        return
    size = each * parameters.boxes.get(place, 0)
    if access.kind == "bulk_load":
        boxes[place] += size  # type: ignore[assignment]
    else:
        name = parameters.tensors[place].name
        work.stored[name] = work.stored.get(name, 0.0) + size
        work.l2_bytes += size
        work.asked_bytes += size


def _threads(work: BlockWork, access: Access, each: float, parameters: Parameters) -> None:
    if access.kind in ("shared_load", "shared_store"):
        fewest = access.fewest_passes
        work.shared_passes += each * (fewest if access.passes is None else access.passes)
        work.fewest_passes += each * fewest
        work.widths.setdefault("shared", Counter())[access.width] += each  # type: ignore[assignment]
        return
    size = each * access.bytes
    sectors = each * 32 * access.sectors if access.sectors is not None else size
    work.l2_bytes += sectors
    work.asked_bytes += size
    work.widths.setdefault("global", Counter())[access.width] += each  # type: ignore[assignment]
    tensor = parameters.tensor_at(access.addresses[0]) if access.addresses else None
    name = tensor.name if tensor else "?"
    if access.kind == "copy":
        work.async_bytes += size
        work.shared_passes += size / 128
        work.fewest_passes += size / 128
    if access.kind in ("load", "copy", "atomic"):
        work.loaded[name] = work.loaded.get(name, 0.0) + size
    if access.kind in ("store", "atomic"):
        work.stored[name] = work.stored.get(name, 0.0) + size
    if access.kind == "atomic":
        work.atomics += each * access.lanes


def _matrix(work: BlockWork, ptx: Ptx, walk: Walk) -> None:
    for n, times in walk.mean.items():
        for i in ptx.code.block(n):
            x = ptx.code.instructions[i]
            found = ptx_matrix(x.opcode)
            if found is not None:
                kind, dtype, adds = found
                work.matrix[kind, dtype] = work.matrix.get((kind, dtype), 0.0) + times * adds
                if kind == "wgmma":
                    work.operand_bytes += times * group_operand_bytes(x.opcode, x.operands, dtype)
            elif x.opcode.startswith("tcgen05.mma") and "scale" not in x.opcode.split(".")[1:3]:
                adds = tensor_memory_shape(_constant(ptx, x.operands), x.opcode)
                kind, dtype = "tcgen05", "e4m3" if "f8f6f4" in x.opcode else "tf32" if "tf32" in x.opcode else "f16"
                share = times / max(1, parameters_warps(walk))
                work.matrix[kind, dtype] = work.matrix.get((kind, dtype), 0.0) + share * adds


def parameters_warps(walk: Walk) -> float:
    """Warps of a block: visits of the first basic block."""
    return walk.mean.get(0, 1.0)


def _constant(ptx: Ptx, operands: tuple[str, ...]) -> int:
    """The instruction descriptor of a tcgen05.mma, which Triton moves into a register as a constant."""
    for name in operands[3:4]:
        for x in ptx.code.instructions:
            if x.operands[:1] == (name,) and x.opcode.startswith("mov"):
                try:
                    return int(x.operands[1], 0)
                except ValueError:
                    return 0
    return 0


def _loops(work: BlockWork, ptx: Ptx, walk: Walk) -> None:
    for loop in ptx.code.loops:
        if sum(len(ptx.code.block(b)) for b in loop.blocks) < WAITING:
            continue
        around = ptx.code.around(loop)
        entered = parameters_warps(walk) if around is None else walk.mean.get(around.header, 0.0)
        if turns := walk.mean.get(loop.header, 0.0):
            source = ptx.code.instructions[ptx.code.starts[loop.header]].source
            work.loops.append(LoopFact(source, round(turns / max(1.0, entered), 2)))


def _atomics(work: BlockWork, walk: Walk, blocks: int) -> None:
    words: Counter[int] = Counter()
    total = 0
    for _, access in walk.atomics:
        if access.lanes and not access.addresses:
            work.atomic_words_known = False
        words.update(access.addresses)
        total += len(access.addresses)
    if total:
        walked = len({block for block, _ in walk.atomics})
        address, most = words.most_common(1)[0]
        shared = len({block for block, access in walk.atomics if address in access.addresses})
        # A word that every walked block wants is wanted by all; one that a single block wants, by that one.
        work.hottest = most / total if shared == walked and walked > 1 else most / total / max(1, blocks / walked)


def _instructions(work: BlockWork, sass: Code, runs: Sequence[float]) -> None:
    for i, x in enumerate(sass.instructions):
        if not runs[i]:
            continue
        unit = unit_of(x.opcode)
        work.by_unit[unit] += runs[i]  # type: ignore[assignment]
        work.issued += runs[i]
        if unit == "local":
            width = 16 if ".128" in x.opcode else 8 if ".64" in x.opcode else 4
            work.local_bytes += runs[i] * width * 32
        if x.source is not None:
            work.lines[x.source] += runs[i] * COST.get(unit, 1.0)  # type: ignore[assignment]
    for n in range(len(sass.starts)):
        if sass.own_loop(n) is not None:
            work.in_loops.update(
                x.opcode.split(".")[0]
                for i in sass.block(n)
                if unit_of((x := sass.instructions[i]).opcode) == "barriers"
            )
