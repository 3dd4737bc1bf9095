"""The compile pool on a cluster: Ray tasks, one CPU each, on whichever host has one free."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from kernels.hardware import Hardware
from kernels.hardware.gpu_facts import to_json
from kernels.spec import Config
from tools.fleet.artifacts import Files, take
from tools.harness.compiling.cache import triton_environment
from tools.harness.compiling.compile_pool import DEADLINE_S, Begin, LocalCompilePool, load_kernel
from tools.harness.landscapes.readings import config_key
from tools.harness.process.child import Child, ChildDied, ChildKilled, ChildTimeout, ChildUnborn
from tools.harness.process.refusal import Refusal

QUEUE_S = 3600.0
"""How long a task may wait for a free CPU before that is our own failure."""

_compilers: dict[str, tuple[Child, Path]] = {}
"""The compile child of this Ray worker process, by GPU model, with the cache it compiles into."""


def compile_here(job: dict[str, Any], facts: dict[str, Any], deadline_s: float) -> tuple[dict[str, Any], Files]:
    """One compilation in a killable child of this process, which Ray uses again and again. `facts` are those of the GPU
    model (:func:`kernels.hardware.gpu_facts.to_json`): this host may never have seen one.

    The answer, or ``ended``: how the child did, and the files that were compiled."""
    hardware = str(facts["name"])
    child, cache = _compilers.get(hardware, (None, None))
    if child is None or cache is None or not child.alive:
        cache = Path(tempfile.mkdtemp(prefix="autokernel-compile-"))
        init = {"hardware": facts, "cache": str(cache)}
        child = Child("tools.harness.compiling.compiler:compiler", init, triton_environment(cache))
        _compilers[hardware] = (child, cache)
    try:
        load_kernel(child, job)
        answer = child.call(job, deadline_s)
    except ChildTimeout as e:
        return {"ended": "timeout", "why": str(e)}, {}
    except ChildKilled as e:
        return {"ended": "killed", "why": str(e)}, {}
    except (ChildUnborn, Refusal) as e:
        return {"ended": "unborn", "why": str(e)}, {}
    except ChildDied as e:
        return {"ended": "died", "why": str(e)}, {}
    return answer, take(cache)


ENDS = {"timeout": ChildTimeout, "killed": ChildKilled, "unborn": ChildUnborn, "died": ChildDied}
"""How a child ended, in a task's answer."""


class FleetCompilePool(LocalCompilePool):
    """Same answers and statuses; what was compiled stays in Ray's object store until a worker asks for it."""

    def __init__(self, ray: Any, hardware: Hardware, deadline_s: float = DEADLINE_S) -> None:
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        super().__init__(hardware, workers=cpus, deadline_s=deadline_s)
        self._ray = ray
        # One retry is Ray's: it compiles again where the host that held the files has gone.
        self._task = ray.remote(num_cpus=1, num_returns=2, max_retries=1)(compile_here)
        self._files: dict[str, Any] = {}

    def files(self, config: Config) -> Any:
        """A reference to what was compiled for `config`; ``None`` where a worker has to compile for itself."""
        return self._files.get(config.key())

    def _call(self, job: dict[str, Any], begin: Begin) -> dict[str, Any]:
        answered, files = self._task.remote(job, to_json(self.hardware), begin())
        try:
            answer: dict[str, Any] = self._ray.get(answered, timeout=QUEUE_S)
        except self._ray.exceptions.RayTaskError as e:
            raise RuntimeError(f"our code failed in a compile task:\n{e}") from e
        except self._ray.exceptions.RayError as e:  # its process or its host went away
            raise ChildKilled(f"the compile task was lost: {type(e).__name__}") from e
        ended = answer.get("ended")
        if ended is not None:
            raise ENDS[ended](answer["why"])
        self._files[config_key(job["config"])] = files
        return answer
