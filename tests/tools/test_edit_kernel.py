"""The tool `edit_kernel`: what a model sends is fenced, compiled, interpreted and remembered, and then is a config."""

import json
from types import SimpleNamespace

import pytest

from agent.models.base import Done
from agent.models.embedded import finalists, next_move
from kernels.editing.editable import editable
from kernels.editing.rewrites import BY_NAME
from memory.store import Memory
from tests.exploits import edit_doors
from tests.exploits.axpy import Axpy, AxpyProblem
from tests.kernels.editing.test_variants import AXPY, GRID, H200, HONEST, WRONG
from tests.tools.test_session import Clockwork
from tools import query_history, registry
from tools.edit_kernel import INTERPRETER_S, MOST_EDITS, NO_TIME, REWRITE_NAMES, _interpreted
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.process import sandbox
from tools.harness.process.identity import describe
from tools.harness.results import CheckResult, Measurement, StressResult
from tools.session.budget import Budget
from tools.session.earlier_variants import make_again
from tools.session.edits import with_edits
from tools.session.open_session import SetupError, open_session
from tools.session.session import Ids, Session
from tools.session.task import Task

pytestmark = [
    pytest.mark.process,
    pytest.mark.compile,
    pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}"),
]
REASON = "it waits for memory: several blocks of a program hide that"
TURNS = [{"name": "TURNS", "values": [2, 4]}]


class Card(Clockwork):
    """Variants take half the time here. `wrong`: hash of one, and on what inputs it is wrong."""

    wrong = ("", "")

    def stress(self, config, most_s=None, decided_by=0.0):
        self.stressed = [*getattr(self, "stressed", ()), (config, most_s)]
        bad = config.edit.startswith(self.wrong[0] or "none")
        about = {"status": "correctness", "reason": self.wrong[1]} if bad else {"status": "correct"}
        return StressResult(config=config.model_dump(mode="json"), tried=["large", "tiny"], **about)

    def reading(self, config, ms=None):
        ms = 0.5 if config.edit else 1.0
        values = config.model_dump(mode="json")
        return Measurement(config=values, status="correct", ms=ms, ci_ms=(ms, ms), samples_ms=[ms])


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edits")
    memory = Memory.open(folder / "memory.db")
    spec = editable(Axpy(), folder / "variants", describe(Axpy(), AxpyProblem())["kernel"])
    task = Task(spec, AxpyProblem(), H200, "gbps")
    ids = Ids.of(memory, Card.info, spec, task.problem)
    pool = LocalCompilePool(H200, workers=1, cache=folder / "cache", shut_in=True)
    opened = Session(task, Card(memory), pool, memory, ids, "run", Budget(100, 600.0))
    memory.start_run("run", "", {}, "m", ids.environment, ids.problem, {}, "")
    yield opened
    opened.close()


def send(session, source, call="t0000c000", **more):
    return registry.tools_for(session)["edit_kernel"].call(session, {"source": source, "reason": REASON, **more}, call)


def rows(session):
    return session.memory.ask("SELECT * FROM variants ORDER BY id")


def test_an_edit_becomes_a_config_that_is_measured_and_remembered(session):
    tools = registry.tools_for(session)
    owners = tools["run_benchmark"].call(session, {"configs": [{"BLOCK": 512, "edit": ""}]}, "t0000c001")["results"][0]
    answer = send(session, HONEST, meta_parameters=TURNS, grid=GRID)
    assert answer["fence"] == "passed"
    assert answer["compile"]["status"] == "correct"
    assert answer["compile"]["registers"] > 0
    assert answer["interpreter"]["status"] == "correct", answer
    assert answer["config"] == {"BLOCK": 512, "edit": f"{answer['variant']} TURNS=2"}
    assert answer["limit"]["after"]
    assert session.refusal(session.config(answer["config"])) is None
    assert any(c.edit.startswith(answer["variant"]) for c in session.space)
    measured = tools["run_benchmark"].call(session, {"configs": [answer["config"]]}, "t0000c002")["results"][0]
    assert (owners["status"], measured["status"], measured["ms"]) == ("correct", "correct", 0.5)
    last = rows(session)[-1]
    assert (last["hash"], last["parent"], last["verdict"]) == (answer["variant"], "", "correct")
    assert last["reason"] == REASON
    assert "+    for i in tl.static_range(TURNS):" in last["diff"]
    assert json.loads(last["meta"]) == {"TURNS": [2, 4]}
    found = tools["query_history"].call(session, {"question": "edits"}, "t0000c003")["rows"][0]
    assert found["hash"] == answer["variant"]
    assert found["times_faster_than_the_owner"] == 2.0
    assert found["quoted"] == REASON


