"""From words that were chosen to a session that works: kernel, problem, device, pool, memory."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from kernels.check_spec import examine
from kernels.registry import get
from kernels.spec import sentence
from memory.store import Memory, MemoryFileError
from memory.terms import Metric, Regime
from tools.fleet.device import FleetDevice
from tools.harness import open_device
from tools.harness.compiling.compile_pool import CompilePool
from tools.harness.device import DeviceError
from tools.harness.devices.live import LiveDevice
from tools.harness.process.prestart import Nursery
from tools.session.recall import resume, warm_up
from tools.session.session import Budget, Ids, Session
from tools.session.task import Task

PLANNERS = "sklearn.gaussian_process"
"""What the planner imports when first asked, for a second."""


class SetupError(ValueError):
    """What was asked for cannot be set up; the message is one sentence for the user."""


def open_session(
    kernel: str,
    shape: tuple[int, ...] | None,
    options: dict[str, Any],
    metric: Metric | None,
    device: str,
    *,
    regime: Regime,
    memory_path: Path | None,
    max_evals: int,
    max_seconds: float,
    seed: int,
    run_id: str,
    progress: Callable[[str], None],
    warm: bool = True,
    early: Nursery | None = None,
) -> Session:
    """An open session; a `run_id` that memory knows gets back what it has done. Raises SetupError.

    `early` holds processes that a single GPU's device and its pool begin with.

    `shape` and `options` fill the kernel's problem, the rest of which is its default."""
    try:
        spec = get(kernel)
        problem = spec.parse_problem(shape, options)
        examine(spec, problem)
        spec.source_hash()  # code without a source file is refused before a GPU is taken
    except ValueError as e:
        raise SetupError(sentence(e)) from e
    try:
        memory = Memory.open(memory_path)
        with importing(PLANNERS) if early else nullcontext():  # while the GPU's worker says what it has
            opened, hardware = open_device(device, spec, problem, regime, early)
        if isinstance(opened, LiveDevice):
            opened.expect_measurements()
        pool = opened.compile_pool() if isinstance(opened, FleetDevice) else CompilePool(hardware, early=early)
    except (MemoryFileError, DeviceError) as e:
        raise SetupError(str(e)) from e
    try:
        task = Task.of(spec, problem, hardware, metric, regime, seed)
        why = opened.no_energy() if task.energy else None
        if why:
            raise ValueError(
                f"Energy cannot be measured here ({why}): choose an NVIDIA GPU with --device cuda:0, or ask for "
                "TFLOPS, bandwidth or latency."
            )
    except ValueError as e:
        opened.close()
        pool.close()
        memory.close()
        raise SetupError(str(e)) from e
    ids = Ids.of(memory, opened.info, spec, problem)
    session = Session(task, opened, pool, memory, ids, run_id, Budget(max_evals, max_seconds), progress)
    resume(session)
    if warm:
        warm_up(session)
    return session


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Within this a thread imports `module`."""
    thread = threading.Thread(target=importlib.import_module, args=(module,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
