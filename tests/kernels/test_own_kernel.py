"""Bring your own kernel: a short file is enough, and what is wrong with it is one sentence with file, line and mend."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kernels import registry
from kernels.autotuned import configs_of
from kernels.check_spec import KernelError, examine
from kernels.defaults import reduced
from kernels.hardware import hardware_named
from kernels.launches.owner_launch import values_of
from kernels.spec import Problem

pytestmark = pytest.mark.compile

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


@pytest.mark.parametrize("name", EXAMPLES, ids=["from nothing", "autotuned"])
def test_an_example_passes_the_look_over_compiles_and_is_correct(name, compile_pool, interpreter):
    spec = registry.get(name)
    examine(spec)
    problem = spec.default_problem()
    config = spec.default_config(problem, H200)
    (compiled,) = compile_pool("H200").compile(spec, problem, [config])
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
        ('name = "add_relu"', 'name = "add relu"', "class AddRelu(", "give it letters, digits"),
        ('metric = "gbps"', 'metric = "speed"', "class AddRelu(", "choose tflops, gbps, latency"),
        ('metric = "gbps"', 'metric = "gbps"\n    aliases = "relu"', "class AddRelu(", "make it a tuple of words"),
        *(
            ("    def eager(", f"    def {method}:\n        {body}\n\n    def eager(", f"def {method}", says)
            for method, body, says in [
                ("constraint(self, *rest)", "return False", "constraint gives False: return what is broken in words"),
                ("candidates(self, *rest)", "return None", "candidates returns None: yield configs"),
                ("candidates(self, *rest)", "return [dict(BLOCK=256)]", "it must be a AddReluConfig"),
                (
                    "candidates(self, *rest)",
                    "return [AddReluConfig.model_construct(BLOCK=3, num_warps=4)]",
                    "which AddReluConfig refuses (BLOCK",
                ),
                ("baselines(self, problem)", "return ['eager']", "give a list of Baseline"),
                ("reference(self, problem, inputs)", "return None", "reference gives None: it must be a Tensor"),
                ("reference(self, problem, inputs)", "return self.eager(problem, inputs)", "compute it in float64"),
                ("reduced(self, problem, config)", "return problem.shape()", "it must be a AddReluProblem"),
                ("flops(self, problem)", "return 10**40", "return a whole number of flops"),
            ]
        ),
        (
            "device) for _ in range(2)",
            "device) + torch.randn(problem.N, device=device) for _ in range(2)",
            "def inputs",
            "an equal generator",
        ),
        ("normal((problem.N,)", "normal((problem.N + (device == 'cpu'),)", "def inputs", "(512,) on meta"),
        ("    N: int = 1 << 26", "    N: int = 'all'", "class AddRelu(", "which AddReluProblem refuses (N"),
        (
            "    N: int = 1 << 26",
            "    N: int = 1 << 26\n    dtype: Literal['fp9'] = 'fp9'",
            "class AddRelu(",
            "which PyTorch has not",
        ),
        ("return torch.relu(x + y)", "raise SystemExit(3)", "raise SystemExit", "raised SystemExit: 3"),
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
    offered = "[autokernel.kernels]\ntheirs = kernels.rows.softmax:Softmax\nmatmul = kernels.rows.softmax:Softmax\n"
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


@pytest.mark.parametrize("body", ["itertools.repeat(AddReluConfig(BLOCK=256, num_warps=4))", "range(10**9)"])
def test_candidates_without_an_end_are_refused(tmp_path, body):
    added = f"    def candidates(self, *rest):\n        import itertools\n        return {body}\n\n    def eager("
    with pytest.raises(KernelError, match=r"own\.py"):
        examine(own(tmp_path, ("    def eager(", added)))


def test_inputs_that_are_rounded_in_another_way_each_time_are_no_other_draw(tmp_path):
    """As a product of matrices on the CPU is, whose threads wait for other processes."""
    examine(
        own(
            tmp_path,
            ("device) for _ in range(2)", "device) * (1 + 1e-7 * torch.rand((), device=device)) for _ in range(2)"),
            ("    N: int = 1 << 26", "    N: int = 1 << 26\n    dtype: Literal['fp32'] = 'fp32'"),
        )
    )


def test_what_a_file_prints_is_not_on_stdout(tmp_path, capsys):
    noisy = own(
        tmp_path, ("import triton\n", "import triton\nprint('loading')\n"), ("x, y = inputs", "x, y = inputs; print(x)")
    )
    examine(noisy)
    said = capsys.readouterr()
    assert said.out == ""
    assert "loading" in said.err


def test_an_integer_kernel_needs_no_bound_and_no_output_of_its_own(tmp_path, interpreter):
    spec = own(
        tmp_path,
        ("    N: int = 1 << 26", "    N: int = 1 << 20\n    dtype: Literal['int32'] = 'int32'"),
        ("normal((problem.N,), problem", "normal((problem.N,), torch.float32, generator, device, 99).to(problem"),
        ("torch_dtype, generator, device) for", "torch_dtype) for"),
        (".to(tl.float32)", ""),
        ("x + y, 0.0", "x + y, 0"),
    )
    examine(spec)
    problem = spec.default_problem()
    assert spec.output(problem, "meta").dtype == torch.int32
    (checked,) = interpreter.check(spec, problem, spec.space(problem, H200)[:1], "H200")
    assert checked.status == "correct", checked.reason


def test_the_result_has_the_dtype_that_eager_gives(tmp_path):
    spec = own(tmp_path, ("return torch.relu(x + y)", "return torch.relu(x + y).float()"))
    assert spec.output(spec.default_problem(), "meta").dtype == torch.float32


def test_a_kernel_may_import_its_neighbours(tmp_path, interpreter):
    package = tmp_path / "theirs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "neighbour_of_own.py").write_text(SHORT)
    for style in ("from neighbour_of_own", "from .neighbour_of_own"):
        (package / "own.py").write_text(f"{style} import AddRelu\n\nclass Mine(AddRelu):\n    name = 'mine'\n")
        spec = registry.get(f"{package}/own.py:Mine")
        (checked,) = interpreter.check(
            spec, spec.default_problem(), spec.space(spec.default_problem(), H200)[:1], "H200"
        )
        assert checked.status == "correct", checked.reason


def test_an_instance_with_arguments_is_found_again_in_a_child(tmp_path, interpreter):
    path = tmp_path / "own.py"
    path.write_text(
        SHORT + "\n\nclass Narrow(AddRelu):\n    name = 'narrow'\n    def __init__(self, most): self.most = most\n"
        "    def constraint(self, problem, config, hardware):\n"
        "        return None if config.BLOCK <= self.most else 'wide'\n\nnarrow = Narrow(512)\n"
    )
    spec = registry.get(f"{path}:narrow")
    space = spec.space(spec.default_problem(), H200)
    assert {c.BLOCK for c in space} == {256, 512}
    (checked,) = interpreter.check(spec, spec.default_problem(), space[:1], "H200")
    assert checked.status == "correct", checked.reason


def test_inputs_and_references_that_fail_on_numbers_are_a_status(tmp_path, interpreter):
    for old, new, says in [
        ("return tuple(normal(", "if device == 'cpu': 1 / 0\n        return tuple(normal(", "ZeroDivisionError"),
        ("x, y = inputs", "x, y = inputs\n        if x.device.type == 'cpu': 1 / 0", "the reference"),
    ]:
        spec = own(tmp_path, (old, new))
        problem = spec.default_problem()
        (checked,) = interpreter.check(spec, problem, spec.space(problem, H200)[:1], "H200")
        assert checked.status == "runtime"
        assert says in checked.reason


def test_one_block_size_over_three_dimensions_keeps_the_interpreters_problem_small():
    class Cube(Problem):
        dims = ("B", "M", "N")
        B: int = 64
        M: int = 4096
        N: int = 4099

    assert reduced(Cube(), SimpleNamespace(BLOCK=1024)).shape() == (32, 32, 1024 + 3)
    assert reduced(Cube(), SimpleNamespace(BLOCK=16)).shape() == (32, 32, 16 + 3)
    assert reduced(Cube(M=100), SimpleNamespace(BLOCK=32)).shape() == (64, 36, 32 + 3)


AUTOTUNED = (ROOT / "examples" / "autotuned_scale.py").read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('key=["M", "N"],', 'key=["M", "N"], reset_to_zero=["out_ptr"],'),
        ('key=["M", "N"],', 'key=["M", "N"], restore_value=["out_ptr"],'),
        ("@triton.autotune(", "@triton.heuristics({'EVEN': lambda a: a['N'] % 2 == 0})\n@triton.autotune("),
    ],
)
def test_what_stands_around_an_autotuned_kernel_is_kept(tmp_path, interpreter, old, new):
    text = AUTOTUNED.replace(old, new)
    if "EVEN" in new:
        text = text.replace("BLOCK_N: tl.constexpr)", "BLOCK_N: tl.constexpr, EVEN: tl.constexpr)")
    if "reset_to_zero" in new:
        text = text.replace("tl.store(out_ptr", "tl.atomic_add(out_ptr").replace(
            "x * scale + bias, mask", "(x * scale + bias).to(tl.float16), mask"
        )
    (tmp_path / "own.py").write_text(text)
    spec = registry.get(f"{tmp_path}/own.py:Scale")
    problem = spec.default_problem()
    (checked,) = interpreter.check(spec, problem, spec.space(problem, H200)[:1], "H200")
    assert checked.status == "correct", checked.reason


@pytest.mark.parametrize("value", [[8], 0.5])
def test_an_autotuned_value_that_no_config_can_hold_is_named(value):
    config = SimpleNamespace(kwargs={"GROUP": value}, num_warps=4, num_stages=2, num_ctas=1, maxnreg=None)
    with pytest.raises(ValueError, match=r"GROUP=.* is no whole number, string or bool"):
        configs_of(SimpleNamespace(configs=[config], fn=None))
