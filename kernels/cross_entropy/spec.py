"""``fused_linear_cross_entropy``: the last layer of a language model with its loss, forward and backward in one call.

The logits of all tokens would be the largest tensor of a training step, several times over: the logits, their
logarithmic softmax, its gradient. Here the rows are taken in chunks. The logits of one chunk are in memory at a time,
and their gradient takes their place, so that the logits are computed once and nothing is computed again:

    1. logits = x @ weight^T, rounded to the problem's dtype;
    2. the loss of each row; the logits become their gradient of the mean loss;
    3. dx = dlogits @ weight; dweight += dlogits^T @ x.

That the gradients can be made in the forward pass, for a loss whose own gradient is a number, is Liger's observation
(Hsu et al. 2024, arXiv:2410.10989)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.cross_entropy import config as choices
from kernels.cross_entropy.config import (
    WEIGHT_STEP,
    CrossEntropyConfig,
    CrossEntropyProblem,
    by_descriptors,
    chunk_rows,
    gemm_config,
    logit_stride,
    weight_pieces,
)
from kernels.cross_entropy.loss_baselines import cross_entropy_baselines
from kernels.cross_entropy.rows_source import count_targets, cross_entropy_rows, sum_losses
from kernels.cross_entropy.weight_source import weight_gradient_pointer, weight_gradient_tma
from kernels.defaults import UNIT, normal, shrunk
from kernels.gemm.config import ELEMENT_BYTES, cdiv
from kernels.gemm.launch import launch_gemm
from kernels.hardware import Hardware
from kernels.spec import Baseline, Inputs, KernelSpec

Tensor = torch.Tensor

TARGETS = 1024
"""Targets and losses that the one program which sums them takes at a time."""
REFERENCE_ROWS = 512
"""Rows of logits that the reference holds at a time."""
IGNORED = 1 / 16
"""Share of the drawn targets that are ignored."""


class FusedLinearCrossEntropy(KernelSpec[CrossEntropyProblem, CrossEntropyConfig]):
    """Inputs are (x, weight, target); results are (loss, dx, dweight), the loss in fp32."""

    name = "fused_linear_cross_entropy"
    aliases = (
        "linear cross entropy",
        "fused cross entropy",
        "cross entropy",
        "flce",
        "fused linear and cross entropy",
        "fused linear + cross entropy",
        "linear + cross entropy",
    )
    problem_type = CrossEntropyProblem
    config_type = CrossEntropyConfig

    def default_config(self, problem: CrossEntropyProblem, hardware: Hardware) -> CrossEntropyConfig:
        """The first candidate of at most 2,048 rows in a chunk that breaks no constraint, else the first of all, else
        small tiles by pointers."""
        fitting = [c for c in self.candidates(problem, hardware) if self.constraint(problem, c, hardware) is None]
        short = [c for c in fitting if chunk_rows(problem, c) <= 2048]
        small = CrossEntropyConfig(
            family="pointer", CHUNKS=1, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32, GROUP_M=8, num_warps=4, num_stages=2,
            WEIGHT_N=64, WEIGHT_K=64, WEIGHT_WARPS=4, WEIGHT_STAGES=2, ROW_BLOCK=1024, ROW_WARPS=4,
        )  # fmt: skip
        return [*short, *fitting, small][0]

    def promising(self, problem: CrossEntropyProblem, hardware: Hardware) -> list[CrossEntropyConfig]:
        """The first tiles with each number of chunks of 1,024 rows or more, and with each choice for the weight's
        gradient."""
        first = self.default_config(problem, hardware)
        found = [first]
        for tile in choices.WEIGHT_CHOICES:
            found.append(first.model_copy(update=dict(zip(choices.WEIGHT_FIELDS, tile, strict=True))))
        for chunks in (1, 2, 4, 8, 16, 32):
            if 1024 <= cdiv(problem.M, chunks) <= 8192:
                found.append(first.model_copy(update={"CHUNKS": chunks}))
        return [c for c in dict.fromkeys(found) if self.constraint(problem, c, hardware) is None]

    def candidates(self, problem: CrossEntropyProblem, hardware: Hardware) -> Iterator[CrossEntropyConfig]:
        return choices.candidates(problem, hardware)

    def constraint(self, problem: CrossEntropyProblem, config: CrossEntropyConfig, hardware: Hardware) -> str | None:
        return choices.constraint(problem, config, hardware)

    def interpretable(self, config: CrossEntropyConfig) -> str | None:
        if config.family == "warp_specialized":
            return "family warp_specialized is written in Gluon, which Triton's interpreter does not run"
        return None

    def inputs(self, problem: CrossEntropyProblem, generator: torch.Generator | None, device: str) -> Inputs:
        """x standard normal, weight with a deviation of 1/sqrt(K), so that logits are standard normal; targets even
        over the vocabulary, one of sixteen ignored if there are sixteen."""
        M, N, K = problem.shape()
        x = normal((M, K), problem.torch_dtype, generator, device)
        weight = normal((N, K), problem.torch_dtype, generator, device, scale=K**-0.5)
        if device == "meta":
            return x, weight, torch.empty((M,), dtype=torch.int64, device=device)
        target = torch.randint(N, (M,), generator=generator, device=device)
        if M >= 1 / IGNORED:
            dropped = torch.rand((M,), generator=generator, device=device) < IGNORED
            dropped[0] = False
            target = torch.where(dropped, problem.ignore_index, target)
        return x, weight, target

    def output(self, problem: CrossEntropyProblem, device: str) -> Any:
        """loss (), dx (M, K), dweight (N, K)."""
        M, N, K = problem.shape()
        dtype = problem.torch_dtype
        return (
            torch.empty((), dtype=torch.float32, device=device),
            torch.empty((M, K), dtype=dtype, device=device),
            torch.empty((N, K), dtype=dtype, device=device),
        )

    def launch(
        self, problem: CrossEntropyProblem, config: CrossEntropyConfig, inputs: Inputs, out: Any, hardware: Hardware
    ) -> None:
        """The workspace comes from the caching allocator: the logits of a chunk, the losses and one number."""
        x, weight, target = inputs
        assert x is not None
        assert weight is not None
        assert target is not None
        loss, dx, dweight = out
        M, N, _ = problem.shape()
        rows, stride = chunk_rows(problem, config), logit_stride(problem)
        logits = torch.empty((rows, stride), dtype=x.dtype, device=x.device)[:, :N]
        losses = torch.empty((M,), dtype=torch.float32, device=x.device)
        inverse = torch.empty((1,), dtype=torch.float32, device=x.device)
        gemm = gemm_config(config)
        count_targets[(1,)](target, inverse, M, IGNORE=problem.ignore_index, BLOCK=TARGETS, num_warps=8)
        for start in range(0, M, rows):
            end = min(start + rows, M)
            part, into = x[start:end], logits[: end - start]
            launch_gemm(part, weight.T, None, into, "none", gemm, hardware)
            programs = min(end - start, config.ROW_PROGRAMS * hardware.sms)
            cross_entropy_rows[(programs,)](
                into,
                target[start:end],
                losses[start:end],
                inverse,
                end - start,
                N,
                stride,
                IGNORE=problem.ignore_index,
                PROGRAMS=programs,
                BLOCK_N=config.ROW_BLOCK,
                EVEN=N % config.ROW_BLOCK == 0,
                num_warps=config.ROW_WARPS,
            )
            launch_gemm(into, weight, None, dx[start:end], "none", gemm, hardware)
            _launch_weight_gradient(into, part, dweight, start > 0, config, hardware)
        sum_losses[(1,)](losses, inverse, loss, M, BLOCK=TARGETS, num_warps=8)

    def eager(self, problem: CrossEntropyProblem, inputs: Inputs) -> Any:
        """A linear layer, the loss of its logits in fp32 (float64 for float64 inputs), and autograd's gradients."""
        x, weight, target = inputs
        assert x is not None
        assert weight is not None
        assert target is not None
        with torch.enable_grad():
            leaves = x.detach().requires_grad_(), weight.detach().requires_grad_()
            logits = F.linear(*leaves)
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
            loss = F.cross_entropy(wide, target, ignore_index=problem.ignore_index)
            del logits, wide
            dx, dweight = torch.autograd.grad(loss, leaves)
        return loss.detach(), dx, dweight

    def formula(self, problem: CrossEntropyProblem, inputs: Inputs) -> tuple[Tensor, ...]:
        """The results without autograd, in fp32, rounded once."""
        x = inputs[0]
        assert x is not None
        loss, dx, dweight = self._explicit(problem, inputs, torch.float32)
        return loss, dx.to(x.dtype), dweight.to(x.dtype)

    def reference(self, problem: CrossEntropyProblem, inputs: Inputs) -> Any:
        """In float64."""
        return self._explicit(problem, inputs, torch.float64)

    def _explicit(self, problem: CrossEntropyProblem, inputs: Inputs, kind: torch.dtype) -> tuple[Tensor, ...]:
        """The formulas of the module's docstring in the dtype `kind`, by chunks."""
        x, weight, target = inputs
        assert x is not None
        assert weight is not None
        assert target is not None
        wide, wanted = weight.to(kind), target != problem.ignore_index
        count = wanted.sum()
        loss = torch.zeros((), dtype=kind, device=x.device)
        dweight = torch.zeros_like(wide)
        parts = []
        for start in range(0, problem.M, REFERENCE_ROWS):
            part = x[start : start + REFERENCE_ROWS].to(kind)
            kept = wanted[start : start + REFERENCE_ROWS, None]
            chosen = target[start : start + REFERENCE_ROWS, None].where(kept, 0)
            logits = part @ wide.T
            lse = logits.logsumexp(-1, keepdim=True)
            loss += ((lse - logits.gather(1, chosen)) * kept).sum()
            gradient = logits.sub_(lse).exp_()
            gradient.scatter_add_(1, chosen, torch.full_like(lse, -1.0))
            gradient.mul_(kept / count.clamp(min=1))
            parts.append(gradient @ wide)
            dweight.addmm_(gradient.T, part)
        return loss / count, torch.cat(parts), dweight

    def tolerance(self, problem: CrossEntropyProblem) -> Any:
        """In unit roundoffs u = 2^-11 (fp16) or 2^-8 (bf16). Logits are rounded to the dtype here and in PyTorch, so a
        logit of a few units errs by up to 4 u, and so does, relatively, its exponential.

        - loss: 8 u for one row. The errors of rows are independent: divided by the root of their number, and u^2 of the
          second order.
        - dx: a row is the target's row of weight, whose factor errs by u for its own rounding, and the mean of the
          others, whose errors are independent; 2 u for the two roundings and 4 u for few words.
        - dweight: the same, and a rounding for each of the chunks whose sum it is, of which there may be 32: their
          errors are independent.
        - fp32 accumulation as in ``Gemm.tolerance``, over N and M."""
        M, N, _ = problem.shape()
        unit = UNIT[problem.dtype]
        # fp16 holds gradients of logits in steps of 2^-24; the largest one is at least 1 / (2 M).
        steps = 2.0**-24 * M if problem.dtype == "fp16" else 0.0

        def accumulated(terms: int) -> float:
            return (terms / 8 + 4 * math.sqrt(terms)) * 2.0**-24

        return {
            "0": 8 * unit / math.sqrt(M) + unit**2 + 64 * 2.0**-24,
            "1": 6 * unit + steps + accumulated(min(N, 4096)),
            "2": 6 * unit + steps + unit * math.sqrt(min(32, cdiv(M, 64))) / 2 + accumulated(M),
        }

    def flops(self, problem: CrossEntropyProblem) -> int:
        """Three products of 2 M N K; the loss is not counted."""
        return 6 * problem.M * problem.N * problem.K

    def bytes(self, problem: CrossEntropyProblem) -> int:
        """x and weight read once, their gradients written once, and the targets: the logits need no memory in
        principle."""
        M, N, K = problem.shape()
        return 2 * ELEMENT_BYTES * (M + N) * K + 8 * M + 4

    def baselines(self, problem: CrossEntropyProblem) -> list[Baseline[CrossEntropyProblem]]:
        return cross_entropy_baselines(self.eager)

    def reduced(self, problem: CrossEntropyProblem, config: CrossEntropyConfig) -> CrossEntropyProblem:
        """Three tiles of rows, so that there are two chunks where the config has more than one; two tiles or blocks
        along N and K; remainders modulo the tile are kept."""
        across = max(config.BLOCK_N, config.WEIGHT_N, config.ROW_BLOCK)
        return problem.model_copy(
            update={
                "M": shrunk(problem.M, config.BLOCK_M, 3),
                "N": shrunk(problem.N, across, 2),
                "K": shrunk(problem.K, max(config.BLOCK_K, config.BLOCK_N, config.WEIGHT_K), 2),
            }
        )

    def registers(self, config: CrossEntropyConfig) -> int:
        return cdiv(config.BLOCK_M * config.BLOCK_N, 32 * config.num_warps)


