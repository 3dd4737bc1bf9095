"""Puts a table between a program and Triton.

The points are ``JITFunction.run``, ``InterpretedFunction.run``, ``Autotuner.run`` and ``Heuristics.run``: whichever of
them the program calls, ``function[grid]`` before them, and ``compiled[grid]`` of a compiled kernel that it holds. What
Triton calls in turn is left alone, and so are launchers that Inductor makes. A module is patched when the program
imports it. Under ``TRITON_INTERPRET=1`` an autotuner whose key is not in the table takes its first config, because the
interpreter cannot time.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping
from types import MethodType, ModuleType
from typing import Any

from ...capture.describing.device_closure import triton_function
from ...capture.interpreted_driver import create_or_interpret, in_turns
from ...capture.module_patcher import ModulePatcher
from ...compiled.compiled_launch import compiled_launch, is_current
from .applied_table import AppliedTable, NotServed
from .compiled_programs import CompiledPrograms
from .served import NotApplied, Served, Unserved
from .served_launches import ServedFunction


class AlreadyApplied(RuntimeError):
    """The message is one sentence."""


class ApplyHooks(ModulePatcher):
    """Patches Triton's points of launch."""

    def __init__(self, applied: AppliedTable) -> None:
        super().__init__(
            {
                "triton.runtime.jit": self._jit,
                "triton.runtime.interpreter": self._interpreter,
                "triton.runtime.autotuner": self._autotuner,
                "triton.compiler.compiler": self._compiler,
                "triton.runtime.driver": lambda m: self.replace(m, "_create_driver", create_or_interpret),
                "torch._higher_order_ops.triton_kernel_wrap": self._tracing,
                "torch._inductor.runtime.triton_heuristics": self._inductor,
            }
        )
        self.applied = applied
        self.active = True
        self._states: dict[int, ServedFunction | NotServed] = {}
        self._inside = _Inside()
        self._originals: dict[Callable[..., Any], Callable[..., Any]] = {}
        """Triton's own ``run`` by ours."""
        applied.forget = lambda key: self._states.pop(key, None)
        self._compiled = applied.compiled = CompiledPrograms(applied.state, self._below, applied.say)

    def install(self) -> None:
        """Raises AlreadyApplied."""
        if any(type(f).__name__ == ApplyHooks.__name__ for f in sys.meta_path):
            raise AlreadyApplied("a table is applied to this process already: take it back before you apply another")
        super().install()

    def uninstall(self) -> None:
        self.active = False  # for a caller that holds on to what we made
        self._states.clear()
        super().uninstall()

    def forked(self) -> None:
        """Have each function of a child process be looked up again at its first launch there."""
        self._states.clear()

    def _interpreter(self, module: ModuleType) -> None:
        self.replace(module.InterpretedFunction, "run", self._launching)
        self.replace(module.GridExecutor, "__call__", in_turns)

    def _jit(self, module: ModuleType) -> None:
        self.replace(module.JITFunction, "run", self._launching)
        self.replace(module.KernelInterface, "__getitem__", self._subscripting)

    def _autotuner(self, module: ModuleType) -> None:
        self.replace(module.Autotuner, "run", self._launching)
        self.replace(module.Heuristics, "run", self._launching)
        self.replace(module.Autotuner, "_bench", _first_if_interpreted)

    def _launching(self, run: Callable[..., Any]) -> LaunchPoint:
        states, inside = self._states, self._inside

        @functools.wraps(run)
        def launch(owner: Any, /, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
            state = states.get(id(owner))
            if state is None:
                if not self.active:
                    return run(owner, *args, grid=grid, warmup=warmup, **kwargs)
                state = states[id(owner)] = self.applied.state(owner)
            if warmup or (state.wrapped and inside.depth) or inside.decided is owner:
                return run(owner, *args, grid=grid, warmup=warmup, **kwargs)
            if isinstance(state, ServedFunction):
                return self._serve(state, state.answer(args, kwargs, grid), run, owner, args, grid, kwargs)
            state.used.add()
            if state.decorates:
                return self._as_it_is(run, owner, args, grid, kwargs)
            return run(owner, *args, grid=grid, warmup=False, **kwargs)

        self._originals[launch] = run
        return LaunchPoint(launch, run, states, inside)

    def _subscripting(self, subscript: Callable[..., Any]) -> Callable[..., Any]:
        """``function[grid]`` of a function that is known: what it returns launches by itself, because the way through
        ``run`` unpacks and packs all arguments once more. Everything else goes that way."""
        states, originals = self._states, self._originals

        @functools.wraps(subscript)
        def launcher_of(owner: Any, grid: Any) -> Any:
            point, state = type(owner).run, states.get(id(owner))
            if state is None or state.wrapped or point not in originals:
                return subscript(owner, grid)
            run = originals[point]
            if not isinstance(state, ServedFunction):
                return self._counting(state, run, owner, grid)
            matcher, serve = state.matcher, self._serve

            def launch(*args: Any, **kwargs: Any) -> Any:
                if not self.active:  # another table may be applied by now
                    return owner.run(*args, grid=grid, warmup=False, **kwargs)
                last = matcher.last
                try:
                    answer = last.answers.get(last.read(args, kwargs, grid))
                except Exception:  # noqa: BLE001 -- the slower way prints it and counts it
                    answer = None
                if answer is None:
                    answer = matcher.answer(args, kwargs, grid)
                return serve(state, answer, run, owner, args, grid, kwargs)

            return launch

        return launcher_of

    def _counting(self, state: NotServed, run: Callable[..., Any], owner: Any, grid: Any) -> Callable[..., Any]:
        """Launches what the table does not hold."""
        add = state.used.add

        def launch(*args: Any, **kwargs: Any) -> Any:
            if not self.active:
                return owner.run(*args, grid=grid, warmup=False, **kwargs)
            add()
            if state.decorates:
                return self._as_it_is(run, owner, args, grid, kwargs)
            return run(owner, *args, grid=grid, warmup=False, **kwargs)

        return launch

    def _compiler(self, module: ModuleType) -> None:
        self.replace(module.CompiledKernel, "__getitem__", self._subscripting_compiled)

    def _subscripting_compiled(self, subscript: Callable[..., Any]) -> Callable[..., Any]:
        """``compiled[grid]`` of a compiled kernel that the program holds: a launch of its function."""
        states, inside = self._states, self._inside

        @functools.wraps(subscript)
        def launcher_of(kernel: Any, grid: Any) -> Any:
            direct = subscript(kernel, grid)
            about = compiled_launch(kernel) if self.active and not inside.depth else None
            if about is None or not about.exact:
                return direct
            function = about.function
            state = states.get(id(function))
            if state is None:
                state = states[id(function)] = self.applied.state(function)

            def launch(*args: Any, **kwargs: Any) -> Any:
                here = self.active and kwargs.keys() <= {"stream"} and is_current(kwargs.get("stream"))
                passed = about.passed(args) if here else None
                if passed is None:
                    return direct(*args, **kwargs)
                if isinstance(state, ServedFunction):
                    answer = state.answer((), passed, grid)
                    if isinstance(answer, Served):
                        self._serve(state, answer, self._below(function), function, (), grid, passed)
                        return None
                    answer.used.add()
                else:
                    state.used.add()
                return direct(*args, **kwargs)

            return launch

        return launcher_of

    def _tracing(self, module: ModuleType) -> None:
        compiled = self._compiled

        def make(call: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(call)
            def call_triton_kernel(hopifier: Any, variable: Any, args: Any, kwargs: Any, tx: Any) -> Any:
                if not self.active:
                    return call(hopifier, variable, args, kwargs, tx)
                return compiled.trace(call, hopifier, variable, args, kwargs, tx)

            return call_triton_kernel

        self.replace(module.TritonHOPifier, "call_triton_kernel", make)

    def _inductor(self, module: ModuleType) -> None:
        compiled = self._compiled

        def make(run: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(run)
            def inductor_run(tuner: Any, /, *args: Any, **kwargs: Any) -> Any:
                compiled.count(tuner)
                return run(tuner, *args, **kwargs)

            return inductor_run

        self.replace(module.CachingAutotuner, "run", make)

    def _serve(
        self,
        state: ServedFunction,
        answer: Served | Unserved,
        run: Callable[..., Any],
        owner: Any,
        args: tuple[Any, ...],
        grid: Any,
        kwargs: dict[str, Any],
    ) -> Any:
        """Launch by `answer`, else by `run`, Triton's own of what the program launches."""
        if isinstance(answer, Served):
            function, ready = state.function, answer.ready
            own = self._below(function) if state.decorates else run
            if ready is not None:  # the common case
                answer.used.add()
                if answer.heuristics:
                    answer.set_heuristics(args, kwargs, grid)
                kwargs.update(ready)
                if answer.config is not None:
                    state.tuners[0].best_config = answer.config
                result = own(function, *args, grid=grid, warmup=False, **kwargs)
                return result if not answer.moved or result is None else state.kept(answer, result)
            try:
                result = state.launch(answer, own, args, grid, kwargs)
            except NotApplied as e:
                answer = state.refuse(answer, str(e))
            else:
                answer.used.add()
                return result if not answer.moved or result is None else state.kept(answer, result)
        answer.used.add()
        return self._as_it_is(run, owner, args, grid, kwargs)

    def _as_it_is(
        self, run: Callable[..., Any], owner: Any, args: tuple[Any, ...], grid: Any, kwargs: dict[str, Any]
    ) -> Any:
        self._inside.depth += 1  # what a decorator launches in turn is decided already
        try:
            return run(owner, *args, grid=grid, warmup=False, **kwargs)
        finally:
            self._inside.depth -= 1

    def _below(self, function: Any) -> Callable[..., Any]:
        """The function's ``run`` without us: Triton's own, or that of who patched it after us, which calls ours."""
        patched = type(function).run
        return self._originals.get(patched) or functools.partial(self._decided, patched)

    def _decided(self, patched: Callable[..., Any], function: Any, /, *args: Any, **kwargs: Any) -> Any:
        inside = self._inside
        before, inside.decided = inside.decided, triton_function(function)
        try:
            return patched(function, *args, **kwargs)
        finally:
            inside.decided = before


class _Inside(threading.local):
    depth = 0
    """Decorators whose own ``run`` this thread is in."""
    decided: Any = None
    """The function whose launch is decided already, on its way through a ``run`` that somebody patched after us."""


class LaunchPoint:
    """Stands for a ``run`` in its class. What a decorator launches in turn gets Triton's own when it looks ``run`` up,
    because each function in between unpacks and packs all arguments once more."""

    def __init__(
        self,
        launch: Callable[..., Any],
        run: Callable[..., Any],
        states: Mapping[int, ServedFunction | NotServed],
        inside: _Inside,
    ) -> None:
        functools.update_wrapper(self, launch)
        self._launch, self._run, self._states, self._inside = launch, run, states, inside

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        if owner is None:
            return self._launch
        if self._inside.depth:
            state = self._states.get(id(owner))
            if state is not None and state.wrapped:
                return MethodType(self._run, owner)
        return MethodType(self._launch, owner)

    def __call__(self, owner: Any, /, *args: Any, **kwargs: Any) -> Any:
        """For who patches it after us and took it from the class's dictionary."""
        return self._launch(owner, *args, **kwargs)


def _first_if_interpreted(bench: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(bench)
    def benchmark(tuner: Any, /, *args: Any, **kwargs: Any) -> Any:
        if sys.modules["triton"].knobs.runtime.interpret:
            return [0.0, 0.0, 0.0]  # all alike, so that the first config is taken
        return bench(tuner, *args, **kwargs)

    return benchmark
