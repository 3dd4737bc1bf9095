"""Evidence from the card: a config run under Proton in a child process that can be killed. What is missing is said."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tools.harness.compiling.cache import default_cache, worker_environment
from tools.harness.process.child import Child, ChildDied, ChildTimeout
from tools.harness.process.identity import describe

if TYPE_CHECKING:
    from kernels.spec import Config, KernelSpec, Problem

CHILD = "tools.evidence.live.card_child:profiler"
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Seen:
    """What the card showed of a config."""

    ms: float | None
    """Kernel time of one launch by Proton, all its kernels together."""
    samples: dict[str, int] = field(default_factory=dict)
    """Samples of the program counter by stall reason."""
    frames: dict[str, int] = field(default_factory=dict)
    """Samples by source line, as Proton names it."""
    notes: tuple[str, ...] = ()
    """What was not available, a sentence each."""


class Card:
    """Profiles configs on ``cuda:INDEX``. `lock` is the file by which the GPU is shared: while a config is profiled
    nothing is timed, and the other way round."""

    def __init__(self, index: int = 0, lock: Path | None = None, cache: Path | None = None) -> None:
        self._file = None if lock else tempfile.NamedTemporaryFile(prefix="autokernel-gpu-")  # noqa: SIM115
        self._init = {"index": index, "lock": str(lock) if self._file is None else self._file.name}
        self._cache = cache or default_cache()
        self._child: Child | None = None

    def see(self, spec: KernelSpec[Any, Any], problem: Problem, config: Config, sampled: bool = True) -> Seen:
        """Kernel time, and samples of the program counter if `sampled`."""
        job = {**describe(spec, problem), "config": config.model_dump(mode="json")}
        timed = self._ask(job | {"mode": ""})
        notes = [f"Proton's kernel times are missing: {timed['missing']}"] if "missing" in timed else []
        ms = _ms_of(timed)
        if ms is None and not notes:
            notes.append("Proton saw no kernel: its CUPTI is not allowed here or another profiler holds the GPU")
        stalls = self._ask(job | {"mode": "pcsampling"}) if sampled else {}
        if "missing" in stalls:
            notes.append(f"samples of the program counter are missing: {stalls['missing']}")
        elif sampled and not stalls.get("frames"):
            notes.append("no sample of the program counter: the kernel is too short, or counters are not permitted")
        return Seen(ms, stalls.get("samples", {}), stalls.get("frames", {}), tuple(notes))

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        if self._child is None or not self._child.alive:
            self._child = Child(CHILD, self._init, worker_environment(self._cache))
        try:
            return self._child.call(job, DEADLINE_S)
        except ChildTimeout:
            return {"missing": f"the kernel did not end under the profiler within {DEADLINE_S:g} s"}
        except (ChildDied, RuntimeError) as e:
            return {"missing": f"the profiler's process failed ({' '.join(str(e).split())[-160:]})"}

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _ms_of(answer: dict[str, Any]) -> float | None:
    """Time of one launch: each kernel's mean, summed."""
    kernels = answer.get("kernels", {})
    times = [total / count for total, count in kernels.values() if count]
    return sum(times) * 1e-6 if times else None
