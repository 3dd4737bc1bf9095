"""Config, static constraints and candidates of ``attention_backward``. The problem is that of ``attention``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal

from kernels.attention.space import ELEMENT_BYTES, AttentionProblem
from kernels.gemm.gluon_space import has_gluon
from kernels.hardware import Hardware
from kernels.spec import Config

ONE_PASS = ("fused", "warp_specialized")
"""Families that go over every pair of a query and a key once."""
CONSUMERS, CONSUMER_ROWS = 2, 64
"""Number of groups of four computing warps in the family ``warp_specialized``, and the keys of each group: the rows of
one matrix instruction."""


class AttentionBackwardConfig(Config):
    """Tuning choices of one call: of the kernel that owns keys, and of the kernel that owns queries (``pointer`` and
    ``tma``; in the other families those stay at their defaults)."""

    family: Literal["pointer", "tma", "fused", "warp_specialized"]
    """``pointer``, ``tma``: one kernel for the keys' gradients and one for the queries', loads by pointer or by
    descriptor. ``fused``: one kernel, which adds the queries' shares in no fixed order. ``warp_specialized``: the same,
    and a warp of its own loads."""
    BLOCK_KV: Literal[16, 32, 64, 128]
    """Keys of a program that owns keys."""
    BLOCK_Q: Literal[16, 32, 64, 128]
    """Queries that it takes at a time."""
    num_warps: Literal[4, 8]
    """Warps of a program that owns keys."""
    num_stages: Literal[1, 2, 3, 4]
    """Blocks of queries in flight."""
    DQ_BLOCK_Q: Literal[16, 32, 64, 128] = 64
    """Queries of a program that owns queries."""
    DQ_BLOCK_KV: Literal[16, 32, 64, 128] = 64
    """Keys that it takes at a time."""
    DQ_WARPS: Literal[4, 8] = 4
    """Warps of a program that owns queries."""
    DQ_STAGES: Literal[1, 2, 3, 4] = 2
    """Blocks of keys in flight."""
    AHEAD: Literal[False, True] = False
    """Multiply the next block of queries with the keys before this block is done (``warp_specialized``)."""


QUERY_FIELDS = ("DQ_BLOCK_Q", "DQ_BLOCK_KV", "DQ_WARPS", "DQ_STAGES")


def held_keys(problem: AttentionProblem, config: AttentionBackwardConfig, warp_size: int) -> float:
    """fp32 registers per thread that a program that owns keys holds: two gradients, scores and their gradient, and for
    ``fused`` the queries' share instead of these two if it is larger."""
    c, threads = config, config.num_warps * warp_size
    passing = 2 * c.BLOCK_KV * c.BLOCK_Q
    if c.family == "fused":
        passing = max(passing, c.BLOCK_Q * problem.D + c.BLOCK_KV * c.BLOCK_Q // 2)
    return (2 * c.BLOCK_KV * problem.D + passing) / threads


def held_queries(problem: AttentionProblem, config: AttentionBackwardConfig, warp_size: int) -> float:
    """fp32 registers per thread that a program that owns queries holds."""
    c = config
    return c.DQ_BLOCK_Q * (problem.D + 2 * c.DQ_BLOCK_KV) / (c.DQ_WARPS * warp_size)


def in_flight(config: AttentionBackwardConfig, stages: int) -> int:
    """Blocks in shared memory: all stages if the products read them there, as those of loads by descriptor do;
    otherwise one of them may be in registers (seen in Triton 3.6)."""
    return stages if config.family != "pointer" else max(1, stages - 1)


def shared_keys(problem: AttentionProblem, config: AttentionBackwardConfig) -> int:
    """Least bytes of shared memory of a program that owns keys: keys and values, queries and their gradients in flight,
    and for ``fused`` the scores' gradient and the queries' share in fp32."""
    c, row = config, problem.D * ELEMENT_BYTES
    found = 2 * (c.BLOCK_KV + in_flight(c, c.num_stages) * c.BLOCK_Q) * row
    if c.family == "fused":
        found += c.BLOCK_Q * (c.BLOCK_KV * ELEMENT_BYTES + problem.D * 4)
    return found


def shared_queries(problem: AttentionProblem, config: AttentionBackwardConfig) -> int:
    c, row = config, problem.D * ELEMENT_BYTES
    return 2 * (c.DQ_BLOCK_Q + in_flight(c, c.DQ_STAGES) * c.DQ_BLOCK_KV) * row


def constraint(problem: AttentionProblem, config: AttentionBackwardConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    p, c, h = problem, config, hardware
    if c.family in ONE_PASS:
        for field in QUERY_FIELDS:
            value, default = getattr(c, field), AttentionBackwardConfig.model_fields[field].default
            if value != default:
                return f"unused_field: family {c.family} does not use {field}, so it must be {default}, got {value}"
    if c.AHEAD and c.family != "warp_specialized":
        return f"unused_field: family {c.family} does not work ahead, so AHEAD must be False"
    if c.family != "pointer" and not h.has_tma:
        return f"tma_hardware: family {c.family} needs compute capability 9.0 or later, {h.name} is {h.arch}"
    for name in ("BLOCK_KV", "BLOCK_Q", "DQ_BLOCK_Q", "DQ_BLOCK_KV"):
        if (block := getattr(c, name)) > max(64, 1 << (p.S - 1).bit_length()):
            return f"tile: {name} {block} is mostly padding for {p.S} positions"
    if c.family == "warp_specialized":
        return _warp_specialized_constraint(p, c, h)
    kernels = [("keys", c.num_warps, held_keys(p, c, h.warp_size), shared_keys(p, c))]
    if c.family != "fused":
        kernels.append(("queries", c.DQ_WARPS, held_queries(p, c, h.warp_size), shared_queries(p, c)))
    for owner, warps, held, shared in kernels:
        most = min(255, h.registers_per_sm // (warps * h.warp_size))
        if held > most - 24:
            return (
                f"registers: the programs that own {owner} hold {held:g} registers a thread, and {most} is all that a "
                "thread can have"
            )
        if shared > h.shared_per_block:
            return (
                f"shared_memory: the programs that own {owner} need at least {shared} bytes, a block of {h.name} has "
                f"{h.shared_per_block}"
            )
    return None


def ring_bytes(problem: AttentionProblem, config: AttentionBackwardConfig) -> int:
    """Bytes of shared memory of ``warp_specialized``, without barriers: keys and values, queries with their gradients
    and two numbers each in flight, two buffers of dS^T, the share of dq in fp32, and 8 KiB per consumer to rearrange
    the gradients for coalesced stores."""
    c, row = config, problem.D * ELEMENT_BYTES
    found = 2 * (c.BLOCK_KV + c.num_stages * c.BLOCK_Q) * row + 8 * c.num_stages * c.BLOCK_Q
    return found + 2 * c.BLOCK_KV * c.BLOCK_Q * ELEMENT_BYTES + c.BLOCK_Q * problem.D * 4 + CONSUMERS * 8192


def _warp_specialized_constraint(
    problem: AttentionProblem, config: AttentionBackwardConfig, hardware: Hardware
) -> str | None:
    p, c, h = problem, config, hardware
    if not has_gluon():
        return "gluon_missing: family warp_specialized needs a Triton with triton.experimental.gluon.nvidia.hopper"
    if h.arch != 90:
        return (
            f"gluon_hardware: family warp_specialized needs the warp-group instructions of compute capability 9.0, "
            f"{h.name} is {h.arch}"
        )
    if (c.BLOCK_KV, c.BLOCK_Q, c.num_warps) != (CONSUMERS * CONSUMER_ROWS, 64, 8):
        return (
            f"consumers: family warp_specialized has two groups of 4 warps and {CONSUMER_ROWS} keys each, "
            f"BLOCK_KV 128, BLOCK_Q 64 and num_warps 8, got {c.BLOCK_KV}, {c.BLOCK_Q} and {c.num_warps}"
        )
    if c.AHEAD and c.num_stages < 2:
        return "ahead_stages: the next block is loaded while this one is held, so AHEAD needs num_stages of 2 or more"
    if p.S % c.BLOCK_KV:
        return f"whole_blocks: family warp_specialized masks no ends, so {c.BLOCK_KV} must divide S, got {p.S}"
    if (shared := ring_bytes(p, c)) > h.shared_per_block:
        return f"shared_memory: at least {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


MOST_KEYS, MOST_QUERIES = 8, 6
"""Choices of either kernel of a two-pass family that are combined with one another."""


def candidates(problem: AttentionProblem, hardware: Hardware) -> Iterator[AttentionBackwardConfig]:
    """Configs that are worth trying, in a fixed order: every choice of the one-pass families; of the other families the
    choices for keys with the first choice for queries, and the reverse, because the two kernels run one after the
    other."""
    keys = [
        (kv, q, warps, stages)
        for kv, q, warps, stages in product((128, 64, 32), (64, 128, 32), (8, 4), (2, 3, 1))
        if kv * q >= 64 * warps and kv * problem.D / (warps * 32) >= 16
    ]
    if hardware.has_tma:
        for stages, ahead in product((1, 2, 3), (True, False)):
            yield _specialized(stages, ahead)
        for kv, q, warps, stages in keys:
            yield _config("fused", kv, q, warps, stages)
    for family in ("tma", "pointer") if hardware.has_tma else ("pointer",):
        legal = [k for k in keys if constraint(problem, _config(family, *k), hardware) is None]
        queries = [
            (q, kv, warps, stages)
            for q, kv, warps, stages in product((128, 64, 32), (64, 128, 32), (8, 4), (2, 3, 1))
            if legal and constraint(problem, _config(family, *legal[0], q, kv, warps, stages), hardware) is None
        ]
        for index, key in enumerate(legal):
            for query in queries[:1] if index >= MOST_KEYS else queries[:MOST_QUERIES]:
                yield _config(family, *key, *query)
        for query in queries[MOST_QUERIES:]:
            yield _config(family, *legal[0], *query)


def _config(family: str, kv: int, q: int, warps: int, stages: int, *queries: int) -> AttentionBackwardConfig:
    named = {"family": family, "BLOCK_KV": kv, "BLOCK_Q": q, "num_warps": warps, "num_stages": stages}
    return AttentionBackwardConfig.model_validate(named | dict(zip(QUERY_FIELDS, queries, strict=False)))


def _specialized(stages: int, ahead: bool) -> AttentionBackwardConfig:
    """The family ``warp_specialized`` has one size of blocks."""
    return _config("warp_specialized", 128, 64, 8, stages).model_copy(update={"AHEAD": ahead})


def promising(problem: AttentionProblem, hardware: Hardware) -> list[AttentionBackwardConfig]:
    """What was fastest at 4x32x4096x128 causal on an H200, by family, the fastest family first."""
    found = [_specialized(stages, ahead) for stages, ahead in ((2, True), (2, False), (3, True), (1, False))]
    found += [
        _config("tma", *sizes)
        for sizes in (
            (64, 64, 4, 2, 128, 64, 8, 2), (64, 64, 4, 2, 128, 128, 8, 2), (128, 64, 8, 2, 128, 128, 8, 2),
            (128, 64, 8, 3, 128, 64, 8, 3),
        )
    ]  # fmt: skip
    found += [_config("fused", *sizes) for sizes in ((128, 64, 8, 3), (64, 64, 4, 2))]
    return [c for c in found if constraint(problem, c, hardware) is None]


def default_config(problem: AttentionProblem, hardware: Hardware) -> AttentionBackwardConfig:
    """``tma`` if the GPU has descriptors, else ``pointer``, with blocks that fit. Its sums have a fixed order."""
    choices = [
        _config(family, *sizes)
        for family in ("tma", "pointer")
        for sizes in ((64, 64, 4, 2, 128, 64, 8, 2), (64, 64, 4, 2, 64, 64, 4, 2), (64, 32, 4, 1, 64, 32, 4, 1))
    ]
    return next(c for c in choices if constraint(problem, c, hardware) is None)
