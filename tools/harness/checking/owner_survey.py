"""Runs the owner's launch of a capture before it is tuned, and finds out what a config may differ in.

    0. The captured function is compared with the one that is installed now. If the launch gives NaN or infinity on
       arguments made anew, they are damped (``CapturedProblem.damped``) until it does not, or as they were if nothing
       helps.
    1. Arguments are made anew from a seed. The launch runs twice on equal arguments: how far the results differ is the
       floor of what may differ at all (atomics add in any order).
    2. It runs once more on results full of NaN. A result that comes out the same is *overwritten*: the launch reads
       nothing of it. A result that never changes is *unchanged*.
    3. The results are compared with the float64 reference of the same arguments, where there is one
       (``float64/promoted_reference.py``): how far the owner's launch is off.
    4. On a GPU it is timed.

In the interpreter a launch whose programs do not fit in the time is surveyed by some of them
(``sampling/survey_launches.py``). Then nothing counts as overwritten or unchanged.

A finalist is compared with float64 in the same way: :meth:`OwnerSurvey.errors`. It is timed beside the owner's launch:
:meth:`OwnerSurvey.side_by_side`. A child process does all of this, on
the GPU or in Triton's interpreter.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.harness.checking.float64.float64_errors import (
    Exact,
    difference,
    errors_against,
    read_reference,
    written_reference,
)
from tools.harness.checking.float64.promoted_reference import Reference
from tools.harness.compiling.cache import default_cache, triton_environment
from tools.harness.process.child import ONE_THREAD, Child, ChildDied, ChildTimeout, ChildUnborn
from tools.harness.process.gpu_lock import GpuLock

if TYPE_CHECKING:
    from tools.harness.checking.sampling.survey_launches import Launched, SurveyLaunches

Json = dict[str, Any]

DEADLINE_S = 120.0
MOST_DAMPED = 4
"""Times that arguments are damped at most."""
READINGS = 5
"""Single launches whose median is the launch's time here."""
CPU = "cpu"
"""In place of a GPU: Triton's interpreter."""


@dataclass(frozen=True)
class Survey:
    """What was found out about one launch."""

    reason: str | None
    """Why the launch cannot be tuned, as a sentence's end; None if it can."""
    overwritten: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    repeats: dict[str, float] = field(default_factory=dict)
    """Result → scale-relative difference of two launches on equal arguments."""
    errors: dict[str, float] = field(default_factory=dict)
    """Result → scale-relative error against float64; empty without a reference."""
    roundings: dict[str, float] = field(default_factory=dict)
    """Result → what rounding of its dtype explains (:func:`kernels.launches.expected.default_bound`)."""
    integers: tuple[str, ...] = ()
    """Results that are whole numbers, which have to be equal."""
    ms: float | None = None
    """Median time on the GPU."""
    coarsest: float = 0.0
    """What rounding of the coarsest dtype of two bytes or more among the launch's floats explains: kernels round to it
    inside."""
    programs: str | None = None
    """Which programs were run, if not all: ``16 of 5,000 programs``."""