def test_a_child_names_its_parent_and_differs_from_it(session):
    first = send(session, HONEST, meta_parameters=TURNS, grid=GRID)["variant"]
    source = HONEST.replace("mask=offsets < n)", "mask=offsets < n, eviction_policy='evict_first')", 2)
    second = send(session, source, meta_parameters=TURNS, grid=GRID, parent=first)
    last = rows(session)[-1]
    assert (last["parent"], last["hash"]) == (first, second["variant"])
    assert "evict_first" in last["diff"]
    assert "static_range" not in last["diff"].replace("@@", "") or "+    for i" not in last["diff"]


def test_wrong_code_is_found_out_in_the_interpreter(session):
    answer = send(session, WRONG, meta_parameters=TURNS, grid=GRID)
    assert answer["interpreter"]["status"] == "correctness"
    assert "next" not in answer
    assert rows(session)[-1]["verdict"] == "correctness"


def test_a_verdict_by_a_sample_is_kept_as_one(session, monkeypatch):
    found = {"status": "correct", "reason": "", "programs": "16 of 5,000 programs"}
    monkeypatch.setattr("tools.edit_kernel._interpreted", lambda session, config: found)
    answer = send(session, HONEST, meta_parameters=TURNS, grid=GRID)
    assert answer["interpreter"] == {"status": "correct", "programs": "16 of 5,000 programs"}
    last = rows(session)[-1]
    assert (last["verdict"], last["why"]) == ("correct", "in the interpreter 16 of 5,000 programs")


def test_code_that_does_not_compile_is_a_verdict(session):
    answer = send(session, AXPY.replace("FACTOR", "tl.dot(x, y)"), meta_parameters=TURNS, grid=GRID)
    assert answer["compile"]["status"] == "compile"
    assert answer["compile"]["reason"]
    assert "interpreter" not in answer
    assert rows(session)[-1]["verdict"] == "compile"


@pytest.mark.parametrize("name", ["open", "decorator", "computed default", "inline assembly", "unrolled for ever"])
def test_what_the_fence_refuses_is_one_sentence_and_a_row(name, session, tmp_path, monkeypatch):
    monkeypatch.setenv(edit_doors.MARKER, str(tmp_path / "marker"))
    source = {n: s for n, s, _ in edit_doors.DOORS}[name].replace("def scale(x_ptr, y_ptr, n, factor", HEAD)
    answer = send(session, source.replace("factor", "n"))
    assert answer["fence"] == "refused"
    assert answer["line"] >= 1
    assert "\n" not in answer["why"]
    last = rows(session)[-1]
    assert (last["verdict"], last["hash"], last["source"]) == ("refused", "", "")
    assert not (tmp_path / "marker").exists()


HEAD = "def axpy(x_ptr, y_ptr, out_ptr, n"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"grid": "__import__('os').getpid()"}, "may use"),
        ({"grid": "cdiv(m, BLOCK)"}, "reads m"),
        ({"parent": "0123456789ab"}, "no variant"),
        ({"meta_parameters": [*TURNS, *TURNS]}, "stated twice"),
        ({"meta_parameters": []}, "stated meta-parameter"),
    ],
)
def test_the_rest_of_an_edit_is_judged_as_well(more, says, session):
    answer = send(session, HONEST, **{"meta_parameters": TURNS, "grid": GRID, **more})
    assert answer["fence"] == "refused"
    assert says in answer["why"]


@pytest.mark.parametrize(
    ("more", "says"), [({"shape": "1x1"}, "shape"), ({"meta_parameters": [{"name": "A", "values": []}]}, "values")]
)
def test_arguments_that_the_tool_does_not_have_are_refused(more, says, session):
    answer = send(session, HONEST, **more)
    assert answer["error"] == "arguments"
    assert says in " ".join(answer["problems"])


def test_without_a_source_the_owners_is_shown_without_comments(session):
    shown = registry.tools_for(session)["edit_kernel"].call(session, {}, "t0000c000")
    assert "def axpy(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):" in shown["functions"]["axpy"]["quoted"]
    assert "#" not in shown["functions"]["axpy"]["quoted"]


def test_a_known_rewrite_is_made_where_the_limit_asks_for_it(session):
    def rewrite(name):
        return registry.tools_for(session)["edit_kernel"].call(session, {"rewrite": name}, "t0000c000")

    made = rewrite("streaming")
    assert made["fence"] == "passed"
    assert made["interpreter"]["status"] == "correct"
    assert "evict_first" in rows(session)[-1]["diff"]
    assert rows(session)[-1]["reason"] == BY_NAME["streaming"].reason
    assert "limited by DRAM" in rewrite("base two")["why"]
    assert rewrite("pipelined loops")["why"] == "there is nothing in the source that it would change"


