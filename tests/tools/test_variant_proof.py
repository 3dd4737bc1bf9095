"""A variant is tried on inputs that nobody chose before the search for its config goes on, and leaves it if wrong."""

from __future__ import annotations

import math

import pytest

from agent.errors import UsageError
from agent.loop.inherit import inherit
from agent.loop.progress import describe_answer
from agent.trace.trace import Event
from kernels.editing.editable import editable
from kernels.editing.variants import keep, make_variant, text_of
from memory import queries
from memory.edits.edit_rows import record_variant
from memory.store import Memory
from tests.agent.programs.nothing_to_compile import NothingToCompile
from tests.exploits.axpy import Axpy, AxpyProblem
from tests.kernels.editing.test_variants import GRID, H200, HONEST
from tests.tools.test_edit_kernel import Card
from tools import registry
from tools.harness.process.identity import describe
from tools.harness.results import UNDECIDED, Measurement, StressResult
from tools.session.budget import Budget
from tools.session.recall import resume, warm_up
from tools.session.rewriting import edit_row
from tools.session.session import Ids, Session
from tools.session.task import Task
from tools.session.variants.variant_proof import EACH_S, MOST, SHARE
from tools.session.variants.variant_verdicts import PLACE, wrong_variants

META = {"TURNS": (1, 2, 4)}
TINY = "on tiny inputs: scale-relative error 0.1 is above the bound 0.001"


class Cards(Card):
    """Says of each variant what `says` holds; the others are right."""

    def __init__(self, memory):
        super().__init__(memory)
        self.says, self.stressed = {}, []

    def stress(self, config, most_s=None, decided_by=0.0):
        self.stressed.append((config.edit.partition(" ")[0], most_s))
        status, reason = self.says.get(self.stressed[-1][0], ("correct", ""))
        values = config.model_dump(mode="json")
        return StressResult(config=values, status=status, reason=reason, tried=["large", "tiny", "negative"])

    def reading(self, config, ms=None):
        """The number of turns decides."""
        ms = 0.5 + 0.01 * int(config.edit[-1]) if config.edit else 1.0
        values = config.model_dump(mode="json")
        return Measurement(config=values, status="correct", ms=ms, ci_ms=(ms, ms), samples_ms=[ms])


def opened(folder, run="run", memory="memory.db"):
    store = Memory.open(folder / memory)
    spec = editable(Axpy(), folder / "variants", describe(Axpy(), AxpyProblem())["kernel"])
    task = Task(spec, AxpyProblem(), H200, "gbps")
    ids = Ids.of(store, Card.info, spec, task.problem)
    store.start_run(run, "", {}, "m", ids.environment, ids.problem, {}, "")
    return Session(task, Cards(store), NothingToCompile(), store, ids, run, Budget(100, 600.0))


@pytest.fixture
def session(tmp_path):
    found = opened(tmp_path)
    yield found
    found.close()


def added(session, factor=2):
    """A variant, and its configs."""
    spec, problem = session.task.spec, session.task.problem
    source = HONEST.replace("2 * x", f"{factor}.0 * x")
    variant = make_variant(spec.owner(problem, H200, "axpy"), source, META, GRID)
    keep(variant, spec.folder)
    session.forget_space()
    row = edit_row(session, "", "correct", "", hash=variant.hash, source=source, meta=variant.edit.meta)
    record_variant(session.memory, row)
    texts = [text_of(variant, {"TURNS": turns}) for turns in META["TURNS"]]
    return variant.hash, [session.config({"BLOCK": 512, "edit": text}) for text in texts]


def measure(session, configs, call="t0000c001"):
    values = [c.model_dump(mode="json") for c in configs]
    return registry.tools_for(session)["run_benchmark"].call(session, {"configs": values}, call)


def owners(session):
    return session.config({"BLOCK": 512})


def test_a_right_variant_is_tried_once_at_its_fastest_config(session):
    name, configs = added(session)
    answer = measure(session, [owners(session), *configs[:2]])
    (row,) = answer["stressed"]
    assert (row["variant"], row["status"], row["config"]) == (name, "correct", configs[0].model_dump(mode="json"))
    assert row["found"] == "right on large, tiny, negative inputs too"
    assert [r["status"] for r in answer["results"]] == ["correct"] * 3
    ((tried, most_s),) = session.device.stressed
    assert tried == name
    assert 0 < most_s <= EACH_S
    assert "stressed" not in measure(session, configs)
    assert "stressed" not in measure(session, [owners(session)])
    assert len(session.device.stressed) == 1
    (checked,) = session.memory.ask("SELECT * FROM attempts WHERE kind = 'check'")
    assert (checked["status"], checked["checked_where"].endswith(PLACE)) == ("correct", True)


