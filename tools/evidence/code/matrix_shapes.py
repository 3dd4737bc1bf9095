"""Multiply-adds of matrix instructions, from their names. Sources: PTX ISA (mma, wgmma, tcgen05), AMD ISA guides."""

from __future__ import annotations

import re

ELEMENT_BYTES = {"f16": 2, "bf16": 2, "tf32": 4, "f32": 4, "f64": 8}
"""Of matrix operands; one byte for what is not listed."""
_PTX = re.compile(r"\.m(\d+)n(\d+)k(\d+)")
_SASS_GROUP = re.compile(r"\.(\d+)x(\d+)x(\d+)")
_SASS_WARP = re.compile(r"\.(8|16)(8|16)(4|8|16|32|64|128|256)\b")
_MFMA = re.compile(r"v_(?:s?mfmac?|wmma)_(?:scale_)?\w*?_(\d+)x(\d+)x(\d+)(?:_(\d)b)?_?(\w*)")


def ptx_matrix(opcode: str) -> tuple[str, str, float] | None:
    """(kind, dtype of the operands, multiply-adds that one warp's execution stands for); ``None`` for others.

    A wgmma is one instruction of four warps."""
    if opcode.startswith("wgmma.mma_async"):
        kind, share = "wgmma", 4
    elif opcode.startswith("mma.sync") or opcode.startswith("wmma.mma"):
        kind, share = "mma.sync", 1
    else:
        return None
    found = _PTX.search(opcode)
    if found is None:
        return None
    m, n, k = map(int, found.groups())
    types = [
        p for p in opcode.split(".") if p in ("f16", "bf16", "tf32", "e4m3", "e5m2", "s8", "u8", "f64", "f32", "s32")
    ]
    return kind, types[1] if len(types) > 1 else "f16", m * n * k / share


def tensor_memory_shape(descriptor: int, opcode: str) -> float:
    """The number of multiply-adds of one tcgen05.mma: M * N * K. The instruction descriptor holds N / 8 in bits 17 to
    22 and M / 16 in bits 24 to 28. The kind in `opcode` gives K, which is 32 bytes long. Source: PTX ISA,
    "Instruction descriptor"."""
    n, m = (descriptor >> 17 & 63) * 8, (descriptor >> 24 & 31) * 16
    k = 8 if "tf32" in opcode else 32 if "f8f6f4" in opcode or "i8" in opcode else 16
    return float(m * n * k)


def sass_multiply_adds(opcode: str) -> float:
    """Of one instruction: of a warp group for HGMMA and its kin, else of a warp."""
    if found := _SASS_GROUP.search(opcode):
        m, n, k = map(int, found.groups())
        return float(m * n * k)
    if found := _SASS_WARP.search(opcode):
        m, n, k = map(int, found.groups())
        return float(m * n * k)
    return 0.0


def mfma(opcode: str) -> tuple[str, float] | None:
    """(dtype of the operands, multiply-adds) of an AMD matrix instruction of one wave; ``None`` for others."""
    found = _MFMA.match(opcode)
    if found is None:
        return None
    m, n, k, blocks, dtype = found.groups()
    return dtype or "f16", float(int(m) * int(n) * int(k) * int(blocks or 1))


def group_operand_bytes(opcode: str, operands: tuple[str, ...], dtype: str) -> float:
    """Bytes of shared memory that a wgmma reads for one of its four warps: B, and A unless it comes from registers."""
    found = _PTX.search(opcode)
    if found is None:
        return 0.0
    m, n, k = map(int, found.groups())
    rows = 0 if len(operands) > 1 and operands[1].startswith("{") else m
    return (rows + n) * k * ELEMENT_BYTES.get(dtype, 1) / 4
