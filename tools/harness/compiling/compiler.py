"""The compile child: turns a config into machine code and figures for a GPU that need not be here.

``spec.launch`` runs on meta tensors while Triton's driver is a stub that names the target, and every JIT launch is
turned into a warm-up. The specialisation of the arguments, and with it Triton's cache key, is therefore the one that a
real launch makes: a device worker that shares the cache directory finds the code compiled.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from kernels.hardware import Hardware, hardware_named, occupancy
from tools.harness.process.identity import rebuild
from tools.harness.process.prestart import COMPILER_NICE

Json = dict[str, Any]

Launch = tuple[Any, Any]
"""A compiled kernel and its grid, which may be a function of the arguments."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENOMEM)
"""The machine's limits, not the config's fault."""


class StubDriver:
    """What ``JITFunction.run`` asks of a driver before it launches."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0


def compiler(init: Json) -> Any:
    """Serve compile jobs for one target. `init`: ``hardware`` (name), ``cache`` (Triton's cache directory)."""
    # A device worker on the same machine has to launch on time.
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), COMPILER_NICE))
    hardware = hardware_named(init["hardware"])
    driver.set_active(StubDriver(GPUTarget(hardware.backend, hardware.arch, hardware.warp_size)))
    figures = Path(init["cache"]) / "figures"
    figures.mkdir(parents=True, exist_ok=True)

    def serve(job: Json) -> Json:
        spec, problem = rebuild(job)
        config = spec.config_type.model_validate(job["config"])
        started = time.perf_counter()
        log = io.StringIO()
        try:
            with contextlib.redirect_stdout(log), warm_ups_only() as kernels:
                inputs = spec.arrange(problem, config, spec.inputs(problem, None, "meta"))
                spec.launch(problem, config, inputs, spec.output(problem, "meta"), hardware)
        except OSError as e:
            if e.errno in NO_ROOM:
                return {"status": "infrastructure", "reason": f"the compile cache {init['cache']}: {reason(e)}"}
            return {"status": "compile", "reason": reason(e), "seconds": time.perf_counter() - started}
        except Exception as e:  # noqa: BLE001 -- whatever the compiler raises is this config's verdict
            return {"status": "compile", "reason": reason(e), "seconds": time.perf_counter() - started}
        seconds = time.perf_counter() - started
        if not kernels:
            return {"status": "compile", "reason": "launch() started no Triton kernel", "seconds": seconds}
        parts = [figures_of(k, hardware, log.getvalue(), figures, seconds) for k, _ in kernels]
        return {
            **verdict(max(parts, key=lambda p: p["shared_bytes"] or 0), hardware),
            "fingerprint": fingerprint(kernels),
        }

    return serve


@contextlib.contextmanager
def warm_ups_only() -> Iterator[list[Launch]]:
    """Every JIT launch inside compiles and does not launch; yields the compiled kernels with their grids."""
    compiled: list[Launch] = []
    run = JITFunction.run

    def warm_up(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        compiled.append((kernel, grid))
        return kernel

    JITFunction.run = warm_up
    try:
        yield compiled
    finally:
        JITFunction.run = run


def figures_of(kernel: Any, hardware: Hardware, log: str, store: Path, seconds: float) -> Json:
    """Figures of one compiled kernel; kept beside Triton's cache, because a cache hit has no compiler log."""
    kept = store / f"{kernel.hash}.json"
    if kept.exists():
        known: Json = json.loads(kept.read_text())
        return known
    found: Json = {
        "seconds": seconds,
        "shared_bytes": kernel.metadata.shared,
        "num_warps": kernel.metadata.num_warps,
        **(cuda_figures(kernel, log) if hardware.backend == "cuda" else hip_figures(kernel)),
    }
    with tempfile.NamedTemporaryFile("w", dir=store, delete=False) as f:
        json.dump(found, f)
    os.replace(f.name, kept)
    return found


def fingerprint(launches: list[Launch]) -> str | None:
    """A hash of the machine code and the grids of a config's launches."""
    if any(callable(grid) for _, grid in launches):
        return None
    parts = [(hashlib.sha256(k.asm.get("cubin") or k.asm["hsaco"]).hexdigest(), tuple(grid)) for k, grid in launches]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def cuda_figures(kernel: Any, log: str) -> Json:
    """Registers and stack from the cubin (cuobjdump), spills and warnings from ptxas' log, instructions from PTX."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as f:
        f.write(kernel.asm["cubin"])
        f.flush()
        usage = subprocess.run(
            [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", f.name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    ptx = kernel.asm["ptx"]
    cores = (("tcgen05", "tcgen05.mma"), ("wgmma", "wgmma.mma_async"), ("mma.sync", "mma.sync"))
    return {
        "registers": _number(r"REG:(\d+)", usage),
        "stack_bytes": _number(r"STACK:(\d+)", usage),
        "spill_bytes": sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", log))),
        "tensor_core": next((name for name, op in cores if op in ptx), None),
        "tma": "cp.async.bulk.tensor" in ptx,
        "warnings": sorted({line.strip()[:200] for line in log.splitlines() if "warning" in line.lower()}),
    }


def hip_figures(kernel: Any) -> Json:
    """Registers, spills and scratch from the code object's notes in the assembly."""
    text = kernel.asm["amdgcn"]
    return {
        "registers": _number(r"\.vgpr_count:\s*(\d+)", text),
        "stack_bytes": _number(r"\.private_segment_fixed_size:\s*(\d+)", text),
        "spill_bytes": 4 * _number(r"\.vgpr_spill_count:\s*(\d+)", text),
        "tensor_core": "mfma" if "v_mfma" in text else None,
        "tma": False,
        "warnings": [],
    }


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"the compiler's report has no {pattern}")
    return int(found.group(1))


def verdict(figures: Json, hardware: Hardware) -> Json:
    """Compilation does not enforce what the hardware has: say here what a launch would refuse."""
    shared, warps = figures["shared_bytes"], figures["num_warps"]
    if shared > hardware.shared_per_block:
        reason = f"shared memory: needs {shared:,} B, {hardware.name} has {hardware.shared_per_block:,} B per block"
        return {**figures, "status": "compile", "reason": reason}
    blocks, share, limit = occupancy(hardware, figures["registers"], shared, warps)
    if blocks == 0:
        reason = f"{limit}: {figures['registers']} registers x {warps} warps do not fit one SM of {hardware.name}"
        return {**figures, "status": "compile", "reason": reason}
    return {
        **figures,
        "status": "correct",
        "blocks_per_sm": blocks,
        "occupancy": round(share, 4),
        "limited_by": limit,
    }


def reason(error: BaseException) -> str:
    """One line of a compiler's exception: its first line that says something, with the error's type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = next((x for x in lines if "error" in x.lower() or "assert" in x.lower()), lines[0] if lines else "")
    return f"{type(error).__name__}: {telling}"[:300]
