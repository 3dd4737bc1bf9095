"""What a model is shown of its budget is what the referee charges, after every call of any sequence of tool calls."""

from __future__ import annotations

import json
import random

import pytest

from evals.contest.answers import answer
from evals.contest.disguise import disguise
from evals.contest.game import Game
from evals.contest.game_session import open_game_session
from evals.contest.ledger import Ledger, Referee
from evals.scoring.score import Board
from tests.evals.spaces import hills
from tools.harness.landscapes.named import named_landscape
from tools.harness.landscapes.readings import Entry, Landscape
from tools.harness.results import CompileResult
from tools.registry import tools_for

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


@pytest.fixture(scope="module")
def landscapes():
    return [mixed(), real()]


def play(landscape: Landscape, variant: str, rng: random.Random, calls: int, folder) -> tuple[Referee, Game]:
    """A random sequence of tool calls; the counts are compared after each of them."""
    briefing, names = disguise(landscape, variant, 0)
    ledger = Ledger("anyone", landscape.name, "file", "file", variant, 0, MAX_EVALS)
    referee = Referee(landscape, ledger, names)
    game = Game(briefing, 0, MAX_EVALS, InProcess(referee, names is not None))
    run = f"run {rng.random()}"
    session = open_game_session(game, run, folder / "memory.db")
    session.memory.start_run(run, "goal", {}, "anyone", session.ids.environment, session.ids.problem, {})
    try:
        tools = tools_for(session)
        space = [config.model_dump(mode="json") for config in session.space]
        favourites = rng.sample(space, 20)
        for number in range(calls):
            name = rng.choice(BUILT)
            fields = list(session.task.spec.config_type.model_fields)
            configs = [any_config(rng, fields, space, favourites) for _ in range(rng.randint(1, 5))]
            found = tools[name].call(session, {"configs": configs}, f"call {number}")
            assert session.budget.evals == len(ledger.rows), (name, configs, found)
            if "evaluations_left" in found:
                assert found["evaluations_left"] == MAX_EVALS - len(ledger.rows)
    finally:
        session.memory.close()
    return referee, game


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


def check_counts(landscapes, sequences, calls, folder):
    for seed in range(sequences):
        rng = random.Random(seed)
        landscape = landscapes[seed % len(landscapes)]
        play(landscape, rng.choice(["plain", "plain", "renamed", "permuted"]), rng, calls, folder)


def test_shown_is_charged_after_every_call(landscapes, tmp_path):
    check_counts(landscapes, 30, 12, tmp_path)


@pytest.mark.long
def test_shown_is_charged_over_ten_thousand_sequences(landscapes, tmp_path):
    check_counts(landscapes, 10_000, 12, tmp_path)


def test_a_check_is_no_measurement_in_any_score(landscapes, tmp_path):
    landscape = landscapes[1]
    briefing, _ = disguise(landscape, "plain", 0)
    ledger = Ledger("anyone", landscape.name, "file", "file", "plain", 0, MAX_EVALS)
    game = Game(briefing, 0, MAX_EVALS, InProcess(Referee(landscape, ledger), False))
    correct = [e.config for e in landscape.correct()][:5]
    assert game.check_all(correct) == ["correct"] * 5
    assert ledger.rows == []
    assert ledger.seconds > 0
    assert Board(landscape).score(ledger).regret is None
