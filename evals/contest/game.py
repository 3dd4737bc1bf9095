"""What an agent plays with, in its own process: the sheet, and the referee at the other end of a pipe."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from evals.contest.briefing import Sheet, Values, identity
from evals.contest.ledger import Over
from memory.terms import Status
from tools.harness.landscapes.readings import config_key
from tools.harness.results import CompileResult


@dataclass(frozen=True)
class Reading:
    """What the referee answers."""

    status: Status
    ms: float | None
    """Only of a correct config."""
    reason: str = ""
    seconds: float = 0.0


def tell(referee: Connection, *message: Any) -> None:
    """Plain JSON both ways: what an agent's process sends is read, never run (as a pickle would be)."""
    referee.send_bytes(json.dumps(message).encode())


class Game:
    """One run. ``measure`` raises Over when the evaluations are used up: let it pass."""

    def __init__(self, sheet: Sheet, seed: int, max_evals: int, referee: Connection) -> None:
        self.sheet, self.seed, self.max_evals = sheet, seed, max_evals
        self.rng = random.Random(seed)
        self.seen: dict[str, Reading] = {}
        """Everything measured so far, by the config's canonical JSON."""
        self.tokens = 0
        """Of a language model, for the agent to keep."""
        self.dollars = 0.0
        self.claim: Any = None
        """What the agent has to say at the end; nothing is scored by it."""
        self._referee = referee
        self._places = {config_key(c): c for c in sheet.configs}
        self._ranks = {n: {identity(v): i for i, v in enumerate(values)} for n, values in sheet.parameters.items()}

    @property
    def configs(self) -> tuple[Values, ...]:
        """The whole space."""
        return self.sheet.configs

    @property
    def parameters(self) -> dict[str, tuple[Any, ...]]:
        return self.sheet.parameters

    def __contains__(self, config: Values) -> bool:
        return config_key(config) in self._places

    def measure(self, config: Values) -> Reading:
        """Costs one evaluation the first time."""
        return self.measure_all([config])[0]

    def measure_all(self, configs: Iterable[Values]) -> list[Reading]:
        """One after another, in this order."""
        found = []
        for config in configs:
            reading = Reading(**self._ask("measure", config))
            self.seen[config_key(config)] = reading
            found.append(reading)
        return found

    def compile(self, config: Values) -> CompileResult:
        """The compiler's figures where there are some; a failure costs one evaluation."""
        return self.compile_all([config])[0]

    def compile_all(self, configs: Sequence[Values]) -> list[CompileResult]:
        """Side by side where they are compiled for real."""
        return [CompileResult(**found) for found in self._ask("compile", list(configs))["results"]]

    def untried(self) -> list[Values]:
        return [c for key, c in self._places.items() if key not in self.seen]

    def neighbours(self, config: Values) -> Iterator[Values]:
        """Configs of the space that differ in one parameter by one step, or in one unordered parameter."""
        for name, values in self.parameters.items():
            if name not in config:
                continue
            if all(isinstance(v, int | float) for v in values):
                at = self.place(config, name)
                steps = values[max(0, at - 1) : at] + values[at + 1 : at + 2]
            else:
                steps = tuple(v for v in values if v != config[name])
            for value in steps:
                other = {**config, name: value}
                if other in self:
                    yield other

    def place(self, config: Values, name: str) -> int:
        """Rank of a parameter's value among its values; one more than the last where the config lacks it."""
        return self._ranks[name][identity(config[name])] if name in config else len(self.parameters[name])

    def levels(self, name: str) -> int:
        """How many ranks :meth:`place` tells apart."""
        return len(self.parameters[name]) + any(name not in c for c in self.configs)

    def _ask(self, what: str, about: Values | list[Values]) -> dict[str, Any]:
        tell(self._referee, what, about)
        answer = json.loads(self._referee.recv_bytes())
        if "over" in answer:
            raise Over(answer["over"])
        found: dict[str, Any] = answer
        return found
