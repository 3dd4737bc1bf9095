"""Memory whose contents a walk knows: whole numbers among the inputs, and bytes of shared memory by which warps tell
one another what to do.

Triton writes a constant for each specialised warp into shared memory before a barrier; the warp reads its byte, does
that part of the kernel, and comes back for the next. The n-th reading therefore finds the n-th constant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.evidence.code.assembly import Instruction
from tools.evidence.counts.ptx_values import Value, width_of

Numbers = npt.NDArray[Any]
_CONSTANT_STORE = re.compile(r"^\[\s*global_smem\s*(?:\+\s*(\d+))?\s*\]$")
_WHOLE = re.compile(r"[bus](8|16|32|64)")


def signal_of(x: Instruction) -> tuple[int, bytes] | None:
    """Offset in shared memory and bytes, if `x` stores constants at a constant place."""
    if not x.opcode.startswith("st.shared") or len(x.operands) != 2:
        return None
    place = _CONSTANT_STORE.match(x.operands[0])
    kind, bits = width_of(x.opcode)
    if place is None or kind == "f" or bits not in (8, 16, 32, 64):
        return None
    try:
        values = [int(part, 0) for part in x.operands[1].strip("{} ").split(",")]
    except ValueError:
        return None
    return int(place[1] or 0), b"".join((value % (1 << bits)).to_bytes(bits // 8, "little") for value in values)


def reads_numbers(opcode: str) -> bool:
    """Whether an opcode loads whole numbers (or untyped bits) from global memory."""
    return opcode.startswith("ld.global") and _WHOLE.fullmatch(opcode.split(".")[-1]) is not None


class KnownMemory:
    """Contents by address. `data` maps the place of a pointer parameter to its tensor's numbers; `shift` is what an
    address is shifted by to give that place."""

    def __init__(self, data: Mapping[int, Numbers], shift: int) -> None:
        self.data, self._shift = data, shift
        self._signals: dict[int, list[int]] = {}

    def forget(self) -> None:
        """A new block of the grid begins: nothing was signalled yet."""
        self._signals.clear()

    def signal(self, at: int, content: bytes) -> None:
        for offset, byte in enumerate(content):
            self._signals.setdefault(at + offset, []).append(byte)

    def signalled(self, address: Value, time: int) -> Value:
        """The byte at `address` of shared memory, read for the `time`-th time from 1 on; ``None`` if not known."""
        if not isinstance(address, int) or not (known := self._signals.get(address)):
            return None
        return known[min(time, len(known)) - 1]

    def load(self, opcode: str, address: Value) -> list[Value]:
        """The numbers at `address`, one for each element of the access; empty if they are not known."""
        if address is None or not self.data:
            return []
        first = int(np.asarray(address).flat[0])
        numbers = self.data.get((first >> self._shift) - 1)
        bits = width_of(opcode)[1]
        if numbers is None or numbers.itemsize * 8 != bits:
            return []
        vector = re.search(r"\.v(\d)", opcode)
        at = np.asarray(address, np.int64) & ((1 << self._shift) - 1)
        found: list[Value] = []
        for element in range(int(vector[1]) if vector else 1):
            places = np.clip(at // numbers.itemsize + element, 0, len(numbers) - 1)  # beyond it only masked lanes read
            value = numbers[places]
            found.append(int(value) if isinstance(address, int) else np.asarray(value, np.int64))
        return found
