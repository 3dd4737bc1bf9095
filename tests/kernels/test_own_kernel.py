"""Bring your own kernel: a short file is enough, and what is wrong with it is one sentence with file, line and mend."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kernels import registry
from kernels.autotuned import configs_of, values_of
from kernels.examine import KernelError, examine
from kernels.hardware import hardware_named
from tools.harness.compile_pool import CompilePool
from tools.harness.interpreter import Interpreter

ROOT = Path(__file__).parents[2]
EXAMPLES = [f"{ROOT}/examples/add_relu.py:AddRelu", f"{ROOT}/examples/autotuned_scale.py:Scale"]
H200 = hardware_named("H200")
SHORT = (ROOT / "examples" / "add_relu.py").read_text()


def own(tmp_path, *changes):
    """The example with some of its text changed."""
    text = SHORT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "own.py"
    path.write_text(text)
    return registry.get(f"{path}:AddRelu")


def line_of(tmp_path, text):
    lines = (tmp_path / "own.py").read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    found = CompilePool(H200, 1, tmp_path_factory.mktemp("cache"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def interpreter():
    found = Interpreter()
    yield found
    found.close()


@pytest.mark.parametrize("name", EXAMPLES, ids=["from nothing", "autotuned"])
def test_an_example_passes_the_look_over_compiles_and_is_correct(name, pool, interpreter):
    spec = registry.get(name)
    examine(spec)
    problem = spec.default_problem()
    config = spec.default_config(problem, H200)
    (compiled,) = pool.compile(spec, problem, [config])
    assert (compiled.status, compiled.spill_bytes) == ("correct", 0)
    (checked,) = interpreter.check(spec, problem, [config], "H200")
    assert checked.status == "correct", checked.reason


def test_defaults_say_what_a_short_file_leaves_out(tmp_path):
    spec = own(tmp_path)
    problem = spec.parse_problem((1000,), {})
    space = spec.space(problem, H200)
    assert len(space) == 24
    assert spec.default_config(problem, H200) == space[0]
    assert spec.bytes(problem) == 3 * 2 * 1000
    assert spec.flops(problem) == 0
    assert [b.name for b in spec.baselines(problem)] == ["unfused", "compiled"]
    assert spec.reduced(spec.parse_problem((5003,), {}), space[0]).N == 256 + 5003 % 256
    inputs = spec.inputs(problem, torch.Generator().manual_seed(0), "cpu")
    reference = spec.reference(problem, inputs)
    assert reference.dtype == torch.float64
    assert torch.equal(reference, torch.relu(inputs[0].double() + inputs[1].double()))
    out = spec.output(problem, "cpu")
    assert (out.shape, out.dtype) == ((1000,), torch.float16)


def test_a_wrong_result_fails_its_check(tmp_path, interpreter):
    spec = own(tmp_path, ("tl.maximum(x + y, 0.0)", "x + y"))
    (checked,) = interpreter.check(spec, spec.default_problem(), spec.space(spec.default_problem(), H200)[:1], "H200")
    assert checked.status == "correctness"


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ("BLOCK: Literal[256, 512, 1024, 2048, 4096, 8192]", "BLOCK: int", None, "AddReluConfig.BLOCK is int"),
        ("    N: int = 1 << 26", "    N: int", None, "give N of AddReluProblem default values"),
        ('metric = "gbps"', 'metric = "tflops"', None, "define flops(problem)"),
        ("for _ in range(2)", "for _ in [1 / 0]", "1 / 0", "inputs() raised ZeroDivisionError"),
        ("return torch.relu(x + y)", "return torch.relu(x @ y[:3])", "x @ y[:3]", "raised RuntimeError"),
        ("return torch.relu(x + y)", "return 3", "def eager", "eager gives 3: it must be a Tensor"),
        ("return tuple(normal(", "return list(normal(", "def inputs", "return a tuple of tensors"),
        ("generator, device) for", "generator, 'cpu') for", "def inputs", "pass `device` on"),
        ("config_type = AddReluConfig", "config_type = dict", "class AddRelu(", "make it a subclass of Config"),
        ('dims = ("N",)', 'dims = ("M",)', "class AddRelu(", "give it dims"),
        (
            "    def eager(",
            "    def constraint(self, problem, config, hardware):\n        return 'never: no'\n\n    def eager(",
            None,
            "breaks no constraint",
        ),
        (
            "    def eager(",
            "    def tolerance(self, problem):\n        return 3\n\n    def eager(",
            "def tolerance",
            "tolerance returns 3",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_with_file_and_line(tmp_path, old, new, where, says):
    spec = own(tmp_path, (old, new))
    with pytest.raises(KernelError) as caught:
        examine(spec)
    text = str(caught.value)
    assert says in text
    assert "\n" not in text
    path = tmp_path / "own.py"
    assert text.startswith(f"{path}:{line_of(tmp_path, where)}:" if where else str(path))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("class AddReluConfig(Config):", "class AddReluConfig(Config:", ":26 cannot be imported: SyntaxError"),
        ("dims = (", "dims = nowhere(", ":22 cannot be imported: NameError"),
        ("    def eager(", "    def eagre(", "define eager"),
        ('name = "add_relu"', 'name = "matmul"', "which is a built-in kernel"),
    ],
)
def test_a_file_that_does_not_load_says_where(tmp_path, old, new, says):
    with pytest.raises(ValueError, match=r"own\.py") as caught:
        own(tmp_path, (old, new))
    assert says in str(caught.value)


def test_an_installed_package_may_offer_a_kernel(monkeypatch, tmp_path):
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    offered = "[autokernel.kernels]\ntheirs = kernels.softmax:Softmax\nmatmul = kernels.softmax:Softmax\n"
    (about / "entry_points.txt").write_text(offered)
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.get("theirs").name == "softmax"
    assert registry.get("matmul").name == "matmul"
    with pytest.raises(ValueError, match="theirs, or name your own"):
        registry.get("nobody's")


def test_an_autotuned_kernels_own_configs_are_the_space():
    spec = registry.get(EXAMPLES[1])
    problem = spec.default_problem()
    space = spec.space(problem, H200)
    assert [values_of(c) for c in spec.kernel.configs] == [c.model_dump() for c in space]
    assert len(space) == 12


def test_configs_that_set_different_fields_become_one_closed_model():
    class Tuned:
        configs = (
            SimpleNamespace(kwargs={"BLOCK": 64}, num_warps=4, num_stages=2, num_ctas=1, maxnreg=None),
            SimpleNamespace(kwargs={"SPLIT": True}, num_warps=8, num_stages=2, num_ctas=2, maxnreg=128),
        )
        fn = None

    model = configs_of(Tuned())
    first, second = (model(**values_of(c)) for c in Tuned.configs)
    assert first.model_dump(exclude_none=True) == {"BLOCK": 64, "num_warps": 4, "num_stages": 2}
    assert second.model_dump(exclude_none=True) == {
        "SPLIT": True,
        "num_warps": 8,
        "num_stages": 2,
        "num_ctas": 2,
        "maxnreg": 128,
    }
    with pytest.raises(ValueError, match="BLOCK"):
        model(BLOCK=128, num_warps=4, num_stages=2)


def test_a_kernel_that_is_not_autotuned_says_so():
    with pytest.raises(ValueError, match=r"not decorated with @triton\.autotune"):
        configs_of(len)
