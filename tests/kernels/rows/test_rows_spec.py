"""Spaces, constraints, references, tolerances and baselines of the memory-bound kernels on the CPU."""

import pytest
import torch

from kernels import registry
from kernels.hardware import ALL, hardware_named
from kernels.rows.spec import RowsConfig

NAMES = ("softmax", "rms_norm", "layer_norm", "swiglu")
SHAPES = [(1, 1), (1, 2**20), (2**20, 1), (17, 33), (32768, 4096), (64, 16385), (2**17, 2**20)]


def error(out, reference):
    return ((out.double() - reference).abs().max() / reference.abs().max()).item()


def made(name, shape, dtype="fp16", seed=0):
    spec = registry.get(name)
    problem = spec.parse_problem(shape, {"dtype": dtype})
    return spec, problem, spec.inputs(problem, torch.Generator().manual_seed(seed), "cpu")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_space_is_never_empty_and_the_default_config_breaks_no_constraint(name, shape):
    spec = registry.get(name)
    problem = spec.parse_problem(shape, {})
    for hardware in ALL:
        space = spec.space(problem, hardware)
        assert space
        assert len(space) == len(set(space)) < 500
        assert spec.constraint(problem, spec.default_config(problem, hardware), hardware) is None


@pytest.mark.parametrize("name", NAMES)
def test_default_problem_moves_256_megabytes_and_is_scored_in_bandwidth(name):
    spec = registry.get(name)
    assert spec.metric == "gbps"
    assert spec.bytes(spec.default_problem()) >= 256 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_all_families_are_in_the_default_space(name):
    spec = registry.get(name)
    families = {c.family for c in spec.space(spec.default_problem(), hardware_named("H200"))}
    assert families == ({"flat", "loop"} if name == "swiglu" else {"row", "walk", "loop"})


@pytest.mark.parametrize(
    ("fields", "shape", "says"),
    [
        ({"family": "row", "ROWS": 1, "num_warps": 4, "BLOCK_N": 512}, (64, 4096), "unused_field"),
        ({"family": "loop", "ROWS": 1, "num_warps": 4}, (64, 4096), "block"),
        ({"family": "row", "ROWS": 32, "num_warps": 4}, (64, 4096), "registers"),
        ({"family": "row", "ROWS": 1, "num_warps": 4, "PER_SM": 2}, (64, 4096), "unused_field"),
        ({"family": "loop", "ROWS": 1, "num_warps": 4, "BLOCK_N": 512, "num_stages": 2}, (64, 4096), "unused_field"),
        ({"family": "loop", "ROWS": 1, "num_warps": 4, "BLOCK_N": 512, "PER_SM": 2}, (64, 4096), "unused_field"),
        ({"family": "walk", "ROWS": 1, "num_warps": 4}, (64, 4096), "walk"),
        ({"family": "walk", "ROWS": 1, "num_warps": 8, "PER_SM": 16}, (64, 4096), "occupancy"),
        ({"family": "walk", "ROWS": 4, "num_warps": 8, "PER_SM": 8, "num_stages": 3}, (64, 4096), "shared_memory"),
        ({"family": "row", "ROWS": 1, "num_warps": 32}, (64, 2**18), "registers"),
    ],
)
def test_each_broken_constraint_is_named(fields, shape, says):
    spec = registry.get("softmax")
    reason = spec.constraint(spec.parse_problem(shape, {}), RowsConfig(**fields), hardware_named("H200"))
    assert reason is not None
    assert reason.startswith(f"{says}: ")


def test_more_threads_than_a_block_has_are_refused_where_warps_are_wide():
    spec = registry.get("softmax")
    config = RowsConfig(family="row", ROWS=1, num_warps=32)
    assert "threads" in (spec.constraint(spec.default_problem(), config, hardware_named("MI300X")) or "")


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_eager_pytorch_and_one_rounding_pass_and_stale_or_scaled_results_fail(name, dtype):
    for seed, shape in enumerate([(7, 300), (33, 1024), (2, 5000)]):
        spec, problem, inputs = made(name, shape, dtype, seed)
        reference, bound = spec.reference(problem, inputs), spec.tolerance(problem)
        assert reference.dtype == torch.float64
        assert error(reference.to(problem.torch_dtype), reference) <= bound
        assert error(spec.baselines(problem)[0].prepare(problem, inputs)(), reference) <= bound
        assert error(torch.zeros_like(reference), reference) > bound
        assert error(reference * (1 + 4 * bound), reference) > bound
        assert error(reference.roll(1, 0), reference) > bound


@pytest.mark.parametrize(("name", "index"), [("rms_norm", 1), ("layer_norm", 1), ("layer_norm", 2), ("swiglu", 1)])
def test_a_forgotten_operand_is_rejected(name, index):
    spec, problem, inputs = made(name, (16, 512), "bf16")
    without = list(inputs)
    without[index] = torch.zeros_like(inputs[index]) if index == 2 else torch.ones_like(inputs[index])
    assert error(spec.reference(problem, tuple(without)), spec.reference(problem, inputs)) > spec.tolerance(problem)


def test_a_variance_about_zero_is_no_layer_norm():
    spec, problem, (x, weight, bias) = made("layer_norm", (16, 512), "bf16")
    wide = x.double()
    about_zero = wide / (wide.square().mean(-1, keepdim=True) + problem.eps).sqrt() * weight.double() + bias.double()
    assert error(about_zero, spec.reference(problem, (x, weight, bias))) > spec.tolerance(problem)


@pytest.mark.parametrize("name", NAMES)
def test_reduced_problems_keep_the_ragged_edge_and_are_small(name):
    spec = registry.get(name)
    problem = spec.parse_problem((32767, 4095), {})
    for config in spec.space(problem, hardware_named("H200")):
        small = spec.reduced(problem, config)
        assert small.M * small.N <= 2**20
        assert small.N % 2 == 1
