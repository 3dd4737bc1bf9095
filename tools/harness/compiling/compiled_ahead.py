"""A run's compile pool beside another pool, which has begun to compile configs of the run's kernel before the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from kernels.spec import Config, KernelSpec, Problem
from tools.harness.compiling.compile_turns import NO_TIME, not_judged
from tools.harness.device import NO_LIMIT, CompileLimit, CompilePool
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
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], limit: CompileLimit = NO_LIMIT
    ) -> list[CompileResult]:
        """Compile all; answers in the order of `configs`. Raises MachineTrouble."""
        if describe(spec, problem) != self._of:
            return self._pool.compile(spec, problem, configs, limit)
        began = time.monotonic()
        rest = [c for c in configs if c.key() not in self._begun or self._begun[c.key()].cancel()]
        found = dict(zip(rest, self._pool.compile(spec, problem, rest, limit) if rest else (), strict=True))
        for config in configs:
            if config not in found:
                compiled = any(r.status == "correct" for r in found.values())
                ends_at = min(began + limit.batch_s, limit.ends_at if compiled else limit.latest, limit.latest)
                found[config] = self._result_of(config, max(0.0, ends_at - time.monotonic()), limit)
        return [found[c] for c in configs]

    def _result_of(self, config: Config, left: float, limit: CompileLimit) -> CompileResult:
        try:
            return self._begun[config.key()].result(min(left, threading.TIMEOUT_MAX))
        except TimeoutError:  # it goes on there, beside others, and is asked for again if it is wanted
            over = time.monotonic() >= limit.latest
            why = NO_TIME if over else f"not compiled: it was still being compiled after {limit.batch_s:.3g} s"
            return not_judged(config, why)

    def close(self) -> None:
        """Close the run's own pool; what was begun before belongs to the other."""
        self._pool.close()
