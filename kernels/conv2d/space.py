"""Static constraints of ``conv2d``'s configs, and the candidates for a problem."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from kernels.conv2d import gluon_space
from kernels.conv2d.config import ELEMENT_BYTES, Conv2dConfig, Conv2dProblem, cdiv
from kernels.hardware import Hardware

__all__ = [
    "Conv2dConfig", "Conv2dProblem", "accumulator_registers", "candidates", "cdiv", "constraint", "least_shared",
    "tiles",
]  # fmt: skip


def tiles(problem: Conv2dProblem, config: Conv2dConfig) -> int:
    if config.family == "warp_specialized":
        return gluon_space.tiles(problem, config)
    return cdiv(problem.pixels, config.BLOCK_M) * cdiv(problem.K, config.BLOCK_N)


def accumulator_registers(config: Conv2dConfig, warp_size: int = 32) -> int:
    """fp32 accumulators of each multiplying thread."""
    if config.family == "warp_specialized":
        return gluon_space.accumulator_registers(config, warp_size)
    return cdiv(config.BLOCK_M * config.BLOCK_N, warp_size * config.num_warps)


def least_shared(config: Conv2dConfig) -> int:
    """The least bytes of shared memory that the compiler needs: all stages except the one in registers. For
    ``warp_specialized`` it is the sum of its buffers."""
    if config.family == "warp_specialized":
        return gluon_space.shared_bytes(config)
    return (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * ELEMENT_BYTES * (config.num_stages - 1)


def constraint(problem: Conv2dProblem, config: Conv2dConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    p, c, h = problem, config, hardware
    for field in ("EPILOGUE_SUBTILE", "CONSUMERS"):
        value, default = getattr(c, field), Conv2dConfig.model_fields[field].default
        if c.family == "pointer" and value != default:
            return f"unused_field: family pointer does not use {field}, so it must be {default}, got {value}"
    sides = (
        ("M", c.BLOCK_M, "pixels", p.pixels),
        ("N", c.BLOCK_N, "K", p.K),
        ("K", c.BLOCK_K, "C", p.C),
    )
    for name, block, what, size in sides:
        if block > max(64, _next_power_of_2(size)):
            return f"tile_{name}: BLOCK_{name} {block} is mostly padding for {what} {size}"
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
    if (shared := least_shared(c)) > h.shared_per_block:
        return f"shared_memory: at least {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


def _next_power_of_2(n: int) -> int:
    return 1 << (n - 1).bit_length()


def candidates(problem: Conv2dProblem, hardware: Hardware) -> Iterator[Conv2dConfig]:
    """Configs that are worth trying, in a fixed order. Tiles are no larger than the problem, and small only if 64x64
    tiles would leave SMs idle. Warps have 16 to 128 accumulators a thread; tiles with fewer take two warps. The configs
    of ``warp_specialized`` follow."""
    p, h = problem, hardware
    few = cdiv(p.pixels, 64) * cdiv(p.K, 64) < 2 * h.sms
    least = 16 if few else 64
    for bm, bn in product((16, 32, 64, 128, 256), repeat=2):
        if not _fits(bm, p.pixels, least) or not _fits(bn, p.K, min(least, 32)):
            continue
        for bk, warps, stages in product((16, 32, 64, 128), (2, 4, 8, 16), (2, 3, 4, 5)):
            held = bm * bn / (h.warp_size * warps)
            if not (16 <= held <= 128 or (held < 16 and warps == 2)):
                continue
            if bk > max(16, _next_power_of_2(p.C)) or (bk == 16 and p.C > 16):
                continue
            if stages > max(2, cdiv(p.C, bk) * p.R * p.S):
                continue
            yield Conv2dConfig(BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk, num_warps=warps, num_stages=stages)
    yield from gluon_space.candidates(p, h)


def _fits(block: int, size: int, least: int) -> bool:
    return least <= block <= max(least, _next_power_of_2(size))
