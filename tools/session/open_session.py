"""Opens a session from the names that a user chose: kernel, problem, device, compile pool, memory."""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from kernels.check_spec import examine, examine_space
from kernels.registry import get, is_builtin
from kernels.spec import sentence
from memory.file import MemoryFull
from memory.store import Memory, MemoryFileError
from memory.terms import Metric, Regime
from memory.upkeep.spoilt import describe
from tools.harness.checking.interpreter import Interpreter
from tools.harness.compiling.compiled_ahead import CompiledAhead
from tools.harness.device import DeviceError, MachineTrouble
from tools.harness.open_device import open_device
from tools.harness.process.prestart import Prestart
from tools.harness.results import CompileResult
from tools.session.budget import Budget
from tools.session.edits import with_edits
from tools.session.recall import resume, warm_up
from tools.session.session import Ids, Session
from tools.session.task import Task

PLANNERS = "scipy.optimize"
"""What the planner imports at its first call; it takes a third of a second."""


class SetupError(ValueError):
    """The session cannot be set up; the message is one sentence for the user."""


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
    cold: bool = False,
    alongside: Sequence[str] = (),
    prestart: Prestart | None = None,
    edit: bool = False,
    bitwise: bool = False,
    gpu_lock: Path | None = None,
    begun: Mapping[str, Future[CompileResult]] | None = None,
    ends_at: float = math.inf,
) -> Session:
    """Open a session. Raises SetupError, or MachineTrouble or MemoryFull where the user's words are not to blame.

    `shape` (in the kernel's order of dimensions) and `options` set fields of the kernel's problem; the other fields
    keep their defaults. If memory knows `run_id`, the session gets back what that run has done. `prestart` may hold
    processes for a single GPU's device and its compile pool. Unless `warm`, nothing of other runs is used; if
    `cold`, it is not shown either, except that of `alongside`, which are earlier runs of the same command. With
    `edit` a model may send device code (:mod:`tools.edit_kernel`). With `bitwise` only configs that give the bits
    of the owner's launch are proven. Sessions of several processes with one file `gpu_lock` take turns on a single
    GPU. `begun`: compilations of its configs that others have begun, by :meth:`kernels.spec.Config.key`. `ends_at`:
    ``time.monotonic()`` when the run has to be over, its proofs included;
    a single GPU keeps to it."""
    try:
        spec = get(kernel)
        problem = spec.parse_problem(shape, options)
        (examine_space if is_builtin(spec) else examine)(spec, problem)
        if edit:
            spec = with_edits(spec, problem, memory_path)
        spec.source_hash()  # code without a source file is refused before a GPU is taken
    except ValueError as e:
        raise SetupError(sentence(e)) from e
    begin_interpreter = edit and bool(prestart)
    try:
        memory = Memory.open(memory_path)
        with importing(PLANNERS) if prestart else nullcontext():  # while the GPU's worker starts
            opened, hardware = open_device(device, spec, problem, regime, prestart, gpu_lock, ends_at)
    except (MachineTrouble, MemoryFull):
        raise
    except (MemoryFileError, DeviceError) as e:
        raise SetupError(str(e)) from e
    try:
        opened.expect_measurements()
        pool = opened.compile_pool(prestart)
        if begun:
            pool = CompiledAhead(pool, spec, problem, begun)
    except BaseException:
        opened.close()
        memory.close()
        raise
    try:
        task = Task.of(spec, problem, hardware, metric, regime, seed, bitwise)
        why = opened.no_energy() if task.energy else None
        if why:
            raise ValueError(
                f"Energy cannot be measured here ({why}): choose an NVIDIA GPU with --device cuda:0, or ask for "
                "TFLOPS, bandwidth or latency."
            )
        unable = opened.no_bits() if bitwise else None
        if unable:
            raise ValueError(f"bitwise is not possible here ({unable}): choose a GPU, such as --device cuda:0.")
    except ValueError as e:
        opened.close()
        pool.close()
        memory.close()
        raise SetupError(str(e)) from e
    here = opened.compiled_with()
    ids = Ids.of(memory, opened.info, spec, problem, here)
    if ids.compiler is not None:
        progress(
            f"note: the times were recorded under {opened.info.toolchain()}; here {here.toolchain()} compiles, and its "
            "figures are kept apart from them"
        )
    budget = Budget(max_evals, max_seconds, ends_at=ends_at)
    session = Session(task, opened, pool, memory, ids, run_id, budget, progress, cold=cold, alongside=alongside)
    if begin_interpreter:  # the first edit comes once the owner's code is measured
        session.interpreter = Interpreter(shut_in=True)
        session.interpreter.start()
    spoilt = describe(memory, ids.problem)
    if spoilt:
        progress(f"note: {spoilt}")
    resume(session)
    if warm:
        warm_up(session)
    return session


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Import `module` in a thread while the context lasts."""
    thread = threading.Thread(target=importlib.import_module, args=(module,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
