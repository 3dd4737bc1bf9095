"""``python -m kernels``: tables, JSON, exit codes, and what it says without a GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from evals.bench import sweep
from evals.bench.commands import cli, main
from evals.bench.suite import ENTRIES, SUITES, Case
from kernels import registry
from kernels.hardware import hardware_named
from tools.harness.measuring import telemetry

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
NEED_A_GPU = (["bench", "softmax"], ["bench", "--suite", "h200"], ["fusion"])
WRONG = """
from kernels.rows.softmax import Softmax

class Wrong(Softmax):
    name = "wrong"
    def eager(self, problem, inputs):
        return 2 * super().eager(problem, inputs)
"""


def call(*words):
    return CliRunner().invoke(cli, words)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    if telemetry.gpus_present():
        pytest.skip("says what a machine without a GPU says")


def test_list_shows_every_kernel_with_its_floor():
    answer = call("list", "--json")
    rows = {r["kernel"]: r for r in json.loads(answer.stdout)["kernels"]}
    assert list(rows) == registry.names()
    assert rows["matmul"]["bound"] == "compute"
    assert rows["softmax"]["bound"] == "memory"
    assert rows["softmax"]["mbytes"] == pytest.approx(4 * 32768 * 4096 / 1e6)
    assert rows["softmax"]["floor_ms"] == pytest.approx(4 * 32768 * 4096 / 4.8e12 * 1e3)
    table = call("list", "softmax", "--gpu", "a100")
    assert table.exit_code == 0
    assert "memory (A100)" in table.stdout


def test_validate_runs_a_users_kernel_and_says_what_is_right():
    answer = call("validate", str(ROOT / "examples/add_relu.py:AddRelu"), "--device", "interpreter", "--json")
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["correct"]) == (0, True)
    assert {r["where"].split()[-1] for r in found["checks"]} == {"fp16", "bf16"}
    assert any(int(r["where"].split()[1]) % 2 for r in found["checks"])


def test_validate_checks_the_problem_that_is_given():
    words = ["validate", "swiglu", "--device", "interpreter", "--json", "--shape", "64x96", "--option", "dtype=bf16"]
    answer = call(*words)
    assert answer.exit_code == 0, answer.output
    assert {r["problem"] for r in json.loads(answer.stdout)["checks"]} == {"64x96 bf16"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["swiglu", "--shape", "64"], "takes a shape of 2 numbers"),
        (["swiglu", "--option", "dtype=fp12"], "dtype"),
        (["swiglu", "--option", "colour=red"], "has no option colour"),
        (["swiglu", "--option", "dtype"], "is not NAME=VALUE"),
        (["swiglu", "--option", "dtype=fp16", "--option", "dtype=bf16"], "given twice"),
        (["swiglu", "softmax", "--shape", "64x64"], "for one kernel: name it"),
    ],
)
def test_a_problem_that_cannot_be_validated_is_one_sentence(words, says):
    answer = call("validate", "--device", "interpreter", *words)
    assert answer.exit_code == 2
    assert says in answer.stderr.splitlines()[-1]


def test_validate_ends_with_1_where_a_kernel_is_wrong(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(WRONG)
    answer = call("validate", f"{path}:Wrong", "--device", "interpreter")
    assert answer.exit_code == 1
    assert "scale-relative error" in answer.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sweep", "softmax"], "no usable GPU"),
        *(pytest.param(words, "no usable GPU", marks=pytest.mark.long) for words in NEED_A_GPU),
        (["validate", "softmax", "--device", "cuda:0"], "no usable GPU"),
        (["bench", "--suite", "nope"], "--suite is one of h200, memory, fusion"),
        (["bench", "softmax", "--suite", "h200"], "no kernel is named beside it"),
        (["bench", "tea"], "no kernel named 'tea'"),
        (["list", "tea"], "no kernel named 'tea'"),
        (["list", "--gpu", "toaster"], "no facts about hardware 'toaster'"),
        (["validate", "softmax", "--device", "tpu"], "write auto, interpreter or cuda:N"),
        (["sweep", "softmax", "--shape", "3"], "takes a shape of 2 numbers"),
        (["sweep", "softmax", "--shape", "3xa"], "is not a shape"),
        (["sweep", "softmax", "--dtype", "int3"], "dtype"),
        (["sweep", "softmax", "--out", "/nowhere/x.json"], "there is no folder /nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(words, says):
    answer = call(*words)
    assert answer.exit_code == 2
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_every_problem_of_every_suite_loads_and_fits_the_card():
    own = tuple(e.case for e in ENTRIES if e.case.options.get("dtype") != "fp8")
    for cases in (*SUITES.values(), own):
        for case in cases:
            spec, problem = case.load()
            assert spec.bytes(problem) < 20e9
    assert {c.kernel for c in SUITES["memory"]} >= {"softmax", "rms_norm", "layer_norm", "swiglu"}


def test_every_target_is_against_a_baseline_of_its_kernel():
    for entry in ENTRIES:
        spec, problem = entry.case.load()
        known = {b.name for b in spec.baselines(problem)} | {"copy", "best"}
        named = {t.against for t in entry.targets} | {name for names in entry.against.values() for name in names}
        assert named <= known, entry.name
        assert {t.judged for t in entry.targets} <= set(entry.judged)


def test_a_spread_begins_with_the_default_config_and_covers_the_space():
    spec, problem = Case("softmax").load()
    h200 = hardware_named("H200")
    chosen = sweep.sample_space(spec, problem, h200, 20)
    assert chosen[0] == spec.default_config(problem, h200)
    assert 20 <= len(chosen) <= 21
    assert {c.family for c in chosen} >= {"row", "loop"}
    assert sweep.sample_space(spec, problem, h200, 0) == chosen[:1]
    assert set(sweep.sample_space(spec, problem, h200, 10**6)) == set(spec.space(problem, h200))


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom evals.bench.commands import cli\n"
        "try: cli(['bench', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(sum(m in sys.modules for m in ('torch', 'triton', 'tools', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["brew"], "brew"),
        (["list", "tea"], "no kernel named 'tea'"),
        (["list", "--gpu"], "--gpu"),
        (["sweep", "matmul", "--shape", "4096x"], "--shape 4096x is not a shape"),
        (["sweep", "matmul", "--shape", "8x8"], "matmul"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(words, says, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_list_says_what_is_wrong_with_a_users_kernel(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(WRONG.replace("return 2 * super().eager(problem, inputs)", "return None"))
    assert main(["list", f"{path}:Wrong"]) == 2


def test_validate_leaves_out_shapes_and_dtypes_that_a_kernels_constraint_excludes(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        (ROOT / "examples/add_relu.py").read_text() + "\n    def constraint(self, problem, config, hardware):\n"
        "        return None if problem.N % 8 == 0 and problem.dtype == 'fp16' else 'multiples of 8 in fp16'\n"
    )
    answer = call("validate", f"{path}:AddRelu", "--device", "interpreter", "--json")
    assert answer.exit_code == 0, answer.output
    assert {r["problem"] for r in json.loads(answer.stdout)["checks"]} == {"67108864 fp16"}
