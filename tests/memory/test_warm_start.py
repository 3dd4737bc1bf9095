"""A run that begins with what others learnt, on a real memory file; device and compiler count what they are asked."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from kernels.spec import Config, KernelSpec, Problem
from memory.shared_models import DeviceInfo
from memory.store import Memory
from memory.terms import Regime
from tests.evals.toy import TOY_GPU, Toy, ToyConfig, ToyProblem, true_ms
from tools import query_history, suggest_configs
from tools.harness.device import NO_LIMIT, CompileLimit
from tools.harness.results import CompileResult, Measurement
from tools.session.budget import Budget
from tools.session.recall import resume, warm_up
from tools.session.session import Ids, Session
from tools.session.task import Task

HERE = {"kind": "live", "name": "NVIDIA H200", "hardware": "H200", "driver": "570"}
SOME = [ToyConfig(BLOCK=b, num_warps=4, num_stages=1) for b in (16, 32, 64)]
WINNER = SOME[-1]


class Counting:
    """Compiles all but BLOCK 128 and times by the toy's formula; what is in `spoilt` our machinery fails at."""

    info = DeviceInfo(kind="live", name="NVIDIA H200", hardware="H200")
    parallel = True

    def __init__(self, spoilt: Sequence[Config] = ()) -> None:
        self.compiled: list[Config] = []
        self.timed: list[Config] = []
        self.spoilt = set(spoilt)

    def configs(self) -> Container[Config] | None:
        return None

    def compile(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], limit: CompileLimit = NO_LIMIT
    ) -> list[CompileResult]:
        self.compiled += configs
        return [self._compile(cast(ToyConfig, c)) for c in configs]

    def measure(self, configs: Sequence[Config], regime: Regime = "burst") -> list[Measurement]:
        self.timed += configs
        return [self._time(cast(ToyConfig, c), regime) for c in configs]

    def _compile(self, c: ToyConfig) -> CompileResult:
        if c.BLOCK == 128:
            return CompileResult(config=c.model_dump(), status="compile", reason="too large")
        return CompileResult(config=c.model_dump(), status="correct", registers=32)

    def _time(self, c: ToyConfig, regime: Regime) -> Measurement:
        if c in self.spoilt:
            return Measurement(config=c.model_dump(), status="infrastructure", reason="killed", regime=regime)
        return Measurement(config=c.model_dump(), status="correct", ms=true_ms(c), regime=regime)


def session(
    path: Path,
    run: str,
    gpu: Counting | None = None,
    n: int = 1000,
    environment: dict[str, Any] = HERE,
    spec: Toy | None = None,
    said: list[str] | None = None,
    **more: Any,
) -> Session:
    spec, memory, gpu = spec or Toy(), Memory.open(path), gpu or Counting()
    problem = ToyProblem(N=n)
    kernel = memory.kernel(spec.name, spec.source_hash())
    number = memory.problem(kernel, problem.model_dump(mode="json"), problem.label())
    ids = Ids(memory.environment(environment), kernel, number)
    lines = [] if said is None else said
    opened = Session(
        Task(spec, problem, TOY_GPU), cast(Any, gpu), cast(Any, gpu), memory, ids, run, Budget(10), lines.append, **more
    )
    memory.start_run(run, "g", {}, "m", ids.environment, ids.problem, {})
    resume(opened)
    warm_up(opened)
    return opened


def device(s: Session) -> Counting:
    return cast(Counting, s.device)


def best(s: Session) -> dict[str, Any]:
    return query_history.run(s, query_history.arguments(s.task.spec)(question="best"), "c")


