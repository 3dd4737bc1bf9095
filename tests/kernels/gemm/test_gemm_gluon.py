"""Family ``warp_specialized``: constraints and candidates, what the compiler makes of it, and results on a GPU."""

import ast
from pathlib import Path

import pytest
import torch

import kernels
from kernels import registry
from kernels.gemm.gluon_space import BARRIERS_BYTES, candidates, constraint, shared_bytes, takes_turns
from kernels.gemm.space import GemmConfig
from kernels.hardware import hardware_for, hardware_named
from tools.harness.checking.verify import fault

pytestmark = pytest.mark.compile

H200 = hardware_named("H200")
FUSED = registry.get("fused_matmul")


def problem(m=4096, n=4096, k=4096, **options):
    return FUSED.parse_problem((m, n, k), options)


def config(bm=128, bn=256, bk=64, warps=8, stages=4, subtile=4, **fields):
    return GemmConfig(
        family="warp_specialized",
        BLOCK_M=bm,
        BLOCK_N=bn,
        BLOCK_K=bk,
        GROUP_M=16,
        num_warps=warps,
        num_stages=stages,
        EPILOGUE_SUBTILE=subtile,
        **fields,
    )


ONE = config()
WHOLE = config(stages=3, subtile=1)
HALVES = config(CONSUMERS=2)
TURNS = config(bn=128, subtile=2, CONSUMERS=2)
NARROW = config(bm=64, bn=128, warps=4, subtile=1)
VARIANTS = {"one": ONE, "whole": WHOLE, "halves": HALVES, "turns": TURNS, "narrow": NARROW}


@pytest.mark.parametrize("hardware", ["A100", "B200", "MI300X"])
def test_other_gpus_are_a_named_constraint_and_have_no_candidates(hardware):
    h = hardware_named(hardware)
    assert constraint(problem(), ONE, h).startswith("gluon_hardware: ")
    assert list(candidates(problem(), h)) == []


def test_a_triton_without_gluon_is_a_named_constraint(monkeypatch):
    monkeypatch.setattr("kernels.gemm.gluon_space.has_gluon", lambda: False)
    assert constraint(problem(), ONE, H200).startswith("gluon_missing: ")


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (config(warps=2), "consumer_warps"),
        (config(warps=16), "consumer_warps"),
        (config(bm=64, warps=4, CONSUMERS=2), "consumer_warps"),
        (config(bm=64), "consumer_rows"),
        (config(bm=32, bn=64, subtile=1, CONSUMERS=2), "consumer_rows"),
        (config(bm=128, warps=4), "consumer_registers"),
        (config(bm=128, bn=128, stages=1), "consumer_stages"),
        (config(stages=5), "shared_memory"),
        (config(subtile=1), "shared_memory"),
    ],
)
def test_what_the_family_cannot_do_has_a_name(broken, name):
    assert constraint(problem(), broken, H200).startswith(f"{name}: ")


@pytest.mark.parametrize("shape", [(4096, 4096, 4096), (64, 8192, 8192), (16384, 4096, 1024), (8, 8, 8)])
def test_candidates_are_at_most_sixty_different_configs_that_break_none_of_the_familys_constraints(shape):
    found = list(candidates(problem(*shape), H200))
    assert 0 < len(found) == len(set(found)) <= 60
    assert all(constraint(problem(*shape), c, H200) is None for c in found)


def test_candidates_of_the_default_problem_hold_every_arrangement():
    found = set(candidates(problem(), H200))
    assert {ONE, WHOLE, HALVES} < found
    assert any(takes_turns(c) for c in found)


OTHER = problem(b_layout="col", bias=True, dtype="bf16", activation="gelu")
CASES = {**{name: (problem(), c) for name, c in VARIANTS.items()}, "column": (OTHER, HALVES), "row": (OTHER, ONE)}