def test_all_rewrites_are_made_and_compiled_together(session):
    answer = registry.tools_for(session)["edit_kernel"].call(session, {"rewrite": "every"}, "t0000c000")
    made = {v["rewrite"]: v for v in answer["variants"]}
    assert {"streaming", "wider blocks"} <= made.keys()
    assert made["wider blocks"]["compile"] == "correct"
    assert {c["edit"].partition(" ")[2] for c in made["wider blocks"]["configs"]} == {"WIDE=2", "WIDE=4"}
    assert "limited by DRAM" in answer["left_out"]["base two"]
    kept = {row["hash"]: row for row in rows(session)}
    assert kept[made["wider blocks"]["variant"]]["grid"] == "cdiv(grid_0, WIDE), grid_1, grid_2"
    further = {"rewrite": "every", "parent": made["streaming"]["variant"]}
    second = registry.tools_for(session)["edit_kernel"].call(session, further, "t0000c000")
    child = next(v for v in second["variants"] if v["rewrite"] == "wider blocks")
    assert {r["hash"]: r["parent"] for r in rows(session)}[child["variant"]] == made["streaming"]["variant"]
    unknown = registry.tools_for(session)["edit_kernel"].call(
        session, {**further, "parent": "0123456789ab"}, "t0000c000"
    )
    assert "no variant" in unknown["why"]


def test_variants_of_a_trace_are_made_again_where_their_files_are_not(session):
    call = registry.tools_for(session)["edit_kernel"].call
    sent = {"source": HONEST, "reason": REASON, "meta_parameters": TURNS, "grid": GRID}
    every = {"rewrite": "every"}
    answers = [(given, call(session, given, "t0000c000")) for given in (sent, every, {"rewrite": "streaming"}, {})]
    streaming = next(v["variant"] for v in answers[1][1]["variants"] if v["rewrite"] == "streaming")
    further = {"rewrite": "every", "parent": streaming}
    answers.append((further, call(session, further, "t0000c000")))
    folder, emptied = session.task.spec.folder, session.task.spec.folder.with_name("moved")
    folder.rename(emptied)
    session.task.spec.__dict__["_variants"].clear()
    assert [make_again(session, *answer) for answer in answers] == [[]] * len(answers)
    made = {p.name: p.read_text() for p in folder.glob("*.json")}
    assert len(made) > 4
    assert made.items() <= {p.name: p.read_text() for p in emptied.glob("*.json")}.items()
    changed = {**sent, "source": HONEST.replace("2 * x", "3 * x")}
    assert make_again(session, changed, {"fence": "passed", "variant": "0123456789ab"}) == ["0123456789ab"]
    assert make_again(session, {"rewrite": "gone"}, {"variants": [{"rewrite": "gone", "variant": "ab"}]}) == ["ab"]


def test_an_edit_without_a_reason_is_refused(session):
    answer = registry.tools_for(session)["edit_kernel"].call(session, {"source": HONEST}, "t0000c000")
    assert "reason" in answer["problems"][0]


def test_the_planner_tries_the_rewrites_once_something_is_measured():
    def done(name, result):
        return Done(name, {}, result, registry.builtin_declarations()[name])

    measured = done("run_benchmark", {"results": [{"config": {"A": 1}, "status": "correct", "ms": 1.0}]})

    def next_call(*calls, **more):
        called = next_move(calls, 10, **{"rewrites": REWRITE_NAMES, **more})[1][0]["function"]
        return called["name"], json.loads(called["arguments"])

    assert next_call(measured) == ("edit_kernel", {"rewrite": "every"})
    variants = [{"variant": "aa", "configs": [{"A": 1, "edit": "aa"}, {"A": 2, "edit": "aa"}]}, {"configs": []}]
    edited = done("edit_kernel", {"variants": [*variants, {"variant": "bb", "configs": [{"A": 1, "edit": "bb"}]}]})
    name, given = next_call(measured, edited)
    assert (name, [c["edit"] for c in given["configs"]]) == ("run_benchmark", ["aa", "bb", "aa"])

    def timed(ms):
        row = {"config": {"A": 1, "edit": "bb X=2"}, "status": "correct", "ms": ms}
        return done("run_benchmark", {"results": [row]})

    assert next_call(measured, edited, timed(0.5)) == ("edit_kernel", {"rewrite": "every", "parent": "bb"})
    assert next_call(measured, edited, timed(1.5))[0] == "suggest_configs"
    assert next_call(measured, done("edit_kernel", {"fence": "passed"}))[0] == "suggest_configs"
    wrong = done("run_benchmark", {"results": [], "stressed": [{"variant": "bb", "status": "correctness"}]})
    assert next_call(measured, timed(0.5), edited, wrong)[0] == "suggest_configs", "nothing is made of a wrong variant"
    assert [c.get("edit") for c in finalists([measured, timed(0.5)])] == ["bb X=2", None]
    assert finalists([measured, timed(0.5), wrong]) == [{"A": 1}]
    untried = done("run_benchmark", {"results": [], "stressed": [{"variant": "bb", "left_out": "no time"}]})
    assert len(finalists([measured, timed(0.5), untried])) == 2
    assert next_call(measured, rewrites=())[0] == "suggest_configs"


