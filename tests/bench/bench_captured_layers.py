"""Captures Liger's layers on a GPU and compares with the profiler: ``python -m tests.bench.bench_captured_layers OUT``.

Needs ``liger-kernel`` and a GPU. Each layer runs forward and backward at the sizes of Llama 3 8B. Written to OUT:
``layers.capture`` and ``layers.json``, which says of every Triton kernel that the profiler saw whether it was recorded
or listed, what a first and a repeated launch cost with and without capture, and the size of the file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from agent.programs.capturing import Values

TOKENS, HIDDEN, FEED, VOCABULARY, HEADS, KV_HEADS, HEAD = 4096, 4096, 14336, 128256, 32, 8, 128
REPEATED = 200


def layers() -> dict[str, Callable[[], Any]]:
    from liger_kernel.ops.cross_entropy import LigerCrossEntropyFunction as CrossEntropy
    from liger_kernel.ops.dyt import LigerDyTFunction as DyT
    from liger_kernel.ops.fused_add_rms_norm import LigerFusedAddRMSNormFunction as AddNorm
    from liger_kernel.ops.geglu import LigerGELUMulFunction as GeGLU
    from liger_kernel.ops.group_norm import LigerGroupNormFunction as GroupNorm
    from liger_kernel.ops.jsd import LigerJSDFunction as JSD
    from liger_kernel.ops.kl_div import LigerKLDivLossFunction as KLDiv
    from liger_kernel.ops.layer_norm import LigerLayerNormFunction as LayerNorm
    from liger_kernel.ops.relu_squared import LigerReLUSquaredFunction as ReLUSquared
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction as RMSNorm
    from liger_kernel.ops.rope import LigerRopeFunction as Rope
    from liger_kernel.ops.softmax import LigerSoftmaxFunction as Softmax
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction as SwiGLU
    from liger_kernel.ops.tvd import LigerTVDLossFunction as TVD

    def x(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.randn(*shape, device="cuda", dtype=dtype, requires_grad=True)

    def log_probabilities() -> torch.Tensor:
        return torch.log_softmax(x(1024, VOCABULARY, dtype=torch.float32), -1)

    def angles() -> torch.Tensor:
        return torch.randn(1, TOKENS, HEAD, device="cuda", dtype=torch.bfloat16)

    return {
        "rms_norm": lambda: RMSNorm.apply(x(TOKENS, HIDDEN), x(HIDDEN), 1e-6, 0.0, "llama", False),
        "fused_add_rms_norm": lambda: AddNorm.apply(
            x(TOKENS, HIDDEN), x(TOKENS, HIDDEN), x(HIDDEN), 1e-6, 0.0, "llama", False
        ),
        "layer_norm": lambda: LayerNorm.apply(x(TOKENS, HIDDEN), x(HIDDEN), x(HIDDEN), 1e-6),
        "swiglu": lambda: SwiGLU.apply(x(TOKENS, FEED), x(TOKENS, FEED)),
        "geglu": lambda: GeGLU.apply(x(TOKENS, FEED), x(TOKENS, FEED)),
        "cross_entropy": lambda: CrossEntropy.apply(
            x(2048, VOCABULARY), torch.randint(0, VOCABULARY, (2048,), device="cuda"), None, -100, 0.0, 0.0, "mean"
        )[0],
        "softmax": lambda: Softmax.apply(x(TOKENS, HIDDEN)),
        "relu_squared": lambda: ReLUSquared.apply(x(TOKENS, FEED)),
        "dyt": lambda: DyT.apply(x(TOKENS, HIDDEN), x(1), x(HIDDEN), x(HIDDEN)),
        "rope": lambda: Rope.apply(x(1, HEADS, TOKENS, HEAD), x(1, KV_HEADS, TOKENS, HEAD), angles(), angles()),
        "kl_div": lambda: KLDiv.apply(
            log_probabilities(), log_probabilities().exp().detach(), "batchmean", False, 1e-10
        ),
        "jsd": lambda: JSD.apply(log_probabilities(), log_probabilities().detach(), None, 0.5, -100),
        "tvd": lambda: TVD.apply(
            log_probabilities().exp(), log_probabilities().exp().detach(), None, "batchmean", -100
        ),
        "group_norm": lambda: GroupNorm.apply(x(16, 32, HIDDEN), x(32), x(32), 32, 8, 1e-6),
    }


def run(layer: Callable[[], Any]) -> None:
    out = layer()
    outs = [t for t in (out if isinstance(out, tuple) else (out,)) if torch.is_tensor(t) and t.requires_grad]
    torch.autograd.backward(outs, [torch.randn_like(t) for t in outs])


def seen_by_profiler(made: dict[str, Callable[[], Any]]) -> set[str]:
    """Names of the GPU kernels of one pass over all layers. PyTorch's own are C++ names with a bracket."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for layer in made.values():
            run(layer)
        torch.cuda.synchronize()
    names = {e.key for e in found.key_averages() if e.self_device_time_total > 0}
    return {n for n in names if n.isidentifier() and "cublas" not in n and "sm90" not in n and "nvjet" not in n}


def cost(values: Values, folder: Path) -> dict[str, float]:
    """Host time of a first and a repeated launch of a kernel with and without capture."""
    from contextlib import nullcontext

    from liger_kernel.ops.swiglu import LigerSiLUMulFunction as SwiGLU

    from agent.programs import capture

    found = {}
    for name in ("without", "with"):
        block: Any = nullcontext() if name == "without" else capture(folder / f"cost_{values}.capture", values)
        with block:
            given = [torch.randn(64, 128 * i, device="cuda", dtype=torch.bfloat16) for i in range(1, 6)]
            firsts = []
            for t in given:
                torch.cuda.synchronize()
                started = time.perf_counter()
                SwiGLU.apply(t, t)
                firsts.append(time.perf_counter() - started)
            started = time.perf_counter()
            for _ in range(REPEATED):
                SwiGLU.apply(given[0], given[0])
            found[f"{name}: repeated, us"] = (time.perf_counter() - started) / REPEATED * 1e6
            torch.cuda.synchronize()
            found[f"{name}: first of a shape, ms"] = sorted(firsts)[2] * 1e3
    return found


def main() -> None:
    from agent.programs import capture
    from kernels.capture.reading.captured_launches import read_capture

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    made = layers()
    failed = {}
    path = folder / "layers.capture"
    started = time.perf_counter()
    with capture(path):
        for name, layer in list(made.items()):
            try:
                run(layer)
                run(layer)
                torch.cuda.synchronize()
            except Exception as e:  # noqa: BLE001 -- a layer of another version of the library is reported
                failed[name] = f"{type(e).__name__}: {e}"[:200]
                del made[name]
    seconds = time.perf_counter() - started
    found = read_capture(str(path))
    recorded = {x.name for x in found.launches}
    listed = {name for _, name in found.unseen}
    profiled = seen_by_profiler(made)
    report = {
        "gpu": torch.cuda.get_device_name(),
        "launches": found.launched,
        "distinct": len(found.launches),
        "bytes": os.path.getsize(path),
        "seconds": seconds,
        "layers that failed": failed,
        "seen by the profiler": sorted(profiled),
        "neither recorded nor listed": sorted(profiled - recorded - listed),
        "cost without values": cost("no", folder),
        "cost with summaries": cost("summary", folder),
    }
    (folder / "layers.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
