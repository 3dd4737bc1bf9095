"""The random numbers of ``tl.rand`` in PyTorch, so that a random kernel has a reference.

Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed and converted as in
``triton/language/random.py``: the key is the seed's low and high half, the counter is the offset. It uses 64-bit
integers alone, so it runs on any device.
"""

from __future__ import annotations

import torch

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEYS = (0x9E3779B9, 0xBB67AE85)
LOW = 0xFFFFFFFF
SCALE = 4.6566127342e-10
"""A little less than 2^-31, so that no number is 1 (Triton's constant)."""


def randint(seed: int, offsets: torch.Tensor) -> torch.Tensor:
    """``tl.randint(seed, offsets)``: 32 random bits for each offset, as int64 in [0, 2^32). `offsets` are 32-bit
    integers of any shape."""
    c = [offsets.to(torch.int64) & LOW, *(torch.zeros_like(offsets, dtype=torch.int64) for _ in range(3))]
    key = [seed & LOW, (seed >> 32) & LOW]
    for _ in range(ROUNDS):
        high, low = zip(*(_multiplied(m, x) for m, x in zip(MULTIPLIERS, (c[0], c[2]), strict=True)), strict=True)
        c = [high[1] ^ c[1] ^ key[0], low[1], high[0] ^ c[3] ^ key[1], low[0]]
        key = [(k + step) & LOW for k, step in zip(key, KEYS, strict=True)]
    return c[0]


def rand(seed: int, offsets: torch.Tensor) -> torch.Tensor:
    """``tl.rand(seed, offsets)``: fp32 in [0, 1)."""
    bits = randint(seed, offsets)
    signed = torch.where(bits > 0x7FFFFFFF, bits - (1 << 32), bits)
    return torch.where(signed < 0, -signed - 1, signed).to(torch.float32) * SCALE


def _multiplied(factor: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """High and low 32 bits of the product of two 32-bit numbers, by halves: int64 has no room for all of it."""
    upper, lower = x >> 16, x & 0xFFFF
    first = factor * lower
    second = factor * upper + (first >> 16)
    return second >> 16, ((second & 0xFFFF) << 16) | (first & 0xFFFF)
