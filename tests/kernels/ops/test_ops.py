"""The public ops: values, gradients, torch.compile, choice of config, and what they say when they cannot."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from kernels import ops, registry
from kernels.hardware import hardware_named
from kernels.ops import operators, tuned_files
from kernels.rows.spec import RowsConfig
from kernels.triton.activations import activate_torch

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
H200 = hardware_named("H200")


@pytest.fixture(autouse=True)
def fallback_is_expected(monkeypatch):
    monkeypatch.delenv(tuned_files.VARIABLE, raising=False)
    ops.use(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ops.NoKernelWarning)
        yield
    ops.use(None)


def normal(*shape, dtype=torch.float16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def cases():
    x, w, weight, bias = normal(2, 3, 40), normal(24, 40), normal(40, seed=1), normal(40, seed=2)
    yield "softmax", ops.softmax, (x,), lambda x: torch.softmax(x, -1)
    yield "rms_norm", ops.rms_norm, (x, weight), lambda x, w: F.rms_norm(x, (40,), w, 1e-6)
    yield "layer_norm", ops.layer_norm, (x, weight, bias), lambda x, w, b: F.layer_norm(x, (40,), w, b)
    yield "swiglu", ops.swiglu, (x, normal(2, 3, 40, seed=3)), lambda g, u: F.silu(g) * u
    heads = normal(2, 4, 9, 64), normal(2, 2, 9, 64, seed=5), normal(2, 2, 9, 64, seed=6)
    for causal in (False, True):
        yield (
            f"attention {causal}",
            lambda q, k, v, causal=causal: ops.attention(q, k, v, causal),
            heads,
            lambda q, k, v, causal=causal: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True),
        )
    image, filters, shift = normal(2, 6, 5, 8), normal(10, 3, 3, 8, seed=7), normal(10, seed=8)

    def nchw(x, w, b=None):
        y = F.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), b, 2, 1, 1)
        return y.permute(0, 2, 3, 1)

    yield "conv2d", lambda x, w: ops.conv2d(x, w, stride=2, padding=1), (image, filters), nchw
    yield "conv2d bias", lambda x, w, b: ops.conv2d(x, w, b, 2, 1), (image, filters, shift), nchw
    for act in ("none", "relu", "leaky_relu", "gelu", "silu"):
        yield (
            f"fused_matmul {act}",
            lambda x, w, b, act=act: ops.fused_matmul(x, w.t(), b, activation=act),
            (x, w, normal(24, seed=4)),
            lambda x, w, b, act=act: activate_torch(x @ w.t() + b, act),
        )


CASES = list(cases())


@pytest.mark.parametrize(("name", "op", "inputs", "eager"), CASES, ids=[c[0] for c in CASES])
def test_value_and_gradients_are_those_of_pytorch(name, op, inputs, eager):
    ours, theirs = op(*inputs), eager(*inputs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-3)
    grad = torch.randn(ours.shape, generator=torch.Generator().manual_seed(9)).half()
    expected = eager(*(i.detach().double().requires_grad_() for i in inputs))
    wide = [i.detach().double().requires_grad_() for i in inputs]
    expected = torch.autograd.grad(eager(*wide), wide, grad.double())
    for found, right in zip(torch.autograd.grad(ours, inputs, grad), expected, strict=True):
        scale = right.abs().max().item()
        torch.testing.assert_close(found.double(), right, atol=6e-3 * scale, rtol=0)


@pytest.mark.parametrize("name", ["softmax", "rms_norm", "layer_norm", "swiglu", "fused_matmul", "attention", "conv2d"])
def test_operators_pass_pytorchs_own_checks(name):
    x, vector = normal(6, 40), normal(40, seed=1)
    arguments = {
        "softmax": (x,),
        "rms_norm": (x, vector, 1e-6),
        "layer_norm": (x, vector, vector, 1e-5),
        "swiglu": (x, normal(6, 40, seed=2)),
        "fused_matmul": (x, normal(40, 8, seed=2), None, "gelu"),
        "attention": (normal(1, 2, 5, 64), normal(1, 1, 5, 64, seed=1), normal(1, 1, 5, 64, seed=2), True),
        "conv2d": (normal(2, 4, 5, 8), normal(6, 3, 2, 8, seed=1), normal(6, seed=2), 2, 1, 1),
    }
    torch.library.opcheck(getattr(torch.ops.autokernel, name).default, arguments[name])


def test_torch_compile_takes_them_without_a_graph_break():
    def layer(x, w, weight):
        return ops.fused_matmul(ops.rms_norm(x, weight), w, activation="silu")

    x, w, weight = normal(6, 40), normal(40, 8, seed=1), normal(40, seed=2)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, w, weight), layer(x, w, weight))
    (grad,) = torch.autograd.grad(compiled(x, w, weight).sum(), x)
    assert torch.equal(grad, torch.autograd.grad(layer(x, w, weight).sum(), x)[0])


def test_empty_tensors_give_empty_results():
    assert ops.softmax(torch.empty(0, 4, dtype=torch.float16)).shape == (0, 4)
    assert ops.softmax(torch.empty(3, 0, dtype=torch.float16)).shape == (3, 0)
    assert ops.fused_matmul(normal(0, 5), normal(5, 3)).shape == (0, 3)


def test_without_a_kernel_pytorch_computes_and_a_warning_says_so():
    operators.warn_once.cache_clear()
    with pytest.warns(ops.NoKernelWarning, match="softmax on the CPU: PyTorch computes it"):
        ops.softmax(normal(2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.softmax(normal(2, 3))


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: ops.softmax(torch.randn(2, 3)), TypeError, "takes float16 or bfloat16"),
        (lambda: ops.softmax(torch.tensor(1.0).half()), ValueError, "at least one dimension"),
        (lambda: ops.swiglu(normal(2, 3), 1), TypeError, "takes tensors, got Tensor, int"),
        (lambda: ops.swiglu(normal(2, 3), normal(2, 3, dtype=torch.bfloat16)), TypeError, "all of one"),
        (lambda: ops.swiglu(normal(2, 3), normal(3, 2)), ValueError, r"\(2, 3\), \(3, 2\)"),
        (lambda: ops.rms_norm(normal(2, 3), normal(2)), ValueError, "a weight of x's columns"),
        (lambda: ops.fused_matmul(normal(2, 3), normal(2, 3)), ValueError, r"wants x @ w"),
        (lambda: ops.fused_matmul(normal(2, 3), normal(3, 4), normal(3)), ValueError, "a bias of w's columns"),
        (lambda: ops.fused_matmul(normal(2, 3), normal(3, 4), None, "tanh"), ValueError, "no activation 'tanh'"),
        (lambda: ops.attention(*(normal(1, 2, 5, 32),) * 3), ValueError, "with D 64 or 128"),
        (lambda: ops.attention(normal(1, 3, 5, 64), *(normal(1, 2, 5, 64),) * 2), ValueError, "wants q"),
        (lambda: ops.conv2d(normal(1, 4, 4, 8), normal(2, 3, 3, 4)), ValueError, r"wants x \(N, H, W, C\)"),
        (lambda: ops.conv2d(normal(1, 2, 4, 8), normal(2, 3, 3, 8)), ValueError, "no smaller than the filter"),
        (lambda: ops.conv2d(normal(1, 4, 4, 8), normal(2, 3, 3, 8), stride=0), ValueError, "stride and dilation"),
        (lambda: ops.attention(*(normal(1, 2, 5, 64),) * 3, causal="no"), TypeError, "wants causal as one bool"),
        (lambda: ops.softmax(normal(2, 3).detach().to_sparse()), ValueError, "takes dense tensors"),
        (lambda: ops.config_of("softmax", (2, 3), "a toaster"), ValueError, "no facts about 'a toaster'"),
        (lambda: ops.config_of("softmax", normal(2, 3), normal(3)), TypeError, "the GPU's name as text, got Tensor"),
    ],
)
def test_wrong_arguments_are_one_sentence(call, kind, says):
    with pytest.raises(kind, match=says):
        call()


def row(shape, config, ms=1.0, device="NVIDIA H200", status="correct", **fields):
    m, n = shape
    problem = {"dtype": "fp16", "M": m, "N": n, "eps": 1e-6, **fields}
    return {"kernel": "rms_norm", "device": device, "fields": problem, "config": config, "ms": ms, "status": status}


def config(rows, warps):
    return {"family": "row", "ROWS": rows, "num_warps": warps, "BLOCK_N": 0, "num_stages": 1}


def tuned_file(tmp_path, *rows):
    path = tmp_path / "tuned.json"
    path.write_text(json.dumps({"rows": rows}))
    return path


def test_the_config_is_the_tuned_one_else_the_nearest_legal_one_else_the_default(tmp_path):
    rows = [
        row((4096, 4096), config(2, 8), ms=2.0),
        row((4096, 4096), config(4, 8), ms=1.0),
        row((4096, 512), config(32, 4)),
        row((8192, 4096), config(1, 4), device="NVIDIA H100 80GB HBM3"),
        row((8192, 4096), config(8, 16), status="implausible"),
    ]
    ops.use(tuned_file(tmp_path, *rows))
    exact = ops.config_of("rms_norm", (4096, 4096), "NVIDIA H200")
    assert (exact.why, exact.config.ROWS) == ("tuned", 4)
    near = ops.config_of("rms_norm", (8000, 4000), "NVIDIA H200")
    assert (near.why, near.config.ROWS) == ("nearest 4096x4096 fp16", 4)
    # 32 rows of 1,024 on 4 warps do not fit the registers: 512 is nearest, and the next that is legal is taken.
    next_ = ops.config_of("rms_norm", (4096, 1024), "NVIDIA H200")
    assert (next_.why, next_.config.ROWS) == ("nearest 4096x4096 fp16", 4)
    # Nor do 4 of 16,384 on 8 warps, the faster one: the slower one of the same problem fits.
    slower = ops.config_of("rms_norm", (4096, 16384), "NVIDIA H200")
    assert (slower.why, slower.config.ROWS) == ("nearest 4096x4096 fp16", 2)
    assert ops.config_of("rms_norm", (4096, 4096), "NVIDIA A100-SXM4-80GB").why == "default"
    assert ops.config_of("softmax", (4096, 4096), "NVIDIA H200").why == "default"


def test_the_variable_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv(tuned_files.VARIABLE, str(tuned_file(tmp_path, row((64, 64), config(16, 1)))))
    assert tuned_files.from_environment()[0].config == config(16, 1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{}]}', '{"rows": 3}', "not json"])
def test_a_file_that_is_none_of_ours_is_one_sentence(tmp_path, text):
    path = tmp_path / "tuned.json"
    path.write_text(text)
    with pytest.raises(tuned_files.TunedFileError, match="holds no tuned configs"):
        ops.use(path)
    with pytest.raises(tuned_files.TunedFileError, match="there is no file"):
        ops.use(tmp_path / "nowhere.json")


def test_a_memory_file_is_a_source_of_configs(tmp_path):
    from memory.store import Begin, Finish, Memory

    path = tmp_path / "memory.db"
    memory = Memory.open(path)
    spec = registry.get("rms_norm")
    problem = spec.parse_problem((512, 1024), {})
    kernel = memory.kernel("rms_norm", spec.source_hash())
    device = {"kind": "live", "name": "NVIDIA H200", "hardware": "H200"}
    environment = memory.environment(device)
    where = memory.problem(kernel, problem.model_dump(mode="json"), problem.label())
    memory.start_run("run", "a goal", {}, "embedded", environment, where, {})
    for values, ms in ((config(1, 4), 0.2), (config(2, 8), 0.1)):
        (address,) = memory.configs(kernel, [values])
        (attempt,) = memory.begin_attempts([Begin("run", "call", environment, where, address, "benchmark")])
        figures = {"ms": ms, "samples": [ms], "regime": "burst"}
        memory.finish_attempts([Finish(attempt, "correct", figures)])
    memory.close()
    ops.use(path)
    choice = ops.config_of("rms_norm", (512, 1024), "NVIDIA H200")
    assert (choice.why, choice.config) == ("tuned", RowsConfig(**config(2, 8)))


INTERPRETED = """
import torch
from kernels import ops
from kernels.attention import space as attention_space
from kernels.ops import operators
from kernels.hardware import hardware_named
from kernels.triton.interpreter_bf16 import patch_bf16
patch_bf16()
launched = []
operators.hardware_of = lambda device: hardware_named("H200")
attention_space.has_gluon = lambda: False  # the interpreter runs no Gluon
for name in ("softmax", "rms_norm", "layer_norm", "swiglu", "fused_matmul", "attention", "conv2d"):
    spec = operators.spec_of(name)
    def launch(*a, spec=spec, real=spec.launch): launched.append(spec.name); real(*a)
    spec.launch = launch