def test_a_wrong_variant_leaves_the_search_with_all_its_configs(session):
    name, configs = added(session)
    session.device.says[name] = ("correctness", TINY)
    answer = measure(session, [owners(session), *configs[:2]])
    assert [r["status"] for r in answer["results"]] == ["correct", "correctness", "correctness"]
    assert answer["results"][1]["reason"] == f"wrong {TINY}"
    assert "ms" not in answer["results"][1]
    assert answer["stressed"][0]["reason"] == f"wrong {TINY}"
    assert answer["best"]["config"] == owners(session).model_dump(mode="json")
    asked = len(session.device.asked)
    left = session.budget.evals_left()
    again = measure(session, configs)
    assert [r["reason"] for r in again["results"]] == [f"wrong {TINY}"] * 3
    assert (len(session.device.asked), session.budget.evals_left()) == (asked, left), "nothing more is launched"
    checked = registry.tools_for(session)["check_correctness"].call(
        session, {"configs": [configs[2].model_dump(mode="json")]}, "t0000c009"
    )
    assert checked["results"][0]["status"] == "correctness"
    assert not [c for c in session.space if c.edit], "it is not proposed"
    assert session.finalists(16)[0] == [owners(session)]
    (row,) = session.memory.ask("SELECT verdict, why FROM variants")
    assert (row["verdict"], row["why"]) == ("correctness", f"wrong {TINY}")
    best = queries.best(session.memory, session.ids.problem, session.ids.environment, session.task.regime, 20)
    assert [r["config"] for r in best] == [owners(session).model_dump(mode="json")]


def test_the_same_code_sent_again_is_told_why(session):
    name, configs = added(session)
    session.device.says[name] = ("correctness", TINY)
    measure(session, configs[:1])
    sent = {
        "source": HONEST.replace("2 * x", "2.0 * x"), "reason": "it waits for memory", "grid": GRID,
        "meta_parameters": [{"name": "TURNS", "values": list(META["TURNS"])}],
    }  # fmt: skip
    answer = registry.tools_for(session)["edit_kernel"].call(session, sent, "t0000c002")
    assert answer == {"fence": "passed", "variant": name, "wrong": f"wrong {TINY}"}


def test_what_a_later_call_finds_out_takes_back_earlier_measurements(session):
    name, configs = added(session)
    session.device.says[name] = ("infrastructure", "the worker was killed")
    first = measure(session, configs[:1])
    assert first["stressed"][0]["status"] == "infrastructure"
    assert [r["status"] for r in first["results"]] == ["correct"]
    session.device.says[name] = ("runtime", "an illegal memory access")
    second = measure(session, configs[1:2])
    why = "runtime on inputs that nobody chose: an illegal memory access"
    assert second["stressed"][0]["reason"] == why
    assert {m.status for m in session.measured.values()} == {"correctness"}
    assert session.best() is None


def test_what_float64_could_not_decide_is_left_to_the_final_sitting(session):
    name, configs = added(session)
    session.device.says[name] = ("infrastructure", UNDECIDED)
    answer = measure(session, configs[:1])
    assert answer["stressed"][0]["reason"] == UNDECIDED
    assert "stressed" not in measure(session, configs)
    assert len(session.device.stressed) == 1
    assert session.best() is not None
    assert len([c for c in session.space if c.edit]) > 0


def test_a_blind_check_is_no_verdict_on_a_variant(session):
    name, configs = added(session)
    session.device.says[name] = ("correctness", "the check is blind: it accepts its output if nothing is launched")
    answer = measure(session, configs[:1])
    assert answer["stressed"][0]["status"] == "infrastructure"
    assert session.best() is not None


def test_a_shape_that_the_variant_does_not_compile_for_is_found_out_first(session, monkeypatch):
    _, configs = added(session)
    refused = ("correctness", "for 7 the owner's code compiles and this variant does not: it asserts")
    monkeypatch.setattr("tools.session.compiled_for_proof.compile_for_proof", lambda *about: refused)
    answer = measure(session, configs[:1])
    assert answer["stressed"][0]["reason"] == f"wrong {refused[1]}"
    assert session.device.stressed == []


