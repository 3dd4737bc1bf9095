"""The compile child: turns a config into machine code and figures for a GPU that need not be here.

``spec.launch`` runs on meta tensors while Triton's driver is a stub that names the target, and every JIT launch is
turned into a warm-up. The specialisation of the arguments, and with it Triton's cache key, is therefore the one that a
real launch makes: a device worker that shares the cache directory finds the code compiled.
"""

from __future__ import annotations

import contextlib
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
from triton.runtime.jit import JITFunction

from kernels.hardware import Hardware, occupancy
from kernels.hardware.gpu_facts import from_json
from kernels.launches.meta_tensors import MetaElementwise
from kernels.spec import KernelSpec
from kernels.triton.stub_driver import stub_driver
from tools.harness.compiling.error_line import printed
from tools.harness.compiling.error_line import reason as reason
from tools.harness.compiling.kept_code import Launching, keep, write_index
from tools.harness.compiling.kept_numbers import integer_inputs, keep_numbers
from tools.harness.compiling.toolchain import add_to_triton_key, cache_key
from tools.harness.process.identity import rebuild, rebuild_config
from tools.harness.process.machine_trouble import describe_trouble
from tools.harness.process.prestart import COMPILER_NICE
from tools.harness.process.refusal import Refusal

Json = dict[str, Any]

Launch = tuple[Any, Any]
"""A compiled kernel and its grid, which may be a function of the arguments."""
ASKED_WARPS = re.compile(r'"ttg.num-warps"\s*=\s*(\d+)')
ENTRY = re.compile(r"Compiling entry function (?=')")
"""Before each kernel in the assembler's log."""
WARNING = re.compile(r"warning|Performance Loss", re.IGNORECASE)
"""An assembler of CUDA 13 writes a loss of performance as information."""
SPILLS = re.compile(r"(\d+) bytes spill (?:stores|loads)")


def before_fork() -> None:
    """What every compiler needs: a checksum of Triton's files."""
    from triton.runtime.cache import triton_key

    triton_key()


def compiler(init: Json) -> Any:
    """Serve compile jobs for one target. `init`: ``hardware`` (its facts), ``cache`` (Triton's cache directory)."""
    # A device worker on the same machine has to launch on time.
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), COMPILER_NICE))
    hardware = from_json(init["hardware"])
    figures = Path(init["cache"]) / "figures"
    try:
        figures.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Refusal(f"the compile cache {init['cache']} cannot be used: {describe_trouble(e) or reason(e)}") from e

    # By how a kernel is found and by its class: two kernels of one class may reach different code, and a file that was
    # edited meanwhile makes another class.
    keys: dict[tuple[str, type], str] = {}

    def use_key(job: Json, spec: KernelSpec[Any, Any]) -> None:
        kind = (job["kernel"], type(spec))
        if kind not in keys:
            keys[kind] = cache_key(spec)
        add_to_triton_key(keys[kind])

    def serve(job: Json) -> Json:
        spec, problem = rebuild(job)
        if job.get("op") == "load":  # what takes time before the first config
            with contextlib.suppress(Exception):  # the first config meets it again, and reports it
                before_fork()
                use_key(job, spec)
            return {}
        try:
            config = rebuild_config(spec, job["config"])
        except Refusal as e:
            return {"status": "infrastructure", "reason": str(e)}
        started = time.perf_counter()
        log = io.StringIO()
        launchings: list[Launching] = []
        try:
            use_key(job, spec)
            with contextlib.redirect_stdout(log), stub_driver(hardware), warm_ups_only(launchings) as kernels:
                with MetaElementwise():
                    inputs = spec.arrange(problem, config, spec.inputs(problem, None, "meta"))
                spec.launch(problem, config, inputs, spec.output(problem, "meta"), hardware)
        except Exception as e:  # noqa: BLE001 -- whatever the compiler raises is this config's verdict, but for trouble
            if trouble := describe_trouble(e):
                return {"trouble": f"nothing can be compiled (cache {init['cache']}): {trouble}"}
            why = reason(e, printed())
            return {"status": "compile", "reason": why, "seconds": time.perf_counter() - started}
        seconds = time.perf_counter() - started
        if not kernels:
            return {"status": "compile", "reason": "launch() started no Triton kernel", "seconds": seconds}
        if "keep" in job:
            folder = Path(job["keep"])
            index = keep(launchings, folder, integer_inputs(inputs))
            keep_numbers(spec, problem, config, index, folder)
            write_index(index, folder)
        try:
            with stub_driver(hardware):
                parts = [figures_of(k, hardware, log.getvalue(), figures, seconds) for k, _ in kernels]
        except Exception as e:
            trouble = describe_trouble(e)
            if not trouble:
                raise
            return {"trouble": f"compiled code cannot be looked at (cache {init['cache']}): {trouble}"}
        return {
            **verdict(max(parts, key=lambda p: p["shared_bytes"] or 0), hardware),
            "fingerprint": fingerprint(kernels),
        }

    return serve


