"""The fused linear layer with its loss: in Triton's interpreter against float64, against autograd, its space."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime.jit import JITFunction

from kernels import registry
from kernels.check_spec import examine
from kernels.cross_entropy.config import CrossEntropyConfig, chunk_rows, logit_stride
from kernels.hardware import ALL, hardware_named
from kernels.launches.expected import expected

NAME = "fused_linear_cross_entropy"
SPEC = registry.get(NAME)
TILE = {
    "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64, "GROUP_M": 4, "num_warps": 4, "num_stages": 2,
    "WEIGHT_N": 64, "WEIGHT_K": 64, "WEIGHT_WARPS": 4, "ROW_BLOCK": 1024,
}  # fmt: skip
POINTER = {"family": "pointer", "CHUNKS": 1, **TILE}
CHUNKED = {**POINTER, "CHUNKS": 2}
TMA = {"family": "tma", "CHUNKS": 2, **TILE}
PERSISTENT = {**TMA, "family": "persistent_tma", "WEIGHT_PERSISTENT": True, "WEIGHT_K": 128, "CHUNKS": 4}

CASES = {
    "one of each": ({"M": 1, "N": 1, "K": 1}, POINTER),
    "odd": ({"M": 67, "N": 1031, "K": 37}, POINTER),
    "odd, in chunks": ({"M": 131, "N": 200, "K": 70}, CHUNKED),
    "fp16": ({"M": 64, "N": 129, "K": 33, "dtype": "fp16"}, POINTER),
    "by descriptors, odd vocabulary": ({"M": 150, "N": 203, "K": 72}, TMA),
    "persistent": ({"M": 200, "N": 1100, "K": 136}, PERSISTENT),
    "another ignored index": ({"M": 80, "N": 65, "K": 16, "ignore_index": 0}, TMA),
}


@pytest.mark.process
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_within_the_tolerance_and_inputs_are_untouched(interpreted, case):
    problem, config = CASES[case]
    answer = interpreted(NAME, problem, config, seed=len(case))
    assert answer["error"] <= answer["bound"], answer
    assert answer["unchanged"]


def made(shape, **options):
    problem = SPEC.parse_problem(shape, options)
    return problem, SPEC.inputs(problem, torch.Generator().manual_seed(3), "cpu")


def errors(problem, results, inputs):
    wanted = expected(SPEC, problem, inputs, ["0", "1", "2"])
    bounds = SPEC.tolerance(problem)
    pairs = zip(results, wanted.items(), strict=True)
    return [((r.double() - w).abs().max() / (w.abs().max() * bounds[n])).item() for r, (n, w) in pairs]


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("shape", [(1, 7, 5), (33, 500, 64), (600, 1000, 128)])
def test_the_reference_is_autograds_and_eager_pytorch_passes(shape, dtype):
    problem, inputs = made(shape, dtype=dtype)
    x, weight, target = inputs
    exact = SPEC.eager(problem, (x.double(), weight.double(), target))
    for ours, theirs in zip(SPEC.reference(problem, inputs), exact, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert max(errors(problem, SPEC.eager(problem, inputs), inputs)) <= 1


@pytest.mark.parametrize("wrong", ["ignored rows counted", "no maximum over rows kept", "half of the words left out"])
def test_a_wrong_kernel_is_rejected(wrong):
    problem, (x, weight, target) = made((600, 1000, 128))
    loss, dx, dweight = SPEC.eager(problem, (x, weight, target))
    if wrong == "ignored rows counted":
        share = (target != problem.ignore_index).float().mean()
        found = loss * share, dx * share, dweight * share
    elif wrong == "half of the words left out":
        found = SPEC.eager(problem, (x, torch.cat([weight[:500], weight[:500]]), target))
    else:
        found = loss, torch.cat([dx[:-64], torch.zeros_like(dx[-64:])]), dweight
    assert max(errors(problem, found, (x, weight, target))) > 1


@pytest.mark.parametrize("shape", [(1, 1, 1), (4096, 128256, 4096), (16384, 50257, 768), (33, 32000, 2047)])
def test_space_is_never_empty_and_the_default_config_breaks_no_constraint(shape):
    problem = SPEC.parse_problem(shape, {})
    for hardware in ALL:
        space = SPEC.space(problem, hardware)
        assert len(space) == len(set(space)) < 700
        assert SPEC.constraint(problem, SPEC.default_config(problem, hardware), hardware) is None


def test_the_logits_of_a_chunk_are_a_fraction_of_all():
    problem = SPEC.default_problem()
    config = SPEC.default_config(problem, hardware_named("H200"))
    assert chunk_rows(problem, config) == problem.M // 2
    assert logit_stride(SPEC.parse_problem((8, 50257, 64), {})) == 50264


def test_the_kernel_passes_examination_and_counts_three_products():
    problem = SPEC.parse_problem((256, 1000, 64), {})
    examine(SPEC, problem)
    assert SPEC.flops(problem) == 3 * 2 * 256 * 1000 * 64


@pytest.mark.parametrize(
    ("changed", "shape", "says"),
    [
        ({"WEIGHT_PERSISTENT": True}, (256, 1000, 64), "unused_field"),
        ({"CHUNKS": 32}, (256, 1000, 64), "chunk"),
        ({}, (2**15, 2**17, 64), "chunk"),
        ({"WEIGHT_N": 256, "WEIGHT_K": 256}, (256, 1000, 64), "weight_registers"),
        ({"ROW_BLOCK": 8192, "ROW_WARPS": 4}, (256, 1000, 64), "row_registers"),
        ({"BLOCK_M": 256, "BLOCK_N": 256}, (256, 1000, 64), "accumulator_registers"),
        ({"family": "tma"}, (256, 1000, 63), "tma_alignment"),
    ],
)
def test_each_broken_constraint_is_named(changed, shape, says):
    config = CrossEntropyConfig.model_validate({**POINTER, **changed})
    reason = SPEC.constraint(SPEC.parse_problem(shape, {}), config, hardware_named("H200"))
    assert reason is not None
    assert reason.startswith(f"{says}: ")


@pytest.mark.compile
@pytest.mark.sampled(2)
@pytest.mark.parametrize("gpu", ["H200", "MI300X"])
def test_the_default_config_compiles_without_spills(compile_pool, gpu):
    hardware, problem = hardware_named(gpu), SPEC.default_problem()
    (figures,) = compile_pool(gpu).compile(SPEC, problem, [SPEC.default_config(problem, hardware)])
    assert (figures.status, figures.spill_bytes) == ("correct", 0), figures.reason


class Allocations(TorchDispatchMode):
    """Notes the bytes of what PyTorch allocates."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.empty.memory_format:
            self.bytes += found.numel() * found.element_size()
        return found


@pytest.mark.parametrize("chunks", [1, 2, 4])
def test_a_launch_allocates_one_chunk_of_logits_and_the_losses(monkeypatch, chunks):
    monkeypatch.setattr(JITFunction, "run", lambda *args, **kwargs: None)
    problem, hardware = SPEC.default_problem(), hardware_named("H200")
    config = SPEC.default_config(problem, hardware).model_copy(update={"CHUNKS": chunks})
    inputs, out = SPEC.inputs(problem, None, "meta"), SPEC.output(problem, "meta")
    with Allocations() as allocated:
        SPEC.launch(problem, config, inputs, out, hardware)
    assert allocated.bytes == 2 * problem.M // chunks * problem.N + 4 * problem.M + 4
