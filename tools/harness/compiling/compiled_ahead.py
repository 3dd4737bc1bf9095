"""A run's compile pool beside another pool, which has begun to compile configs of the run's kernel before the run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from kernels.spec import Config, KernelSpec, Problem
from tools.harness.device import CompilePool
from tools.harness.process.identity import describe
from tools.harness.results import CompileResult


class CompiledAhead:
    """Implements :class:`tools.harness.device.CompilePool`. What was begun is not begun again, failures neither. What
    still waits for its turn there is cancelled and compiled here."""

    def __init__(
        self,
        pool: CompilePool,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        begun: Mapping[str, Future[CompileResult]],
    ) -> None:
        """`pool` compiles everything else. `begun`: of `spec` on `problem`, by :meth:`kernels.spec.Config.key`."""
        self._pool, self._begun = pool, begun
        self._of = describe(spec, problem)
        self.parallel = pool.parallel

    def compile(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], deadline_s: float | None = None
    ) -> list[CompileResult]:
        """Compile all; answers in the order of `configs`. Raises MachineTrouble."""
        if describe(spec, problem) != self._of:
            return self._pool.compile(spec, problem, configs, deadline_s)
        began = time.monotonic()
        rest = [c for c in configs if c.key() not in self._begun or self._begun[c.key()].cancel()]
        found = dict(zip(rest, self._pool.compile(spec, problem, rest, deadline_s) if rest else (), strict=True))
        for config in configs:
            if config not in found:
                left = None if deadline_s is None else max(0.0, began + deadline_s - time.monotonic())
                found[config] = self._result_of(config, left, deadline_s)
        return [found[c] for c in configs]

    def _result_of(self, config: Config, left: float | None, deadline_s: float | None) -> CompileResult:
        try:
            return self._begun[config.key()].result(left)
        except TimeoutError:  # it goes on there, beside others, and is asked for again if it is wanted
            reason = f"not compiled: it was still being compiled after {deadline_s:.3g} s"
            return CompileResult(config=config.model_dump(mode="json"), status="infrastructure", reason=reason)

    def close(self) -> None:
        """Close the run's own pool; what was begun before belongs to the other."""
        self._pool.close()
