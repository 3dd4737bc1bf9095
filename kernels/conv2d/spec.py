"""``conv2d``: y[n, p, q, k] = sum over r, s, c of x[n, h, w, c] w[k, r, s, c] + bias[k], with
h = p stride + r dilation - padding and w likewise. Channels are contiguous, as in PyTorch's channels_last.

It is an implicit matrix product with N P Q rows (output pixels), K columns (filters) and R S C terms. The rows of the
left operand are never stored: each step loads the channels of one filter tap for every pixel of the tile directly from
x, and zeros if the tap is over the edge. Accumulation is fp32, the result is rounded once.

Family ``pointer``, below, loads 16 bytes at a time and runs on any GPU and any shape; ``warp_specialized``
(``kernels/conv2d/gluon.py``) loads boxes by the tensor memory accelerator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from kernels import defaults
from kernels.conv2d import gluon_space, space
from kernels.conv2d.config import ELEMENT_BYTES, Conv2dConfig, Conv2dProblem
from kernels.conv2d.space import tiles
from kernels.defaults import UNIT, normal, shrunk
from kernels.gemm.tiles import multiply_add, rounded
from kernels.hardware import Hardware
from kernels.spec import Baseline, Inputs, KernelSpec


@triton.jit
def conv2d_pointer(
    x_ptr,
    w_ptr,
    bias_ptr,
    y_ptr,
    PIXELS,
    H,
    W,
    C,
    K,
    P,
    Q,
    R: tl.constexpr,
    S: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    EVEN_C: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per tile. Tiles along K come first, so that tiles that run at the same time share pixels in L2."""
    tiles_n = tl.cdiv(K, BLOCK_N)
    m = tl.program_id(0) // tiles_n * BLOCK_M + tl.arange(0, BLOCK_M)
    k = tl.program_id(0) % tiles_n * BLOCK_N + tl.arange(0, BLOCK_N)
    c = tl.arange(0, BLOCK_K)
    top = m // Q % P * STRIDE - PADDING
    left = m % Q * STRIDE - PADDING
    image = (m // (P * Q)).to(tl.int64)
    # The first tap of a pixel at the edge is outside x and is masked.
    x_rows = x_ptr + ((image * H + top) * W + left) * C
    w_cols = w_ptr + k.to(tl.int64) * (R * S * C)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    blocks = tl.cdiv(C, BLOCK_K)
    for step in range(R * S * blocks):
        tap = step // blocks
        first = step % blocks * BLOCK_K
        down = tap // S * DILATION
        right = tap % S * DILATION
        inside = (m < PIXELS) & (top + down >= 0) & (top + down < H) & (left + right >= 0) & (left + right < W)
        x_mask = inside[:, None]
        w_mask = (k < K)[None, :]
        if not EVEN_C:
            x_mask = x_mask & (first + c < C)[None, :]
            w_mask = w_mask & (first + c < C)[:, None]
        x = tl.load(x_rows[:, None] + ((down * W + right) * C + first + c)[None, :], mask=x_mask, other=0.0)
        w = tl.load(w_cols[None, :] + (tap * C + first + c)[:, None], mask=w_mask, other=0.0)
        acc = multiply_add(x, w, acc)
    if bias_ptr is not None:
        acc += tl.load(bias_ptr + k, mask=k < K, other=0.0).to(tl.float32)[None, :]
    y_mask = (m < PIXELS)[:, None] & (k < K)[None, :]
    y = rounded(acc, y_ptr.dtype.element_ty)
    tl.store(y_ptr + m.to(tl.int64)[:, None] * K + k[None, :], y, mask=y_mask)


class Conv2d(KernelSpec[Conv2dProblem, Conv2dConfig]):
    """Two-dimensional convolution of NHWC images; inputs are (x, w, bias or None)."""

    name = "conv2d"
    aliases = ("convolution", "2d convolution", "implicit gemm")
    problem_type = Conv2dProblem
    config_type = Conv2dConfig

    def default_config(self, problem: Conv2dProblem, hardware: Hardware) -> Conv2dConfig:
        """``warp_specialized`` with a tile of up to 128x256 if the GPU and the problem allow it, else ``pointer`` with
        a 128x128 tile of 64 channels. Smaller problems take smaller tiles. The last choice breaks no constraint."""
        choices = gluon_space.defaults(problem, hardware)
        choices += [
            Conv2dConfig(BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk, num_warps=warps, num_stages=stages)
            for bm, bn, bk, warps, stages in (
                (128, 128, 64, 8, 3),
                (128, 64, 64, 4, 3),
                (64, 64, 64, 4, 3),
                (64, 64, 32, 4, 2),
            )
            if bn <= max(64, problem.K) and bk <= max(32, problem.C)
        ]
        return next(c for c in choices if self.constraint(problem, c, hardware) is None)

    def interpretable(self, config: Conv2dConfig) -> str | None:
        if config.family == "warp_specialized":
            return "family warp_specialized is written in Gluon, which Triton's interpreter does not run"
        return None

    def candidates(self, problem: Conv2dProblem, hardware: Hardware) -> Iterator[Conv2dConfig]:
        return space.candidates(problem, hardware)

    def constraint(self, problem: Conv2dProblem, config: Conv2dConfig, hardware: Hardware) -> str | None:
        return space.constraint(problem, config, hardware)

    def inputs(self, problem: Conv2dProblem, generator: torch.Generator | None, device: str) -> Inputs:
        """x (N, H, W, C), w (K, R, S, C), bias (K) or None. The values are normal, and the elements of y have variance
        one.

        One element of y, in the middle of the first image, is about four standard deviations above zero, because
        6 sqrt(R S C) of its products get a positive sign. A large y has such elements anyway. The only element of a
        small y could otherwise be so near zero that a relative error means nothing."""
        p = problem
        scale = p.terms**-0.25
        x = normal((p.N, p.H, p.W, p.C), p.torch_dtype, generator, device, scale)
        w = normal((p.K, p.R, p.S, p.C), p.torch_dtype, generator, device, scale)
        bias = normal((p.K,), p.torch_dtype, generator, device) if p.bias else None
        top, left = p.P // 2 * p.stride, p.Q // 2 * p.stride
        under = F.pad(x[0], (0, 0, p.padding, p.padding, p.padding, p.padding))[top :: p.dilation, left :: p.dilation]
        positive = min(p.terms, 6 * math.isqrt(p.terms))
        first = w[0].flatten()
        first[:positive] = torch.copysign(first[:positive], under[: p.R, : p.S].flatten()[:positive])
        w[0] = first.view(p.R, p.S, p.C)
        if bias is not None:
            bias[0].abs_()
        return x, w, bias

    def output(self, problem: Conv2dProblem, device: str) -> torch.Tensor:
        """An empty result (N, P, Q, K), contiguous."""
        return torch.empty((problem.N, problem.P, problem.Q, problem.K), dtype=problem.torch_dtype, device=device)

    def launch(
        self, problem: Conv2dProblem, config: Conv2dConfig, inputs: Inputs, out: torch.Tensor, hardware: Hardware
    ) -> None:
        x, w, bias = inputs
        p = problem
        if config.family == "warp_specialized":
            from kernels.conv2d import gluon  # not every Triton has Gluon

            assert x is not None
            assert w is not None
            gluon.launch(p, config, x, w, bias, out, hardware)
            return
        conv2d_pointer[(tiles(p, config),)](
            x,
            w,
            bias,
            out,
            p.pixels,
            p.H,
            p.W,
            p.C,
            p.K,
            p.P,
            p.Q,
            R=p.R,
            S=p.S,
            STRIDE=p.stride,
            PADDING=p.padding,
            DILATION=p.dilation,
            EVEN_C=p.C % config.BLOCK_K == 0,
            BLOCK_M=config.BLOCK_M,
            BLOCK_N=config.BLOCK_N,
            BLOCK_K=config.BLOCK_K,
            num_warps=config.num_warps,
            num_stages=config.num_stages,
        )

    def eager(self, problem: Conv2dProblem, inputs: Inputs) -> torch.Tensor:
        """Eager PyTorch's convolution. It gets NCHW views in channels_last order."""
        x, w, bias = inputs
        assert x is not None
        assert w is not None
        p = problem
        y = F.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), bias, p.stride, p.padding, p.dilation)
        return y.permute(0, 2, 3, 1)

    def reference(self, problem: Conv2dProblem, inputs: Inputs) -> torch.Tensor:
        """The reference, tap by tap, by matrix products in float64, without a convolution library."""
        x, w, bias = inputs
        assert x is not None
        assert w is not None
        p = problem
        wide = F.pad(x.double(), (0, 0, p.padding, p.padding, p.padding, p.padding))
        y = torch.zeros((p.N, p.P, p.Q, p.K), dtype=torch.float64, device=x.device)
        for r in range(p.R):
            for s in range(p.S):
                top, left = r * p.dilation, s * p.dilation
                seen = wide[:, top : top + (p.P - 1) * p.stride + 1 : p.stride]
                seen = seen[:, :, left : left + (p.Q - 1) * p.stride + 1 : p.stride]
                y += seen @ w[:, r, s].double().T
        return y if bias is None else y + bias.double()

    def tolerance(self, problem: Conv2dProblem) -> float:
        """As for a matrix product of R S C terms (``Gemm.tolerance`` derives it): the rounding of the result,
        u = 2^-11 (fp16) or 2^-8 (bf16); truncation in tensor cores, half of 2^-23 per block of 8 products; random
        errors of fp32 sums, 4 sqrt(R S C) * 2^-24; a sixteenth for second-order terms and 8 * 2^-24. A bias adds
        another u, because eager PyTorch rounds the convolution before it adds the bias and must pass the check too.

        A kernel that leaves out one tap of R S errs by 1/sqrt(R S) of a standard deviation: a third of it for 3x3."""
        unit = UNIT[problem.dtype] * (2 if problem.bias else 1)
        accumulation = (problem.terms / 8 + 4 * math.sqrt(problem.terms)) * 2.0**-24
        return (unit + accumulation) * (1 + 1 / 16) + 8 * 2.0**-24

    def flops(self, problem: Conv2dProblem) -> int:
        """2 N P Q K R S C; taps over the edge count."""
        return 2 * problem.pixels * problem.K * problem.terms

    def bytes(self, problem: Conv2dProblem) -> int:
        """x, w and bias read once, the result written once."""
        p = problem
        elements = p.N * p.H * p.W * p.C + p.K * p.terms + p.pixels * p.K + (p.K if p.bias else 0)
        return ELEMENT_BYTES * elements

    def baselines(self, problem: Conv2dProblem) -> list[Baseline[Conv2dProblem]]:
        """Eager PyTorch with cuDNN's own choice of algorithm, torch.compile, and eager PyTorch with the fastest
        algorithm that cuDNN finds."""
        return [
            Baseline("unfused", "eager F.conv2d, channels_last", partial(defaults.prepare_eager, self)),
            Baseline(
                "compiled",
                "torch.compile(F.conv2d), channels_last",
                partial(defaults.prepare_compiled, self),
                choices=partial(defaults.compiled_choices, self),
            ),
            Baseline("cudnn", "F.conv2d, channels_last, torch.backends.cudnn.benchmark", self._searched),
        ]

    def _searched(self, problem: Conv2dProblem, inputs: Inputs) -> Callable[[], torch.Tensor]:
        def call() -> torch.Tensor:
            with torch.backends.cudnn.flags(enabled=True, benchmark=True):  # flags() alone turns cuDNN off
                return self.eager(problem, inputs)

        call()
        return call

    def reduced(self, problem: Conv2dProblem, config: Conv2dConfig) -> Conv2dProblem:
        """A smaller problem: up to 7x7 pixels per image, two tiles of pixels and filters, and two blocks of channels,
        with the edges, steps and remainders of the true shape."""
        p = problem
        changed: dict[str, Any] = {"C": shrunk(p.C, config.BLOCK_K, 2), "K": shrunk(p.K, config.BLOCK_N, 2)}
        for dim, size, found in (("H", p.H, p.P), ("W", p.W, p.Q)):
            changed[dim] = size - p.stride * min(max(0, found - 7), (size - 1) // p.stride)
        small = p.model_copy(update=changed)
        each = small.P * small.Q
        images = min(p.N, -(-2 * config.BLOCK_M // each))
        if images > 1 and images * each % config.BLOCK_M == 0 and p.pixels % config.BLOCK_M != 0:
            images -= 1
        return small.model_copy(update={"N": images})

    def registers(self, config: Conv2dConfig) -> int:
        return space.accumulator_registers(config)
