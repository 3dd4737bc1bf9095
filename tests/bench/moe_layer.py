"""A grouped (mixture-of-experts) layer, launched as serving engines do it: tokens sorted by expert, blocks of BLOCK_M
of them padded, one default config for few tokens and one for many. ``python -m tests.bench.moe_layer`` launches it for
each of ROWS, or for the numbers of tokens that are named."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

ROWS = (
    1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288,
    16384,
)  # fmt: skip
EXPERTS, TOP, N, K = 8, 2, 2048, 2048
WHOLE_BYTES = 1 << 20
"""Of one tensor in the capture. What must be whole are the ids; each process that reads the capture would need a second
for the numbers of the larger tensors, which may as well be drawn."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""Without a GPU the launches are made in Triton's interpreter, for a capture alone."""


@triton.jit
def grouped(
    a_ptr, b_ptr, c_ptr, ids_ptr, experts_ptr, padded_ptr, valid, padded_most, n, k, stride_a, stride_be, stride_bn,
    stride_c, TOP: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):  # fmt: skip
    """c[i] = a[i // TOP] @ b[expert of i].T for tokens i in the order of ``ids``, which fills each block with one
    expert's."""
    pid = tl.program_id(0)
    down, across = tl.cdiv(padded_most, BLOCK_M), tl.cdiv(n, BLOCK_N)
    group = pid // (GROUP_M * across)
    tall = min(down - group * GROUP_M, GROUP_M)
    m, col = group * GROUP_M + (pid % (GROUP_M * across)) % tall, (pid % (GROUP_M * across)) // tall
    if m * BLOCK_M >= tl.load(padded_ptr):
        return
    token = tl.load(ids_ptr + m * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    there = token < valid
    cols = (col * BLOCK_N + tl.arange(0, BLOCK_N)) % n
    ks = tl.arange(0, BLOCK_K)
    expert = tl.load(experts_ptr + m).to(tl.int64)
    a = a_ptr + (token // TOP)[:, None] * stride_a + ks[None, :]
    b = b_ptr + expert * stride_be + cols[None, :] * stride_bn + ks[:, None]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for _ in range(0, tl.cdiv(k, BLOCK_K)):
        total += tl.dot(tl.load(a, mask=there[:, None], other=0.0), tl.load(b))
        a += BLOCK_K
        b += BLOCK_K
    out = col * BLOCK_N + tl.arange(0, BLOCK_N)
    c = c_ptr + token[:, None] * stride_c + out[None, :]
    tl.store(c, total.to(tl.bfloat16), mask=there[:, None] & (out < n)[None, :])


def default_config(tokens: int) -> dict[str, int]:
    """What vLLM takes where no file of tuned configs fits (``get_default_config``, 16-bit weights)."""
    if tokens <= EXPERTS:
        return {"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 64, "GROUP_M": 1}
    return {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "GROUP_M": 8}


class Layer:
    """The weights, and one launch for a number of tokens."""

    def __init__(self) -> None:
        generator = torch.Generator(DEVICE).manual_seed(0)
        self._draw = lambda *shape: torch.randn(*shape, generator=generator, device=DEVICE, dtype=torch.bfloat16)
        self.weights = self._draw(EXPERTS, N, K) / math.sqrt(K)

    def launch(self, tokens: int) -> Any:
        """A function that launches once."""
        config = default_config(tokens)
        block, valid = config["BLOCK_M"], tokens * TOP
        most = valid + EXPERTS * (block - 1)
        ids, experts, padded = aligned(tokens, block, most)
        x, out = self._draw(tokens, K), torch.empty(valid, N, device=DEVICE, dtype=torch.bfloat16)

        def grid(meta: dict[str, int]) -> tuple[int]:
            return (triton.cdiv(most, block) * triton.cdiv(N, meta["BLOCK_N"]),)

        return lambda: grouped[grid](
            x, self.weights, out, ids, experts, padded, valid, most, N, K, x.stride(0), self.weights.stride(0),
            self.weights.stride(1), out.stride(0), TOP=TOP, **config,
        )  # fmt: skip


def aligned(tokens: int, block: int, most: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The tokens' copies sorted by their drawn experts, each expert's padded to whole blocks; the expert of each block;
    how many entries there are, padding included."""
    draw = np.random.default_rng(tokens)
    chosen = np.argsort(draw.random((tokens, EXPERTS)), axis=1)[:, :TOP].reshape(-1)
    ids, experts = np.full(most, tokens * TOP), np.zeros(-(-most // block), dtype=np.int64)
    at = 0
    for e in range(EXPERTS):
        own = np.flatnonzero(chosen == e)
        blocks = -(-len(own) // block)
        ids[at : at + len(own)] = own
        experts[at // block : at // block + blocks] = e
        at += blocks * block
    order, of_block, filled = (torch.tensor(v, dtype=torch.int32, device=DEVICE) for v in (ids, experts, [at]))
    return order, of_block, filled


def program(rows: Sequence[int] = ROWS) -> None:
    """The program that is captured: three launches for each of `rows`."""
    recorder: Any = sys.modules.get("_autokernel.capture.describing.values")
    if recorder is not None:
        recorder.WHOLE_BYTES = WHOLE_BYTES
    layer = Layer()
    for tokens in rows:
        launch = layer.launch(tokens)
        for _ in range(3):
            launch()
    if DEVICE == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    program([int(tokens) for tokens in sys.argv[1:]] or ROWS)
