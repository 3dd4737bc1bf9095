"""Patches Triton, PyTorch and the process's end so that a recorder sees every launch.

The points are ``JITFunction.run``, ``InterpretedFunction.run``, ``Autotuner.run``, ``Heuristics.run`` and
``compiled[grid]`` of a compiled kernel that the program holds; below them the compiled launcher, which shows what was
launched without them; Inductor's launcher and replays of CUDA graphs, which are counted by name. A module is patched
when the program imports it, so a program that never imports Triton pays nothing. Under ``TRITON_INTERPRET=1`` the
autotuner takes its first config instead of timing, and a stand-in answers for the driver if there is no GPU.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..compiled.compiled_launch import REPEATABLE, Repeatable, compiled_launch, is_current
from .describing.interpreted_stores import patch_interpreter
from .graphs_in_progress import begin_graph, end_graph
from .interpreted_driver import create_or_interpret, in_turns
from .module_patcher import ModulePatcher
from .recorder import Recorder

BENCHMARK = "the autotuner's benchmark"
DIRECT = "its compiled kernel was launched directly"
INDUCTOR = "torch.compile made it"
INDUCTORS_USER = "torch.compile launched this kernel of the program"
REPLAY = "replays of a CUDA graph, whose kernels are not seen again"


class Hooks(ModulePatcher):
    """Patches what a recorder listens to."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        super().__init__(
            {
                "triton.runtime.jit": self._jit,
                "triton.runtime.interpreter": self._interpreter,
                "triton.runtime.autotuner": self._autotuner,
                "triton.compiler.compiler": self._compiler,
                "triton.runtime.driver": self._driver,
                "triton.backends.nvidia.driver": self._nvidia,
                "triton.backends.amd.driver": self._amd,
                "torch._inductor.runtime.triton_heuristics": self._inductor,
                "torch.cuda.graphs": self._graphs,
            }
        )

    # Triton

    def _jit(self, module: ModuleType) -> None:
        self.replace(module.JITFunction, "run", self._launching)

    def _interpreter(self, module: ModuleType) -> None:
        self.replace(module.InterpretedFunction, "run", self._launching)
        patch_interpreter(module, self.replace)
        self.replace(module.GridExecutor, "__call__", in_turns)

    def _launching(self, run: Callable[..., Any]) -> Callable[..., Any]:
        recorder = self.recorder

        @functools.wraps(run)
        def launch(function: Any, /, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
            if warmup or recorder.inside:
                if recorder.benching:
                    recorder.list_unseen(BENCHMARK, function.__name__)
                return run(function, *args, grid=grid, warmup=warmup, **kwargs)
            return recorder.launch(run, function, args, grid, kwargs)

        return launch

    def _autotuner(self, module: ModuleType) -> None:
        self.replace(module.Autotuner, "run", self._decorating)
        self.replace(module.Heuristics, "run", self._decorating)
        self.replace(module.Autotuner, "_bench", self._benching)

    def _decorating(self, run: Callable[..., Any]) -> Callable[..., Any]:
        recorder = self.recorder

        @functools.wraps(run)
        def decorated(decorator: Any, /, *args: Any, **kwargs: Any) -> Any:
            if recorder.inside:
                return run(decorator, *args, **kwargs)
            stack, passed = recorder.stack, recorder.passed
            stack.append(decorator)
            passed.append(kwargs)
            try:
                return run(decorator, *args, **kwargs)
            finally:
                stack.pop()
                passed.pop()

        return decorated

    def _benching(self, bench: Callable[..., Any]) -> Callable[..., Any]:
        recorder = self.recorder

        @functools.wraps(bench)
        def benchmark(tuner: Any, /, *args: Any, config: Any, **meta: Any) -> Any:
            if sys.modules["triton"].knobs.runtime.interpret:
                return [0.0, 0.0, 0.0]  # all alike, so that the first config is taken
            recorder.enter(benching=True)
            try:
                return bench(tuner, *args, config=config, **meta)
            finally:
                recorder.leave(benching=True)

        return benchmark

    def _compiler(self, module: ModuleType) -> None:
        self.replace(module.CompiledKernel, "__getitem__", self._subscripting)

    def _subscripting(self, subscript: Callable[..., Any]) -> Callable[..., Any]:
        """``compiled[grid]`` of a compiled kernel that the program holds."""
        recorder = self.recorder

        @functools.wraps(subscript)
        def launcher_of(kernel: Any, grid: Any) -> Any:
            direct = subscript(kernel, grid)
            about = None if recorder.inside else compiled_launch(kernel)
            if about is None or not about.exact:
                return direct

            def launch(*args: Any, **kwargs: Any) -> Any:
                here = kwargs.keys() <= {"stream"} and is_current(kwargs.get("stream")) and not recorder.inside
                passed = about.passed(args) if here else None
                if passed is None:
                    return direct(*args, **kwargs)

                def run(function: Any, /, **named: Any) -> Any:
                    direct(*args, **kwargs)
                    return kernel

                recorder.launch(run, about.function, (), grid, passed, repeatable=False)
                return None

            return launch

        return launcher_of

    def _driver(self, module: ModuleType) -> None:
        self.replace(module, "_create_driver", create_or_interpret)

    def _nvidia(self, module: ModuleType) -> None:
        self._launcher(module.CudaLauncher)

    def _amd(self, module: ModuleType) -> None:
        self._launcher(module.HIPLauncher)

    def _launcher(self, launcher: type) -> None:
        recorder = self.recorder

        def make_init(init: Callable[..., None]) -> Callable[..., None]:
            @functools.wraps(init)
            def remember(self: Any, src: Any, metadata: Any) -> None:
                init(self, src, metadata)
                self._autokernel_name = getattr(metadata, "name", "?")

            return remember

        def make_call(call: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(call)
            def launched(self: Any, /, *args: Any, **kwargs: Any) -> Any:
                if recorder.inside:
                    return call(self, *args, **kwargs)
                launch = _repeated(self, args) if not kwargs else None
                if launch is None:
                    recorder.list_unseen(DIRECT, getattr(self, "_autokernel_name", "compiled before the capture"))
                    return call(self, *args, **kwargs)
                function, kernel, passed, grid, named = launch

                def run(function: Any, /, *_: Any, **__: Any) -> Any:
                    call(self, *args)
                    return kernel

                recorder.launch(run, function, passed, grid, named, repeatable=False)
                return None

            return launched

        self.replace(launcher, "__init__", make_init)
        self.replace(launcher, "__call__", make_call)

    # PyTorch

    def _inductor(self, module: ModuleType) -> None:
        recorder = self.recorder

        def make(run: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(run)
            def inductor_run(tuner: Any, /, *args: Any, **kwargs: Any) -> Any:
                if recorder.inside:
                    return run(tuner, *args, **kwargs)
                users = getattr(getattr(tuner, "heuristic_type", None), "name", "") == "USER_AUTOTUNE"
                name = getattr(getattr(tuner, "fn", None), "__name__", "?")
                recorder.list_unseen(INDUCTORS_USER if users else INDUCTOR, name)
                recorder.enter()
                try:
                    return run(tuner, *args, **kwargs)
                finally:
                    recorder.leave()

            return inductor_run

        self.replace(module.CachingAutotuner, "run", make)

    def _graphs(self, module: ModuleType) -> None:
        recorder = self.recorder

        def make(replay: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(replay)
            def replayed(graph: Any) -> Any:
                recorder.list_unseen(REPLAY, "CUDAGraph.replay")
                return replay(graph)

            return replayed

        def make_begin(begin: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(begin)
            def capture_begin(*args: Any, **kwargs: Any) -> Any:
                begin_graph()
                try:
                    return begin(*args, **kwargs)
                except BaseException:
                    end_graph()
                    raise

            return capture_begin

        def make_end(end: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(end)
            def capture_end(*args: Any, **kwargs: Any) -> Any:
                try:
                    return end(*args, **kwargs)
                finally:
                    end_graph()

            return capture_end

        self.replace(module.CUDAGraph, "replay", make)
        self.replace(module.CUDAGraph, "capture_begin", make_begin)
        self.replace(module.CUDAGraph, "capture_end", make_end)


def _repeated(launcher: Any, args: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...], Any, dict[str, Any]] | None:
    """(function, compiled kernel, args, grid, kwargs) of the launch that a program repeats by its launcher, on the
    current stream; None if it is none that was recorded."""
    about: Repeatable | None = getattr(launcher, REPEATABLE, None)
    kernel = about.kernel() if about is not None else None
    if about is None or kernel is None or len(args) < 9:
        return None
    found = about.repeated((args[0], args[1], args[2]), args[9:]) if is_current(args[3]) else None
    return None if found is None else (about.function, kernel, *found)