class OwnerSurvey:
    """One child that surveys launches on `device`, ``cuda:N`` or ``cpu``. On a GPU another compares functions."""

    def __init__(
        self,
        device: str,
        factory: str = "tools.harness.checking.owner_survey:surveyor",
        gpu_lock: Path | None = None,
    ) -> None:
        """`gpu_lock`: the file by which others use the GPU in turns (:mod:`tools.harness.process.gpu_lock`)."""
        self.device = device
        init = {"device": device, "lock": None if gpu_lock is None else str(gpu_lock)}
        interpreted = {"TRITON_INTERPRET": "1", "TRITON_DEFAULT_FP_FUSION": "1", **ONE_THREAD}
        environment = interpreted if device == CPU else triton_environment(default_cache())
        self._launching = self._comparing = _Process(factory, init, environment, forked=device == CPU)
        if device != CPU:  # to import a program's packages may take longer than a survey
            self._comparing = _Process(factory, init, environment)

    def changed(self, kernel: str) -> str | None:
        """Why the function of the launch that `kernel` names (``FILE#LAUNCH``) is not the one that was captured; None
        if it is, or if the program is not here. Nothing is launched, and surveys go on meanwhile on a GPU."""
        reason: str | None = self._comparing.call({"op": "changed", "kernel": kernel}).get("reason")
        return reason

    def damping(self, kernel: str, seed: int) -> int | str:
        """How often arguments made by `seed` have to be damped for the launch that `kernel` names; or why it cannot be
        launched, as a sentence's end."""
        answer = self._call({"op": "damping", "kernel": kernel, "seed": seed})
        return str(answer["reason"]) if "reason" in answer else int(answer["damped"])

    def survey(self, kernel: str, exact: Reference, seed: int, damped: int = 0) -> Survey:
        """The survey of the launch that `kernel` names. `exact`: its float64 reference on arguments made by `seed` and
        damped so often."""
        answer = self._ask({"op": "survey", "kernel": kernel, "seed": seed, "damped": damped}, exact)
        if "reason" in answer:
            return Survey(answer["reason"])
        tuples: Json = {n: tuple(answer.pop(n)) for n in ("overwritten", "unchanged", "integers")}
        return Survey(None, **tuples, **answer)

    def errors(self, kernel: str, problem: Json, config: Json, exact: Reference, seed: int) -> dict[str, float] | str:
        """Result → scale-relative error of `config` against `exact`; or why it could not be launched. `kernel`:
        ``FILE#LAUNCH``, or the same with variants (:mod:`kernels.editing.editable`)."""
        job = {"op": "errors", "kernel": kernel, "problem": problem, "config": config, "seed": seed}
        answer = self._ask(job, exact)
        return str(answer["reason"]) if "reason" in answer else dict(answer["errors"])

    def side_by_side(self, kernel: str, problem: Json, config: Json, seed: int) -> Json | str:
        """Times of `config` and of the owner's launch in turns, with a cold and with a warm L2
        (:func:`tools.harness.checking.side_by_side.read_side_by_side`), none on the CPU; or why it could not be
        launched. `kernel` as for :meth:`errors`."""
        if self.device == CPU:
            return {}
        answer = self._call({"op": "beside", "kernel": kernel, "problem": problem, "config": config, "seed": seed})
        return str(answer["reason"]) if "reason" in answer else dict(answer["times"])

    def device_info(self) -> Json:
        """``name`` of the GPU with ``triton`` and ``assembler`` here, or ``missing``: why there is none."""
        if self.device == CPU:
            return {"name": "interpreter", "triton": metadata.version("triton"), "assembler": None}
        return self._call({"op": "info"})

    def _ask(self, job: Json, exact: Reference) -> Json:
        with tempfile.TemporaryDirectory() as folder:
            return self._call({**job, "exact": written_reference(exact, str(Path(folder) / "exact.npz"))})

    def _call(self, job: Json) -> Json:
        return self._launching.call(job)

    def close(self) -> None:
        """End the children, whatever they do; no others are started."""
        self._launching.close()
        self._comparing.close()


class _Process:
    """A child for one job at a time, started for the first one and anew where one has ended it."""

    def __init__(self, factory: str, init: Json, environment: dict[str, str], forked: bool = False) -> None:
        """`forked`: whether it comes from a nursery. What touches a GPU does not."""
        self._about, self._forked = (factory, init, environment), forked
        self._child: Child | None = None
        self._closed = False
        self._one_at_a_time = threading.Lock()

    def call(self, job: Json) -> Json:
        with self._one_at_a_time:
            return self._call_alone(job)

    def _call_alone(self, job: Json) -> Json:
        if self._closed:  # a survey in the background outlives the work that it was for
            return {"reason": "the work was ended before its survey"}
        if self._child is None or not self._child.alive:
            self._child = Child(*self._about, forked=self._forked)
        try:
            return self._child.call(job, DEADLINE_S)
        except ChildTimeout:
            return {"reason": f"the owner's launch needed more than {DEADLINE_S:g} s on arguments made anew"}
        except ChildUnborn:
            raise
        except ChildDied as e:
            return {"reason": f"the owner's launch on arguments made anew ended its process: {e}"}

    def close(self) -> None:
        self._closed = True
        if self._child is not None:
            self._child.kill()


