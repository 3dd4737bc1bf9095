"""Evidence from the card: a config run under Proton in a child process that can be killed. What is missing is said."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tools.evidence.live.profiler_errors import meaning
from tools.evidence.measured import Measured
from tools.harness.compiling.cache import default_cache, worker_environment
from tools.harness.process.child import Child, ChildDied, ChildTimeout
from tools.harness.process.identity import describe
from tools.harness.process.refusal import Refusal

if TYPE_CHECKING:
    from kernels.hardware import Hardware
    from kernels.spec import Config, KernelSpec, Problem
    from tools.evidence.bottleneck import Name

CHILD = "tools.evidence.live.card_child:profiler"
DEADLINE_S = 60.0
"""Of one job: a hang ends then. A job of a config that works takes well under a second."""
BUDGET_S = 5.0
"""Of one config, from the child's first job on. A look that would begin later is left out, and a note says so."""


@dataclass(frozen=True)
class Seen:
    """What the card showed of a config."""

    ms: float | None
    """Kernel time of one launch by Proton, all its kernels together, on a cold L2."""
    kernels: dict[str, float] = field(default_factory=dict)
    """The same by kernel."""
    between_starts_ms: float | None = None
    """From one launch to the next in a CUDA graph, L2 warm; of short launches only."""
    samples: dict[str, int] = field(default_factory=dict)
    """Samples of the program counter by stall reason."""
    frames: dict[str, int] = field(default_factory=dict)
    """Samples by source line, as Proton names it."""
    sampled_launches: int = 0
    counters: dict[str, dict[Name, float]] = field(default_factory=dict)
    """Shares by unit that ncu read, by kernel, where it was asked."""
    cycles: dict[str, float] = field(default_factory=dict)
    """Clocks by scope of the kernel's source."""
    notes: tuple[str, ...] = ()
    """What was not available, a sentence each."""
    seconds: float = 0.0

    def measured(self, kernel: str, counters: Mapping[Name, float] | None = None) -> Measured | None:
        """What was seen of one kernel; ``None`` if it was not timed. Samples are one kernel's if there is but one."""
        if kernel not in self.kernels:
            return None
        alone = len(self.kernels) == 1
        stalls = self.samples if alone else {}
        return Measured(self.kernels[kernel], stalls, max(1, self.sampled_launches), counters or {})


class Card:
    """Profiles configs on ``cuda:INDEX``. `lock` is the file by which the GPU is shared: while a config is profiled
    nothing is timed, and the other way round."""

    def __init__(self, index: int = 0, lock: Path | None = None, cache: Path | None = None) -> None:
        self._file = None if lock else tempfile.NamedTemporaryFile(prefix="autokernel-gpu-")  # noqa: SIM115
        self.index = index
        self.lock = lock or Path(self._file.name if self._file else "")
        self.environment = worker_environment(cache or default_cache())
        self._child: Child | None = None

    def hardware(self) -> Hardware:
        """The facts of the GPU. Raises ValueError with one sentence if it does not answer."""
        from kernels.hardware.gpu_facts import from_json

        answer = self._ask({"mode": "about"})
        if "missing" in answer:
            raise ValueError(f"the GPU cannot be profiled: {answer['missing']}")
        return from_json(answer["facts"])

    def see(self, spec: KernelSpec[Any, Any], problem: Problem, config: Config, sampled: bool = True) -> Seen:
        """Kernel times; samples of the program counter and in-kernel cycles too if `sampled`."""
        if spec.shut_in:
            return Seen(None, notes=("edited code is not profiled: the profiler's process is not shut in",))
        job = {**describe(spec, problem), "config": config.model_dump(mode="json")}
        timed = self._ask(job | {"mode": "times"})
        began = time.monotonic()  # the child's start and its compilation are not the card's
        notes = [f"Proton's kernel times are missing: {timed['missing']}"] if "missing" in timed else []
        by_kernel = {name: total * 1e-6 / count for name, (total, count) in timed.get("kernels", {}).items() if count}
        if not by_kernel and not notes:
            notes.append("Proton saw no kernel: its CUPTI is not allowed here or another profiler holds the GPU")
        stalls: dict[str, Any] = {}
        cycles: dict[str, Any] = {}
        if sampled:
            cycles = self._ask(job | {"mode": "cycles"})
            notes += [cycles["missing"]] if "missing" in cycles else []
            if time.monotonic() - began > BUDGET_S:
                notes.append(f"samples of the program counter are left out: the looks before took {BUDGET_S:g} s")
            else:
                stalls = self._ask(job | {"mode": "stalls"}, fresh=True)
                notes += stall_notes(stalls)
        return Seen(
            ms=sum(by_kernel.values()) if by_kernel else None,
            kernels=by_kernel,
            between_starts_ms=timed.get("between_starts_ms"),
            samples=stalls.get("samples", {}),
            frames=stalls.get("frames", {}),
            sampled_launches=stalls.get("launches", 0),
            cycles=cycles.get("cycles", {}),
            notes=tuple(notes),
            seconds=time.monotonic() - began,
        )

    def _ask(self, job: dict[str, Any], fresh: bool = False) -> dict[str, Any]:
        """The answer of the profiler's process, of one that has done nothing yet if `fresh`."""
        if self._child is not None and fresh:
            self._child.kill()
        if self._child is None or not self._child.alive:
            self._child = Child(CHILD, {"index": self.index, "lock": str(self.lock)}, self.environment, forked=True)
        try:
            answer = self._child.call(job, DEADLINE_S)
            return answer | {"missing": meaning(answer["missing"])} if "missing" in answer else answer
        except ChildTimeout:
            return {"missing": f"the kernel did not end under the profiler within {DEADLINE_S:g} s"}
        except Refusal as e:
            return {"missing": str(e)}
        except (ChildDied, RuntimeError) as e:
            why = meaning(str(e))
            return {"missing": f"the profiler's process failed ({why[-240:]})"}

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def stall_notes(stalls: dict[str, Any]) -> list[str]:
    """Why there are no samples of the program counter, if there are none."""
    if "missing" in stalls:
        return [f"samples of the program counter are missing: {stalls['missing']}"]
    if not stalls.get("frames"):
        return ["no sample of the program counter: the kernel is too short, or counters are not permitted"]
    return []
