"""Family ``stream_k``: its schedule, constraints, candidates, results in the interpreter, what the compiler makes of
it, and results on a GPU."""

from itertools import product

import pytest
import torch

from kernels import registry
from kernels.gemm.config import tiles
from kernels.gemm.space import UNFILLED, GemmConfig, least_shared, programs
from kernels.gemm.stream_k_schedule import LEAST_STEPS, schedule
from kernels.hardware import hardware_for, hardware_named
from tools.harness.checking.verify import fault

pytestmark = pytest.mark.compile

H200 = hardware_named("H200")
FUSED = registry.get("fused_matmul")
LONG = (1536, 1536, 8192)
SHORT = (1024, 1280, 4096)


def problem(m, n, k, **options):
    return FUSED.parse_problem((m, n, k), options)


def config(bm=64, bn=64, bk=32, warps=4, stages=3, **fields):
    values = {"GROUP_M": 4, "num_warps": warps, "num_stages": stages, **fields}
    return GemmConfig(family="stream_k", BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk, **values)


SMALL = config()
LARGE = config(128, 256, 64, 8, 4, GROUP_M=8)


def plans():
    """Schedules of a few to many tiles and steps, on few to many SMs, that share some tile."""
    for columns, steps, sms in product((1, 2, 4, 5, 7, 8, 72, 133, 145, 300), (1, 2, 3, 7, 64, 1000), (2, 3, 7, 132)):
        plan = schedule(64, 64 * columns, 32 * steps, SMALL, sms)
        assert plan.whole + plan.streamed == columns
        if plan.shares:
            yield plan


PLANS = list(plans())


def test_every_step_is_taken_once_in_order_and_programs_differ_by_one_step_at_most():
    assert len(PLANS) > 100
    for plan in PLANS:
        taken = [(tile, step) for p in range(plan.programs) for tile, a, b in plan.parts(p) for step in range(a, b)]
        assert taken == list(product(range(plan.streamed), range(plan.steps)))
        lengths = {plan.start(p + 1) - plan.start(p) for p in range(plan.programs)}
        assert max(lengths) - min(lengths) <= 1 <= min(lengths)


def test_a_program_has_two_partial_tiles_at_most_its_first_and_its_last():
    for plan in PLANS:
        for parts in map(plan.parts, range(plan.programs)):
            assert all((a, b) == (0, plan.steps) for _, a, b in parts[1:-1])


def test_the_parts_of_a_tile_are_where_its_programs_put_them_and_no_slot_has_two():
    for plan in PLANS:
        written = {}
        for p in range(plan.programs):
            parts = plan.parts(p)
            for tile, a, b in parts:
                if b - a < plan.steps:
                    slot = (p, int(tile > parts[0][0]))
                    assert slot not in written
                    written[slot] = tile
        for tile in range(plan.streamed):
            slots = plan.slots(tile)
            assert [p for p, _ in slots] == list(range(slots[0][0], slots[-1][0] + 1))
            if len(slots) > 1:
                assert all(written.pop(slot) == tile for slot in slots)
        assert not written


def test_the_program_of_a_step_is_the_one_that_takes_it():
    for plan in PLANS:
        for p in range(plan.programs):
            assert plan.program_of(plan.start(p)) == plan.program_of(plan.start(p + 1) - 1) == p


def test_whole_waves_are_left_alone_and_short_last_waves_join_the_one_before():
    plan = schedule(3072, 3072, 3072, LARGE, 132)  # 288 tiles of 48 steps
    assert (plan.whole, plan.streamed, plan.programs) == (264, 24, 132)
    plan = schedule(3072, 3072, 1024, LARGE, 132)  # of 16 steps: too few for 132 programs
    assert (plan.whole, plan.streamed, plan.programs) == (132, 156, 132)
    assert all(len(plan.slots(tile)) <= 2 for tile in range(plan.streamed))


