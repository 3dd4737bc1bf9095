"""Static constraints of the matmul kernels' configs, and the candidates for a problem."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import triton

from kernels.gemm import gluon_space
from kernels.gemm.config import ELEMENT_BYTES, PERSISTENT, Family, GemmConfig, GemmProblem, cdiv, tiles
from kernels.gemm.stream_k_schedule import LEAST_STEPS, schedule
from kernels.hardware import Hardware

__all__ = [
    "GemmConfig", "GemmProblem", "accumulator_registers", "candidates", "cdiv", "constraint", "least_shared",
    "programs", "tiles",
]  # fmt: skip


def programs(M: int, N: int, config: GemmConfig, hardware: Hardware, K: int = 1) -> int:
    """Programs to launch; only ``stream_k`` uses K. A persistent grid has the fewest programs that need no more rounds
    than one program per SM: 512 tiles on 132 SMs are four rounds of 128, and the idle SMs leave their power to the
    others."""
    count = tiles(M, N, config)
    if config.family == "stream_k":
        plan = schedule(M, N, K, config, hardware.sms)
        return plan.whole + plan.programs
    if config.family not in PERSISTENT:
        return count * config.SPLIT_K
    return cdiv(count, cdiv(count, hardware.sms))


def accumulator_registers(config: GemmConfig, warp_size: int = 32) -> int:
    """fp32 accumulators of each multiplying thread."""
    takes_turns = config.family == "warp_specialized" and gluon_space.takes_turns(config)
    tiles_held = 2 if takes_turns else 1
    return cdiv(tiles_held * config.BLOCK_M * config.BLOCK_N, warp_size * config.num_warps)


def triton_release() -> tuple[int, ...]:
    """The installed Triton's version as numbers, ``(3, 9, 0)``."""
    return tuple(int(part) for part in triton.__version__.split("+")[0].split(".")[:3] if part.isdecimal())