g = torch.Generator().manual_seed(0)
def normal(*shape): return torch.randn(shape, generator=g).bfloat16()
q, k, o = normal(1, 70, 4, 64).transpose(1, 2), normal(1, 2, 70, 64), normal(1, 2, 70, 64)
x, v, b = normal(5, 72), normal(72), normal(72)
w = normal(24, 72)
off = normal(24 * 72 + 1)[1:].view(72, 24)  # not 16-byte aligned
F = torch.nn.functional
image, filters = normal(2, 6, 5, 16), normal(24, 3, 3, 16)
pairs = [
    (ops.softmax(x), x.double().softmax(-1)),
    (ops.rms_norm(x, v), F.rms_norm(x.double(), (72,), v.double(), 1e-6)),
    (ops.layer_norm(x, v, b), F.layer_norm(x.double(), (72,), v.double(), b.double())),
    (ops.swiglu(x.t(), normal(5, 72).t() * 0 + 1), F.silu(x.double().t())),
    (ops.fused_matmul(x, w.t(), activation="relu"), (x.double() @ w.double().t()).relu()),
    (ops.fused_matmul(x, off, b[:24].clone()), x.double() @ off.double() + b[:24].double()),
    (
        ops.attention(q, k, o, causal=True),
        F.scaled_dot_product_attention(q.double(), k.double(), o.double(), is_causal=True, enable_gqa=True),
    ),
    (
        ops.conv2d(image, filters.flip(1), stride=2, padding=1),
        F.conv2d(image.double().permute(0, 3, 1, 2), filters.flip(1).double().permute(0, 3, 1, 2), None, 2, 1)
        .permute(0, 2, 3, 1),
    ),
    (ops.matmul(x[:, ::2], w.t()[::2]), x[:, ::2].double() @ w.t()[::2].double()),
]
for ours, right in pairs:
    assert ours.dtype == torch.bfloat16 and ours.shape == right.shape
    assert (ours.double() - right).abs().max() <= 2**-7 * right.abs().max(), (ours, right)
