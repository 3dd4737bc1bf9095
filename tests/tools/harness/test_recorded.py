import statistics
from pathlib import Path

import pytest

from agent.verdict.judgement import judge
from agent.verdict.speedup import Speedup
from evals.record.recording import Plan, Recording
from tests.evals.toy import (
    CUBLAS_MS,
    TOY_GPU,
    UNFUSED_MS,
    Toy,
    ToyCompiler,
    ToyConfig,
    ToyGpu,
    ToyProblem,
    true_ms,
)  # fmt: skip
from tools.harness.checking.interpreter import Interpreter
from tools.harness.devices.recorded import RecordedDevice
from tools.harness.landscapes.named import read_landscape
from tools.harness.landscapes.readings import Landscape, LandscapeError

pytestmark = pytest.mark.process

BEST = ToyConfig(BLOCK=64, num_warps=4, num_stages=1)
UNCOMPILABLE = ToyConfig(BLOCK=64, num_warps=1, num_stages=3)
WRONG = ToyConfig(BLOCK=128, num_warps=8, num_stages=1)
UNRECORDED = ToyConfig(BLOCK=16, num_warps=8, num_stages=2)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("landscapes") / "toy.json.gz"
    Recording(Toy(), ToyProblem(), TOY_GPU, ToyGpu(), ToyCompiler(), Plan(out), lambda *_: None).run()
    return out


@pytest.fixture
def landscape(file) -> Landscape:
    made = read_landscape(file)
    del made.entries[UNRECORDED.key()]
    return made


@pytest.fixture
def device(landscape, interpreter):
    return RecordedDevice(landscape, Toy(), ToyProblem(), interpreter)


def test_the_device_says_that_it_is_recorded_and_from_what(device):
    assert device.info.kind == "recorded"
    assert device.info.name == "NVIDIA H200"
    assert device.info.landscape.startswith("toy.json.gz sha256:")
    assert device.info.recorded_at
    assert device.ceilings() == {"copy_bytes_per_s": 4.27e12}


def test_a_measurement_is_set_a_with_the_drift_divided_out(device, landscape):
    (m,) = device.measure([BEST])
    a = landscape.entries[BEST.key()].sets["A"]
    factor = landscape.reference_ms / statistics.median(a.reference_ms)
    assert m.status == "correct"
    assert m.ms == pytest.approx(statistics.median(a.samples_ms) * factor)
    assert m.samples_ms == pytest.approx([t * factor for t in a.samples_ms])
    assert m.ci_ms[0] <= m.ms <= m.ci_ms[1]
    assert m.seconds == 0.05
    assert (m.error, m.bound) == (1e-4, 1e-3)


def test_failures_are_answered_as_they_were_recorded_in_order(device):
    answers = device.measure([WRONG, UNCOMPILABLE, BEST])
    assert [m.status for m in answers] == ["correctness", "compile", "correct"]
    assert answers[0].reason == "error 0.5 above 0.001"
    assert answers[1].reason == "PassManager::run failed"
    assert all(m.ms is None and not m.samples_ms for m in answers[:2])


def test_a_config_outside_the_landscape_is_a_typed_answer(device):
    (m,) = device.measure([UNRECORDED])
    assert (m.status, m.ms) == ("constraints", None)
    assert "not recorded in toy, which holds 47 configs" in m.reason
    proof = device.prove(UNRECORDED)
    assert (proof.status, proof.comparisons) == ("constraints", [])


def test_another_regime_is_not_answered_with_this_ones_times(device):
    (m,) = device.measure([BEST], "sustained")
    assert m.status == "infrastructure"
    assert "burst readings only" in m.reason
    assert device.prove(BEST, "sustained").status == "infrastructure"


def test_a_proof_uses_no_reading_the_search_saw(landscape):
    before = RecordedDevice(landscape, Toy(), ToyProblem(), Interpreter()).prove(BEST)
    a = landscape.entries[BEST.key()].sets["A"]
    lucky = a.model_copy(update={"samples_ms": [t / 1.02 for t in a.samples_ms]})
    landscape.entries[BEST.key()].sets["A"] = lucky
    after = RecordedDevice(landscape, Toy(), ToyProblem(), Interpreter()).prove(BEST)
    assert after.ms == before.ms
    assert [c.speedup for c in after.comparisons] == [c.speedup for c in before.comparisons]


def test_a_proof_holds_the_true_ratios_against_every_baseline(device):
    proof = device.prove(BEST)
    unfused, cublas, compiled = proof.comparisons
    for comparison, baseline_ms in ((unfused, UNFUSED_MS), (cublas, CUBLAS_MS)):
        truth = baseline_ms / true_ms(BEST)
        assert comparison.speedup == pytest.approx(truth, rel=0.005)
        assert comparison.ci[0] < truth < comparison.ci[1]
        assert comparison.ci[1] - comparison.ci[0] < 0.02
        assert comparison.ms / proof.ms == pytest.approx(comparison.speedup, rel=1e-6)
    assert not cublas.equivalent
    assert (compiled.speedup, compiled.missing) == (None, "this torch has no compiler")
    assert "recorded on NVIDIA H200 under Triton 3.6.0, an unknown assembler, not run here: set B of toy" in proof.how
    assert "changed" not in proof.how


def test_a_proof_is_the_same_every_time(device):
    assert device.prove(BEST) == device.prove(BEST)


