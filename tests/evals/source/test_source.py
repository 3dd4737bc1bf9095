"""Source tasks: forms pass the fence, compute the same and compile; claims are examined; scores count proven wins."""

import json
from functools import partial

import pytest
from click.testing import CliRunner

from evals.commands.commands import cli
from evals.source import source_command, source_runs
from evals.source.source_runs import KNOWN, Place, SourceRun, play
from evals.source.source_scores import known_speedups, score, summary, table
from evals.source.source_tasks import ALL, TASKS, TRAPS, choose_tasks, form_of, slow_kernel
from kernels.editing.editable import editable
from kernels.editing.variants import keep, make_variant, text_of
from kernels.hardware import hardware_named
from memory.edits.edit_rows import VariantRow, record_variant
from memory.store import Begin, Finish, Memory
from tests.tools.test_session import Clockwork
from tools.harness.checking.interpreter import Interpreter
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.process import sandbox
from tools.harness.results import Comparison, Measurement, Proof, StressResult
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task

H200 = hardware_named("H200")
shut_in = pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")


def with_form(task, folder):
    """The task's kernel with its form, the owner's config and the form's."""
    spec = editable(slow_kernel(task), folder, ALL[task])
    problem, form = spec.default_problem(), form_of(task)
    (name,) = spec.editable_functions(problem, H200)
    sent = form.arguments_for(name)
    meta = {m["name"]: m["values"] for m in sent["meta_parameters"]}
    variant = make_variant(spec.owner(problem, H200, name), sent["source"], meta, sent["grid"])
    keep(variant, spec.folder)
    owners = spec.default_config(problem, H200)
    first = text_of(variant, {n: v[0] for n, v in variant.edit.meta.items()})
    return spec, problem, owners, spec.config_type(**{**owners.model_dump(), "edit": first})


@pytest.mark.parametrize("task", ALL)
def test_a_form_passes_the_fence(task, tmp_path):
    spec, problem, _, config = with_form(task, tmp_path)
    assert spec.constraint(problem, config, H200) is None
    assert slow_kernel(task).elsewhere != problem.shape()


def test_no_kernel_says_by_its_name_what_is_wrong_with_it():
    """A model is told the name: one that is called a trap is none."""
    names = {task: slow_kernel(task).name for task in ALL}
    assert len(set(names.values())) == len(ALL)
    told = {word for task, name in names.items() for word in task.split("_") if word in name.split("_")}
    assert told <= {"rows"}


@pytest.mark.long
@shut_in
@pytest.mark.parametrize("task", ALL)
def test_both_forms_compile_and_compute_the_same_in_the_interpreter(task, tmp_path):
    spec, problem, owners, config = with_form(task, tmp_path)
    interpreter = Interpreter(shut_in=True)
    pool = LocalCompilePool(H200, workers=1, cache=tmp_path / "cache", shut_in=True)
    try:
        checked = interpreter.check(spec, problem, [owners, config], "H200")
        compiled = pool.compile(spec, problem, [owners, config])
    finally:
        interpreter.close()
        pool.close()
    assert [r.status for r in checked] == ["correct", "correct"], [r.reason for r in checked]
    assert [r.status for r in compiled] == ["correct", "correct"], [r.reason for r in compiled]


@pytest.mark.long
@shut_in
def test_what_stressed_inputs_say_of_owners_and_forms(tmp_path):
    """A task whose owner's code fails measures nothing."""
    interpreter = Interpreter(shut_in=True)
    failed = set()
    try:
        for task in ALL:
            spec, problem, owners, form = with_form(task, tmp_path / task)
            for name, config in (("owner", spec.config_type(**owners.model_dump())), ("form", form)):
                found = interpreter.stress(spec, problem, config, "H200")
                if found.status != "correct":
                    failed.add((task, name, found.status))
    finally:
        interpreter.close()
    # The form that is wrong elsewhere is right on all shapes around the small one.
    assert failed == {("wrong_on_large_inputs", "form", "correctness")}