assert len(launched) == 9, launched
"""


@pytest.mark.long
def test_the_kernels_themselves_run_on_strided_transposed_and_unaligned_inputs(tmp_path):
    script = tmp_path / "child.py"
    script.write_text(INTERPRETED)
    child = subprocess.run(
        [sys.executable, str(script)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert child.returncode == 0, child.stderr[-2000:]


def test_torch_compile_takes_them_with_symbolic_sizes():
    def layer(x, w, weight, bias):
        x = ops.layer_norm(ops.rms_norm(ops.fused_matmul(x, w), weight), weight, bias)
        image = x.reshape(1, -1, 1, x.shape[1])
        x = ops.conv2d(image, torch.ones_like(image)[:, :1]).reshape(-1, 1)
        return ops.softmax(ops.swiglu(x, x))

    x, w, weight, bias = (torch.randn(s).half() for s in ((6, 8), (8, 4), (4,), (4,)))
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    assert torch.equal(compiled(x, w, weight, bias), layer(x, w, weight, bias))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: ops.softmax(None), "softmax takes tensors, got NoneType"),
        (lambda x: ops.matmul(x, None), "takes tensors, got Tensor, NoneType"),
        (lambda x: ops.rms_norm(x, x[0], eps=None), "rms_norm wants eps as one float, got None"),
        (lambda x: ops.conv2d(x[None, None], x[None, None], stride=(1, 1)), r"wants stride as one int, got \(1, 1\)"),
    ],
)
def test_arguments_of_another_type_are_one_sentence(call, says):
    with pytest.raises(TypeError, match=says) as caught:
        call(torch.ones(4, 4).half())
    assert "\n" not in str(caught.value)


def test_config_of_refuses_a_shape_in_one_sentence():
    with pytest.raises(ValueError, match=r"^M: it must be at least 1$"):
        ops.config_of("softmax", (-3, 4), "NVIDIA H200")


def test_a_tuned_row_with_a_list_in_it_is_refused(tmp_path):
    row = {"kernel": "softmax", "device": "NVIDIA H200", "status": "correct", "config": {}, "ms": 1.0}
    (tmp_path / "odd.json").write_text(json.dumps({"rows": [row | {"fields": {"M": [1]}}]}))
    with pytest.raises(tuned_files.TunedFileError, match="neither numbers nor words"):
        ops.use(tmp_path / "odd.json")