@pytest.mark.parametrize(
    ("shape", "fields", "name"),
    [
        ((2112, 1024, 4096), {"bm": 64, "bn": 256, "bk": 64}, "stream"),  # 132 tiles
        ((4096, 4352, 32), {}, "stream"),  # one step
        ((2**14, 2**14 + 64, 2**20), {}, "stream_steps"),
        ((1536, 1536, 8192), {"SPLIT_K": 2}, "unused_field"),
        ((17, 4096, 4096), {"bm": 128}, "tile_M"),
        ((1536, 1536, 8192), {"bm": 128, "bn": 256, "bk": 64, "stages": 6}, "accumulator_registers"),
        ((1536, 1536, 8192), {"bm": 128, "bn": 256, "bk": 64, "stages": 6, "warps": 8}, "shared_memory"),
    ],
)
def test_what_the_family_cannot_do_has_a_name(shape, fields, name):
    assert FUSED.constraint(problem(*shape), config(**fields), H200).startswith(f"{name}: ")


def streamed(shape, hardware=H200, **options):
    return [c for c in FUSED.space(problem(*shape, **options), hardware) if c.family == "stream_k"]


@pytest.mark.parametrize("options", [{}, {"b_layout": "col", "dtype": "bf16"}, {"dtype": "fp8"}], ids=str)
@pytest.mark.parametrize("hardware", ["H200", "A100", "MI300X"])
@pytest.mark.parametrize("shape", [LONG, SHORT, (2304, 2304, 4096)])
def test_candidates_leave_the_last_wave_unfilled_and_give_each_program_some_steps(shape, hardware, options):
    h = hardware_named(hardware)
    found = streamed(shape, h, **options)
    assert len(found) <= 40
    assert found or (options.get("dtype") == "fp8" and hardware != "H200")
    for c in found:
        count = tiles(*shape[:2], c)
        assert count / (-(-count // h.sms) * h.sms) < UNFILLED
        plan = schedule(*shape, c, h.sms)
        assert plan.total >= LEAST_STEPS * plan.programs
        assert programs(*shape[:2], c, h, shape[2]) == plan.whole + plan.programs


@pytest.mark.parametrize("shape", [(4096, 4096, 4096), (16384, 4096, 1024), (4096, 14336, 4096), (1, 4096, 4096)])
def test_there_are_no_candidates_where_waves_are_full_or_tiles_mostly_padding(shape):
    assert streamed(shape) == []


@pytest.mark.parametrize("shape", [LONG, SHORT, (2304, 2304, 4096), (1, 300, 4096), (64, 64, 4096)])
def test_the_reduced_problem_has_shared_tiles_on_three_sms_and_whole_ones_where_there_are_many(shape):
    small = FUSED.reduced(problem(*shape), SMALL)
    plan = schedule(small.M, small.N, small.K, SMALL, 3)
    assert plan.shares
    if tiles(*shape[:2], SMALL) > 8:
        assert plan.whole
        assert any(len(plan.slots(tile)) == 1 for tile in range(plan.streamed))


SHAPES = [(70, 193, 97), (17, 33, 65), (1, 300, 40), (72, 200, 112), (72, 200, 816)]
"""On three SMs: eight tiles of four steps (three for programs of their own, whole and shared ones among the others),
one tile, five of two steps; then eight that descriptors can address, and these with so many steps that two alone are
shared."""


def cases():
    """(label, kernel, problem fields, config)."""
    for (m, n, k), (layout, dtype) in product(SHAPES, (("row", "fp16"), ("col", "bf16"))):
        fields = {"M": m, "N": n, "K": k, "b_layout": layout, "dtype": dtype}
        yield f"{m}x{n}x{k}-{layout}-{dtype}", "matmul", fields, SMALL
    for activation, (m, n, k) in product(("relu", "leaky_relu", "gelu", "silu"), (SHAPES[0], SHAPES[3])):
        fields = {"M": m, "N": n, "K": k, "activation": activation, "bias": True}
        yield f"{activation}-{m}x{n}x{k}", "fused_matmul", fields, SMALL
    for (m, n, k), (scales, fused) in product((SHAPES[0], SHAPES[3]), (("tensor", False), ("row", True))):
        fields = {"M": m, "N": n, "K": k, "dtype": "fp8", "b_layout": "col", "scales": scales}
        fields |= {"activation": "leaky_relu", "bias": True} if fused else {}
        yield f"fp8-{m}x{n}x{k}-{scales}", "fused_matmul" if fused else "matmul", fields, SMALL
    wide = config(128, 256, 64, 8, GROUP_M=16)
    yield "128x256x64", "fused_matmul", {"M": 136, "N": 776, "K": 136, "bias": True}, wide


CASES = list(cases())


@pytest.mark.sampled(5)
@pytest.mark.parametrize("index", range(len(CASES)), ids=[label for label, *_ in CASES])
def test_result_is_within_the_tolerance_and_inputs_are_untouched(interpreted, index):
    _, kernel, fields, c = CASES[index]
    answer = interpreted(kernel, fields, c.model_dump(), seed=index)
    assert answer["error"] <= answer["bound"]
    assert answer["unchanged"]


DESCRIPTORS = {
    "large": (problem(*LONG, bias=True, activation="silu"), LARGE),
    "column": (
        problem(*LONG, bias=True, activation="gelu", b_layout="col", dtype="bf16"),
        config(256, 128, 64, 8, 4, GROUP_M=8),
    ),
    "square": (problem(*SHORT), config(128, 128, 64, 4, 6, GROUP_M=8)),
    "fp8": (problem(*LONG, dtype="fp8", scales="row"), config(128, 256, 128, 8, 4, GROUP_M=8)),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_on_hopper_it_compiles_to_asynchronous_matrix_instructions_by_descriptor_without_spills(compile_pool, name):
    p, c = DESCRIPTORS[name]
    (found,) = compile_pool("H200").compile(FUSED, p, [c])
    assert found.status == "correct", found.reason
    assert (found.tensor_core, found.tma, found.spill_bytes, found.stack_bytes) == ("wgmma", True, 0, 0)
    assert not [w for w in found.warnings if "C75" in w or "serialized" in w]
    least = least_shared(c, H200, p.torch_dtype.itemsize)
    assert least <= found.shared_bytes <= least + 1024


@pytest.mark.parametrize(("shape", "by"), [((1000, 1096, 520), "tma"), ((1001, 1097, 521), "pointer")])
def test_it_is_two_launches_of_which_the_second_waits_and_the_same_on_meta_tensors(compiled_for, shape, by):
    ragged = problem(*shape, b_layout="col", bias=True, activation="silu").model_dump()
    answer = compiled_for("H200", "fused_matmul", ragged, config(128, 128, 64, 8).model_dump())
    assert answer["launches"] == [f"stream_k_{by}", "sum_parts"]
    assert (answer["waits_first"], answer["same_with_data"], answer["atom."]) == (True, True, 0)


@pytest.mark.parametrize(("hardware", "instruction"), [("MI300X", "v_mfma"), ("A100", "mma.sync")])
def test_it_compiles_where_there_are_no_descriptors(compiled_for, hardware, instruction):
    c = config(128, 128, 64, 8, 2)
    answer = compiled_for(hardware, "fused_matmul", problem(*LONG).model_dump(), c.model_dump())
    assert answer["name"] == "stream_k_pointer"
    assert answer[instruction] > 0
    assert answer["shared"] <= hardware_named(hardware).shared_per_block


GPU_SHAPES = [LONG, SHORT, (1000, 1096, 520), (1001, 1097, 521), (3000, 3000, 1032), (64, 64, 4096)]
GPU_OPTIONS = [{"bias": True}, {"b_layout": "col", "dtype": "bf16", "activation": "gelu"}]


def gpu_case(shape, options):
    """Problem and config; tiles of 64 where the problem is no wider."""
    m, n, _ = shape
    return problem(*shape, **options), config(64 if m == 64 else 128, 64 if n == 64 else 128, 64, 8)


@pytest.fixture(scope="module")
def ahead(compile_ahead):
    return compile_ahead(FUSED, [gpu_case(*case) for case in product(GPU_SHAPES, GPU_OPTIONS)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", GPU_OPTIONS, ids=str)
@pytest.mark.parametrize("shape", GPU_SHAPES)
def test_results_on_a_gpu_are_those_of_the_reference_and_the_same_bits_each_time(ahead, shape, options):
    hardware = hardware_for(torch.cuda.get_device_name())
    p, c = gpu_case(shape, options)
    ahead.wait(p, c)
    inputs = FUSED.inputs(p, torch.Generator("cuda").manual_seed(0), "cuda")
    first, again = (FUSED.output(p, "cuda").fill_(float("nan")) for _ in range(2))
    for out in (first, again):
        FUSED.launch(p, c, inputs, out, hardware)
    assert fault(FUSED, p, first, inputs)[0] == ""
    assert torch.equal(first, again)
