"""GPU time by kernel of a whole program, read by PyTorch's profiler in each of its processes.

The profiler starts when the program first uses the GPU and ends with the process. Times are added to one file.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .capture_file import append
from .module_patcher import ModulePatcher

VARIABLE = "AUTOKERNEL_KERNEL_TIMES"
"""Names the file."""


class KernelTimes(ModulePatcher):
    """Profiles this process into the file at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__({"torch.cuda": lambda module: self.replace(module, "_lazy_init", self._starting)})
        self._path = path
        self._profile: Any = None
        self._starts = False

    def _starting(self, init: Callable[[], None]) -> Callable[[], None]:
        @functools.wraps(init)
        def lazy_init() -> None:
            init()
            if not self._starts:
                self._starts = True  # the profiler may come here itself
                from torch.profiler import ProfilerActivity, profile

                self._profile = profile(activities=[ProfilerActivity.CUDA])
                self._profile.start()

        return lazy_init

    def write(self) -> None:
        """Add what was read to the file."""
        if self._profile is None:
            return
        found, self._profile = self._profile, None
        sys.modules["torch"].cuda.synchronize()
        found.stop()
        times: Counter[str] = Counter()
        for event in found.key_averages():
            if event.self_device_time_total > 0:
                times[event.key] += event.self_device_time_total / 1e3
        append(self._path, (json.dumps({"pid": os.getpid(), "ms": times}) + "\n").encode())

    def forked(self) -> None:
        self._profile = None


def read_times(path: str) -> dict[str, float]:
    """Milliseconds by kernel, over all processes; nothing if no process used a GPU."""
    times: Counter[str] = Counter()
    if Path(path).exists():
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            times.update(json.loads(line)["ms"])
    return dict(times)


def measure_process() -> None:
    """Profile this process, until its end, into the file that the environment names. Called by sitecustomize.py."""
    from .begin import before_end

    times = KernelTimes(os.environ[VARIABLE])
    times.install()
    before_end(times.write)
    os.register_at_fork(after_in_child=times.forked)