def _launch_weight_gradient(
    dlogits: Tensor, x: Tensor, dweight: Tensor, add: bool, config: CrossEntropyConfig, hardware: Hardware
) -> None:
    """dweight = dlogits^T @ x, or that added to dweight."""
    (M, N), K = dlogits.shape, x.shape[1]
    tiles = cdiv(N, config.WEIGHT_N) * cdiv(K, config.WEIGHT_K)
    shared = {
        "ADD": add,
        "BLOCK_N": config.WEIGHT_N,
        "BLOCK_K": config.WEIGHT_K,
        "BLOCK_M": WEIGHT_STEP,
        "GROUP": config.GROUP_M,
        "num_warps": config.WEIGHT_WARPS,
        "num_stages": config.WEIGHT_STAGES,
    }
    if not by_descriptors(config):
        weight_gradient_pointer[(tiles,)](dlogits, x, dweight, M, N, K, dlogits.stride(0), **shared)
        return
    programs = cdiv(tiles, cdiv(tiles, hardware.sms)) if config.WEIGHT_PERSISTENT else tiles
    pieces = weight_pieces(config)
    weight_gradient_tma[(programs,)](
        TensorDescriptor.from_tensor(dlogits, [WEIGHT_STEP, config.WEIGHT_N]),
        TensorDescriptor.from_tensor(x, [WEIGHT_STEP, config.WEIGHT_K]),
        TensorDescriptor.from_tensor(dweight, [config.WEIGHT_N, config.WEIGHT_K // pieces]),
        M,
        N,
        K,
        PROGRAMS=programs,
        PIECES=pieces,
        PERSISTENT=config.WEIGHT_PERSISTENT,
        **shared,
    )
