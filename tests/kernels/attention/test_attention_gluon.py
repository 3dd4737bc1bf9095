"""Attention's family ``warp_specialized``: constraints and candidates, what is compiled, and results on a GPU."""

from itertools import product

import pytest
import torch

from kernels import registry
from kernels.attention.space import AttentionConfig, constraint, ring_bytes
from kernels.hardware import hardware_for, hardware_named
from tools.harness.checking.verify import fault

pytestmark = pytest.mark.compile

H200 = hardware_named("H200")
SPEC = registry.get("attention")
CAUSAL = SPEC.default_problem()


def config(n=128, stages=2, persistent=True, pingpong=True, **fields):
    base = {"family": "warp_specialized", "BLOCK_M": 128, "BLOCK_N": n, "num_warps": 8, "num_stages": stages}
    return AttentionConfig(**{**base, "PERSISTENT": persistent, "PINGPONG": pingpong, **fields})


def problem(**fields):
    return SPEC.problem_type(**fields)


@pytest.mark.parametrize("hardware", ["A100", "B200", "MI300X"])
def test_other_gpus_are_a_named_constraint_and_have_none_in_their_space(hardware):
    h = hardware_named(hardware)
    assert constraint(CAUSAL, config(), h).startswith("gluon_hardware: ")
    assert all(c.family != "warp_specialized" for c in SPEC.space(CAUSAL, h))


def test_a_triton_without_gluon_is_a_named_constraint(monkeypatch):
    monkeypatch.setattr("kernels.attention.space.has_gluon", lambda: False)
    assert constraint(CAUSAL, config(), H200).startswith("gluon_missing: ")


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (config(BLOCK_M=64), "consumers"),
        (config(num_warps=4), "consumers"),
        (config(n=32), "tile"),
        (config(stages=3), "shared_memory"),
        (config(family="tma"), "warp_specialized"),
        (config(family="pointer", pingpong=False), "warp_specialized"),
    ],
)
def test_what_the_family_cannot_do_has_a_name(broken, name):
    assert constraint(CAUSAL, broken, H200).startswith(f"{name}: ")


def test_the_default_problem_has_every_arrangement_in_a_space_that_can_be_searched():
    space = SPEC.space(CAUSAL, H200)
    assert len(set(space)) == len(space) <= 400
    assert {config(persistent=p, pingpong=g) for p, g in product((False, True), repeat=2)} < set(space)


def test_the_interpreter_is_not_asked_to_run_gluon():
    assert "Gluon" in SPEC.interpretable(config())
    assert SPEC.interpretable(SPEC.default_config(CAUSAL, hardware_named("A100"))) is None


def test_the_default_has_roles_where_the_hardware_has_the_instructions():
    chosen = [SPEC.default_config(CAUSAL, hardware_named(name)).family for name in ("H200", "A100", "MI300X")]
    assert chosen == ["warp_specialized", "pointer", "pointer"]


CASES = {
    "causal": (CAUSAL, config()),
    "narrow": (problem(D=64, S=1000, dtype="bf16", GROUP=4), config(n=64, stages=3, pingpong=False)),
    "full": (problem(causal=False, S=333), config(persistent=False)),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CASES)
def test_compiles_to_asynchronous_matrix_instructions_without_spills(compile_pool, name):
    problem_, config_ = CASES[name]
    (figures,) = compile_pool("H200").compile(SPEC, problem_, [config_])
    assert figures.status == "correct", figures.reason
    assert (figures.tensor_core, figures.tma, figures.spill_bytes, figures.stack_bytes) == ("wgmma", True, 0, 0)
    assert figures.num_warps == config_.num_warps + 4  # the producer's warp group
    assert 0 < figures.shared_bytes - ring_bytes(problem_, config_) <= 1024


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CASES)
def test_exponentials_are_computed_while_a_product_runs(compiled_for, name):
    """Between the wait for the scores, which leaves one product running, and the wait for that product."""
    p, c = CASES[name]
    sass = compiled_for("H200", "attention", p.model_dump(), c.model_dump(), sass=True)["sass"]
    after = [part.split("DEPBAR.LE gsb0, 0x0")[0] for part in sass.split("DEPBAR.LE gsb0, 0x1")[1:]]
    assert after
    assert all(part.count("MUFU.EX2") >= 32 for part in after)


GPU_PROBLEMS = [
    problem(**fields)
    for fields in [
        {"B": 1, "H": 4, "S": 1000, "D": 128},
        {"B": 2, "H": 8, "S": 333, "D": 64, "GROUP": 4, "causal": False, "dtype": "bf16"},
        {"B": 2, "H": 6, "S": 512, "D": 64, "GROUP": 3},
        {"B": 1, "H": 3, "S": 768, "D": 128, "causal": False, "dtype": "bf16"},
        {"B": 3, "H": 2, "S": 1, "D": 128},
        {"B": 2, "H": 24, "S": 2048, "D": 128},
    ]
]
GPU_TILES = [(64, 1), (64, 3), (128, 2)]
"""BLOCK_N, num_stages."""
ARRANGEMENTS = list(product((False, True), repeat=2))
"""PERSISTENT, PINGPONG."""


@pytest.fixture(scope="module")
def ahead(compile_ahead):
    configs = [config(*tile, *arrangement) for tile, arrangement in product(GPU_TILES, ARRANGEMENTS)]
    return compile_ahead(SPEC, product(GPU_PROBLEMS, configs))


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() != (9, 0), reason="needs a Hopper GPU"
)
@pytest.mark.parametrize("p", GPU_PROBLEMS, ids=lambda p: p.label())
@pytest.mark.parametrize(("n", "stages"), GPU_TILES)
@pytest.mark.parametrize(("persistent", "pingpong"), ARRANGEMENTS)
def test_results_are_those_of_the_reference_on_whole_and_ragged_shapes(ahead, p, n, stages, persistent, pingpong):
    c = config(n, stages, persistent, pingpong)
    ahead.wait(p, c)
    inputs = SPEC.inputs(p, torch.Generator("cuda").manual_seed(0), "cuda")
    out = SPEC.output(p, "cuda").fill_(float("nan"))
    SPEC.launch(p, c, inputs, out, hardware_for(torch.cuda.get_device_name()))
    assert fault(SPEC, p, out, inputs)[0] == ""
