"""Disassembles a cubin with Triton's own nvdisasm and reads SASS: instructions, source lines, and what unit each uses.

Disassembly is text that NVIDIA does not specify: a line that is not understood is left out."""

from __future__ import annotations

import re
import subprocess
import tempfile

from tools.evidence.code.assembly import Code, Flow, Instruction, Source
from tools.evidence.code.ptx_code import LIBRARY

DISASSEMBLER_S = 60.0
_LINE = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@(!?U?P[T\d]+)\s+)?([A-Z][\w.]*)\s*([^;]*);")
_LABEL = re.compile(r"^(\.L[\w.]*):")
_SOURCE = re.compile(r'^\s*//## File "([^"]*)", line (\d+)')
_SECTION = re.compile(r"^\s*\.section\s+\.text\.([\w$.]+)")
_TABLE = re.compile(r"BRANCH_TARGETS ([^\"]*)")
_LABELS = re.compile(r"\.L[\w.]*")
_TARGET = re.compile(r"`\((\.L[\w.]*)\)")


class NoDisassembly(RuntimeError):
    """SASS cannot be had; the message is one sentence."""


def disassemble(cubin: bytes, nvdisasm: str) -> str:
    """`cubin` as nvdisasm prints it, with source lines. Raises NoDisassembly."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as f:
        f.write(cubin)
        f.flush()
        try:
            done = subprocess.run(
                [nvdisasm, "-c", "-gi", f.name],
                capture_output=True,
                text=True,
                timeout=DISASSEMBLER_S,
                errors="replace",
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            raise NoDisassembly(
                f"the disassembler {nvdisasm} cannot be run ({type(e).__name__}): reinstall triton"
            ) from e
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise NoDisassembly(f"nvdisasm refused the machine code: {lines[-1][:160]}")
    return done.stdout


def read_sass(text: str) -> Code:
    """The instructions of the kernel's section. Raises NoDisassembly if there are none."""
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    source: Source | None = None
    fresh = False  # several locations in a row are one inlined call: the first is the innermost
    inside = False
    for line in text.splitlines():
        if _SECTION.match(line):
            if instructions:
                break
            inside = True
        elif not inside:
            continue
        elif found := _SOURCE.match(line):
            here = Source(found.group(1), int(found.group(2)))
            if not fresh or (source is not None and LIBRARY in source.file):
                source = here
            fresh = True
        elif found := _LABEL.match(line):
            labels[found.group(1)] = len(instructions)
        elif found := _LINE.match(line):
            guard, opcode, rest = found.groups()
            instructions.append(_instruction(opcode, rest.strip(), guard or "", source))
            fresh = False
    if not instructions:
        raise NoDisassembly("the disassembly holds no instructions")
    used = {t for x in instructions for t in x.targets}
    return Code(instructions, {name: at for name, at in labels.items() if name in used})


def _instruction(opcode: str, rest: str, guard: str, source: Source | None) -> Instruction:
    flow: Flow = ""
    targets: tuple[str, ...] = ()
    base = opcode.split(".")[0]
    guard = "" if guard in ("PT", "UPT") else guard
    if base in ("BRA", "JMP"):
        flow, targets = "branch", tuple(_TARGET.findall(rest))
    elif base in ("BRX", "BRXU", "JMX"):
        table = _TABLE.search(rest)  # nvdisasm writes the table's labels into a comment, where it knows them
        flow, targets = "switch", tuple(_LABELS.findall(table[1] if table else rest))
    elif base in ("EXIT", "RET", "KILL"):
        flow = "exit"
    return Instruction(opcode, tuple(o.strip() for o in rest.split(",") if o.strip()), guard, source, flow, targets)


UNITS = {
    "special": ("MUFU",),
    "tensor cores": ("HMMA", "HGMMA", "IMMA", "IGMMA", "QMMA", "QGMMA", "BMMA", "DMMA", "OMMA", "UTC"),
    "conversions": ("F2F", "F2I", "I2F", "I2I", "F2FP", "I2FP", "F2IP", "FRND"),
    "fp64": ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX"),
    "fp32": (
        "FADD",
        "FMUL",
        "FFMA",
        "FMNMX",
        "FSETP",
        "FSEL",
        "FSWZADD",
        "FCHK",
        "HADD",
        "HMUL",
        "HFMA",
        "HMNMX",
        "HSET",
    ),
    "global": ("LDG", "STG", "LD.", "ST.", "LDGSTS", "UTMALDG", "UTMASTG", "UBLKCP"),
    "shared": ("LDS", "STS", "LDSM", "STSM"),
    "local": ("LDL", "STL"),
    "atomics": ("ATOM", "RED", "UTMARED"),
    "shuffle": ("SHFL", "REDUX", "VOTE", "MATCH"),
    "barriers": (
        "BAR",
        "WARPSYNC",
        "SYNCS",
        "DEPBAR",
        "LDGDEPBAR",
        "WARPGROUP",
        "MEMBAR",
        "FENCE",
        "CCTL",
        "ERRBAR",
        "BMOV",
    ),
    "integer": [
        "IADD",
        "IMAD",
        "IMUL",
        "LOP",
        "ISETP",
        "SHF",
        "SHL",
        "SHR",
        "LEA",
        "PRMT",
        "SEL",
        "IMNMX",
        "VIMNMX",
        "IABS",
        "SGXT",
        "BMSK",
        "BREV",
        "FLO",
        "POPC",
        "PLOP",
        "P2R",
        "R2P",
        "ISCADD",
        "ICMP",
        "VIADD",
        "IDP",
        "XMAD",
        "LOP3",
        "VABSDIFF",
        "VOTEU",
    ],
}
"""Unit of an opcode by how it begins; what is on none of these lists takes an issue slot alone (moves, branches, and
the uniform datapath's U... instructions among them). Source: CUDA Binary Utilities, instruction set reference."""


def unit_of(opcode: str) -> str:
    """The unit that executes `opcode`, a key of :data:`UNITS`, or ``other``."""
    for unit, beginnings in UNITS.items():
        if opcode.startswith(tuple(beginnings)):
            return unit
    return "other"