def test_a_proof_of_a_failed_config_proves_nothing(device):
    proof = device.prove(WRONG)
    assert (proof.status, proof.ms, proof.comparisons) == ("correctness", None, [])


def test_a_landscape_with_one_set_of_readings_proves_nothing(landscape):
    del landscape.entries[BEST.key()].sets["B"]
    proof = RecordedDevice(landscape, Toy(), ToyProblem(), Interpreter()).prove(BEST)
    assert proof.status == "infrastructure"
    assert "no second set" in proof.reason


def test_noise_between_the_sets_widens_the_interval(landscape):
    def width() -> float:
        c = RecordedDevice(landscape.model_copy(), Toy(), ToyProblem(), Interpreter()).prove(BEST).comparisons[0]
        return c.ci[1] - c.ci[0]

    quiet = width()
    for i, e in enumerate(landscape.correct()):
        if e.config != BEST.model_dump():
            a = e.sets["A"]
            e.sets["A"] = a.model_copy(update={"samples_ms": [t * (1.05 if i % 2 else 0.95) for t in a.samples_ms]})
    assert width() > 5 * quiet


def test_a_kernel_whose_source_changed_since_is_reported(landscape, interpreter):
    landscape.source = "0" * 16
    device = RecordedDevice(landscape, Toy(), ToyProblem(), interpreter)
    assert device.stale
    assert "source has changed since" in device.prove(BEST).how


def test_of_a_kernel_that_changed_since_only_what_is_right_today_is_proven(landscape, interpreter):
    """What the GPU verified was the older kernel's output."""
    landscape.entries[WRONG.key()] = landscape.entries[BEST.key()].model_copy(update={"config": WRONG.model_dump()})
    assert RecordedDevice(landscape, Toy(), ToyProblem(), interpreter).prove(WRONG).status == "correct"
    landscape.source = "0" * 16
    changed = RecordedDevice(landscape, Toy(), ToyProblem(), interpreter)
    assert changed.prove(WRONG).status == "correctness"
    assert changed.prove(BEST).status == "correct"


def test_another_problem_is_refused(landscape):
    with pytest.raises(LandscapeError, match="recorded for toy 1000 fp16, not for toy 7 fp16"):
        RecordedDevice(landscape, Toy(), ToyProblem(N=7), Interpreter())


def test_a_check_really_runs_the_kernel(device):
    right, wrong = device.check([BEST, WRONG])
    assert right.status == "correct"
    assert right.where == "interpreter 193 fp16"
    assert wrong.status == "correctness"
    assert wrong.error > wrong.bound
    assert wrong.where.startswith("interpreter")


def test_what_the_gpu_found_wrong_stays_wrong_where_the_interpreter_sees_nothing(device, landscape):
    entry = landscape.entries[BEST.key()]
    entry.status, entry.reason, entry.error, entry.bound = "correctness", "error 0.3 above 0.001", 0.3, 0.001
    (found,) = device.check([BEST])
    assert (found.status, found.error) == ("correctness", 0.3)
    assert found.where == "recorded on NVIDIA H200, 1000 fp16"


class Uninterpretable(Toy):
    """The toy, of whose configs those with 8 warps cannot be interpreted."""

    def interpretable(self, config):
        return "8 warps are written in Gluon" if config.num_warps == 8 else None


def test_a_config_that_cannot_be_interpreted_gets_the_recorded_verdict_and_says_so(landscape, interpreter):
    device = RecordedDevice(landscape, Uninterpretable(), ToyProblem(), interpreter)
    good = BEST.model_copy(update={"num_warps": 8})
    recorded, run, wrong, unknown = device.check([good, BEST, WRONG, UNRECORDED])
    assert (recorded.status, recorded.error, recorded.bound) == ("correct", 1e-4, 1e-3)
    assert "recorded on NVIDIA H200" in recorded.where
    assert "not run here (8 warps are written in Gluon)" in recorded.where
    assert (run.status, run.where.split()[0]) == ("correct", "interpreter")
    assert (wrong.status, wrong.reason) == ("correctness", "error 0.5 above 0.001")
    assert unknown.status == "infrastructure"
    assert "toy has no verdict of it: check it on a GPU (--device cuda:0)" in unknown.reason


def test_the_interpreter_alone_does_not_guess(landscape, interpreter):
    (answer,) = interpreter.check(Uninterpretable(), ToyProblem(), [WRONG], "H200")
    assert answer.status == "infrastructure"
    assert answer.reason == "8 warps are written in Gluon: check it on a GPU (--device cuda:0)"


def test_a_file_with_one_set_of_readings_is_searched_and_proves_nothing(landscape, interpreter):
    """Such as an export of a memory: the best config keeps its time, and the verdict is not that the machine failed."""
    for entry in landscape.entries.values():
        entry.sets.pop("B", None)
    landscape.baselines.clear()
    device = RecordedDevice(landscape, Toy(), ToyProblem(), interpreter)
    proof = device.prove(BEST)
    assert (proof.status, proof.ms) == ("correct", device.measure([BEST])[0].ms)
    [row] = proof.comparisons
    assert (row.speedup, row.missing) == (None, "toy holds no reading of a baseline")
    judged = judge([proof.model_dump(mode="json")], [Speedup.of(row.model_dump(mode="json"))])
    assert (judged.proven, judged.verdict) == (False, "unknown")
    assert judged.why.count("toy holds no reading") == 1
    assert device.prove(WRONG).status == "correctness"
