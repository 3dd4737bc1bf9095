"""One warp's access to memory: bytes, 32-byte sectors of global memory, and passes over the banks of shared memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tools.evidence.counts.ptx_values import Value, width_of

Kind = Literal["load", "store", "atomic", "copy", "bulk_load", "bulk_store", "expect", "shared_load", "shared_store"]
SECTOR = 32
"""Bytes of the smallest piece that L2 delivers. Source: CUDA C++ Best Practices Guide, coalesced access."""
BANKS, BANK_BYTES = 32, 4
"""Of shared memory. Source: CUDA C++ Programming Guide, shared memory of compute capability 5.x and later."""
Flags = npt.NDArray[np.bool_]
_VECTOR = re.compile(r"\.v(\d)")


def access_of(opcode: str) -> Kind | None:
    """What kind of access an opcode makes; ``None`` for everything else."""
    if opcode.startswith("ld.global"):
        return "load"
    if opcode.startswith("st.global"):
        return "store"
    if opcode.startswith(("red.global", "atom.global", "red.relaxed", "red.release", "red.acq")):
        return "atomic"
    if opcode.startswith(("ld.shared", "ldmatrix")):
        return "shared_load"
    if opcode.startswith(("st.shared", "stmatrix")):
        return "shared_store"
    if opcode.startswith("mbarrier.arrive.expect_tx") or opcode.startswith("mbarrier.expect_tx"):
        return "expect"
    if opcode.startswith(("cp.async.bulk", "cp.reduce.async.bulk")) and ("group" not in opcode or "tensor" in opcode):
        return "bulk_load" if ".shared::cluster.global" in opcode or ".shared::cta.global" in opcode else "bulk_store"
    if opcode.startswith(("cp.async.ca", "cp.async.cg")):
        return "copy"
    return None


@dataclass(frozen=True)
class Access:
    """Of one warp, once."""

    kind: Kind
    lanes: int
    """That take part."""
    bytes: int
    """That they ask for."""
    width: int
    """Bytes of one lane."""
    sectors: float | None = None
    """32-byte pieces of global memory touched; ``None`` where addresses are not known."""
    passes: float | None = None
    """Clocks that shared memory is busy, one for 32 banks of four bytes; ``None`` where addresses are not known."""
    addresses: tuple[int, ...] = ()
    """Of the lanes that take part, if known: of atomics all, of others the first."""

    @property
    def fewest_passes(self) -> float:
        """Without a bank conflict."""
        return max(1.0, self.bytes / (BANKS * BANK_BYTES)) if self.lanes else 0.0

    @classmethod
    def of(
        cls,
        opcode: str,
        kind: Kind,
        lanes: Flags,
        addresses: list[Value],
        numbers: list[Value],
        near: set[int],
    ) -> Access:
        """`lanes` (32,) bool: who takes part. `addresses`: of each bracketed operand. `numbers`: of the others. `near`:
        the sectors that this warp has just loaded, which L1 still holds; takes those that are loaded now."""
        active = int(lanes.sum())
        if kind == "expect":
            size = numbers[-1] if numbers and isinstance(numbers[-1], int) else 0
            return cls(kind, active, size * active, size)
        if kind in ("bulk_load", "bulk_store"):
            at = next((a for a in addresses if isinstance(a, int) and a >= 1 << 30), None)
            return cls(kind, active, 0, 0, addresses=() if at is None else (at,))
        if kind == "copy":
            size = next((n for n in numbers if isinstance(n, int) and n in (4, 8, 16)), 16)
            at = addresses[-1]
            return cls(
                kind, active, active * size, size, sectors_of(at, size, lanes, set()), active * size / 128, _first(at)
            )
        if opcode.startswith(("ldmatrix", "stmatrix")):
            rows = 8 * next((n for n in (4, 2, 1) if f".x{n}." in opcode), 1)
            return cls(kind, 32, rows * 16, 16, passes=_matrix_passes(addresses[0], rows))
        width = bytes_of(opcode)
        at = addresses[0]
        if kind in ("shared_load", "shared_store"):
            return cls(kind, active, active * width, width, passes=bank_passes(at, width, lanes))
        kept = _every(at, lanes) if kind == "atomic" else _first(at)
        sectors = sectors_of(at, width, lanes, near if kind == "load" else set())
        return cls(kind, active, active * width, width, sectors, addresses=kept)


def bytes_of(opcode: str) -> int:
    """Bytes that one lane loads or stores."""
    found = _VECTOR.search(opcode)
    return max(1, width_of(opcode)[1] // 8) * (int(found.group(1)) if found else 1)


def _lanes(addresses: Value, lanes: Flags) -> npt.NDArray[np.int64] | None:
    if addresses is None:
        return None
    return np.broadcast_to(np.asarray(addresses, np.int64), (32,))[lanes]


def _first(addresses: Value) -> tuple[int, ...]:
    if addresses is None:
        return ()
    return (int(np.asarray(addresses).flat[0]),)


def _every(addresses: Value, lanes: Flags) -> tuple[int, ...]:
    found = _lanes(addresses, lanes)
    return () if found is None else tuple(int(a) for a in found)


def sectors_of(addresses: Value, width: int, lanes: Flags, near: set[int]) -> float | None:
    """Distinct sectors that the lanes touch together and that are not `near`; they are from now on."""
    at = _lanes(addresses, lanes)
    if at is None:
        return None
    pieces = {int(s) for s in np.unique(np.concatenate([at // SECTOR, (at + width - 1) // SECTOR]))} - near
    near |= pieces
    return float(len(pieces))


def bank_passes(addresses: Value, width: int, lanes: Flags) -> float | None:
    """Passes over the banks: lanes go together in groups of 128 bytes, and a bank serves one word a pass. Lanes that
    want the same word share it."""
    at = _lanes(addresses, lanes)
    if at is None:
        return None
    if not at.size:
        return 0.0
    together = 32 // max(1, width // BANK_BYTES)
    total = 0
    for start in range(0, at.size, together):
        group = at[start : start + together]
        pieces = [(group + offset) // BANK_BYTES for offset in range(0, max(width, 1), BANK_BYTES)]
        words = np.unique(np.concatenate(pieces))
        total += int(np.bincount(words % BANKS, minlength=BANKS).max())
    return float(total)


def _matrix_passes(addresses: Value, rows: int) -> float | None:
    """A matrix of eight rows of 16 bytes takes a pass; lane n names row n. Source: PTX ISA, ldmatrix."""
    if addresses is None:
        return None
    at = np.broadcast_to(np.asarray(addresses, np.int64), (32,))[:rows]
    return sum(bank_passes(np.resize(at[i : i + 8], 32), 16, np.arange(32) < 8) or 0.0 for i in range(0, rows, 8))
