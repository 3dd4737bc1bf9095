"""Edited code of captured launches: whether it may be edited, how a process finds it, and what a table holds of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from agent.programs.improvement.improve_plan import Job
from kernels.hardware import Hardware, hardware_named
from memory.file import default_path
from tools.harness.compiling.compile_pool import LocalCompilePool


class EditedLaunches:
    """Those whose variants lie beside one memory."""

    def __init__(self, memory: Path | None, hardware: Hardware | None) -> None:
        """`memory`: None is the default one. `hardware`: the facts of the GPU; None if nothing is compiled."""
        self.folder = (memory or default_path()).absolute().parent / "variants"
        self._hardware = hardware
        self._pool: LocalCompilePool | None = None

    def refusal(self, job: Job) -> str | None:
        """Why the launch's code cannot be edited; None if it can."""
        from kernels.editing.refused_edit import RefusedEdit

        try:
            self._kernel(job).editable_functions(job.kernel.default_problem(), hardware_named("H200"))
        except RefusedEdit as e:
            return str(e)
        return None

    def reference(self, job: Job, config: dict[str, Any]) -> str:
        """The name by which a process finds the kernel of `config`."""
        from kernels.editing.editable import MARK

        return f"{MARK}{self.folder}|{job.reference}" if is_edited(config) else job.reference

    def source(self, job: Job, config: dict[str, Any] | None) -> dict[str, Any] | None:
        """The variant that `config` chooses, as the table holds it; None if it is the owner's code."""
        from kernels.editing.editable import FIELD
        from kernels.editing.variants import chosen, complete, load

        if not config or not is_edited(config):
            return None
        name, given = chosen(config[FIELD])
        owner = partial(self._kernel(job).owner, job.kernel.default_problem(), hardware_named("H200"))
        variant = load(self.folder / f"{name}.json", owner)
        return {**variant.recorded(), "hash": variant.hash, "values": complete(variant, given)}

    def compile(self, kernel: Any, problem: Any, config: Any) -> str | None:
        """Compile edited code in a process that is shut in: nobody else compiles it. Why that failed, or None."""
        if self._hardware is None:
            return None
        self._pool = self._pool or LocalCompilePool(self._hardware, workers=1, shut_in=True)
        (found,) = self._pool.compile(kernel, problem, [config])
        return None if found.status == "correct" else f"it does not compile: {found.reason}"

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    def _kernel(self, job: Job) -> Any:
        """The launch as a kernel with variants."""
        from kernels.editing.editable import editable

        return editable(job.kernel, self.folder, job.reference)


def is_edited(config: dict[str, Any]) -> bool:
    """Whether `config` chooses edited code."""
    from kernels.editing.editable import FIELD

    return bool(config.get(FIELD))
