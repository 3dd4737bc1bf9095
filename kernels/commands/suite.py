"""The problems that ``bench`` times: one kernel's own, or a named suite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kernels.spec import KernelSpec, Problem


@dataclass(frozen=True)
class Case:
    """A kernel on a problem."""

    kernel: str
    shape: tuple[int, ...] | None = None
    """``None``: the kernel's default problem."""
    options: dict[str, Any] = field(default_factory=dict)
    regimes: tuple[str, ...] = ("burst", "sustained")

    def load(self) -> tuple[KernelSpec[Any, Any], Problem]:
        """Raises ValueError with one sentence."""
        from kernels.examine import examine
        from kernels.registry import get

        spec = get(self.kernel)
        problem = spec.parse_problem(self.shape, self.options)
        examine(spec, problem)
        return spec, problem


def _fused(m: int, n: int, k: int, dtype: str) -> Case:
    return Case("fused_matmul", (m, n, k), {"dtype": dtype, "activation": "leaky_relu"})


H200 = (
    _fused(4096, 4096, 4096, "fp16"),
    _fused(1024, 1024, 1024, "fp16"),
    _fused(4096, 4096, 4096, "bf16"),
    _fused(8192, 8192, 8192, "bf16"),
    _fused(16384, 4096, 1024, "bf16"),
    _fused(4096, 14336, 4096, "bf16"),
    _fused(64, 8192, 8192, "bf16"),
    Case("softmax"),
    Case("rms_norm"),
    Case("layer_norm"),
    Case("swiglu"),
    Case("attention", (4, 32, 4096, 128), {"causal": True}),
)
"""Square and oblong products, the shapes of a language model's layers, a decode step, the memory-bound kernels on
256 MiB and more, and causal attention."""

SUITES: dict[str, tuple[Case, ...]] = {
    "h200": H200,
    "memory": tuple(c for c in H200 if c.kernel not in ("fused_matmul", "attention")),
    "fusion": tuple(_fused(n, n, n, "fp16") for n in (1024, 2048, 4096, 8192)),
}
