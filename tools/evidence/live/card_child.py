"""The child that runs a config on the GPU under Triton's Proton: kernel times, samples of the program counter, clocks
of the scopes that the kernel's source names. What a profiler refuses is an answer with ``missing``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton.profiler as proton

from kernels.hardware import hardware_for, kept_gpus
from kernels.hardware.asked_gpu import ask
from kernels.hardware.gpu_facts import to_json
from tools.evidence.live.profiled_launch import WARM_UPS, ProfiledLaunch, launches_of
from tools.evidence.live.proton_tree import SCOPE, read_tree
from tools.harness.compiling.compiler import reason
from tools.harness.process.gpu_lock import GpuLock

Json = dict[str, Any]
SAMPLING_S = 0.004
"""Launches are repeated for so long while the program counter is sampled: one sample a multiprocessor every 1024
clocks makes some 900 thousand on 132 of them."""
SHORT_MS = 0.05
"""Launches below it are also timed in a graph, where the time between them shows."""
NO_SCOPES = "in-kernel cycles are missing: the kernel's source opens no scope of triton.profiler.language"


def profiler(init: Json) -> Any:
    """Serve profiling jobs on the GPU `init["index"]`. The lock file `init["lock"]` is held while the GPU is used."""
    lock = GpuLock(init["lock"])
    prepared: dict[str, ProfiledLaunch] = {}

    def serve(job: Json) -> Json:
        with lock:
            try:
                if job["mode"] == "about":
                    return about(init["index"])
                key = json.dumps({k: v for k, v in job.items() if k != "mode"}, sort_keys=True)
                if key not in prepared:
                    prepared.clear()  # the tensors of the config before
                    prepared[key] = ProfiledLaunch(job, init["index"])
                return MODES[job["mode"]](prepared[key])
            except Exception as e:  # noqa: BLE001 -- a launch or a profiler may raise anything; what it was is the answer
                return {"missing": reason(e)}

    return serve


def about(index: int) -> Json:
    """The GPU's name, and its facts if it has no published ones. Raises DriverSilent."""
    import torch

    name = torch.cuda.get_device_name(index)
    known = hardware_for(name) or kept_gpus.find(name)
    return {"name": name, "facts": to_json(known or ask(index))}


def times(launch: ProfiledLaunch) -> Json:
    """Kernel times of launches on a cold L2, and for short ones the time between starts."""
    from_above = launch.warm_up()

    def body() -> None:
        for _ in range(launches_of(from_above)):
            launch.flush()
            with proton.scope(SCOPE):
                launch.again()

    found = under_proton(launch, body, backend="cupti")
    if from_above < SHORT_MS + 0.05 and "missing" not in found:
        try:
            found["between_starts_ms"] = launch.between_starts_ms()
        except RuntimeError as e:
            found["no_graph"] = reason(e)
    return found


def stalls(launch: ProfiledLaunch) -> Json:
    """Samples of the program counter. Needs permission for the GPU's counters. CUPTI knows the source lines only of
    code that is loaded during the session: this is the first job of its process."""
    count = 0

    def body() -> None:
        nonlocal count
        count = launches_of(launch.warm_up(), SAMPLING_S)
        for _ in range(count):
            launch.again()

    return under_proton(launch, body, backend="cupti", mode="pcsampling") | {"launches": count + WARM_UPS}


def cycles(launch: ProfiledLaunch) -> Json:
    """Clocks of the scopes that the kernel's own source opens; Proton compiles the kernel anew for it."""
    if "triton.profiler.language" not in sys.modules:
        return {"missing": NO_SCOPES}
    found = under_proton(launch, launch.again, backend="instrumentation")
    return found if "missing" in found or found["cycles"] else {"missing": NO_SCOPES}


MODES = {"times": times, "stalls": stalls, "cycles": cycles}


def under_proton(launch: ProfiledLaunch, body: Any, backend: str, mode: str | None = None) -> Json:
    """Run `body` in a session of Proton, wait for the GPU, and read what Proton wrote."""
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "profile")
        session = proton.start(name, data="tree", backend=backend, mode=mode)
        if session is None:
            return {"missing": "Proton is switched off (PROTON_DISABLE or its command line)"}
        try:
            body()
            launch.wait()
        finally:
            proton.finalize(session)
        files = sorted(Path(folder).glob("profile*"))
        if not files:
            return {"missing": "Proton wrote no file"}
        return read_tree(json.loads(files[0].read_text()))