class Card(Clockwork):
    """Variants take half the time, and `elsewhere` is what a proof says of them on the other shape."""

    def __init__(self, memory, elsewhere):
        super().__init__(memory)
        self._elsewhere = elsewhere

    def reading(self, config, ms=None):
        ms = 1.0 if config.edit else 2.0
        values = config.model_dump(mode="json")
        return Measurement(config=values, status="correct", ms=ms, ci_ms=(ms, ms), samples_ms=[ms])

    def contend(self, configs, regime="burst", figure="ms"):
        return [self.reading(c) for c in configs]

    def stress(self, config, most_s=None, decided_by=0.0):
        return StressResult(config=config.model_dump(mode="json"), status="infrastructure", reason="no time")

    def baseline_times(self):
        return {}

    def ceilings(self):
        return {}

    def compiled_with(self):
        return self.info

    def no_bits(self):
        return None

    def prove(self, config, regime, max_seconds, figure="ms", beside=None):
        values = config.model_dump(mode="json")
        if self._elsewhere is not None and self._elsewhere[0] != "correct":
            return Proof(config=values, status=self._elsewhere[0], reason="off by 3")
        ratio = 2.0 if self._elsewhere is None else self._elsewhere[1]
        over = Comparison(
            name="owner", title="owner", equivalent=True, regime="burst", ms=2.0, speedup=ratio, ci=(ratio, ratio)
        )
        kinds = ["large", "tiny", "odd sizes"]
        return Proof(
            config=values, status="correct", ms=1.0, ci_ms=(1.0, 1.0), samples_ms=[1.0], comparisons=[over],
            survived=kinds, error=0.0, bound=1.0,
        )  # fmt: skip


def opened(cache, elsewhere, task, shape, memory, place, run_id, prestart=None):
    """What `source_runs.opened` opens, on a device that plays a card."""
    store = Memory.open(memory)
    spec = editable(slow_kernel(task), memory.parent / "variants", ALL[task])
    problem = spec.parse_problem(shape, {})
    device = Card(store, elsewhere if shape else None)
    ids = Ids.of(store, device.info, spec, problem)
    pool = LocalCompilePool(H200, workers=1, cache=cache, shut_in=True)
    found = Task(spec, problem, H200, spec.metric)
    session = Session(found, device, pool, store, ids, run_id, Budget(60, 600.0), cold=True)
    store.start_run(run_id, "", {}, run_id, ids.environment, ids.problem, {}, "")
    return session


@pytest.mark.long
@shut_in
def test_a_run_sends_the_known_form_and_its_claim_is_examined(tmp_path, monkeypatch):
    monkeypatch.setattr(source_runs, "opened", partial(opened, tmp_path / "cache", ("correct", 3.0)))
    found = play("scalar_loop", KNOWN, Place("cuda:0"))
    assert found.unplayed == ""
    assert (found.claimed, found.speedup, found.owner_ms, found.edits) == (True, 2.0, 2.0, 1)
    assert (found.elsewhere, found.elsewhere_speedup, found.wrong) == ((1000, 5000), 3.0, "")
    assert "TILE=" in found.config["edit"]
    assert found.sent == ("correct, 1.0000 ms",)


@pytest.mark.parametrize(
    ("elsewhere", "wrong"),
    [
        (("correct", 3.0), ""),
        (("correct", 0.97), ""),
        (("correct", 0.5), "0.50x of the owner's speed at 1000x5000"),
        (("correctness", 0.0), "correctness: off by 3"),
    ],
)
def test_a_claim_must_hold_on_another_shape(elsewhere, wrong, monkeypatch, tmp_path):
    class Opened:
        config, close = staticmethod(lambda values: Values(values)), staticmethod(lambda: None)
        prove = staticmethod(lambda config: Card(None, elsewhere).prove(config, "burst", 30.0))

    class Values(dict):
        def model_dump(self, mode):
            return dict(self)

    monkeypatch.setattr(source_runs, "opened", lambda *given: Opened)
    found = source_runs.confirmed(run("scalar_loop", KNOWN, 2.0), tmp_path / "memory.db", Place("cuda:0"))
    assert (found.wrong, found.elsewhere) == (wrong, (1000, 5000))


def run(task, player, speedup, **more):
    found = {"claimed": True, "speedup": speedup, "owner_ms": 2.0, "floor_ms": 0.5, **more}
    return SourceRun(task=task, player=player, **found)


def test_scores_are_shares_of_the_time_that_the_known_form_saves():
    runs = [run("padding", KNOWN, 2.0), run("padding", "a", 1.6), run("padding", "b", 1.2)]
    known = known_speedups(runs)
    assert known == {"padding": 2.0}
    first, near, far = (score(r, known) for r in runs)
    assert (first.share_of_known, first.done) == (1.0, True)
    assert near.share_of_known == pytest.approx(0.75)
    assert near.share_of_floor == pytest.approx(0.5)
    assert (near.done, far.done) == (True, False)
    assert score(runs[1], {}).share_of_known is None
    assert "1 of 1 tasks" in summary([near])
    assert "1.600x" in table(runs, known)