@pytest.mark.parametrize(
    ("kind", "seconds", "limit"), [("live", 100.0, INTERPRETER_S), ("live", 8.0, 2.0), ("recorded", 8.0, None)]
)
def test_on_a_gpu_the_interpreter_takes_a_part_of_what_is_left(kind, seconds, limit):
    asked = []

    class Noting:
        def check(self, spec, problem, configs, hardware, limit_s=None):
            asked.append(limit_s)
            return [CheckResult(config={}, status="correct", programs="16 of 132 programs")]

    task = SimpleNamespace(spec=None, problem=None, hardware=H200)
    device, budget = SimpleNamespace(info=SimpleNamespace(kind=kind)), SimpleNamespace(seconds_left=lambda: seconds)
    fake = SimpleNamespace(task=task, device=device, budget=budget, interpreter=Noting())
    assert _interpreted(fake, None)["programs"] == "16 of 132 programs"
    assert asked == [limit]
    budget.seconds_left = lambda: 0.1
    late = _interpreted(fake, None)
    if kind == "live":
        assert late == {
            "status": "infrastructure", "reason": "not interpreted: 0.025 s were not enough; the card decides"
        }  # fmt: skip
    assert len(asked) == 1 + (kind != "live")


def test_a_run_sends_a_bounded_number_of_edits(session):
    done = len(rows(session))
    for _ in range(MOST_EDITS - done):
        send(session, "import os")
    assert send(session, HONEST, meta_parameters=TURNS, grid=GRID)["error"] == "edits"


def test_without_edits_there_is_no_such_tool():
    assert "edit_kernel" not in registry.tools_of(Axpy())
    assert "edits" in query_history.Arguments.model_json_schema()["properties"]["question"]["enum"]


def opened(tmp_path, kernel, device="recorded"):
    return open_session(
        kernel, None, {}, None, device, regime="burst", memory_path=tmp_path / "memory.db", max_evals=4, max_seconds=60,
        seed=0, run_id="run", progress=lambda line: None, edit=True,
    )  # fmt: skip


def test_a_recorded_device_compiles_and_interprets_variants_and_looks_up_no_time_of_them(tmp_path):
    session = opened(tmp_path, "rms_norm")
    try:
        session.memory.start_run("run", "", {}, "m", session.ids.environment, session.ids.problem, {}, "")
        spec = session.task.spec
        name = spec.editable_functions(session.task.problem, session.task.hardware)[0]
        source = spec.owner(session.task.problem, session.task.hardware, name).part["source"]
        answer = send(session, source)
        assert answer["fence"] == "passed", answer
        assert (answer["compile"]["status"], answer["interpreter"]["status"]) == ("correct", "correct")
        assert answer["next"] == NO_TIME
        wrong = send(session, source.replace(".to(tl.float32)", ".to(tl.float32) + 1.0"))
        assert wrong.get("interpreter", {}).get("status") == "correctness", wrong
        timed = session.measure([session.config(answer["config"])], "t0000c001")[0]
    finally:
        session.close()
    assert timed.status == "constraints"
    assert "not recorded" in timed.reason


def test_edits_are_refused_where_nothing_can_be_shut_in(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "why_not", lambda: "the kernel has no Landlock")
    with pytest.raises(SetupError, match=r"no way \(the kernel has no Landlock\): leave --edit out"):
        opened(tmp_path, "rms_norm")


def test_edits_are_refused_on_many_gpus(tmp_path):
    with pytest.raises(SetupError, match="one GPU of this machine"):
        opened(tmp_path, "rms_norm", "cuda:all")


def test_a_kernel_that_launches_nothing_that_can_be_edited_is_refused():
    class Empty(Axpy):
        def launch(self, problem, config, inputs, out, hardware):
            pass

    with pytest.raises(ValueError, match="launches no Triton kernel"):
        with_edits(Empty(), AxpyProblem(), None)