def least_shared(config: GemmConfig, hardware: Hardware, element_bytes: int = ELEMENT_BYTES) -> int:
    """The least bytes of shared memory that the compiler needs (seen in Triton 3.6 and 3.9): the operand tiles in
    flight. A persistent kernel also needs the staging buffer, because it loads the next tile while it stores the
    current one.

    Hopper's and Blackwell's asynchronous matrix instructions read the operands of every stage from shared memory. Other
    instructions read the operands into registers first, which frees one stage. The compiler uses the asynchronous
    instructions for 64 rows and more, on Blackwell with up to 8 warps. On CDNA 4 Triton from 3.8 on copies every stage
    into shared memory asynchronously: 2 to 5 % above their bytes were seen with 3.9 (the padding of rows)."""
    if config.family == "warp_specialized":
        return gluon_space.shared_bytes(config)
    stage = (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * element_bytes
    warps = {90: (4, 8, 16), 100: (4, 8)}.get(hardware.arch, ()) if isinstance(hardware.arch, int) else ()
    from_shared = config.BLOCK_M >= 64 and config.num_warps in warps and config.num_stages > 1
    if hardware.arch == "gfx950" and triton_release() >= (3, 8):
        from_shared = config.num_stages > 1
    staging = config.BLOCK_M * config.BLOCK_N * ELEMENT_BYTES // config.EPILOGUE_SUBTILE
    return stage * (config.num_stages if from_shared else config.num_stages - 1) + (
        staging if config.family == "persistent_tma" else 0
    )


def constraint(problem: GemmProblem, config: GemmConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    p, c, h = problem, config, hardware
    if (unused := _unused_field(c)) is not None:
        return unused
    if p.dtype == "fp8":
        if not _multiplies_fp8(h):
            return f"fp8_hardware: e4m3 needs a tensor core of compute capability 8.9 or later, {h.name} is {h.arch}"
        if c.family == "warp_specialized":
            return "fp8_family: family warp_specialized multiplies fp16 and bf16: use another family"
    if c.family not in ("pointer", "split_k", "stream_k"):
        if not h.has_tma:
            return f"tma_hardware: family {c.family} needs compute capability 9.0 or later, {h.name} is {h.arch}"
        for name, length, size in _rows(p):
            if length * size % 16 != 0:
                return (
                    f"tma_alignment: descriptors need rows of a multiple of 16 bytes, "
                    f"{name} has rows of {length * size}: use family pointer"
                )
    if c.family == "split_k" and not 1 < c.SPLIT_K <= cdiv(p.K, c.BLOCK_K):
        return (
            f"split: SPLIT_K must be 2 or more and leave each program a step, "
            f"got {c.SPLIT_K} for K {p.K} in {cdiv(p.K, c.BLOCK_K)} steps of BLOCK_K {c.BLOCK_K}"
        )
    if c.family == "stream_k" and (reason := _stream_constraint(p, c, h)) is not None:
        return reason
    if c.BLOCK_N // c.EPILOGUE_SUBTILE < 16:
        return f"subtile_width: BLOCK_N {c.BLOCK_N} in {c.EPILOGUE_SUBTILE} pieces is narrower than 16 columns"
    for name, block, size, least in (("M", c.BLOCK_M, p.M, 64), ("N", c.BLOCK_N, p.N, 64), ("K", c.BLOCK_K, p.K, 64)):
        if block > max(least, _next_power_of_2(size)):
            return f"tile_{name}: BLOCK_{name} {block} is mostly padding for {name} {size}"
    if (count := tiles(p.M, p.N, c) * c.SPLIT_K) >= 2**31:
        return f"grid: {count} tiles exceed the 2147483647 programs of a launch"
    if c.family == "warp_specialized":
        return gluon_space.constraint(p, c, h)
    threads = c.num_warps * h.warp_size
    if threads > 1024:
        return f"threads: {c.num_warps} warps of {h.warp_size} exceed the 1024 threads of a block"
    registers, most = accumulator_registers(c, h.warp_size), min(255, h.registers_per_sm // threads)
    if registers > most - 1:
        return (
            f"accumulator_registers: a {c.BLOCK_M}x{c.BLOCK_N} tile on {c.num_warps} warps needs {registers} "
            f"registers a thread for its accumulators alone, and {most} is all a thread can have"
        )
    if h.arch == 100 and c.family == "persistent_tma" and c.num_warps == 16 and c.BLOCK_K >= 128:
        release = triton_release()
        if release > (3, 7, 0):
            return (
                f"blackwell_registers: Triton {'.'.join(map(str, release))} gives each thread of 16 warps 32 registers "
                f"and spills 9 KB (seen from 3.7.1 on): use 8 warps or BLOCK_K 64, got BLOCK_K {c.BLOCK_K}"
            )
    if (shared := least_shared(c, h, p.torch_dtype.itemsize)) > h.shared_per_block:
        return f"shared_memory: at least {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


USES: dict[str, tuple[Family, ...]] = {
    "EPILOGUE_SUBTILE": ("persistent_tma", "warp_specialized"),
    "FLATTEN": ("persistent_tma",),
    "SPLIT_K": ("split_k",),
    "OVERLAP": ("tma",),
    "CONSUMERS": ("warp_specialized",),
}
"""Fields that only some families use."""


def _unused_field(config: GemmConfig) -> str | None:
    for name, families in USES.items():
        value, default = getattr(config, name), GemmConfig.model_fields[name].default
        if config.family not in families and value != default:
            return f"unused_field: family {config.family} does not use {name}, so it must be {default}, got {value}"
    return None


def _stream_constraint(problem: GemmProblem, config: GemmConfig, hardware: Hardware) -> str | None:
    plan = schedule(problem.M, problem.N, problem.K, config, hardware.sms)
    if plan.largest >= 2**31:
        return f"stream_steps: {plan.largest} does not fit the 32 bits that family stream_k counts its steps in"
    if not plan.shares:
        return (
            f"stream: {plan.whole + plan.streamed} tiles of {plan.steps} steps leave nothing to share out "
            f"on {hardware.sms} SMs: use another family"
        )
    return None


def _multiplies_fp8(hardware: Hardware) -> bool:
    """Whether Triton multiplies e4m3 on this hardware. AMD's CDNA 3 has another e4m3 (no negative zero)."""
    return isinstance(hardware.arch, int) and hardware.arch >= 89


def _rows(problem: GemmProblem) -> list[tuple[str, int, int]]:
    """Name, row length in elements and bytes of an element of A, B (in its layout in memory) and C."""
    b_row, size = problem.N if problem.b_layout == "row" else problem.K, problem.torch_dtype.itemsize
    return [("A", problem.K, size), ("B", b_row, size), ("C", problem.N, ELEMENT_BYTES)]


def _next_power_of_2(n: int) -> int:
    return 1 << (n - 1).bit_length()


SHORT_S = 10e-6
"""Seconds, at the hardware's rates. The time from the end of one launch to the first load of the next is about 2 us,
which matters for launches shorter than this."""


def candidates(problem: GemmProblem, hardware: Hardware) -> Iterator[GemmConfig]:
    """Configs that are worth trying, in a fixed order. ``constraint`` excludes configs that cannot run. This function
    leaves out legal configs that are not worth a compilation: tiles much smaller than the problem allows, warps with
    too few or too many accumulators, pipelines that are shallow or deeper than K, persistent kernels in which every
    program would have one tile, and split tiles if whole tiles fill the SMs. If descriptors work, only a few configs of
    ``pointer`` and ``tma`` are listed."""
    p, h = problem, hardware
    descriptors = h.has_tma and all(length * size % 16 == 0 for _, length, size in _rows(p))
    size = p.torch_dtype.itemsize
    moved = (p.M * p.K + p.K * p.N) * size + p.M * p.N * ELEMENT_BYTES
    short = max(moved / h.bandwidth, 2 * p.M * p.N * p.K / h.peak.get(p.dtype, float("inf"))) < SHORT_S
    for bm, bn in _tiles(p, h):
        for warps, bk in product(_warps(bm, bn, h), (64 // size, 128 // size, 256 // size)):
            for stages, group in product(_stages(p, bm, bn, bk, h), _groups(p, bm)):
                base: dict[str, Any] = {
                    "BLOCK_M": bm,
                    "BLOCK_N": bn,
                    "BLOCK_K": bk,
                    "GROUP_M": group,
                    "num_warps": warps,
                    "num_stages": stages,
                }
                default_group = group == _groups(p, bm)[-1]
                if not descriptors or (default_group and stages <= 4):
                    yield GemmConfig(family="pointer", **base)
                if not descriptors or bk == 64 // size:
                    continue
                if default_group:
                    yield GemmConfig(family="tma", **base)
                    if short:
                        yield GemmConfig(family="tma", **base, OVERLAP=True)
                for subtile, flatten in product((1, 2, 4), (False, True)):
                    config = GemmConfig(family="persistent_tma", **base, EPILOGUE_SUBTILE=subtile, FLATTEN=flatten)
                    if tiles(p.M, p.N, config) > h.sms and bn // subtile >= 64:
                        yield config
    yield from _split_candidates(p, h)
    yield from _stream_candidates(p, h)
    if descriptors and p.dtype != "fp8":
        yield from gluon_space.candidates(p, h)


def _split_candidates(problem: GemmProblem, hardware: Hardware) -> Iterator[GemmConfig]:
    """Tiles that would leave SMs idle, with K split so that one to four programs per SM run, each for four steps or
    more. A tile is as tall as the problem up to 128 rows, so that B is read about once."""
    p, h, size = problem, hardware, problem.torch_dtype.itemsize
    tallest = min(128, max(16, _next_power_of_2(p.M)))
    for bm, bn in product(sorted({max(tallest // 2, 64), tallest}) if p.M > 64 else [tallest], (32, 64, 128, 256)):
        count = cdiv(p.M, bm) * cdiv(p.N, bn)
        if count >= 2 * h.sms or bn > max(64, _next_power_of_2(p.N)):
            continue
        for warps, bk, split in product(_warps(bm, bn, h), (128 // size, 256 // size), (2, 4, 8, 16)):
            steps = cdiv(p.K, bk) // split
            if steps < 4 or not 0.75 * h.sms <= count * split <= 4 * h.sms:
                continue
            for stages in _stages(p, bm, bn, bk, h, deepest=min(7, steps)):
                yield GemmConfig(
                    family="split_k",
                    BLOCK_M=bm,
                    BLOCK_N=bn,
                    BLOCK_K=bk,
                    GROUP_M=_groups(p, bm)[-1],
                    num_warps=warps,
                    num_stages=stages,
                    SPLIT_K=split,
                )


UNFILLED = 0.9
"""The last wave is streamed if the tiles, divided by the places for them in all waves, are below this. Above it,
summing the parts costs as much as streaming saves."""


def _stream_candidates(problem: GemmProblem, hardware: Hardware) -> Iterator[GemmConfig]:
    """Tiles of which one keeps an SM busy, if their last wave leaves SMs idle and each program that shares the tiles
    has eight steps or more."""
    p, h, size = problem, hardware, problem.torch_dtype.itemsize
    for bm, bn in ((64, 128), (128, 64), (64, 256), (128, 128), (128, 256), (256, 128)):
        count = cdiv(p.M, bm) * cdiv(p.N, bn)
        filled = count / (cdiv(count, h.sms) * h.sms)
        if filled >= UNFILLED or bm > _next_power_of_2(p.M) or bn > _next_power_of_2(p.N):
            continue
        for warps, bk in product(_warps(bm, bn, h), (128 // size, 256 // size)):
            for stages in _stages(p, bm, bn, bk, h)[-2:]:
                config = GemmConfig(
                    family="stream_k",
                    BLOCK_M=bm,
                    BLOCK_N=bn,
                    BLOCK_K=bk,
                    GROUP_M=_groups(p, bm)[-1],
                    num_warps=warps,
                    num_stages=stages,
                )
                plan = schedule(p.M, p.N, p.K, config, h.sms)
                if plan.total >= LEAST_STEPS * plan.programs:
                    yield config


def _tiles(problem: GemmProblem, hardware: Hardware) -> list[tuple[int, int]]:
    """(BLOCK_M, BLOCK_N) of tiles. Sides below 64 are included only if 64x64 tiles would leave SMs idle, and only if
    the next larger side would too. Columns below 128 are included only if 128x128 tiles would leave SMs idle: a narrow
    tile reads A from shared memory as often as a wide tile but computes fewer products."""
    few = cdiv(problem.M, 64) * cdiv(problem.N, 64) < 2 * hardware.sms
    many = cdiv(problem.M, 128) * cdiv(problem.N, 128) >= 2 * hardware.sms
    least_m, least_n = (16, 16) if few else (64, 128 if many else 64)
    sides_m, sides_n = (
        [side for side in (16, 32, 64, 128, 256) if least <= side <= max(64, _next_power_of_2(size))]
        for size, least in ((problem.M, least_m), (problem.N, least_n))
    )
    return [(bm, bn) for bm in sides_m for bn in sides_n or [64]]


def _warps(bm: int, bn: int, hardware: Hardware) -> list[int]:
    """Numbers of warps that give 32 to 128 accumulators a thread; small tiles take four warps or two. Warp-group
    instructions use four warps at a time, and two warps cannot move large tiles without spilling."""
    options = [2, 4, 8, 16] if bm * bn < 64 * 64 else [4, 8, 16]
    fitting = [w for w in options if 32 <= bm * bn // (hardware.warp_size * w) <= 128]
    return fitting[:2] or [w for w in options if w <= 4]


def _stages(problem: GemmProblem, bm: int, bn: int, bk: int, hardware: Hardware, deepest: int = 6) -> list[int]:
    """Numbers of stages that fill 40 % of a block's shared memory or more; the largest if none does. Two stages are
    included only if a third does not fit or if K has only two steps."""
    stage = (bm + bn) * bk * problem.torch_dtype.itemsize
    options = [s for s in (2, 3, 4, 5, 6, 7) if s <= min(deepest, max(2, cdiv(problem.K, bk)))]
    fitting = [s for s in options if (s - 1) * stage <= hardware.shared_per_block]
    deep = [s for s in fitting if s * stage >= 0.4 * hardware.shared_per_block] or fitting[-1:] or [1]
    return [s for s in deep if s > 2] or deep


def _groups(problem: GemmProblem, bm: int) -> list[int]:
    """Values of GROUP_M up to the number of tiles along M. The last one is the default."""
    most = _next_power_of_2(cdiv(problem.M, bm))
    return [g for g in (4, 16, 8) if g <= most] or [most]
