"""Runs that measure: a GPU that drifts, scatters and can be wrong stands in for the landscape's readings."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from evals.commands.commands import cli
from evals.contest.contest import Job, run_jobs
from evals.contest.disguise import LIVE
from evals.contest.ledger import Ledger, Over
from evals.contest.live_referee import LiveReferee, check_live_landscape
from evals.errors import EvalsError
from evals.scoring.score import Board
from kernels.registry import get
from tests.evals.spaces import honest
from tools.harness.landscapes.named import list_landscapes
from tools.harness.results import CheckResult, CompileResult, Measurement

pytestmark = pytest.mark.process

DRIFT = 1.25


@pytest.fixture(scope="module")
def recorded():
    return list_landscapes()[0]


class Gpu:
    """The recorded kernel on a card that runs a quarter slower than on the day of the recording."""

    def __init__(self, landscape, wrong=()):
        self.landscape, self.wrong, self.info, self.asked = landscape, set(wrong), landscape.device, []

    def measure_beside(self, config, reference, samples):
        self.asked.append(config.key())
        entry = self.landscape.entries[config.key()]
        beside = Measurement(
            config={}, status="correct", samples_ms=[self.landscape.reference_ms * DRIFT] * samples, seconds=0.01
        )
        if config.key() in self.wrong:
            return Measurement(config={}, status="correctness", reason="error 0.5 above 0.001"), beside
        ms = self.landscape.ms(entry, "A") * DRIFT
        return Measurement(config=entry.config, status="correct", samples_ms=[ms] * samples, seconds=0.01), beside

    def check(self, configs):
        return [CheckResult(config={}, status="correctness" if c.key() in self.wrong else "correct") for c in configs]

    def close(self):
        pass


class Compiler:
    def __init__(self, fails=()):
        self.fails, self.batches = set(fails), []

    def compile(self, spec, problem, configs, limit=None):
        self.batches.append(len(configs))
        return [
            CompileResult(config=c.model_dump(mode="json"), status="compile", reason="ptxas: out of registers")
            if c.key() in self.fails
            else CompileResult(config=c.model_dump(mode="json"), status="correct")
            for c in configs
        ]

    def close(self):
        pass


def referee(landscape, gpu=None, compiler=None, max_evals=5):
    ledger = Ledger("someone", landscape.name, landscape.name, landscape.file, LIVE, 0, max_evals)
    return LiveReferee(landscape, ledger, gpu or Gpu(landscape), compiler or Compiler())


def some(landscape, n):
    return [e.config for e in landscape.correct()[:: len(landscape.correct()) // n]][:n]


def test_a_reading_is_brought_to_the_landscapes_scale(recorded):
    [config] = some(recorded, 1)
    r = referee(recorded)
    row = r.measure(config)
    assert row.ms == pytest.approx(recorded.ms(recorded.entries[row.config], "A"), rel=1e-4)
    assert row.at == r.ledger.seconds > 0


def test_the_gpu_decides_what_is_wrong_not_the_recording(recorded):
    a, b = some(recorded, 2)
    key = get(recorded.kernel).config_type.model_validate(a).key()
    r = referee(recorded, Gpu(recorded, wrong=[key]))
    assert [r.measure(c).status for c in (a, b)] == ["correctness", "correct"]
    assert r.entry(key).reason == "error 0.5 above 0.001"
    score = Board(recorded).score(r.ledger)
    assert score.invalid_share == 0.5
    assert score.regret is not None


def test_a_batch_is_compiled_at_once_and_a_failure_is_an_evaluation(recorded):
    configs = some(recorded, 4)
    key = get(recorded.kernel).config_type.model_validate(configs[2]).key()
    gpu, compiler = Gpu(recorded), Compiler(fails=[key])
    r = referee(recorded, gpu, compiler)
    found = r.compile(configs)
    assert compiler.batches == [4]
    assert [e.compiled.status for e in found] == ["correct", "correct", "compile", "correct"]
    assert [row.status for row in r.ledger.rows] == ["compile"]
    assert not gpu.asked
    r.measure(configs[0])
    assert compiler.batches == [4]
    assert len(r.ledger.rows) == 2


def test_a_check_on_the_gpu_learns_no_time_and_a_failure_is_an_evaluation(recorded):
    configs = some(recorded, 2)
    key = get(recorded.kernel).config_type.model_validate(configs[1]).key()
    r = referee(recorded, Gpu(recorded, wrong=[key]))
    assert r.check([*configs, *configs]) == ["correct", "correctness"] * 2
    assert [(row.status, row.ms) for row in r.ledger.rows] == [("correctness", None)]
    assert [r.measure(c).status for c in configs] == ["correct", "correctness"]
    assert len(r.ledger.rows) == 2


def test_what_was_measured_is_not_measured_again_and_the_budget_holds(recorded):
    configs = some(recorded, 3)
    gpu = Gpu(recorded)
    r = referee(recorded, gpu, max_evals=2)
    r.measure(configs[0])
    r.measure(configs[0])
    r.measure(configs[1])
    with pytest.raises(Over, match="all 2 evaluations"):
        r.measure(configs[2])
    assert len(gpu.asked) == 2
    assert r.ledger.duplicates == 1


def test_the_live_reading_chooses_and_the_recording_values(recorded):
    best, worse = sorted(some(recorded, 8), key=lambda c: recorded.ms(recorded.entries[_key(recorded, c)], "A"))[:2]
    r = referee(recorded)
    r.measure(best)
    r.measure(worse)
    rows = r.ledger.rows
    rows[1] = type(rows[1])(rows[1].config, "correct", rows[0].ms / 2, rows[1].at)  # the GPU was lucky once
    board = Board(recorded)
    assert board.curve(r.ledger)[-1] == board.true[rows[1].config]


def test_an_agent_plays_on_a_gpu_as_it_plays_on_a_recording(recorded):
    gpu, compiler, done = Gpu(recorded), Compiler(), []

    def on_gpu(landscape, ledger, names):
        return LiveReferee(landscape, ledger, gpu, compiler)

    run_jobs([Job("random", recorded, recorded.name, LIVE, 0, 6)], 1, done.append, on_gpu)
    assert [len(x.rows) for x in done] == [6]
    assert len(gpu.asked) + sum(row.status == "compile" for row in done[0].rows) == 6


def test_other_peoples_spaces_cannot_be_played_live():
    with pytest.raises(EvalsError, match="a landscape of a kernel of ours"):
        check_live_landscape(honest())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--device", "cuda:0"], "--device belongs to --live"),
        (["--live", "--variant", "renamed"], "exclude each other"),
        (["--live", "--workers", "4"], "one run after another"),
        (["--live", "--device", "gpu"], "write cuda:0"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, says):
    result = CliRunner().invoke(cli, ["run", *arguments])
    assert result.exit_code == 2
    assert says in result.output


def _key(landscape, config):
    return get(landscape.kernel).config_type.model_validate(config).key()
