"""Reads PTX: the parameters of its kernel and the kernel's instructions. Source: PTX ISA, Triton's generated code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tools.evidence.code.assembly import Code, Flow, Instruction, Source

_PARAMETER = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr\b[^,\n]*?\s)?([\w$]+)(\[\d+\])?\s*[,\n)]")
_LABEL = re.compile(r"^([\w$]+):$")
_FILE = re.compile(r'^\.file\s+(\d+)\s+"([^"]+)"(?:\s+"([^"]+)")?')
_LOCATION = re.compile(r"^\.loc\s+(\d+)\s+(\d+)(?:.*inlined_at\s+(\d+)\s+(\d+))?")
LIBRARY = "/triton/language/"
"""Sources below it are Triton's own: the line that called them is taken instead."""
_TABLE = re.compile(r"^(?:([A-Za-z_$][\w$]*):\s*)?\.branchtargets\s+(.*)$", re.DOTALL)
_GUARD = re.compile(r"^@(!?[\w%]+)\s+(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the kernel as PTX declares it."""

    name: str
    type: str
    """``u64``, ``u32``, ``f32``; ``b8`` for a descriptor of several bytes."""


@dataclass(frozen=True)
class Ptx:
    parameters: list[Parameter]
    code: Code


def read_ptx(text: str) -> Ptx:
    """The first kernel of a PTX module. Raises ValueError if the text has none."""
    at = text.find(".entry")
    if at < 0:
        raise ValueError("the PTX has no kernel (.entry)")
    opening = text.index("{", at)
    head = text[at:opening]
    parameters = [Parameter(m.group(2), m.group(1)) for m in _PARAMETER.finditer(head)]
    directories: dict[str, str] = {}
    for line in text.splitlines():
        if found := _FILE.match(line.strip()):
            number, first, second = found.groups()
            directories[number] = f"{first}/{second}" if second else first
    return Ptx(parameters, _code(text[opening + 1 :], directories))


def _code(body: str, files: dict[str, str]) -> Code:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    tables: dict[str, tuple[str, ...]] = {}
    source: Source | None = None
    scopes = [0]  # labels of inline assembly repeat: each pair of braces has its own
    scope_count = 0
    label = pending = ""
    for raw in body.splitlines():
        line = raw.split("//")[0].strip()
        if not line:
            continue
        if not pending:
            if line == "{":
                scope_count += 1
                scopes.append(scope_count)
                continue
            if line == "}":
                if len(scopes) == 1:
                    break
                scopes.pop()
                continue
            if found := _LOCATION.match(line):
                number, at, caller, called_at = found.groups()
                if caller and LIBRARY in files.get(number, ""):
                    number, at = caller, called_at
                if int(at):
                    source = Source(files.get(number, ""), int(at))
                continue
            if found := _LABEL.match(line):
                label = found.group(1)
                labels[_scoped(label, scopes[-1])] = len(instructions)
                continue
            if line.startswith("."):
                pending = line if line.startswith(".branchtargets") and not line.endswith(";") else ""
                continue
        pending = f"{pending} {line}".strip()
        if not pending.endswith(";"):
            continue
        for statement in pending.split(";"):
            if table := _TABLE.match(statement):  # its label stands before it, or on a line of its own
                tables[table[1] or label] = tuple(t.strip() for t in table[2].split(","))
            elif statement.strip():
                for part in _statements(statement.strip(), labels, len(instructions), scopes[-1]):
                    instructions.append(_instruction(part, source, scopes[-1]))
        pending = ""
    for i, x in enumerate(instructions):
        if x.flow == "switch":
            targets = tables.get(x.operands[-1], ())
            instructions[i] = Instruction(x.opcode, x.operands, x.guard, x.source, "switch", targets)
    used = {t for x in instructions for t in x.targets}  # the others serve a debugger
    return Code(instructions, {name: at for name, at in labels.items() if name in used})


def _statements(statement: str, labels: dict[str, int], at: int, scope: int) -> list[str]:
    """A statement without the braces and labels that inline assembly wrote on the same line."""
    while True:
        if statement.startswith(("{ ", "} ")):
            statement = statement[2:].strip()
        elif found := re.match(r"^([A-Za-z_$][\w$]*):\s+(.*)$", statement, re.DOTALL):
            labels[_scoped(found.group(1), scope)] = at
            statement = found.group(2)
        else:
            break
    return [statement] if statement and statement not in "{}" and not statement.startswith(".") else []


def _scoped(label: str, scope: int) -> str:
    return label if label.startswith("$") or not scope else f"{label}#{scope}"


def _instruction(text: str, source: Source | None, scope: int) -> Instruction:
    guard = ""
    if found := _GUARD.match(text):
        guard, text = found.groups()
    opcode, _, rest = text.strip().partition(" ")
    if "\t" in opcode:
        opcode, _, more = opcode.partition("\t")
        rest = f"{more} {rest}"
    operands = tuple(split_operands(rest))
    flow: Flow = ""
    targets: tuple[str, ...] = ()
    if opcode.split(".")[0] == "bra":
        flow, targets = "branch", (_scoped(operands[-1], scope),)
    elif opcode.startswith("brx"):
        flow = "switch"
    elif opcode in ("ret", "exit", "trap"):
        flow = "exit"
    return Instruction(opcode, operands, guard, source, flow, targets)


def split_operands(text: str) -> list[str]:
    """The operands at the outermost level: ``{a, b}, [c]`` has two."""
    found, depth, current = [], 0, ""
    for c in text:
        depth += c in "{[("
        depth -= c in "}])"
        if c == "," and depth == 0:
            found.append(current.strip())
            current = ""
        else:
            current += c
    if current.strip():
        found.append(current.strip())
    return found