def before_fork() -> None:
    """What every survey in the interpreter needs."""
    import torch  # noqa: F401

    import tools.harness.compiling.toolchain  # noqa: F401


def surveyor(init: Json) -> Any:
    """Serve surveys in the child."""
    import torch

    from kernels.capture.reading.live_functions import HasChanged
    from kernels.capture.reading.rebuilt_functions import CannotRebuild
    from kernels.registry import get
    from tools.harness.compiling.compiler import reason
    from tools.harness.compiling.toolchain import add_to_triton_key, cache_key

    device, lock = init["device"], GpuLock(init["lock"])
    # Arguments are drawn on the CPU beside compilers. PyTorch's threads, one for each core, wait for one another in
    # loops: they took 8 to 14 of 16 cores while a program's launches were surveyed.
    torch.set_num_threads(1)
    if device == CPU:
        from triton.runtime import driver

        from kernels.hardware import hardware_named
        from kernels.triton.interpreter_arguments import patch_scalars
        from kernels.triton.interpreter_bf16 import patch_bf16
        from kernels.triton.stub_driver import StubDriver

        patch_bf16()
        patch_scalars()
        driver.set_active(StubDriver(hardware_named("H200")))

    looked = _Kept()

    def serve(job: Json) -> Json:
        if job["op"] == "info":
            return _info(device)
        try:
            spec: Any = get(job["kernel"])
            if job["op"] == "changed":
                _compare_with_live(spec)
                return {}
            if device != CPU:
                torch.cuda.set_device(torch.device(device))
                add_to_triton_key(cache_key(spec))
            with lock:
                return _look(spec, device, job, looked)
        except (HasChanged, CannotRebuild, ValueError) as e:
            return {"reason": str(e)}
        except Exception as e:  # noqa: BLE001 -- whatever a launch raises here is why it cannot be tuned
            return {"reason": f"its launch on arguments made anew failed: {reason(e)}"}
        finally:
            if device != CPU:
                torch.cuda.empty_cache()

    return serve