def proposals(s: Session, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = suggest_configs.run(s, suggest_configs.SuggestConfigs(count=count), "c")["proposals"]
    return rows


def test_a_cold_run_knows_what_its_own_command_found_at_other_sizes_and_nothing_else(path: Path) -> None:
    session(path, "before", n=990).measure(SOME[:1], "c")
    session(path, "this command's", n=1010, cold=True).measure(SOME[1:], "c")
    session(path, "here, before").measure(SOME, "c")
    assert session(path, "warm").seeds == []  # all is known
    alone, second = (session(path, f"{n}", cold=True, alongside=n) for n in ((), ("this command's",)))
    assert (alone.seeds, alone.measured) == ([], {})
    assert second.seeds[0] == WINNER
    assert second.measured == {}
    assert SOME[0] not in second.seeds


def test_what_is_known_is_answered_without_the_device_and_costs_nothing(path: Path) -> None:
    session(path, "first").measure(SOME, "c")
    said: list[str] = []
    s = session(path, "second", said=said)
    assert [m.ms for m in s.measure(SOME, "c")] == [true_ms(c) for c in SOME]
    assert device(s).timed == []
    assert s.budget.evals == 0
    assert s.known == dict.fromkeys(SOME, "first")
    assert s.best() == s.measured[WINNER]
    assert best(s)["known"].startswith("3 configs are known from 1 earlier run (3 correct)")
    assert "3 configs are known" in said[0]


def test_what_is_known_guides_the_planner_and_is_not_proposed(path: Path) -> None:
    session(path, "first").measure([*SOME, ToyConfig(BLOCK=128)], "c")
    rows = proposals(session(path, "second"), 32)
    assert len(rows) == 32
    assert all(row["predicted_ms"] is not None for row in rows)
    assert not {Toy.config_type.model_validate(row["config"]) for row in rows} & {*SOME, ToyConfig(BLOCK=128)}
    assert all(row["predicted_ms"] is None for row in proposals(session(path.with_name("empty.db"), "r"), 4))


def test_a_new_config_is_measured_and_counts(path: Path) -> None:
    session(path, "first").measure(SOME, "c")
    s = session(path, "second")
    new = ToyConfig(BLOCK=64, num_warps=8)
    s.measure([new, *SOME], "c")
    assert device(s).timed == [new]
    assert s.budget.evals == 1
    assert new not in s.known


@pytest.mark.parametrize("what", ["environment", "source", "regime"])
def test_knowledge_from_elsewhere_is_not_taken_as_it_is(path: Path, what: str) -> None:
    class Edited(Toy):
        def source_hash(self) -> str:
            return "edited"

    session(path, "first").measure(SOME, "c")
    said: list[str] = []
    if what == "regime":
        s = session(path, "second")
        s = Session(
            **{**vars(s), "task": Task(s.task.spec, s.task.problem, TOY_GPU, regime="sustained"), "measured": {}}
        )
        s.known.clear()
        warm_up(s)
    elif what == "source":
        s = session(path, "second", spec=Edited(), said=said)
    else:
        s = session(path, "second", environment=HERE | {"driver": "999"}, said=said)
    assert s.measured == {}
    assert s.known == {}
    s.measure(SOME, "c")
    assert device(s).timed == SOME
    assert s.budget.evals == 3
    assert "known" not in best(s)
    if what != "regime":
        assert "not used: 3 configs were measured on NVIDIA H200" in said[-1]


def test_failures_are_known_too_and_our_own_are_not(path: Path) -> None:
    wrong, spoilt = ToyConfig(BLOCK=128), SOME[0]
    first = session(path, "first", Counting(spoilt=[spoilt]))
    first.measure([wrong, spoilt], "c")
    s = session(path, "second")
    assert s.measured[wrong].status == "compile"
    assert spoilt not in s.measured
    s.measure([wrong, spoilt], "c")
    assert device(s).timed == [spoilt]
    assert device(s).compiled == [spoilt]


def test_a_resumed_run_counts_its_own_evaluations_and_not_what_it_knew(path: Path) -> None:
    session(path, "first").measure(SOME[:2], "c")
    session(path, "second").measure(SOME, "c")
    s = session(path, "second")
    assert s.budget.evals == 1
    assert set(s.known) == set(SOME[:2])
    assert set(s.measured) == set(SOME)


def test_winners_of_a_near_problem_come_first_and_are_measured_here(path: Path) -> None:
    session(path, "near").measure(SOME, "c")
    s = session(path, "here", n=2000)
    assert s.measured == {}
    first = proposals(s, 4)
    assert Toy.config_type.model_validate(first[0]["config"]) == WINNER
    assert first[0]["reason"].startswith("won on a near problem")
    s.measure([WINNER], "c")
    assert s.budget.evals == 1
    assert WINNER not in s.seeds or proposals(s, 1)[0]["config"] != WINNER.model_dump()


def test_a_far_problem_says_nothing(path: Path) -> None:
    session(path, "far").measure(SOME, "c")
    s = session(path, "here", n=1000 * 2**8)
    assert s.seeds == []
    assert s.near_problems == []


def test_a_winner_that_the_kernel_no_longer_has_is_passed_over(path: Path) -> None:
    near = session(path, "near")
    near.measure(SOME, "c")
    text = '{"BLOCK":999,"num_stages":1,"num_warps":4}'
    near.memory.connection.execute("UPDATE configs SET config = ? WHERE config LIKE '%\"BLOCK\":64%'", [text])
    assert [c.BLOCK for c in session(path, "here", n=2000).seeds if isinstance(c, ToyConfig)] == [32]
    assert set(session(path, "again").measured) == set(SOME[:2])


def test_another_device_that_is_unknown_gives_winners_but_no_lesson(path: Path) -> None:
    session(path, "there", environment=HERE | {"hardware": None, "name": "A prototype"}).measure(SOME, "c")
    s = session(path, "here")
    assert s.seeds[0] == WINNER
    assert s.near_problems == []


TOOLS = {"triton": "3.9.0", "assembler": "ptxas 13.4"}


@pytest.mark.parametrize(
    "there",
    [
        {"triton": "3.6.0"},
        {"assembler": "ptxas 12.9"},
        {"assembler": None},  # a file from before it was recorded
        {"overrides": "TRITON_PTXAS_BLACKWELL_PATH=/opt/ptxas"},
    ],
)
def test_what_another_compiler_made_is_proposed_and_corrects_no_model(path: Path, there: dict[str, Any]) -> None:
    session(path, "there", n=2000, environment=HERE | TOOLS | there).measure(SOME, "c")
    s = session(path, "here", environment=HERE | TOOLS)
    assert s.seeds[0] == WINNER
    assert s.near_problems == []
    assert s.known == {}
    session(path, "same", n=4000, environment=HERE | TOOLS).measure(SOME, "c")
    assert [near.problem.N for near in session(path, "next", environment=HERE | TOOLS).near_problems] == [4000]


def test_an_environment_of_before_has_the_address_that_it_had(path: Path) -> None:
    memory = Memory.open(path)
    old = memory.environment(HERE)
    assert memory.environment(HERE | {"assembler": None, "overrides": None, "facts": {"sms": 78}}) == old
    assert memory.environment(HERE | {"overrides": "DISABLE_PTXAS_OPT=1"}) != old
