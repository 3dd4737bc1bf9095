"""A user's program with the seven launches that ``bench_edits`` edits: ``python -m tests.bench.edits_program [STEPS]``.

Needs a GPU and ``liger-kernel``. Six layers of Liger's at the sizes of Llama 3 8B run forward and backward. The last
line is ``layers 1.234 ms``: the sum over the layers of the median GPU time of a pass, by CUDA events. Each pass has
inputs of the same values, because some backward passes write over them, and waits behind another kernel, so that no gap
between launches counts.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch

from tests.bench.bench_captured_layers import FEED, HIDDEN, TOKENS, VOCABULARY

STEPS = 20
SLEEP_CYCLES = 4_000_000
"""Of the GPU before each pass, about 2 ms: longer than the launches of a pass take the host."""


def layers() -> dict[str, tuple[Callable[..., Any], Callable[[], list[Any]]]]:
    """By name a function and what makes its arguments."""
    from liger_kernel.ops.cross_entropy import LigerCrossEntropyFunction as CrossEntropy
    from liger_kernel.ops.geglu import LigerGELUMulFunction as GeGLU
    from liger_kernel.ops.group_norm import LigerGroupNormFunction as GroupNorm
    from liger_kernel.ops.jsd import LigerJSDFunction as JSD
    from liger_kernel.ops.layer_norm import LigerLayerNormFunction as LayerNorm
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction as RMSNorm

    def x(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.randn(*shape, device="cuda", dtype=dtype, requires_grad=True)

    def log_probabilities() -> torch.Tensor:
        return torch.log_softmax(x(1024, VOCABULARY, dtype=torch.float32), -1)

    def classes() -> torch.Tensor:
        return torch.randint(0, VOCABULARY, (2048,), device="cuda")

    return {
        "geglu": (GeGLU.apply, lambda: [x(TOKENS, FEED), x(TOKENS, FEED)]),
        "rms_norm": (RMSNorm.apply, lambda: [x(TOKENS, HIDDEN), x(HIDDEN), 1e-6, 0.0, "llama", False]),
        "layer_norm": (LayerNorm.apply, lambda: [x(TOKENS, HIDDEN), x(HIDDEN), x(HIDDEN), 1e-6]),
        "jsd": (JSD.apply, lambda: [log_probabilities(), log_probabilities().detach(), None, 0.5, -100]),
        "cross_entropy": (
            CrossEntropy.apply, lambda: [x(2048, VOCABULARY), classes(), None, -100, 0.0, 0.0, "mean"]
        ),
        "group_norm": (GroupNorm.apply, lambda: [x(16, 32, HIDDEN), x(32), x(32), 32, 8, 1e-6]),
    }  # fmt: skip


def fresh(value: Any) -> Any:
    if not torch.is_tensor(value):
        return value
    return value.detach().clone().requires_grad_(value.requires_grad)


def pass_ms(layer: Callable[..., Any], arguments: list[Any]) -> float:
    """GPU time of a forward and a backward pass, in ms."""
    given = [fresh(a) for a in arguments]
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    torch.cuda._sleep(SLEEP_CYCLES)
    begin.record()
    out = layer(*given)
    outs = [t for t in (out if isinstance(out, tuple) else (out,)) if torch.is_tensor(t) and t.requires_grad]
    torch.autograd.backward(outs, [torch.ones_like(t) for t in outs])
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end))


def main() -> None:
    steps = int(sys.argv[1]) if sys.argv[1:] else STEPS
    torch.manual_seed(0)
    whole = 0.0
    for name, (layer, make) in layers().items():
        arguments = make()
        times = [pass_ms(layer, arguments) for _ in range(steps + 1)]
        median = statistics.median(times[1:])
        whole += median
        print(f"{name} {median:.4f} ms")
        del arguments
        torch.cuda.empty_cache()
    print(f"layers {whole:.4f} ms")


if __name__ == "__main__":
    main()
