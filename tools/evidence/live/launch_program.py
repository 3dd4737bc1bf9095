"""The program that ``ncu`` runs: ``python -m tools.evidence.live.launch_program JOBS.json`` launches each job's config
once between ``cudaProfilerStart`` and ``cudaProfilerStop``, after it has warmed up.

JOBS.json holds ``index``, ``lock`` and ``jobs``. Prints a line of JSON for each job: its place, and what failed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tools.evidence.live.profiled_launch import ProfiledLaunch
from tools.harness.compiling.error_line import reason
from tools.harness.process.gpu_lock import GpuLock


def main(given: dict[str, Any]) -> None:
    import torch

    gate: Any = torch.cuda.profiler
    with GpuLock(given["lock"]):
        for place, job in enumerate(given["jobs"]):
            said: dict[str, Any] = {"job": place}
            try:
                launch = ProfiledLaunch(job, given["index"])
                launch.warm_up()
                gate.start()
                launch.again()
                launch.wait()
                gate.stop()
                del launch
            except Exception as e:  # noqa: BLE001 -- a launch may raise anything; what it was is the answer
                said["missing"] = reason(e)
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