@pytest.fixture
def compiled(compile_pool):
    """A function: the config of a case and its figures."""

    def compile_(name):
        p, c = CASES[name]
        return c, compile_pool("H200").compile(FUSED, p, [c])[0]

    return compile_


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CASES)
def test_every_arrangement_compiles_to_asynchronous_matrix_instructions_without_spills(compiled, name):
    c, figures = compiled(name)
    assert figures.status == "correct", figures.reason
    assert (figures.tensor_core, figures.tma, figures.spill_bytes, figures.stack_bytes) == ("wgmma", True, 0, 0)
    assert not [w for w in figures.warnings if "C75" in w or "serialized" in w or "maxnreg" in w]
    assert figures.num_warps == c.num_warps + 4  # the producer's warp group


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CASES)
def test_shared_memory_is_that_of_the_ring_the_staging_buffers_and_the_barriers(compiled, name):
    c, figures = compiled(name)
    assert 0 < figures.shared_bytes - shared_bytes(c) <= BARRIERS_BYTES


def test_a_launch_on_meta_tensors_compiles_the_kernel_that_a_launch_on_data_needs(compiled_for):
    ragged = problem(1000, 1096, 520, b_layout="col", bias=True, activation="silu").model_dump()
    answer = compiled_for("H200", "fused_matmul", ragged, TURNS.model_dump())
    assert (answer["name"], answer["same_with_data"]) == ("gemm_warp_specialized", True)


def copies_that_a_loop_changes(source):
    """Lines `copy = name` of a function in which a later loop assigns `copy`.

    Triton's front end finds what a loop carries by comparing the values of names before and after its body. A copy that
    becomes the old value of its original again looks unchanged and is not carried: it keeps its first value for ever.
    """
    for function in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)):
        loops = [n for n in ast.walk(function) if isinstance(n, (ast.For, ast.While))]
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets=[ast.Name(id=copy)], value=ast.Name()):
                    changed = (
                        n.id
                        for loop in loops
                        if loop.lineno > node.lineno
                        for n in ast.walk(loop)
                        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                    )
                    if copy in changed:
                        yield node.lineno


def test_a_copy_that_a_loop_changes_is_found():
    lost = "def f(stage):\n    before = stage\n    for _ in range(9):\n        before = stage\n        stage += 1\n"
    assert list(copies_that_a_loop_changes(lost)) == [2]


@pytest.mark.parametrize("path", sorted(Path(kernels.__file__).parent.glob("*_gluon.py")), ids=lambda path: path.name)
def test_no_kernel_copies_a_name_and_changes_the_copy_in_a_loop(path):
    assert list(copies_that_a_loop_changes(path.read_text())) == []


GPU_SHAPES = [(256, 512, 64), (1000, 1096, 520), (72, 8, 8), (2048, 4096, 1032)]


def gpu_problem(shape, layout):
    return problem(*shape, b_layout=layout, bias=True, dtype="bf16" if layout == "col" else "fp16")


@pytest.fixture(scope="module")
def ahead(compile_ahead):
    problems = [gpu_problem(shape, layout) for shape in GPU_SHAPES for layout in ("row", "col")]
    return compile_ahead(FUSED, [(p, c) for p in problems for c in VARIANTS.values()])


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() != (9, 0), reason="needs a Hopper GPU"
)
@pytest.mark.parametrize("layout", ["row", "col"])
@pytest.mark.parametrize("shape", GPU_SHAPES)
@pytest.mark.parametrize("name", VARIANTS)
def test_results_are_those_of_the_reference_on_whole_and_ragged_shapes(ahead, name, shape, layout):
    hardware = hardware_for(torch.cuda.get_device_name())
    p = gpu_problem(shape, layout)
    ahead.wait(p, VARIANTS[name])
    inputs = FUSED.inputs(p, torch.Generator("cuda").manual_seed(0), "cuda")
    out = FUSED.output(p, "cuda").fill_(float("nan"))
    FUSED.launch(p, VARIANTS[name], inputs, out, hardware)
    assert fault(FUSED, p, out, inputs)[0] == ""
