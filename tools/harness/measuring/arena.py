"""The memory that one problem is timed on, what is put into it before a launch and looked at after it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from kernels.launches.bound import GUARD, Bound, copied, with_scalars_of
from kernels.launches.expected import Results, named
from kernels.launches.leaves import leaves
from kernels.spec import Config, Inputs, KernelSpec
from tools.harness.checking.verify import judge

SPIN_MS = 2.0
"""Spin before the first event. A launch through Python takes up to 0.3 ms on the host; a spin shorter than that
measures the host. It is also the idle time that keeps the burst's duty cycle under 10 % (no power throttling)."""

CYCLES_PER_MS = 2_000_000
"""At 2 GHz, the fastest clock of these cards; a slower clock spins longer."""

FLUSH_BYTES = 256 << 20
"""Written before each burst sample; four times the largest L2 here."""

MOST_SHIFTS = 16
"""Addresses, GUARD bytes apart, among which a check chooses where the tensors of its launches lie."""

# Taken before any candidate's file is imported: one that replaces it changes nothing here.
_sleep: Any = torch.cuda._sleep


def spin(ms: float) -> None:
    """Keep the device busy for at least `ms`."""
    _sleep(int(ms * CYCLES_PER_MS))


class Wrong(Exception):
    """The output of a timed launch was not the result."""

    def __init__(self, reason: str, error: float | None = None, bound: float | None = None) -> None:
        super().__init__(reason)
        self.error, self.bound = error, bound


class Refused(Exception):
    """A reading that cannot be made for this kernel; no verdict on a config."""


@dataclass
class Verified:
    """Largest error found over the verified samples."""

    error: float = 0.0
    bound: float = 0.0


@dataclass
class Arena:
    """The tensors that one problem is timed on. Input buffers keep their addresses; their contents change."""

    spec: KernelSpec[Any, Any]
    problem: Any
    device: str
    bound: Bound = field(init=False)
    tested: bool = False
    """Whether it is known that a wrong output would be noticed here."""

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.device)
        self.config: Config | None = None
        """The config that the inputs are arranged for; ``None``: as they were drawn."""
        drawn = self._drawn(secrets.randbits(62))
        self.scalars: dict[str, Any] | None = numbers_in(drawn)
        """The numbers among the inputs. They are part of a launch, and change from job to job alone."""
        self.arranges = type(self.spec).arrange is not KernelSpec.arrange
        self._place(drawn)
        self.scratch = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=self.device)

    def _place(self, given: Inputs, shift: int = 0) -> None:
        out = self.spec.output(self.problem, self.device)
        self.bound = Bound(self.spec.effects(self.problem), given, out, shift * GUARD)

    def move(self) -> None:
        """Put everything elsewhere: a launch must not depend on the addresses that it has seen."""
        del self.bound
        self._place(self.given(secrets.randbits(62)), 1 + secrets.randbelow(MOST_SHIFTS))

    def use(self, config: Config) -> None:
        """Arrange the inputs for the launches of `config`, and draw its numbers (seeds) anew."""
        anew = self.arranges and config != self.config
        self.config = config
        if self.scalars:
            self.scalars = numbers_in(self._drawn(secrets.randbits(62)))
            anew = True
        if anew:
            self._place(self.given(secrets.randbits(62)))

    def _drawn(self, seed: int) -> Inputs:
        drawn: Inputs = self.spec.inputs(self.problem, self.generator.manual_seed(seed), self.device)
        return drawn

    @property
    def inputs(self) -> Any:
        return self.bound.inputs

    @property
    def changes_inputs(self) -> bool:
        return bool(self.bound.effects.inplace)

    def draw(self, seed: int) -> Inputs:
        """Inputs as ``eager`` sees them."""
        fresh = self._drawn(seed)
        return with_scalars_of(fresh, self.scalars) if self.scalars else fresh

    def given(self, seed: int) -> Inputs:
        """Inputs as the launch gets them."""
        fresh = self.draw(seed)
        given: Inputs = fresh if self.config is None else self.spec.arrange(self.problem, self.config, fresh)
        return given

    def refresh(self) -> int:
        """New contents at the same addresses; returns the seed that made them."""
        seed = secrets.randbits(62)
        self.restore(seed)
        return seed

    def restore(self, seed: int) -> None:
        """The contents that `seed` makes, at the same addresses."""
        self.bound.refill(self.given(seed))

    def poison(self) -> None:
        """NaN, or finite values that nobody can foresee: a kernel cannot tell which of its launches are looked at."""
        self.bound.poison(bool(secrets.randbits(1)), self.generator)

    def hold_back(self) -> Callable[[], None]:
        """Spoil some elements of every input; the function that is returned puts them right."""
        return self.bound.hold_back()

    def flush(self) -> None:
        self.scratch.fill_(1)

    def spin(self, ms: float = SPIN_MS) -> None:
        spin(ms)

    def untouched(self, seed: int) -> list[tuple[str, torch.Tensor]]:
        """Flags on the device: what still holds what `seed` made (:meth:`kernels.launches.bound.Bound.untouched`)."""
        given = self.given(seed)
        return self.bound.untouched(copied(given) if self.changes_inputs else given)

    def verify(self, results: Results, seed: int, verified: Verified) -> None:
        """Compare `results` with the reference for `seed`. Raises Wrong."""
        why, error, bound = judge(self.spec, self.problem, results, self.draw(seed), self_test=not self.tested)
        self.tested = True
        if why:
            raise Wrong(why, error, bound)
        verified.error, verified.bound = max(verified.error, error), bound

    def named(self, value: Any) -> Results:
        """What a call returned, by result."""
        return named(list(self.bound.results), value)


def numbers_in(value: Any) -> dict[str, Any]:
    """The numbers among the leaves of `value`, by path."""
    return {path: x for path, x in leaves(value) if isinstance(x, int | float)}
