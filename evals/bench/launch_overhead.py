"""Measures the host's cost of a call of ``kernels.ops`` and of ``torch.mm``, in a child process that has the GPU to
itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDE = 512
"""M, N and K, in fp16: so small that the device finishes each call long before the host issues the next."""
CALLS, ROUNDS = 200, 41
DEADLINE_S = 120.0

Row = dict[str, Any]


def start(tuned: Path | None) -> Any:
    """Start the child process. It imports torch while the suite runs; :func:`measure` sends it the job."""
    from tools.harness.compiling.cache import default_cache, triton_environment
    from tools.harness.process.child import Child

    init = {"tuned": None if tuned is None else str(tuned)}
    return Child("evals.bench.launch_overhead:measurer", init, triton_environment(default_cache()))


def measure(child: Any, device: str) -> Row:
    """Microseconds of a call of each, and of their difference with its 95 % interval; or a failed status and its
    reason."""
    try:
        answer: Row = child.call({"device": device}, DEADLINE_S)
        return answer
    except RuntimeError as e:  # the child died, hung or reported an error; the other entries stay valid
        return {"status": "runtime", "reason": str(e).strip().splitlines()[-1]}
    finally:
        child.kill()


def measurer(init: Row) -> Callable[[Row], Row]:
    """Runs in the child: return the function that measures one job."""
    import torch

    from kernels import ops
    from tools.harness.measuring.statistics import median_ci

    def serve(job: Row) -> Row:
        if init["tuned"] is not None:
            ops.use(init["tuned"])
        torch.cuda.set_device(torch.device(job["device"]))
        x, w = (torch.randn(SIDE, SIDE, device=job["device"], dtype=torch.float16) for _ in range(2))
        ways: dict[str, Callable[[], object]] = {
            "mm": lambda: torch.mm(x, w),
            "ops": lambda: ops.fused_matmul(x, w, None, "leaky_relu"),
        }
        with torch.no_grad():
            for way in ways.values():
                host_us(way)
            rounds = [{name: host_us(way) for name, way in ways.items()} for _ in range(ROUNDS)]
        over, ci = median_ci([r["ops"] - r["mm"] for r in rounds])
        found = {f"{name}_us": median_ci([r[name] for r in rounds])[0] for name in ways}
        return {"status": "correct", "shape": f"{SIDE}x{SIDE}x{SIDE} fp16", **found, "over_us": over, "over_us_ci": ci}

    def host_us(way: Callable[[], object]) -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(CALLS):
            way()
        spent = time.perf_counter() - began
        torch.cuda.synchronize()
        return spent / CALLS * 1e6

    return serve
