"""The child that runs a config on the GPU under Triton's Proton: kernel times, and samples of the program counter.

Hatchet files are JSON trees of frames with metrics. PC sampling needs permission for the GPU's counters; what Proton
refuses is an answer with ``missing``."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import triton.profiler as proton

from kernels.hardware import hardware_for
from kernels.hardware.asked_gpu import DriverSilent, ask
from tools.harness.compiling.compiler import reason
from tools.harness.process.gpu_lock import GpuLock
from tools.harness.process.identity import rebuild

Json = dict[str, Any]
LAUNCHES = 20
"""Timed by Proton; the first few warm up outside of the session."""


def profiler(init: Json) -> Any:
    """Serve profiling jobs on the GPU `init["index"]`. The lock file `init["lock"]` is held while the GPU is used."""
    lock = GpuLock(init["lock"])

    def serve(job: Json) -> Json:
        with lock:
            try:
                return profile(job, init["index"])
            except Exception as e:  # noqa: BLE001 -- a launch or a profiler may raise anything; what it was is the answer
                return {"missing": reason(e)}

    return serve


def profile(job: Json, index: int) -> Json:
    """Launch a config under Proton. `job`: ``kernel``, ``problem``, ``config``, and ``mode``, empty or
    ``pcsampling``."""
    import torch

    spec, problem = rebuild(job)
    torch.cuda.set_device(index)
    try:
        hardware = hardware_for(torch.cuda.get_device_name(index)) or ask(index)
    except DriverSilent as e:
        return {"missing": str(e)}
    config = spec.config_type.model_validate(job["config"])
    generator = torch.Generator(device=f"cuda:{index}").manual_seed(0)
    inputs = spec.arrange(problem, config, spec.inputs(problem, generator, f"cuda:{index}"))
    out = spec.output(problem, f"cuda:{index}")

    def launch() -> None:
        spec.launch(problem, config, inputs, out, hardware)

    for _ in range(3):
        launch()
    torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "profile")
        session = proton.start(name, data="tree", backend="cupti", mode=job["mode"] or None)
        if session is None:
            return {"missing": "Proton is switched off (PROTON_DISABLE or its command line)"}
        for _ in range(1 if job["mode"] else LAUNCHES):
            launch()
        torch.cuda.synchronize()
        proton.finalize(session)
        files = sorted(Path(folder).glob("profile*"))
        if not files:
            return {"missing": "Proton wrote no file"}
        return read_tree(json.loads(files[0].read_text()))


def read_tree(tree: Any) -> Json:
    """Sums up the hatchet tree that Proton wrote. ``kernels`` maps a kernel's name to its total ns and its number of
    launches. ``samples`` maps a stall reason to its number of samples. ``frames`` maps the name of a frame to its
    number of samples, for the 20 frames that have most."""
    kernels: dict[str, list[float]] = {}
    samples: Counter[str] = Counter()
    frames: Counter[str] = Counter()

    def visit(node: Json) -> None:
        metrics, name = node.get("metrics", {}), node.get("frame", {}).get("name", "")
        if metrics.get("time (ns)"):
            known = kernels.setdefault(name, [0.0, 0])
            known[0] += float(metrics["time (ns)"])
            known[1] += float(metrics.get("count", 1))
        for metric, value in metrics.items():
            if metric.startswith("stalled_") and value:
                samples[metric.removeprefix("stalled_")] += int(value)
        if metrics.get("num_samples"):
            frames[name] += int(metrics["num_samples"])
        for child in node.get("children", []):
            visit(child)

    for node in tree if isinstance(tree, list) else [tree]:
        if isinstance(node, dict) and "frame" in node:
            visit(node)
    return {"kernels": kernels, "samples": dict(samples), "frames": dict(frames.most_common(20))}
