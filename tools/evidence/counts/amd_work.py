"""What one block (work-group) of the grid does, from AMDGCN assembly: instructions by unit, loops, waits.

Loops are followed in the scalar unit, where a loop's counter lives: scalar instructions are computed, everything else
is unknown. Addresses live in vector registers and are not computed, so that coalescing and bank conflicts are not
known here; bytes are what lanes ask for. Source: AMD Instinct MI300 (CDNA 3) ISA guide; LLVM, AMDGPU usage."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from kernels.hardware import Hardware
from tools.evidence.code.assembly import Code, Flow, Instruction, Source
from tools.evidence.code.matrix_shapes import mfma
from tools.evidence.counts.block_work import COST, BlockWork, LoopFact, sample
from tools.evidence.counts.kept_launch import KeptLaunch, Tensor
from tools.evidence.rates import LATENCY

BLOCKS = 16
BUDGET = 200_000
_LABEL = re.compile(r"^(\.LBB\d+_\d+|\.L\w+):")
_FILE = re.compile(r'^\.file\s+(\d+)\s+"([^"]*)"(?:\s+"([^"]*)")?')
_LOCATION = re.compile(r"^\.loc\s+(\d+)\s+(\d+)")
_WIDTH = re.compile(r"(?:dword(?:x(\d))?|_b(32|64|96|128)|_(?:u|i|s)?(?:short|ubyte|byte|u16|b16|b8|u8|i8))")
_RANGE = re.compile(r"^s\[(\d+):(\d+)\]$")
_GROUP_SGPRS = re.compile(r"\.amdhsa_user_sgpr_count\s+(\d+)")
SPECIAL = ("v_exp_", "v_log_", "v_rcp_", "v_rsq_", "v_sqrt_", "v_sin_", "v_cos_")
FLOATS = ("_f32", "_f16", "_bf16")


def amd_work(launch: KeptLaunch, text: str, hardware: Hardware) -> tuple[BlockWork, Code, list[float]]:
    """The work of one block, the code, and how often all its waves run each instruction."""
    code = read_amdgcn(text)
    found = _GROUP_SGPRS.search(text)
    first_group = int(found.group(1)) if found else 16
    waves = launch.num_warps
    total: Counter[int] = Counter()
    work = BlockWork(tensors={a["name"]: Tensor(a["name"], a["bytes"]) for a in launch.arguments if "bytes" in a})
    blocks = sample(launch.blocks, BLOCKS)
    unknown: set[int] = set()
    for block in blocks:
        visits = _walk(code, launch, block, first_group, unknown)
        total.update(visits)
        work.costs.append(float(sum(n * len(code.block(b)) for b, n in visits.items())))
    runs = [0.0] * len(code.instructions)
    for b, n in total.items():
        for i in code.block(b):
            runs[i] = n / len(blocks) * waves
    _count(work, code, runs, hardware)
    for loop in code.loops:
        source = code.instructions[code.starts[loop.header]].source
        work.loops.append(LoopFact(source, round(total[loop.header] / len(blocks), 2)))
    if unknown:
        work.notes.append(
            f"{len(unknown)} branches depend on data or on vector registers: they were taken to fall through"
        )
    work.notes.append("addresses are not followed on AMD: coalescing, bank conflicts and re-reads are not known")
    work.chain = _chain(code, runs, waves)
    return work, code, runs


def read_amdgcn(text: str) -> Code:
    """The instructions of the first kernel. Raises ValueError if there are none."""
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    files: dict[str, str] = {}
    source: Source | None = None
    for raw in text.splitlines():
        line = raw.split(";")[0].strip()
        if line.startswith(".section") and instructions:
            break
        if found := _FILE.match(line):
            files[found.group(1)] = "/".join(part for part in found.groups()[1:] if part)
        elif found := _LOCATION.match(line):
            if int(found.group(2)):
                source = Source(files.get(found.group(1), ""), int(found.group(2)))
        elif found := _LABEL.match(line):
            labels[found.group(1)] = len(instructions)
        elif re.match(r"^[a-z]+_[a-z0-9_]+", line):
            opcode, _, rest = line.partition(" ")
            instructions.append(_instruction(opcode, rest, source))
    if not instructions:
        raise ValueError("the AMD assembly holds no instructions")
    used = {t for x in instructions for t in x.targets}
    return Code(instructions, {name: at for name, at in labels.items() if name in used})


def _instruction(opcode: str, rest: str, source: Source | None) -> Instruction:
    operands = tuple(o.strip() for o in rest.split(",") if o.strip())
    flow: Flow = ""
    guard = ""
    targets: tuple[str, ...] = ()
    if opcode == "s_branch":
        flow, targets = "branch", operands[:1]
    elif opcode.startswith("s_cbranch_"):
        flow, guard, targets = "branch", opcode.removeprefix("s_cbranch_"), operands[:1]
    elif opcode in ("s_endpgm", "s_setpc_b64"):
        flow = "exit"
    return Instruction(opcode, operands, guard, source, flow, targets)


def _signed(x: int) -> int:
    return ((x + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "s_add_i32": lambda a, b: a + b,
    "s_add_u32": lambda a, b: a + b,
    "s_sub_i32": lambda a, b: a - b,
    "s_sub_u32": lambda a, b: a - b,
    "s_mul_i32": lambda a, b: a * b,
    "s_mul_hi_u32": lambda a, b: (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF) >> 32,
    "s_lshl_b32": lambda a, b: a << (b & 31),
    "s_lshr_b32": lambda a, b: (a & 0xFFFFFFFF) >> (b & 31),
    "s_ashr_i32": lambda a, b: a >> (b & 31),
    "s_and_b32": lambda a, b: a & b,
    "s_or_b32": lambda a, b: a | b,
    "s_xor_b32": lambda a, b: a ^ b,
    "s_min_i32": min,
    "s_max_i32": max,
    "s_min_u32": lambda a, b: min(a & 0xFFFFFFFF, b & 0xFFFFFFFF),
    "s_max_u32": lambda a, b: max(a & 0xFFFFFFFF, b & 0xFFFFFFFF),
}
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "lg": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}


def _walk(code: Code, launch: KeptLaunch, block: int, first_group: int, unknown: set[int]) -> Counter[int]:
    """How often one wave visits each basic block."""
    x, y, _ = launch.grid
    registers: dict[str, int | None] = {
        f"s{first_group}": block % x,
        f"s{first_group + 1}": block // x % y,
        f"s{first_group + 2}": block // (x * y),
    }
    kernel_arguments = _argument_words(launch)
    visits: Counter[int] = Counter()
    at: int | None = 0
    spent = 0
    while at is not None and spent < BUDGET:
        visits[at] += 1
        following: int | None = at + 1 if at + 1 < len(code.starts) else None
        for i in code.block(at):
            x_ = code.instructions[i]
            if x_.flow == "exit":
                following = None
            elif x_.flow == "branch":
                taken = _taken(x_.guard, registers)
                if taken is None:
                    unknown.add(i)
                elif taken and (target := code.target_block(x_.targets[0])) is not None:
                    following = target
            elif x_.opcode.startswith("s_"):
                spent += 1
                _scalar(x_, registers, kernel_arguments)
        at = following
    return visits


def _taken(guard: str, registers: dict[str, int | None]) -> bool | None:
    if not guard:
        return True
    if guard.startswith("scc"):
        scc = registers.get("scc")
        return None if scc is None else bool(scc) == guard.endswith("1")
    # That no lane is left happens at a ragged edge alone.
    return False if guard == "execz" else True if guard == "execnz" else None


def _argument_words(launch: KeptLaunch) -> dict[int, int]:
    """Byte offset of each 32-bit kernel argument to its number. Pointers take eight bytes, aligned."""
    found: dict[int, int] = {}
    at = 0
    for argument in launch.arguments:
        kind = argument["type"]
        size = 8 if kind.startswith("*") or kind.endswith("64") else 1 if kind in ("i1", "u1", "i8", "u8") else 4
        at = -(-at // size) * size
        value = argument.get("value")
        if size == 4 and isinstance(value, int):
            found[at] = _signed(value)
        elif size == 8 and isinstance(value, int):
            found[at], found[at + 4] = _signed(value), value >> 32
        at += size
    return found


def _scalar(x: Instruction, registers: dict[str, int | None], words: dict[int, int]) -> None:
    opcode, operands = x.opcode, x.operands
    if not operands:
        return

    def read(name: str) -> int | None:
        try:
            return int(name, 0)
        except ValueError:
            return registers.get(name)

    if opcode.startswith("s_load_dword"):
        names, offset = _names(operands[0]), read(operands[2]) if len(operands) > 2 else 0
        for n, name in enumerate(names):
            known = operands[1] == "s[0:1]" and offset is not None
            registers[name] = words.get(offset + 4 * n) if known and offset is not None else None
        return
    if opcode.startswith(("s_cmp_", "s_cmpk_")):
        a, b = read(operands[0]), read(operands[1])
        test = _COMPARE.get(opcode.split("_")[2])
        if a is None or b is None or test is None:
            registers["scc"] = None
        else:
            unsigned = opcode.endswith("u32")
            registers["scc"] = int(test(a & 0xFFFFFFFF, b & 0xFFFFFFFF) if unsigned else test(_signed(a), _signed(b)))
        return
    if opcode.startswith(("s_waitcnt", "s_barrier", "s_nop", "s_setprio", "s_sched", "s_delay", "s_sleep", "s_inst")):
        return
    value: int | None = None
    if opcode in ("s_mov_b32", "s_movk_i32"):
        value = read(operands[1])
    elif opcode == "s_mov_b64":
        of, to = _names(operands[1]), _names(operands[0])
        for n, name in enumerate(to):
            registers[name] = registers.get(of[n]) if len(of) == len(to) else (read(operands[1]) if n == 0 else 0)
        return
    elif opcode in ("s_addk_i32", "s_mulk_i32"):
        a, b = read(operands[0]), read(operands[1])
        value = None if a is None or b is None else (a + b if "add" in opcode else a * b)
    elif opcode == "s_abs_i32":
        a = read(operands[1])
        value = None if a is None else abs(a)
    elif opcode == "s_cselect_b32":
        scc = registers.get("scc")
        value = None if scc is None else read(operands[1] if scc else operands[2])
    elif (function := _ARITHMETIC.get(opcode)) is not None:
        a, b = read(operands[1]), read(operands[2])
        value = None if a is None or b is None else function(a, b)
        if opcode.startswith(("s_and", "s_or", "s_xor", "s_lsh", "s_ash")):
            registers["scc"] = None if value is None else int(_signed(value) != 0)
        elif not opcode.startswith("s_mul"):
            registers["scc"] = None
    for name in _names(operands[0]):
        registers[name] = None if value is None else _signed(value)


def _names(operand: str) -> list[str]:
    found = _RANGE.match(operand)
    return [f"s{n}" for n in range(int(found.group(1)), int(found.group(2)) + 1)] if found else [operand]


def unit_of_amd(opcode: str) -> str:
    """The unit that executes an AMD instruction, in the words of ``sass_code.UNITS``."""
    if mfma(opcode):
        return "tensor cores"
    if opcode.startswith(SPECIAL):
        return "special"
    if opcode.startswith("ds_"):
        return "shared"
    if "atomic" in opcode:
        return "atomics"
    if opcode.startswith(("global_", "buffer_", "flat_")):
        return "global"
    if opcode.startswith("scratch_"):
        return "local"
    if opcode.startswith(("s_barrier", "s_waitcnt")):
        return "barriers"
    if opcode.startswith("v_cvt"):
        return "conversions"
    if opcode.startswith("v_") and "_f64" in opcode:
        return "fp64"
    if opcode.startswith("v_") and any(kind in opcode for kind in FLOATS):
        return "fp32"
    return "integer" if opcode.startswith("v_") and not opcode.startswith("v_mov") else "other"


def _count(work: BlockWork, code: Code, runs: list[float], hardware: Hardware) -> None:
    lanes = hardware.warp_size
    for i, x in enumerate(code.instructions):
        if not runs[i]:
            continue
        unit = unit_of_amd(x.opcode)
        work.by_unit[unit] += runs[i]  # type: ignore[assignment]
        work.issued += runs[i]
        size = runs[i] * lanes * bytes_of_amd(x.opcode)
        width = bytes_of_amd(x.opcode)
        if unit == "special":
            work.special_lanes += runs[i] * lanes
        elif unit == "tensor cores" and (found := mfma(x.opcode)):
            dtype, adds = found
            work.matrix["mfma", dtype] = work.matrix.get(("mfma", dtype), 0.0) + runs[i] * adds
        elif unit == "shared":
            work.shared_passes += size / 128
            work.fewest_passes += size / 128
            work.widths.setdefault("shared", Counter())[width] += runs[i]  # type: ignore[assignment]
        elif unit in ("global", "atomics"):
            work.l2_bytes += size
            work.asked_bytes += size
            work.widths.setdefault("global", Counter())[width] += runs[i]  # type: ignore[assignment]
            sizes = work.stored if "store" in x.opcode else work.loaded
            sizes["?"] = sizes.get("?", 0.0) + size
            work.atomics += runs[i] * lanes if unit == "atomics" else 0.0
            work.atomic_words_known &= unit != "atomics"
        elif unit == "local":
            work.local_bytes += size
        if x.source is not None:
            work.lines[x.source] += runs[i] * COST.get(unit, 1.0)  # type: ignore[assignment]
    for n in range(len(code.starts)):
        if code.own_loop(n) is not None:
            work.in_loops.update(
                o for i in code.block(n) if unit_of_amd(o := code.instructions[i].opcode) == "barriers"
            )


def bytes_of_amd(opcode: str) -> int:
    """Bytes of one lane's access."""
    if found := re.search(r"dwordx(\d)", opcode):
        return 4 * int(found.group(1))
    if found := re.search(r"_b(32|64|96|128)", opcode):
        return int(found.group(1)) // 8 * (2 if "read2" in opcode or "write2" in opcode else 1)
    if "short" in opcode or "16" in opcode:
        return 2
    return 1 if "byte" in opcode or "_u8" in opcode or "_b8" in opcode else 4


def _chain(code: Code, runs: list[float], waves: int) -> tuple[float, Counter[str]]:
    """Clocks of one wave alone: four for a vector instruction, and a latency for every wait for memory that leaves
    nothing on its way. Coarse: a wait for some of several loads counts in proportion."""
    clocks, waits = 0.0, Counter[str]()
    for i, x in enumerate(code.instructions):
        times = runs[i] / waves
        clocks += times * (4 if x.opcode.startswith("v_") else 1)
        if x.opcode.startswith("s_waitcnt"):
            for counter, kind in (("vmcnt", "memory"), ("lgkmcnt", "shared")):
                if found := re.search(rf"{counter}\((\d+)\)", " ".join(x.operands)):
                    waits[kind] += times * LATENCY[kind] / (1 + int(found.group(1)))  # type: ignore[assignment]
        elif x.opcode.startswith("s_barrier"):
            waits["barrier"] += times * LATENCY["barrier"]  # type: ignore[assignment]
    return clocks + sum(waits.values()), waits
