"""The clock of a batch of compilations: how long each config has, and which of them nobody waits for any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from kernels.spec import Config
from tools.harness.device import CompileLimit
from tools.harness.results import CompileResult

AT_ONCE_S = 0.1
"""A compilation that began so soon had all the time of its batch."""
NO_TIME = "not compiled: the time was up"


class NoTurn(RuntimeError):
    """The batch's time was over before a process was ready for this config."""


class Turns:
    """Of one batch."""

    def __init__(self, limit: CompileLimit, config_s: float) -> None:
        """`config_s` are the most seconds for one config."""
        self.limit, self.most_s = limit, min(limit.batch_s, config_s)
        self.began: float | None = None
        """``time.monotonic()`` when the first process was ready."""

    def turn(self) -> Turn:
        """That of one config."""
        return Turn(self)

    def wait(self, begun: Mapping[Config, Future[CompileResult]], configs: Sequence[Config]) -> list[CompileResult]:
        """The results of `configs`. Those that nobody waits for any more are ``infrastructure``."""
        waiting, compiled = set(begun.values()), False
        while waiting:
            until = self.limit.ends_at if compiled else self.limit.latest
            left = min(until, self.limit.latest) - time.monotonic()
            if left <= 0:
                break
            done, waiting = wait(waiting, min(left, threading.TIMEOUT_MAX), FIRST_COMPLETED)
            compiled = compiled or any(f.result().status == "correct" for f in done)
        for future in waiting:
            future.cancel()
        return [begun[c].result() if begun[c] not in waiting else not_judged(c, NO_TIME) for c in configs]


class Turn:
    """Of one config in its batch."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._late = self._given_s = 0.0

    def require_time(self) -> None:
        """Raises NoTurn if the batch's time is over."""
        if self._seconds_left() <= 0:
            raise NoTurn

    def begin(self) -> float:
        """A process is ready: the seconds that it may take. Raises NoTurn if there are none."""
        if self._turns.began is None:
            self._turns.began = time.monotonic()
        self._given_s = self._seconds_left()
        self.require_time()
        return self._given_s

    def _seconds_left(self) -> float:
        turns, now = self._turns, time.monotonic()
        self._late = 0.0 if turns.began is None else now - turns.began
        return min(turns.limit.batch_s - self._late, turns.most_s, turns.limit.latest - now)

    def was_short(self) -> bool:
        """Whether the config had less time than one that comes first."""
        return self._given_s <= self._turns.most_s - AT_ONCE_S

    def not_judged(self, config: Config) -> CompileResult:
        """The config is not to blame."""
        limit = self._turns.limit
        if time.monotonic() >= limit.latest:
            return not_judged(config, NO_TIME)
        why = f"its turn came after {self._late:.3g} s of the {limit.batch_s:.3g} s that all had"
        return not_judged(config, f"not compiled: {why}")


def not_judged(config: Config, reason: str) -> CompileResult:
    return CompileResult(config=config.model_dump(mode="json"), status="infrastructure", reason=reason)