def test_the_time_is_bounded_and_what_was_left_out_is_said(session):
    several = [added(session, factor) for factor in range(2, 2 + MOST + 2)]
    answer = measure(session, [configs[0] for _, configs in several])
    assert [("status" in row) for row in answer["stressed"]] == [True] * MOST + [False] * 2
    assert answer["stressed"][-1]["left_out"] == f"not tried on inputs that nobody chose: {MOST} faster ones are right"
    session.budget.max_seconds = 0.0
    session.budget.started -= 1.0
    later = measure(session, [several[-1][1][0]], "t0000c002")
    assert later["stressed"] == [
        {"variant": several[-1][0], "left_out": "not tried on inputs that nobody chose: no time"}
    ]
    assert len(session.device.stressed) == MOST
    session.budget.max_seconds = 1.0 + 8.0
    measure(session, [several[-1][1][0]], "t0000c003")
    assert session.device.stressed[-1][1] <= SHARE * 8.0


def test_a_wrong_variant_is_none_of_the_fastest(session):
    several = [added(session, factor) for factor in range(2, 2 + MOST + 2)]
    session.device.says = {name: ("correctness", TINY) for name, _ in several[:-1]}
    measure(session, [configs[0] for _, configs in several])
    assert [name for name, _ in session.device.stressed] == [name for name, _ in several]
    assert session.best().config == several[-1][1][0].model_dump(mode="json")


def test_a_run_that_is_resumed_and_a_later_one_know_it(session, tmp_path):
    name, configs = added(session)
    session.device.says[name] = ("correctness", TINY)
    measure(session, [owners(session), *configs[:2]])
    for run, know in (("run", resume), ("later", warm_up)):
        other = opened(tmp_path, run)
        know(other)
        assert wrong_variants(other.checked) == {name: f"wrong {TINY}"}
        assert [m.config for m in other.ranked()] == [owners(session).model_dump(mode="json")]
        assert not [c for c in other.space if c.edit]
        other.close()


def test_a_fork_with_another_memory_knows_it_from_the_trace(session, tmp_path):
    name, configs = added(session)
    session.device.says[name] = ("infrastructure", "the worker was killed")
    first = measure(session, [owners(session), *configs[:2]])
    session.device.says[name] = ("correctness", TINY)
    second = measure(session, configs[2:])
    other = opened(tmp_path, "fork", "other.db")
    bodies = [("header", "run", {})]
    for i, answer in enumerate((first, second)):
        bodies += [("tool_call", f"c{i}", {"name": "run_benchmark"}), ("tool_result", f"c{i}", {"result": answer})]
    inherit(other, [Event(seq, "", *body, "") for seq, body in enumerate(bodies)])
    assert [m.config for m in other.ranked()] == [owners(session).model_dump(mode="json")]
    assert wrong_variants(other.checked) == {name: f"wrong {TINY}"}
    other.close()


@pytest.mark.parametrize("key", ["stressed", "proposals", "results"])
def test_a_fork_of_a_trace_with_a_config_that_is_gone_is_one_sentence(key, session):
    tool = {"stressed": "run_benchmark", "proposals": "suggest_configs", "results": "run_benchmark"}[key]
    row = {"config": {"ROWS": 4}, "status": "correct", "where": PLACE}
    bodies = [("header", "run", {}), ("tool_call", "c", {"name": tool}), ("tool_result", "c", {"result": {key: [row]}})]
    with pytest.raises(UsageError, match="no longer knows the config"):
        inherit(session, [Event(seq, "", *body, "") for seq, body in enumerate(bodies)])


def test_the_line_of_progress_says_which_variant_is_wrong(session):
    name, configs = added(session)
    session.device.says[name] = ("correctness", TINY)
    answer = measure(session, configs[:1])

    class Setting:
        metric = "latency"

    assert describe_answer("run_benchmark", answer, Setting()).endswith(f"; variant {name}: wrong {TINY}")


def test_a_run_without_edits_tries_nothing(tmp_path):
    store = Memory.open(tmp_path / "plain.db")
    task = Task(Axpy(), AxpyProblem(), H200, "gbps")
    ids = Ids.of(store, Card.info, task.spec, task.problem)
    store.start_run("run", "", {}, "m", ids.environment, ids.problem, {}, "")
    plain = Session(task, Plain(store), NothingToCompile(), store, ids, "run", Budget(9, math.inf))
    answer = measure(plain, [plain.config({"BLOCK": 512})])
    assert "stressed" not in answer
    assert plain.checked == {}
    plain.close()


class Plain(Card):
    def reading(self, config, ms=None):
        values = config.model_dump(mode="json")
        return Measurement(config=values, status="correct", ms=1.0, ci_ms=(1.0, 1.0), samples_ms=[1.0])

    def stress(self, config, most_s=None, decided_by=0.0):
        raise AssertionError("nobody asks for it")
