"""The float64 reference of a captured launch: its own code, every float raised to float64, on some of its programs.

    1. A child process with ``TRITON_INTERPRET=1`` makes function and arguments anew from the capture
       (``kernels/capture/reading``), tensors of floats in float64 with the numbers that the dtype can hold.
    2. It runs the first, the last and evenly spaced programs of the grid at their real size, so that nothing has to be
       known of what the arguments mean. Every access is checked to lie in the arguments' memory. Of slow programs fewer
       are run.
    3. What exactly one program stored is the reference. What programs add to by atomics is one only if all of them
       ran.

A launch that cannot be computed so has no reference, and the result says why.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.harness.process.child import ONE_THREAD, Child, ChildDied, ChildTimeout

if TYPE_CHECKING:
    import numpy as np

DEADLINE_S = 120.0
PROGRAMS = 16
"""Programs that are run of a larger grid."""
LEAST_PROGRAMS = 2
"""Programs that are run however long they take."""
MOST_BUSY = 0.5
"""Of the deadline: so much processor time later no further program is begun."""
WHOLE_GRID = 2048
"""Programs up to which the whole grid is run for the sake of atomics."""
MOST_S, LEAST_S = 30.0, 2.0
"""For the answer to a question; with less time left none is begun."""
MOST_BYTES = 4 << 30
"""Of all arguments in float64."""


@dataclass(frozen=True)
class Reference:
    """What a launch computes in float64."""

    reason: str | None
    """Why there is none; None if there is one."""
    programs: int = 0
    of: int = 0
    stored: dict[int, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = field(default_factory=dict)
    """Storage of the launch → (elements counted from the storage's start, their values in float64)."""


class PromotingInterpreter:
    """One child that makes references."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def start(self) -> Child:
        """The child, which imports while it is not needed yet."""
        if self._child is None or not self._child.alive:
            environment = {"TRITON_INTERPRET": "1", **ONE_THREAD}
            self._child = Child(
                "tools.harness.checking.float64.promoted_reference:promoting_interpreter", {}, environment, forked=True
            )
        return self._child

    def reference(
        self,
        capture: str,
        launch: str,
        seed: int,
        deadline_s: float = DEADLINE_S,
        damped: int = 0,
        given: str | None = None,
    ) -> Reference:
        """The reference of the launch with this digest, on arguments made by `seed` and damped so often
        (``kernels.capture.reading.rebuilt_arguments``).

        `given` names a file that holds, by storage, elements in their own dtypes
        (:func:`kernels.capture.reading.storage_elements.storages_of`). Then the arguments hold these numbers, other
        memory zeros, and `seed` draws which programs are run between the first and the last."""
        child = self.start()
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "stored.npz")
            job = {"capture": capture, "launch": launch, "seed": seed, "damped": damped, "out": out, "given": given}
            job["busy_s"] = MOST_BUSY * deadline_s
            try:
                answer = child.call(job, deadline_s)
            except ChildTimeout:
                return Reference(f"the interpreter needed more than {deadline_s:g} s")
            except ChildDied as e:
                return Reference(f"in the interpreter {e}")
            if answer["reason"] is not None:
                return Reference(answer["reason"])
            import numpy

            with numpy.load(out) as found:
                stored = {s: (found[f"at{s}"], found[f"values{s}"]) for s in answer["storages"]}
        return Reference(None, answer["programs"], answer["of"], stored)

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()


@dataclass(frozen=True)
class Question:
    """What a launch computes in float64 on inputs that another process has made."""

    capture: str
    launch: str
    damped: int
    seed: int
    """Draws the programs."""
    given: str
    """A file with the inputs, storage → its elements (``torch.save``)."""

    def answer(self, interpreter: PromotingInterpreter, most_s: float = MOST_S) -> Reference:
        """The reference by `interpreter`, unless less than LEAST_S seconds are left for it."""
        if most_s < LEAST_S:
            return Reference("no time is left for it")
        seconds = min(most_s, MOST_S)
        return interpreter.reference(self.capture, self.launch, self.seed, seconds, self.damped, self.given)


def before_fork() -> None:
    """What every such child needs."""
    import torch  # noqa: F401

    import tools.harness.compiling.compiler  # noqa: F401


def promoting_interpreter(init: dict[str, Any]) -> Any:
    """Serve references in the child."""
    import numpy as np
    import torch

    from kernels.capture.reading.captured_launches import read_capture
    from kernels.capture.reading.rebuilt_arguments import raised_bytes
    from kernels.capture.reading.rebuilt_functions import CannotRebuild
    from kernels.triton.interpreter_arguments import numpy_advice
    from kernels.triton.interpreter_float64 import NotPromotable, promote
    from tools.harness.compiling.compiler import reason
    from tools.harness.process.machine_trouble import causes

    promote()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())

    def serve(job: dict[str, Any]) -> dict[str, Any]:
        until = time.process_time() + job["busy_s"]
        capture = read_capture(job["capture"])
        launch = capture.named(job["launch"])
        size = raised_bytes(launch)
        if size > MOST_BYTES:
            return {"reason": f"its arguments may need {size / 2**30:.0f} GiB in float64"}
        try:
            total = math.prod(launch.grid["came_out"])
            run = _Run(capture, launch, job, folder)
            drawn = None if job["given"] is None else random.Random(job["seed"])
            run.programs(chosen_programs(launch.grid["came_out"], PROGRAMS, drawn), until)
            if run.memory.atomic and run.ran < total <= WHOLE_GRID:
                whole = _Run(capture, launch, job, folder)
                whole.programs(chosen_programs(launch.grid["came_out"], total), until)
                run = whole if whole.ran == total else run
        except (NotPromotable, CannotRebuild) as e:
            return {"reason": str(e)}
        except Exception as e:  # noqa: BLE001 -- whatever a kernel raises here is why it has no reference
            inner = next((c for c in causes(e) if isinstance(c, NotPromotable)), None)
            return {"reason": str(inner or numpy_advice(str(e)) or f"the interpreter failed: {reason(e)}")}
        stored = run.memory.stored(whole=run.ran == total)
        if not stored:
            return {"reason": "every element that it writes needs more programs than can be run here"}
        arrays: Any = {f"{n}{s}": a for s, pair in stored.items() for n, a in zip(("at", "values"), pair, strict=True)}
        np.savez(job["out"], **arrays)
        return {"reason": None, "programs": run.ran, "of": total, "storages": list(stored)}

    return serve


def chosen_programs(grid: list[int], most: int, drawn: random.Random | None = None) -> list[tuple[int, int, int]]:
    """At most `most` programs of the grid: the last, the first, then those that lie evenly between them, in an order in
    which any number of the first ones is spread over the grid; with `drawn`, which it draws."""
    x, y, z = (*grid, 1, 1)[:3]
    total = x * y * z
    count = min(total, most)
    if drawn is not None:
        spread = drawn.sample(range(1, max(1, total - 1)), max(0, count - 2))
    else:
        between = [round(i * (total - 1) / max(1, count - 1)) for i in range(1, count - 1)]
        bits = max(1, (len(between) - 1).bit_length())
        order = sorted(range(len(between)), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))
        spread = [between[i] for i in order]
    numbers = dict.fromkeys([total - 1, 0, *spread])
    return [(n // (y * z), n // z % y, n % z) for n in numbers]


class _Run:
    """One execution of a launch on fresh arguments, made as the job says."""

    def __init__(self, capture: Any, launch: Any, job: dict[str, Any], folder: Path) -> None:
        import torch
        from triton.runtime.jit import TensorWrapper

        from kernels.capture.reading.rebuilt_arguments import passed_arguments, rebuild_tensors
        from kernels.capture.reading.rebuilt_functions import rebuild_function
        from kernels.capture.reading.storage_elements import fill_storages
        from tools.harness.checking.float64.watched_memory import WatchedMemory

        def function(digest: str) -> Any:
            return rebuild_function(digest, capture.functions(), folder)

        found = next(d for d, f in capture.functions().items() if f is launch.function)
        self._function = function(found)
        self._launch = launch
        generator = torch.Generator().manual_seed(job["seed"]) if job["given"] is None else None
        tensors = rebuild_tensors(launch, generator, "cpu", raised=True, damped=job["damped"])
        if job["given"] is not None:
            fill_storages(launch, tensors, torch.load(job["given"], mmap=True))
        self.memory = WatchedMemory(launch, tensors)

        def typed(value: Any, described: dict[str, Any]) -> Any:
            """Float64 memory under the dtype that the kernel expects."""
            if described["type"] == "tensor" and value.dtype == torch.float64:
                return TensorWrapper(value, getattr(torch, described["dtype"]))
            if described["type"] == "tuple":
                items = [typed(v, d) for v, d in zip(value, described["items"], strict=True)]
                return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
            if described["type"] == "descriptor":
                value.base = typed(value.base, described["base"])
            return value

        passed = passed_arguments(launch.arguments, tensors, function)
        self._arguments = {n: typed(v, launch.arguments[n]) for n, v in passed.items()}
        self.ran = 0

    def programs(self, chosen: list[tuple[int, int, int]], until: float) -> None:
        """Run the programs at these places, as many as begin before `until` (``time.process_time()``)."""
        import numpy as np
        import triton.runtime.interpreter as interpreter

        kernel = self._function.rewrite()
        interpreter._patch_lang(kernel)
        constants = {n for n, a in self._launch.arguments.items() if a.get("constexpr")}
        given = {n: v if n in constants else interpreter._implicit_cvt(v) for n, v in self._arguments.items()}
        builder = interpreter.interpreter_builder
        builder.set_grid_dim(*(*self._launch.grid["came_out"], 1, 1)[:3])
        with self.memory.watch(), np.errstate(all="ignore"):
            for place in chosen:
                if self.ran >= LEAST_PROGRAMS and time.process_time() > until:
                    break
                builder.set_grid_idx(*place)
                self.memory.next_program()
                kernel(**given)
                self.ran += 1