def _info(device: str) -> Json:
    import torch
    import triton

    from kernels.hardware import hardware_for
    from kernels.hardware.asked_gpu import DriverSilent, ask
    from kernels.hardware.gpu_facts import to_json
    from kernels.tuned.compiler_variables import describe_overrides
    from tools.harness.measuring.worker import assembler_for

    index = int(device.partition(":")[2] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return {"missing": f"there is no {device} here"}
    name = torch.cuda.get_device_name(index)
    try:
        hardware = hardware_for(name) or ask(index)
    except DriverSilent as e:
        return {"missing": str(e)}
    tools = {"triton": triton.__version__, "assembler": assembler_for(hardware), "overrides": describe_overrides()}
    return {"name": name, **tools, "facts": to_json(hardware)}


def _compare_with_live(spec: Any) -> None:
    """Raises HasChanged if the function is another one now than when it was captured."""
    from kernels.capture.reading.live_functions import HasChanged, NotTheSame, live_function

    try:
        live_function(spec.captured.function)
    except HasChanged:
        raise
    except NotTheSame:  # the program is not here: its source is in the capture
        pass


class _Kept:
    """The arguments that were drawn last, for one more job: to draw them takes a second."""

    def __init__(self) -> None:
        self._about: tuple[Any, ...] = ()
        self._looked: _Looked | None = None

    def keep(self, looked: _Looked, *about: Any) -> None:
        self._about, self._looked = about, looked

    def take(self, spec: Any, device: str, *about: Any) -> _Looked:
        """Those of `about` (kernel, seed, damped), drawn anew if others are kept."""
        looked, same = self._looked, self._about == about
        self._looked = None
        return looked if looked is not None and same else _Looked(spec, device, *about[1:])


def _look(spec: Any, device: str, job: Json, kept: _Kept) -> Json:
    """The answer to a job that launches."""
    kernel, seed = job["kernel"], job["seed"]
    if job["op"] == "damping":
        # The fewest times that arguments are damped for finite results; none if they are finite at no time.
        for damped in range(MOST_DAMPED + 1):
            looked = _Looked(spec, device, seed, damped)
            if looked.gives_finite_results():
                kept.keep(looked, kernel, seed, damped)
                return {"damped": damped}
        return {"damped": 0}
    if job["op"] == "survey":
        return kept.take(spec, device, kernel, seed, job["damped"]).survey(read_reference(job["exact"]).stored)
    damped = spec.problem_type.model_validate(job["problem"]).damped
    looked = kept.take(spec, device, kernel, seed, damped)
    if job["op"] == "beside":
        return {"times": looked.side_by_side(job)}
    return {"errors": looked.errors_of(job, read_reference(job["exact"]).stored)}


def _sampling(spec: Any) -> SurveyLaunches | None:
    """How a launch is sampled that the interpreter does not run whole. Raises CannotRebuild if it runs no part."""
    from kernels.capture.reading.rebuilt_functions import CannotRebuild
    from kernels.captured.spec import INTERPRETED_BYTES
    from tools.harness.checking.sampling.survey_launches import SurveyLaunches

    own = spec.owner_config()
    if spec.interpretable(own) is None:
        return None
    if (why := spec.samplable(own)) is not None:
        raise CannotRebuild(why)
    return SurveyLaunches(spec.captured.grid["came_out"], spec.argument_bytes <= INTERPRETED_BYTES)


class _Looked:
    """The arguments of one launch, and launches on copies of them."""

    def __init__(self, spec: Any, device: str, seed: int, damped: int) -> None:
        import torch

        from kernels.capture.reading.rebuilt_arguments import rebuild_arguments

        self._spec, self._device = spec, device
        self._sampling = _sampling(spec) if device == CPU else None
        # Only the CPU draws what the reference was computed on.
        made = rebuild_arguments(spec.captured, seed, lambda digest: None, device=device, damped=damped)
        self._drawn: dict[str, torch.Tensor] = made.tensors

    def gives_finite_results(self) -> bool:
        """Whether the owner's launch makes neither NaN nor infinity of finite arguments."""
        import torch

        def finite(t: torch.Tensor) -> bool:
            return not t.is_floating_point() or t.element_size() < 2 or bool(torch.isfinite(t).all())

        # What is written may have held anything before.
        read = (t for p, t in self._drawn.items() if p not in self._spec.written)
        if not all(map(finite, read)):
            return True  # infinity may be what the launch is about
        found = self._launched(self._spec.owner_config())
        return all(finite(found.numbers(p)) for p in (self._spec.written if found.elements else found.tensors))

    def survey(self, exact: Exact) -> Json:
        import torch

        from kernels.launches.bound import same_bits
        from kernels.launches.expected import default_bound
        from tools.harness.checking.verify import computable

        own, written = self._spec.owner_config(), self._spec.written
        first, again = self._launched(own), self._launched(own)
        overwritten, unchanged = [], []
        if first.elements is None:
            spoilt = self._spoilt()
            poisoned = self._launched(own, spoilt).tensors
            overwritten = [p for p in spoilt if same_bits(poisoned[p], first.tensors[p])]
            unchanged = [p for p in written if p not in overwritten and same_bits(first.tensors[p], self._drawn[p])]
        results = {p: first.numbers(p) for p in written if p not in unchanged}
        odd = [p for p, t in results.items() if t.is_floating_point() and not bool(torch.isfinite(computable(t)).all())]
        if odd:  # every config would be refused for it, the owner's too
            raise ValueError(
                f"its result {odd[0]} holds NaN or infinity on arguments made anew, and such is not judged"
            )
        return {
            "overwritten": overwritten,
            "unchanged": unchanged,
            "repeats": {p: difference(again.numbers(p), t) for p, t in results.items()},
            "errors": self._errors(first, list(results), exact),
            "roundings": {p: default_bound(t) for p, t in results.items()},
            "coarsest": max((default_bound(t) for t in self._drawn.values() if t.element_size() > 1), default=0.0),
            "integers": [p for p, t in results.items() if not t.is_floating_point()],
            "ms": None if self._device == CPU else self._time(own),
            "programs": None if self._sampling is None else self._sampling.programs,
        }

    def errors_of(self, job: Json, exact: Exact) -> dict[str, float]:
        config = self._spec.config_type.model_validate(job["config"])
        problem = self._spec.problem_type.model_validate(job["problem"])
        unchanged = problem.paths("unchanged")
        return self._errors(self._launched(config), [p for p in self._spec.written if p not in unchanged], exact)

    def side_by_side(self, job: Json) -> Json:
        from tools.harness.checking.side_by_side import LiveGpu, read_side_by_side

        config = self._spec.config_type.model_validate(job["config"])
        problem = self._spec.problem_type.model_validate(job["problem"])
        return read_side_by_side(self._spec, problem, config, self._drawn, LiveGpu(self._device))

    def _launched(self, config: Any, poisoned: tuple[str, ...] = ()) -> Launched:
        """The tensors after a launch on a copy of the arguments; those at the paths `poisoned` held NaN before it."""
        from kernels.captured.spec import NO_HARDWARE
        from kernels.launches.bound import copied
        from tools.harness.checking.sampling.survey_launches import Launched

        given = copied(self._drawn)
        for path in poisoned:
            given[path].fill_(float("nan"))

        def launch() -> None:
            self._spec.launch(self._spec.problem_of(), config, given, {}, NO_HARDWARE)

        if self._sampling is not None:
            return self._sampling.run(launch, given, self._spec.written)
        launch()
        self._wait()
        return Launched(given)

    def _spoilt(self) -> tuple[str, ...]:
        """Results that may be filled with NaN: floats in memory of their own."""
        from kernels.capture.reading.rebuilt_arguments import described_tensors

        described = dict(described_tensors(self._spec.captured))
        storages = [t["storage"] for t in described.values()]
        return tuple(
            p
            for p in self._spec.written
            if self._drawn[p].is_floating_point()
            and self._drawn[p].element_size() >= 2
            and storages.count(described[p]["storage"]) == 1
            and 0 not in described[p]["stride"]
        )

    def _errors(self, launched: Launched, paths: list[str], exact: Exact) -> dict[str, float]:
        results = {p: launched.tensors[p] for p in paths}
        return errors_against(self._spec.captured, results, exact, launched.elements)

    def _time(self, own: Any) -> float:
        import torch

        from kernels.captured.spec import NO_HARDWARE
        from kernels.launches.bound import copied
        from tools.harness.measuring.arena import CYCLES_PER_MS, FLUSH_BYTES, SPIN_MS
        from tools.harness.measuring.statistics import median_ci
        from tools.harness.measuring.timing import Stopwatch

        sleep: Any = torch.cuda._sleep
        flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=self._device)
        times = []
        problem = self._spec.problem_of()
        for _ in range(READINGS):
            given = copied(self._drawn)
            flush.fill_(1)
            watch = Stopwatch()
            sleep(int(SPIN_MS * CYCLES_PER_MS))
            watch.start()
            self._spec.launch(problem, own, given, {}, NO_HARDWARE)
            watch.stop()
            self._wait()
            times.append(watch.ms())
        return median_ci(times)[0]

    def _wait(self) -> None:
        import torch

        if self._device != CPU:
            torch.cuda.synchronize()
