"""The real tools on a game: a session whose compiler and device are the referee at the other end of the pipe."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from evals.agents.found_kernel import UNKNOWN_GPU, FoundKernel
from evals.contest.briefing import Values
from evals.contest.game import Game, Reading
from kernels.hardware import Hardware, hardware_named
from kernels.registry import get
from kernels.spec import Config, KernelSpec, Problem
from memory.shared_models import DeviceInfo
from memory.store import Memory
from memory.terms import Regime
from tools.harness.device import NO_LIMIT, CompileLimit
from tools.harness.landscapes.readings import config_key
from tools.harness.process.prestart import Prestart
from tools.harness.results import Bits, CheckResult, CompileResult, Figure, Measurement, Proof, StressResult
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task

MAX_SECONDS = 3600.0


class GameCompiler:
    """Implements :class:`tools.harness.device.CompilePool`."""

    parallel = False

    def __init__(self, game: Game, true: TrueValues) -> None:
        self._game, self._true = game, true

    def compile(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], limit: CompileLimit = NO_LIMIT
    ) -> list[CompileResult]:
        found = self._game.compile_all([self._true(c) for c in configs])
        return [r.model_copy(update={"config": dump(c)}) for r, c in zip(found, configs, strict=True)]

    def close(self) -> None:
        """Nothing is open."""


class GameDevice:
    """Implements :class:`tools.harness.device.Device`."""

    def __init__(self, game: Game, configs: Sequence[Config], true: TrueValues) -> None:
        self._game, self._configs, self._true = game, frozenset(configs), true
        briefing = game.briefing
        self.info = DeviceInfo(
            kind="recorded", name=briefing.device, hardware=briefing.hardware, landscape=briefing.name
        )

    def compiled_with(self) -> DeviceInfo:
        return self.info

    def gpus(self) -> int:
        return 1

    def compile_pool(self, prestart: Prestart | None = None) -> GameCompiler:
        return GameCompiler(self._game, self._true)

    def expect_measurements(self) -> None:
        """Nothing to prepare: the referee measures."""

    def expect_proof(self) -> None:
        """Nothing to prepare: a game ends with its search."""

    def configs(self) -> Container[Config]:
        return self._configs

    def check(self, configs: Sequence[Config]) -> list[CheckResult]:
        """The verdict that was recorded, without a time."""
        found = self._game.check_all([self._true(c) for c in configs])
        return [
            CheckResult(config=dump(c), status=status, where="recorded")
            for c, status in zip(configs, found, strict=True)
        ]

    def stress(self, config: Config, most_s: float | None = None, decided_by: float = math.inf) -> StressResult:
        return StressResult(config=dump(config), status="infrastructure", reason=self.no_bits())

    def measure(self, configs: Sequence[Config], regime: Regime = "burst") -> list[Measurement]:
        found = []
        for c in configs:
            r = self._read(c)
            found.append(Measurement(config=dump(c), status=r.status, reason=r.reason, ms=r.ms, seconds=r.seconds))
        return found

    def no_bits(self) -> str:
        return "a scored run's readings hold no results"

    def compare_bits(self, config: Config) -> tuple[Bits | None, str]:
        return None, self.no_bits()

    def no_energy(self) -> str:
        return "a scored run's readings hold no energy"

    def contend(self, configs: Sequence[Config], regime: Regime = "burst", figure: Figure = "ms") -> list[Measurement]:
        """The same readings: there are no more for a search to see."""
        return self.measure(configs, regime)

    def prove(
        self,
        config: Config,
        regime: Regime = "burst",
        max_seconds: float = 30.0,
        figure: Figure = "ms",
        beside: Config | None = None,
    ) -> Proof:
        why = "a scored run ends with its search: the score holds its best config against readings it has not seen"
        return Proof(config=dump(config), status="infrastructure", reason=why)

    def ceilings(self) -> dict[str, float]:
        return dict(self._game.briefing.ceilings)

    def baseline_times(self) -> dict[str, float]:
        return dict(self._game.briefing.baseline_ms)

    def _read(self, config: Config) -> Reading:
        """A repeated reading is looked up: the loop asks again, not the agent."""
        true = self._true(config)
        return self._game.seen.get(config_key(true)) or self._game.measure(true)

    def close(self) -> None:
        """Nothing is open."""


class TrueValues:
    """From the tools' configs to the briefing's."""

    def __init__(self, spec: KernelSpec[Any, Any]) -> None:
        self._found = spec if isinstance(spec, FoundKernel) else None

    def __call__(self, config: Config) -> Values:
        return dump(config) if self._found is None else self._found.to_values(config)


def open_game_session(game: Game, run_id: str, memory_path: Path) -> Session:
    """A session on an empty memory. Its kernel is the registered one that the briefing names, or, if it names none, a
    kernel made of the parameters."""
    spec, problem, hardware = kernel_of(game)
    true = TrueValues(spec)
    configs = [spec.config_type.model_validate(c) for c in game.configs] if game.briefing.kernel else None
    configs = configs or list(spec.candidates(problem, hardware))
    device = GameDevice(game, configs, true)
    memory = Memory.open(memory_path)
    ids = Ids.of(memory, device.info, spec, problem)
    task = Task(spec, problem, hardware, spec.metric, "burst", game.seed)
    return Session(task, device, device.compile_pool(), memory, ids, run_id, Budget(game.max_evals, MAX_SECONDS))


def kernel_of(game: Game) -> tuple[KernelSpec[Any, Any], Problem, Hardware]:
    briefing = game.briefing
    if briefing.kernel is None or briefing.hardware is None:
        found = FoundKernel(briefing)
        return found, found.default_problem(), UNKNOWN_GPU
    spec = get(briefing.kernel)
    problem: Problem = spec.problem_type.model_validate(briefing.problem)
    return spec, problem, hardware_named(briefing.hardware)


def dump(config: Config) -> Values:
    return config.model_dump(mode="json")
