"""Static constraints of ``grouped_matmul``'s configs, and the candidates for a problem. The rules for registers and
shared memory are those of ``matmul``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from kernels.gemm import gluon_space
from kernels.gemm.config import cdiv
from kernels.gemm.space import accumulator_registers, least_shared
from kernels.grouped import trimmed_space
from kernels.grouped.config import PERSISTENT, GroupedConfig, GroupedProblem, most_blocks
from kernels.hardware import Hardware

__all__ = ["candidates", "constraint", "default_config", "promising"]

USES = {"EPILOGUE_SUBTILE": PERSISTENT, "CONSUMERS": ("warp_specialized", "trimmed"), "OVERLAP": ("trimmed",)}
"""Fields that only some families use."""


def constraint(problem: GroupedProblem, config: GroupedConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    p, c, h = problem, config, hardware
    for field, families in USES.items():
        value, default = getattr(c, field), GroupedConfig.model_fields[field].default
        if c.family not in families and value != default:
            return f"unused_field: family {c.family} does not use {field}, so it must be {default}, got {value}"
    if p.dtype == "fp8":
        if not (isinstance(h.arch, int) and h.arch >= 89):
            return f"fp8_hardware: e4m3 needs a tensor core of compute capability 8.9 or later, {h.name} is {h.arch}"
        if c.family == "warp_specialized":
            return "fp8_family: family warp_specialized multiplies fp16 and bf16: use family trimmed"
    if c.family != "pointer" and (reason := _descriptor_constraint(p, c, h)) is not None:
        return reason
    if c.BLOCK_N // c.EPILOGUE_SUBTILE < 16:
        return f"subtile_width: BLOCK_N {c.BLOCK_N} in {c.EPILOGUE_SUBTILE} pieces is narrower than 16 columns"
    for name, block, size in (("M", c.BLOCK_M, p.M), ("N", c.BLOCK_N, p.N), ("K", c.BLOCK_K, p.K)):
        if block > max(64, 1 << (size - 1).bit_length()):
            return f"tile_{name}: BLOCK_{name} {block} is mostly padding for {name} {size}"
    if (count := most_blocks(p, c) * cdiv(p.N, c.BLOCK_N)) >= 2**31:
        return f"grid: {count} tiles exceed the 2147483647 programs of a launch"
    gemm = c.as_gemm()
    if c.family == "warp_specialized":
        return gluon_space.constraint(p, gemm, h)
    if c.family == "trimmed":
        return trimmed_space.constraint(p, c, h)
    threads = c.num_warps * h.warp_size
    if threads > 1024:
        return f"threads: {c.num_warps} warps of {h.warp_size} exceed the 1024 threads of a block"
    registers, most = accumulator_registers(gemm, h.warp_size), min(255, h.registers_per_sm // threads)
    if registers > most - 1:
        return (
            f"accumulator_registers: a {c.BLOCK_M}x{c.BLOCK_N} tile on {c.num_warps} warps needs {registers} "
            f"registers a thread for its accumulators alone, and {most} is all a thread can have"
        )
    if (shared := least_shared(gemm, h, p.torch_dtype.itemsize)) > h.shared_per_block:
        return f"shared_memory: at least {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


def _descriptor_constraint(problem: GroupedProblem, config: GroupedConfig, hardware: Hardware) -> str | None:
    p, c, h = problem, config, hardware
    if not h.has_tma:
        return f"tma_hardware: family {c.family} needs compute capability 9.0 or later, {h.name} is {h.arch}"
    size = p.torch_dtype.itemsize
    rows = (("A", p.K * size), ("B", (p.N if p.b_layout == "row" else p.K) * size), ("C", p.N * 2))
    for name, length in rows:
        if length % 16 != 0:
            return (
                f"tma_alignment: descriptors need rows of a multiple of 16 bytes, {name} has rows of {length}: "
                "use family pointer"
            )
    if p.b_layout == "row" and p.K % c.BLOCK_K:
        return (
            f"tma_groups: the last step of a row-major B would read the next group's rows, so BLOCK_K must divide K, "
            f"got {c.BLOCK_K} and {p.K}"
        )
    if (tall := p.E * (p.K if p.b_layout == "row" else p.N)) >= 2**31:
        return f"tma_rows: the matrices B have {tall} rows together, descriptors count to 2147483647"
    return None


TILES: tuple[tuple[int, int, int], ...] = (
    (128, 256, 8), (256, 128, 8), (128, 128, 8), (128, 128, 4), (64, 256, 8), (64, 256, 4), (64, 128, 4), (128, 64, 4),
    (64, 64, 4), (32, 128, 4), (32, 64, 4), (16, 128, 4), (16, 64, 2),
)  # fmt: skip
"""BLOCK_M, BLOCK_N and warps of tiles that are worth trying."""


def candidates(problem: GroupedProblem, hardware: Hardware) -> Iterator[GroupedConfig]:
    """Configs that are worth trying, in a fixed order. Tiles are at most as tall as the average group needs, and sides
    below 64 are listed for groups that are that small. The ring of ``warp_specialized`` is the deepest that fits."""
    p, h = problem, hardware
    average = 1 << (max(1, p.M // p.E) - 1).bit_length()
    size = p.torch_dtype.itemsize
    tiles = [t for t in TILES if t[0] <= max(64, 2 * average) and (t[0] >= 64 or average < 2 * t[0])]
    if h.has_tma and p.dtype != "fp8":
        yield from _warp_specialized(p, h, tiles)
    if h.has_tma:
        yield from _trimmed(p, h, tiles)
    for family in ("persistent_tma", "tma", "pointer"):
        for (bm, bn, warps), bk in product(
            tiles, (128 // size, 256 // size) if family != "pointer" else (128 // size,)
        ):
            for stages, group, pieces in product((5, 4, 3, 2), _groups(p, bm), (1, 2, 4)):
                if pieces > 1 and (family != "persistent_tma" or bn // pieces < 64):
                    continue
                yield _config(family, bm, bn, bk, group, warps, stages, EPILOGUE_SUBTILE=pieces)


def _groups(problem: GroupedProblem, block: int) -> list[int]:
    """Values of GROUP_M: all of an average group's blocks of rows, and eight."""
    blocks = max(1, problem.M // problem.E // block)
    return sorted({min(16, 1 << (blocks - 1).bit_length()), 8})


def _warp_specialized(
    problem: GroupedProblem, hardware: Hardware, tiles: list[tuple[int, int, int]]
) -> Iterator[GroupedConfig]:
    for (bm, bn, warps), consumers, bk in product(tiles, (1, 2), (64, 128)):
        if bm < 64 or (bk > 64 and bm * bn >= 128 * 256):
            continue
        for pieces, group in product(sorted({1, max(1, bn // 64)}), _groups(problem, bm)):
            multiplying = 8 if consumers == 2 else warps
            ring = (
                _config(
                    "warp_specialized", bm, bn, bk, group, multiplying, s, EPILOGUE_SUBTILE=pieces, CONSUMERS=consumers
                )
                for s in (7, 6, 5, 4, 3)
                if s <= max(3, cdiv(problem.K, bk))
            )
            fitting = next((c for c in ring if constraint(problem, c, hardware) is None), None)
            if fitting is not None:
                yield fitting


def _trimmed(problem: GroupedProblem, hardware: Hardware, tiles: list[tuple[int, int, int]]) -> Iterator[GroupedConfig]:
    """Four warps a consumer, the deepest ring that fits, stored whole or in pieces of 64 columns."""
    size = problem.torch_dtype.itemsize
    for bm, bn in dict.fromkeys((bm, bn) for bm, bn, _ in tiles):
        for consumers, pieces, group in product((2, 1), sorted({1, max(1, bn // 64)}), _groups(problem, bm)):
            fields = {"EPILOGUE_SUBTILE": pieces, "CONSUMERS": consumers}
            ring = (
                _config("trimmed", bm, bn, 128 // size, group, 4 * consumers, stages, **fields)
                for stages in (7, 6, 5, 4, 3)
                if stages <= max(3, cdiv(problem.K, 128 // size))
            )
            fitting = next((c for c in ring if constraint(problem, c, hardware) is None), None)
            if fitting is not None:
                yield from (fitting.model_copy(update={"OVERLAP": overlap}) for overlap in (True, False))


def _config(family: str, bm: int, bn: int, bk: int, group: int, warps: int, stages: int, **more: int) -> GroupedConfig:
    fields: dict[str, Any] = {
        "family": family,
        "BLOCK_M": bm,
        "BLOCK_N": bn,
        "BLOCK_K": bk,
        "GROUP_M": group,
        "num_warps": warps,
        "num_stages": stages,
    }
    return GroupedConfig.model_validate(fields | more)


def promising(problem: GroupedProblem, hardware: Hardware) -> list[GroupedConfig]:
    """The widest tiles of ``trimmed``, ``warp_specialized`` and ``persistent_tma`` that are legal, in whole and in
    pieces; of ``trimmed`` also tiles of 64 rows if groups are that small.

    On an H200 ``trimmed`` was the fastest for fp8, and slower than ``warp_specialized`` for bf16 with groups of 384
    rows and more (docs/BENCHMARKS.md): there it comes last."""
    size = problem.torch_dtype.itemsize
    low = problem.M // problem.E <= 64
    shapes = (((64, 256, 5, 4, 1), (64, 128, 7, 2, 1)) if low else ()) + (
        (128, 256, 4, 4, 2), (128, 256, 3, 1, 2), (128, 128, 6, 2, 2),
    )  # fmt: skip
    trimmed = [
        _config("trimmed", bm, bn, 128 // size, 8, 4 * consumers, stages,
                EPILOGUE_SUBTILE=pieces, CONSUMERS=consumers, OVERLAP=overlap)
        for bm, bn, stages, pieces, consumers in shapes
        for overlap in (True, False)
    ]  # fmt: skip
    others = [
        _config("warp_specialized", bm, bn, 64, 8, 8, stages, EPILOGUE_SUBTILE=pieces, CONSUMERS=consumers)
        for bm, bn, stages, pieces, consumers in (
            (128, 256, 4, 4, 1), (128, 256, 3, 1, 1), (128, 256, 4, 4, 2), (128, 128, 5, 2, 2), (128, 128, 6, 2, 1),
        )
    ]  # fmt: skip
    others += [
        _config("persistent_tma", bm, bn, 128 // size, 8, 8, stages, EPILOGUE_SUBTILE=pieces)
        for bm, bn, stages, pieces in ((128, 256, 3, 2), (128, 256, 3, 4), (256, 128, 3, 1), (128, 128, 4, 1))
    ]
    found = [*trimmed, *others] if low or problem.dtype == "fp8" else [*others, *trimmed]
    return [c for c in found if constraint(problem, c, hardware) is None]


def default_config(problem: GroupedProblem, hardware: Hardware) -> GroupedConfig:
    """``warp_specialized``, or ``trimmed`` for fp8, with a 128x256 tile if the GPU has the instructions for it and
    groups are made of such tiles, else a 128x128 tile or a smaller one by descriptor, else by pointer. The last choice
    breaks no constraint, unless the hardware has no fp8.

    Raises ValueError for an fp8 problem on hardware without fp8."""
    size = problem.torch_dtype.itemsize
    tall = problem.M // problem.E > 64
    whole = tall and problem.align % 128 == 0
    wide = "trimmed" if problem.dtype == "fp8" else "warp_specialized"
    choices = [_config(wide, 128, 256, 128 // size, 8, 8, 4, EPILOGUE_SUBTILE=4, CONSUMERS=2)] if whole else []
    choices += [
        _config(family, bm, bn, bk * 2 // size, 8, warps, stages)
        for family in ("persistent_tma", "pointer")
        for bm, bn, bk, warps, stages in (
            *(((128, 128, 64, 8, 3),) if tall else ()),
            (64, 128, 64, 4, 3),
            (64, 64, 64, 4, 3),
            (64, 64, 32, 4, 2),
        )
    ]
    reasons = {c: constraint(problem, c, hardware) for c in choices}
    sound = next((c for c, reason in reasons.items() if reason is None), None)
    if sound is None:
        raise ValueError(f"no config fits {problem.label()}: {reasons[choices[-1]]}")
    return sound
