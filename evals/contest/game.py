"""What an agent searches with, in its own process: the briefing, and a pipe to the referee."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from evals.contest.briefing import Briefing, Values, identity
from evals.contest.ledger import Over
from memory.terms import Status
from tools.harness.landscapes.readings import config_key
from tools.harness.results import CompileResult

AT_ONCE = 1000
"""Configs of one request."""


@dataclass(frozen=True)
class Reading:
    """The referee's answer."""

    status: Status
    ms: float | None
    """Only of a correct config."""
    reason: str = ""
    seconds: float = 0.0


def send(referee: Connection, *message: Any) -> None:
    """Send plain JSON: what an agent's process sends is parsed, never run (a pickle would be)."""
    referee.send_bytes(json.dumps(message).encode())


class Game:
    """One run. ``measure`` raises Over when the evaluations are used up: let it pass."""

    def __init__(self, briefing: Briefing, seed: int, max_evals: int, referee: Connection) -> None:
        self.briefing, self.seed, self.max_evals = briefing, seed, max_evals
        self.rng = random.Random(seed)
        self.seen: dict[str, Reading] = {}
        """Everything measured so far, by the config's canonical JSON."""
        self.tokens = 0
        """Tokens that a language model used; the agent counts them."""
        self.dollars = 0.0
        self.claim: Any = None
        """The agent's own conclusion; it is kept and not scored."""
        self.transcript: str | None = None
        """The gzipped trace of the run, base64, if a language model played it."""
        self._referee = referee
        self._places = {config_key(c): c for c in briefing.configs}
        self._ranks = {n: {identity(v): i for i, v in enumerate(values)} for n, values in briefing.parameters.items()}

    @property
    def sheet(self) -> Briefing:
        """The briefing, under the name that agents of earlier versions use."""
        return self.briefing

    @property
    def configs(self) -> tuple[Values, ...]:
        """The whole space."""
        return self.briefing.configs

    @property
    def parameters(self) -> dict[str, tuple[Any, ...]]:
        return self.briefing.parameters

    def __contains__(self, config: Values) -> bool:
        return config_key(config) in self._places

    def measure(self, config: Values) -> Reading:
        """Costs one evaluation the first time, and nothing if the space does not hold `config`."""
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
        """The compiler's figures, if there are any; a failure costs one evaluation."""
        return self.compile_all([config])[0]

    def compile_all(self, configs: Sequence[Values]) -> list[CompileResult]:
        """In parallel, if the configs are really compiled."""
        return [CompileResult(**found) for found in self._ask_about("compile", configs)]

    def check_all(self, configs: Sequence[Values]) -> list[Status]:
        """Whether each config computes the right thing; a failure costs one evaluation, and no time is learned."""
        return self._ask_about("check", configs)

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
        """Rank of a parameter's value among its values; one more than the last if the config lacks it."""
        return self._ranks[name][identity(config[name])] if name in config else len(self.parameters[name])

    def levels(self, name: str) -> int:
        """The number of ranks that :meth:`place` can return."""
        return len(self.parameters[name]) + any(name not in c for c in self.configs)

    def _ask_about(self, what: str, configs: Sequence[Values]) -> list[Any]:
        """The results, asked for in messages that the referee takes, however many configs there are."""
        found: list[Any] = []
        for first in range(0, len(configs), AT_ONCE):
            found += self._ask(what, list(configs[first : first + AT_ONCE]))["results"]
        return found

    def _ask(self, what: str, about: Values | list[Values]) -> dict[str, Any]:
        send(self._referee, what, about)
        answer = json.loads(self._referee.recv_bytes())
        if "over" in answer:
            raise Over(answer["over"])
        found: dict[str, Any] = answer
        return found