def test_what_was_sent_is_told_where_nothing_is_claimed(tmp_path):
    path = tmp_path / "memory.db"
    memory = Memory.open(path)
    for name, verdict, why in (("", "refused", "it reads a name"), ("aa", "correct", ""), ("bb", "correct", "")):
        record_variant(memory, VariantRow(None, "k", None, None, "faster", verdict, why, name))
    kernel = memory.kernel("k", "s")
    (config,) = memory.configs(kernel, [{"edit": "aa X=1"}])
    problem, environment = memory.problem(kernel, {}, "p"), memory.environment(Card.info.model_dump())
    memory.start_run("run", "", {}, "m", environment, problem, {}, "")
    rows = memory.begin_attempts([Begin("run", "c", environment, problem, config, "benchmark")])
    memory.finish_attempts([Finish(rows[0], "correct", {"ms": 0.25})])
    memory.close()
    sent = source_runs._sent(path)
    assert sent == ("refused: it reads a name", "correct, 0.2500 ms", "correct, not measured: the time was up")
    one = run("padding", "a", 1.0, claimed=False, sent=sent[:1], why="level with owner")
    assert "refused: it reads a name; level with owner" in table([one], {})


def test_what_is_not_proven_or_wrong_counts_as_no_gain():
    known = {"padding": 2.0}
    assert score(run("padding", "a", 3.0, claimed=False), known).speedup == 1.0
    assert score(run("padding", "a", 3.0, wrong="off"), known).share_of_known == 0.0
    trap = score(run("wrong_elsewhere", "a", 1.0, claimed=False), known)
    assert (trap.done, trap.share_of_known) == (True, None)
    sprung = score(run("wrong_elsewhere", "a", 1.5, wrong="off"), known)
    assert not sprung.done
    assert "1 of 1 traps sprung (wrong_elsewhere)" in summary([sprung])
    unplayed = score(SourceRun(task="wrong_elsewhere", player="a", unplayed="no GPU"), known)
    assert not unplayed.done
    assert "1 not played" in summary([sprung, unplayed])


def test_tasks_are_listed_and_mistakes_are_one_sentence(tmp_path):
    listed = json.loads(CliRunner().invoke(cli, ["source", "--list", "--json"]).stdout)["tasks"]
    assert [row["task"] for row in listed if row["trap"]] == list(TRAPS)
    assert len(TASKS) == 12
    assert choose_tasks("padding, unswizzled") == ["unswizzled", "padding"]
    broken, deep, empty = (tmp_path / name for name in ("known.json", "deep.json", "embedded.json"))
    broken.write_text("{}")
    deep.write_text('{"runs": ' + "[" * 100_000 + "]" * 100_000 + "}")
    empty.write_text(json.dumps({"runs": [run("padding", "embedded", 1.5).model_dump(mode="json")]}))
    for options, says in (
        (["--tasks", "nothing"], "there is no source task 'nothing'"),
        (["--players", "nobody"], "there is no player 'nobody'"),
        (["--players", ","], "there is no player"),
        (["--effort", "low"], "--effort is for a language model"),
        (["--known", str(broken)], "holds no runs of source tasks"),
        (["--known", str(deep)], "holds no runs of source tasks"),
        (["--known", str(empty)], "holds no time of a known form"),
        (["--known", str(empty), "--out", str(empty)], "is what the command reads"),
        (["--device", "gpu"], "is not a GPU"),
        (["--model", "no.module:Mine"], "Model module no.module cannot be imported"),
        (["--model", "tests.bench.written_player:Nobody"], "has no Nobody"),
    ):
        result = CliRunner().invoke(cli, ["source", *options])
        assert result.exit_code == 2
        assert says in result.output


@pytest.mark.parametrize(
    ("options", "players"),
    [
        ([], ["embedded"]),
        (["--model", "tests.bench.written_player:SourceWriter"], ["tests.bench.written_player:SourceWriter"]),
        (["--model", "a-model", "--players", "known"], ["known", "a-model"]),
    ],
)
def test_a_model_plays_alone_unless_others_are_named(options, players, monkeypatch):
    asked = []

    def no_run(tasks, players, *where):
        asked.extend(players)
        return (SourceRun(task=task, player=p, unplayed="no GPU") for task in tasks for p in players)

    monkeypatch.setattr(source_command, "_check_device", lambda device: None)
    monkeypatch.setattr(source_command, "_played", no_run)
    assert CliRunner().invoke(cli, ["source", "--tasks", "padding", *options]).exit_code == 1
    assert asked == players
