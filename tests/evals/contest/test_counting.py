"""What a model is shown of its budget is what the referee charges, after every call of any sequence of tool calls."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from evals.agents.game_session import GameDevice, TrueValues, open_game_session
from evals.contest.answers import answer
from evals.contest.disguise import VARIANTS, disguise
from evals.contest.game import Game
from evals.contest.ledger import Ledger, Referee
from evals.scoring.score import Board
from tests.evals.spaces import hills
from tools.harness.landscapes.named import named_landscape
from tools.harness.landscapes.readings import Entry, Landscape
from tools.harness.results import CompileResult
from tools.registry import tools_for
from tools.session.budget import Budget
from tools.session.session import Session

MAX_EVALS = 12
BUILT = ("compile_kernel", "check_correctness", "run_benchmark")
REAL = "rms_norm-32768x4096-fp16-h200"


class InProcess:
    """The pipe to a referee that stands at its other end in this process."""

    def __init__(self, referee: Referee, disguised: bool) -> None:
        self.referee, self.disguised = referee, disguised

    def send_bytes(self, data: bytes) -> None:
        self.reply = answer(self.referee, self.disguised, json.loads(data))

    def recv_bytes(self) -> bytes:
        return json.dumps(self.reply).encode()


def mixed() -> Landscape:
    """Hills in which configs fail in every way, and some compile to the same machine code as others."""
    landscape, rng = hills(), random.Random(1)
    statuses = ["compile", "constraints", "runtime", "timeout", "correctness", "implausible", "infrastructure"]
    for place, (key, entry) in enumerate(landscape.entries.items()):
        status = rng.choice([*statuses, *["correct"] * 7])
        if entry.status != "correct" or status == "correct":
            continue
        landscape.entries[key] = Entry(config=entry.config, status=status, reason=status, compile_seconds=place)
    return landscape


def real() -> Landscape:
    """A recorded landscape with every fifth config failing, and machine codes that repeat."""
    landscape, rng = named_landscape(REAL), random.Random(2)
    entries = {}
    for key, entry in landscape.entries.items():
        assert entry.compiled is not None
        compiled = entry.compiled.model_copy(update={"fingerprint": str(rng.randrange(120))})
        entry = entry.model_copy(update={"compiled": compiled})
        if rng.random() < 0.1:
            failed = CompileResult(config=entry.config, status="constraints", reason="shared memory")
            entry = Entry(config=entry.config, status="constraints", reason="shared memory", compiled=failed)
        elif rng.random() < 0.1:
            entry = Entry(config=entry.config, status="correctness", reason="wrong", compiled=compiled)
        entries[key] = entry
    return landscape.model_copy(update={"entries": entries})


class Table:
    """A landscape in one variant, where any number of games are played. What depends on no game is made once: the
    disguise, the tools, an open memory, and the space with its neighbourhood."""

    def __init__(self, landscape: Landscape, variant: str, memory: Path) -> None:
        self.landscape, self.variant = landscape, variant
        self.briefing, self.names = disguise(landscape, variant, 0)
        _, game = self.deal()
        self.first = open_game_session(game, "first", memory)
        # Most of the time would go into waiting for the disk, and no count depends on what a crash leaves behind.
        self.first.memory.connection.execute("PRAGMA synchronous = OFF")
        self.tools = tools_for(self.first)
        self.space = [config.model_dump(mode="json") for config in self.first.space]

    def deal(self) -> tuple[Ledger, Game]:
        """A new ledger, and the game that is played on it."""
        ledger = Ledger("anyone", self.landscape.name, "file", "file", self.variant, 0, MAX_EVALS)
        referee = Referee(self.landscape, ledger, self.names)
        return ledger, Game(self.briefing, 0, MAX_EVALS, InProcess(referee, self.names is not None))

    def session(self, game: Game, run: str) -> Session:
        """A session on `game` in which nothing is known and nothing is spent."""
        spec, memory, ids = self.first.task.spec, self.first.memory, self.first.ids
        memory.start_run(run, "goal", {}, "anyone", ids.environment, ids.problem, {})
        device = GameDevice(game, self.first.space, TrueValues(spec))
        opened = Session(self.first.task, device, device.compile_pool(), memory, ids, run, Budget(MAX_EVALS, 3600.0))
        opened.space, opened.neighbourhood = self.first.space, self.first.neighbourhood
        return opened


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memories")
    made = {
        (place, variant): Table(landscape, variant, folder / f"{place} {variant}.db")
        for place, landscape in enumerate([mixed(), real()])
        for variant in VARIANTS
    }
    yield made
    for table in made.values():
        table.first.memory.close()


def play(table: Table, rng: random.Random, calls: int, run: str) -> None:
    """A random sequence of tool calls; the counts are compared after each of them."""
    ledger, game = table.deal()
    session = table.session(game, run)
    fields = list(session.task.spec.config_type.model_fields)
    favourites = rng.sample(table.space, 20)
    for number in range(calls):
        name = rng.choice(BUILT)
        configs = [any_config(rng, fields, table.space, favourites) for _ in range(rng.randint(1, 5))]
        found = table.tools[name].call(session, {"configs": configs}, f"call {number}")
        assert session.budget.evals == len(ledger.rows), (run, name, configs, found)
        if "evaluations_left" in found:
            assert found["evaluations_left"] == MAX_EVALS - len(ledger.rows), (run, name, configs, found)


def any_config(rng: random.Random, fields: list[str], space: list[dict], favourites: list[dict]) -> dict:
    """One of the space, often one that was asked for before; or one that it does not hold; or none at all."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(favourites)
    if kind < 0.7:
        return rng.choice(space)
    if kind < 0.9:
        return {name: rng.choice(space)[name] for name in fields}
    broken = dict(rng.choice(space))
    broken[rng.choice(list(broken))] = rng.choice([None, "nonsense", -1, [1]])
    return broken


def check_counts(tables, seeds, calls):
    for seed in seeds:
        rng = random.Random(seed)
        variant = rng.choice(["plain", "plain", "renamed", "permuted"])
        play(tables[seed % 2, variant], rng, calls, f"seed {seed}")


def test_shown_is_charged_after_every_call(tables):
    check_counts(tables, range(100), 12)


@pytest.mark.long
@pytest.mark.parametrize("half", [0, 1])
def test_shown_is_charged_over_ten_thousand_sequences(tables, half):
    check_counts(tables, range(half * 5000, half * 5000 + 5000), 12)


def test_a_check_is_no_measurement_in_any_score(tables):
    table = tables[1, "plain"]
    ledger, game = table.deal()
    correct = [e.config for e in table.landscape.correct()][:5]
    assert game.check_all(correct) == ["correct"] * 5
    assert ledger.rows == []
    assert ledger.seconds > 0
    assert Board(table.landscape).score(ledger).regret is None