@contextlib.contextmanager
def warm_ups_only(launchings: list[Launching] | None = None) -> Iterator[list[Launch]]:
    """Every JIT launch inside compiles and does not launch; yields the compiled kernels with their grids. `launchings`
    takes what else is known of each launch."""
    compiled: list[Launch] = []
    run = JITFunction.run

    def warm_up(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        compiled.append((kernel, grid))
        if launchings is not None:
            launchings.append(Launching(kernel, self, args, kwargs, grid))
        return kernel

    JITFunction.run = warm_up
    try:
        yield compiled
    finally:
        JITFunction.run = run


def figures_of(kernel: Any, hardware: Hardware, log: str, store: Path, seconds: float) -> Json:
    """Figures of one compiled kernel; kept beside Triton's cache, because a cache hit has no compiler log."""
    kept = store / f"{kernel.hash}.json"
    with contextlib.suppress(FileNotFoundError, ValueError):  # a damaged file is written again
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
    """Registers and stack from the cubin (cuobjdump), spills and warnings from ptxas' log, instructions from PTX.

    Without the log, because the code was found compiled, the kernel is compiled once more for it."""
    said = section_of(kernel.name, log) or section_of(kernel.name, log_of(kernel))
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
        "spill_bytes": sum(map(int, SPILLS.findall(said))) if SPILLS.search(said) else None,
        "tensor_core": next((name for name, op in cores if op in ptx), None),
        "tma": "cp.async.bulk.tensor" in ptx,
        "warnings": sorted({line.strip()[:200] for line in said.splitlines() if WARNING.search(line)}),
    }


def section_of(name: str, log: str) -> str:
    """What the assembler's log says of the kernel `name`: a launch may have compiled several. Empty if nothing."""
    parts = [part for part in ENTRY.split(log)[1:] if part.startswith(f"'{name}'")]
    general = [line for line in log.splitlines() if f"'{name}'" in line and WARNING.search(line)]
    return "\n".join([*general, *parts])


def log_of(kernel: Any) -> str:
    """The assembler's log of a kernel that was found compiled: it is compiled anew in a folder that is thrown away."""
    options = options_of(kernel)
    log = io.StringIO()
    before = os.environ.get("TRITON_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="autokernel-log-") as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        try:
            with contextlib.redirect_stdout(log):
                triton.compile(kernel.src, target=kernel.metadata.target, options=options)
        finally:
            if before is None:
                del os.environ["TRITON_CACHE_DIR"]
            else:
                os.environ["TRITON_CACHE_DIR"] = before
    return log.getvalue()


def options_of(kernel: Any) -> Json:
    """The options that `kernel` was compiled with. Its metadata counts the warps of all partitions of a
    warp-specialised kernel, which is no power of two and no option; its TTGIR has the number that was asked for."""
    options = {name: _frozen(value) for name, value in kernel.metadata._asdict().items()}
    asked = ASKED_WARPS.search(kernel.asm.get("ttgir", ""))
    return options | ({"num_warps": int(asked[1])} if asked else {})


def _frozen(value: Any) -> Any:
    """JSON has no tuples; Triton's options are to be hashed."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


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


MOST_THREADS = 1024
"""Of one block, on NVIDIA's GPUs (CUDA C++ Programming Guide, Technical Specifications per Compute Capability) and on
AMD's (HIP documentation, hardware capabilities). Compilation does not enforce it."""


def verdict(figures: Json, hardware: Hardware) -> Json:
    """Compilation does not enforce what the hardware has: say here what a launch would refuse."""
    shared, warps = figures["shared_bytes"], figures["num_warps"]
    threads = warps * hardware.warp_size
    if threads > MOST_THREADS:
        reason = f"{warps} warps are {threads:,} threads, and a block has at most {MOST_THREADS:,}"
        return {**figures, "status": "constraints", "reason": reason}
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
