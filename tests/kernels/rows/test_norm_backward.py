"""Gradients of the norms: in Triton's interpreter, against autograd, their space, their machine code."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from kernels import registry
from kernels.check_spec import examine
from kernels.hardware import ALL, hardware_named
from kernels.rows.norm_backward import NormBackwardConfig

NAMES = ("rms_norm_backward", "layer_norm_backward")
SHAPES = [(1, 4), (3, 17), (5, 1023), (2, 1024), (33, 65), (7, 4097)]
WALK = [
    {"family": "walk", "ROWS": r, "num_warps": 16, "PER_SM": 1, "num_stages": s, "STREAM": t}
    for r, s, t in ((1, 1, 0), (2, 3, 2))
]
TILES = [
    {"family": "tiles", "ROWS": r, "num_warps": 4, "PER_SM": p, "num_stages": s, "BLOCK_N": 512, "STREAM": s}
    for r, p, s in ((1, 2, 1), (4, 4, 2))
]


def cases():
    for name, (dtype, saved), (m, n) in product(NAMES, (("fp16", True), ("bf16", False)), SHAPES):
        for config in WALK[: 1 if n > 4096 else 2] + TILES:
            label = f"{name}-{dtype}-{m}x{n}-{config['family']}-{config['ROWS']}"
            yield label, name, {"M": m, "N": n, "dtype": dtype, "saved": saved}, config
    yield "eps", "rms_norm_backward", {"M": 3, "N": 100, "eps": 0.5, "saved": False}, WALK[0]


CASES = list(cases())


@pytest.mark.process
@pytest.mark.sampled(6)
@pytest.mark.parametrize("index", range(len(CASES)), ids=[label for label, *_ in CASES])
def test_gradients_are_within_the_tolerance_and_inputs_are_untouched(interpreted, index):
    _, name, problem, config = CASES[index]
    answer = interpreted(name, problem, config, seed=index)
    assert answer["error"] <= answer["bound"], answer
    assert answer["unchanged"]


def made(name, shape, seed=0, **options):
    spec = registry.get(name)
    problem = spec.parse_problem(shape, options)
    return spec, problem, spec.inputs(problem, torch.Generator().manual_seed(seed), "cpu")


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_what_autograd_computes(name, saved):
    spec, problem, (grad, x, weight, mean, rstd) = made(name, (9, 37), dtype="bf16", saved=saved)
    wide_x, wide_weight = (t.double().requires_grad_() for t in (x, weight))
    bias = torch.zeros(37, dtype=torch.float64, requires_grad=True)
    if name == "rms_norm_backward":
        out, leaves = F.rms_norm(wide_x, (37,), wide_weight, problem.eps), (wide_x, wide_weight)
    else:
        out = F.layer_norm(wide_x, (37,), wide_weight, bias, problem.eps)
        leaves = (wide_x, wide_weight, bias)
    wanted = torch.autograd.grad(out, leaves, grad.double())
    wide = tuple(None if t is None else t.double() for t in (grad, x, weight, mean, rstd))
    for ours, theirs in zip(spec.eager(problem, wide), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "shape", [(1, 4), (1, 2**20), (2**20, 4), (17, 33), (16384, 4096), (64, 16385), (2**17, 2**20)]
)
def test_space_is_never_empty_and_the_default_config_breaks_no_constraint(name, shape):
    spec = registry.get(name)
    problem = spec.parse_problem(shape, {})
    for hardware in ALL:
        space = spec.space(problem, hardware)
        assert space
        assert len(space) == len(set(space)) < 700
        assert spec.constraint(problem, spec.default_config(problem, hardware), hardware) is None


@pytest.mark.parametrize("name", NAMES)
def test_both_families_are_in_the_default_space_and_the_kernel_passes_examination(name):
    spec = registry.get(name)
    problem = spec.default_problem()
    assert {c.family for c in spec.space(problem, hardware_named("H200"))} == {"walk", "tiles"}
    assert spec.bytes(problem) >= 3 * 2 * problem.M * problem.N
    examine(spec, problem.model_copy(update={"M": 64, "N": 256, "saved": False}))


@pytest.mark.parametrize(
    ("fields", "shape", "says"),
    [
        ({"family": "walk", "ROWS": 1, "num_warps": 4, "PER_SM": 2, "BLOCK_N": 512}, (64, 4096), "block"),
        ({"family": "tiles", "ROWS": 1, "num_warps": 4, "PER_SM": 2}, (64, 4096), "block"),
        ({"family": "walk", "ROWS": 8, "num_warps": 4, "PER_SM": 2}, (64, 4096), "registers"),
        ({"family": "walk", "ROWS": 1, "num_warps": 32, "PER_SM": 3}, (64, 4096), "occupancy"),
        ({"family": "walk", "ROWS": 2, "num_warps": 16, "PER_SM": 4, "num_stages": 4}, (64, 4096), "shared_memory"),
    ],
)
def test_each_broken_constraint_is_named(fields, shape, says):
    spec = registry.get("rms_norm_backward")
    reason = spec.constraint(spec.parse_problem(shape, {}), NormBackwardConfig(**fields), hardware_named("H200"))
    assert reason is not None
    assert reason.startswith(f"{says}: ")


def test_rows_too_short_for_a_gradient_are_refused():
    with pytest.raises(ValueError, match="greater than or equal to 4"):
        registry.get("rms_norm_backward").parse_problem((8, 2), {})


@pytest.mark.parametrize(("name", "index"), [(n, i) for n in NAMES for i in (0, 1, 2, 4)] + [(NAMES[1], 3)])
def test_a_forgotten_input_is_rejected(name, index):
    spec, problem, inputs = made(name, (16, 512), dtype="bf16")
    without = list(inputs)
    without[index] = torch.zeros_like(inputs[index]) if index == 3 else torch.ones_like(inputs[index])
    wrong, right = (spec.eager(problem, tuple(None if t is None else t.double() for t in i)) for i in (without, inputs))
    assert any((w - r).abs().max() / r.abs().max() > spec.tolerance(problem) for w, r in zip(wrong, right, strict=True))


@pytest.mark.compile
@pytest.mark.sampled(3)
@pytest.mark.parametrize("gpu", ["H200", "MI300X"])
@pytest.mark.parametrize("name", NAMES)
def test_default_configs_compile_without_spills(compile_pool, name, gpu):
    hardware, spec = hardware_named(gpu), registry.get(name)
    problem = spec.default_problem()
    (figures,) = compile_pool(gpu).compile(spec, problem, [spec.default_config(problem, hardware)])
    assert (figures.status, figures.spill_bytes) == ("correct", 0), figures.reason
