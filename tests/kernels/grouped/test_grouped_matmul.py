"""grouped_matmul: group sizes, space, reference and baselines on the CPU, the kernels in Triton's interpreter, offline
compilation, and every family on a GPU."""

import pytest
import torch
from pydantic import ValidationError

from kernels import registry
from kernels.grouped.config import GroupedConfig, group_sizes, most_blocks, programs
from kernels.hardware import ALL, hardware_for, hardware_named
from tools.harness.checking.verify import fault

pytestmark = pytest.mark.compile

SPEC = registry.get("grouped_matmul")
H200 = hardware_named("H200")
SMALL = {"BLOCK_M": 32, "BLOCK_N": 32, "BLOCK_K": 32, "GROUP_M": 2, "num_warps": 4, "num_stages": 2}
WIDE = {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "GROUP_M": 8, "num_warps": 8, "num_stages": 3}
CASES = {
    "ragged": ((200, 80, 64, 5), {"align": 1}),
    "padded, most groups empty": ((192, 80, 96, 5), {"align": 32, "routing": "skewed"}),
    "one group has all rows": ((192, 80, 96, 5), {"align": 64, "routing": "single", "dtype": "fp16"}),
    "row-major B": ((100, 72, 64, 7), {"routing": "skewed", "b_layout": "row"}),
    "one row": ((1, 72, 64, 7), {"dtype": "fp16"}),
    "one group": ((70, 40, 32, 1), {"align": 1}),
    "fp8": ((130, 72, 48, 3), {"dtype": "fp8"}),
    "fp8 by row": ((130, 72, 48, 3), {"dtype": "fp8", "scales": "row"}),
}


def problem(shape, options):
    return SPEC.parse_problem(shape, options)


def error(out, reference):
    return ((out.double() - reference).abs().max() / reference.abs().max()).item()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("family", ["pointer", "tma", "persistent_tma"])
@pytest.mark.parametrize("name", CASES)
def test_every_family_is_within_the_tolerance_and_leaves_its_inputs(interpreted, family, name):
    answer = interpreted("grouped_matmul", problem(*CASES[name]).model_dump(), {**SMALL, "family": family}, seed=1)
    assert answer["error"] <= answer["bound"], answer
    assert answer["unchanged"]


@pytest.mark.parametrize(
    ("shape", "options", "config"),
    [
        ((131, 71, 45, 3), {}, {"family": "pointer"}),
        ((131, 71, 45, 3), {"b_layout": "row"}, {"family": "pointer"}),
        ((200, 128, 64, 5), {"align": 1}, {"family": "persistent_tma", "BLOCK_N": 64, "EPILOGUE_SUBTILE": 4}),
    ],
)
def test_odd_sizes_and_pieces(interpreted, shape, options, config):
    answer = interpreted("grouped_matmul", problem(shape, options).model_dump(), {**SMALL, **config}, seed=2)
    assert answer["error"] <= answer["bound"], answer


@pytest.mark.parametrize("name", CASES)
def test_the_reference_is_the_loop_and_a_wrong_group_is_rejected(name):
    p = problem(*CASES[name])
    inputs = SPEC.inputs(p, torch.Generator().manual_seed(3), "cpu")
    reference, bound = SPEC.reference(p, inputs), SPEC.tolerance(p)
    assert SPEC.output(p, "meta").shape == reference.shape == SPEC.eager(p, inputs).shape
    assert error(SPEC.eager(p, inputs), reference) <= bound
    loop = SPEC.baselines(p)[0]
    assert error(loop.prepare(p, inputs)(), reference) <= bound
    assert error(torch.zeros_like(reference), reference) > bound
    if p.E > 1:
        a, b, ends, *rest = inputs
        assert error(SPEC.reference(p, (a, b.roll(1, 0), ends, *rest)), reference) > bound
        moved = (ends - 1).clamp(min=0)
        moved[-1] = p.M
        if not torch.equal(moved, ends):
            assert error(SPEC.reference(p, (a, b, moved, *rest)), reference) > bound


@pytest.mark.parametrize("align", [1, 128])
@pytest.mark.parametrize("routing", ["even", "skewed", "single"])
def test_groups_are_dealt_once_and_start_at_multiples(align, routing):
    p = problem((4096, 64, 64, 16), {"align": align, "routing": routing})
    sizes = group_sizes(p)
    assert sum(sizes) == p.M
    assert len(sizes) == p.E
    assert all(size % align == 0 for size in sizes)
    assert group_sizes(problem((4096, 64, 64, 16), {"align": align, "routing": routing})) == sizes
    assert (sizes.count(0) == 15) is (routing == "single")
    if routing == "skewed":
        assert max(sizes) > 3 * p.M // p.E
    a, _, ends = SPEC.inputs(p, torch.Generator().manual_seed(0), "cpu")
    assert ends.tolist() == torch.tensor(sizes).cumsum(0).tolist()
    padded = (a == 0).all(1).sum().item()
    assert padded < p.M // 2
    assert (padded > 0) is (align > 1)


def test_no_division_into_groups_needs_more_blocks():
    config = GroupedConfig(family="pointer", **SMALL)
    for shape in ((1, 32, 32, 7), (65, 32, 32, 2), (200, 32, 32, 5), (31, 32, 32, 64)):
        p = problem(shape, {"align": 1})
        rows, groups = p.M, min(p.E, p.M)
        worst = [1] * (groups - 1) + [rows - groups + 1]
        assert sum(-(-n // config.BLOCK_M) for n in worst) <= most_blocks(p, config)
        assert sum(-(-n // config.BLOCK_M) for n in group_sizes(p)) <= most_blocks(p, config)


def test_a_grid_is_even_only_if_the_number_of_tiles_is_known():
    config = GroupedConfig(family="persistent_tma", **WIDE)
    assert programs(SPEC.default_problem(), config, 132) == 128  # 3,584 tiles in 28 rounds
    assert programs(problem((8192, 14336, 4096, 8), {"align": 1}), config, 132) == 132


@pytest.mark.parametrize("options", [{"M": 100, "align": 64}, {"E": 0}, {"E": 1024, "N": 2**20, "K": 2**15}])
def test_problems_that_make_no_sense_are_refused(options):
    with pytest.raises(ValidationError):
        SPEC.problem_type(**options)


@pytest.mark.parametrize("hardware", ALL, ids=lambda h: h.name)
def test_spaces_are_legal_without_repeats_and_not_too_large(hardware):
    for shape, options in ((None, {}), ((24577, 2816, 2048, 64), {}), ((64, 72, 40, 8), {"align": 1})):
        p = problem(shape, options)
        space = SPEC.space(p, hardware)
        assert 5 <= len(set(space)) == len(space) <= 600
        assert SPEC.constraint(p, SPEC.default_config(p, hardware), hardware) is None
        assert set(SPEC.promising(p, hardware)) <= set(space) | set(SPEC.promising(p, H200))


@pytest.mark.parametrize(
    ("broken", "options", "name"),
    [
        ({"family": "tma", "EPILOGUE_SUBTILE": 2}, {}, "unused_field"),
        ({"family": "warp_specialized"}, {"dtype": "fp8"}, "fp8_family"),
        ({"family": "persistent_tma"}, {"K": 4104, "b_layout": "row"}, "tma_groups"),
        ({"family": "persistent_tma"}, {"K": 4100}, "tma_alignment"),
        ({"family": "persistent_tma", "num_stages": 7}, {}, "shared_memory"),
        ({"family": "pointer", "num_warps": 2}, {}, "accumulator_registers"),
        ({"family": "pointer"}, {"M": 64, "align": 64}, "tile_M"),
    ],
)
def test_what_a_config_breaks_has_a_name(broken, options, name):
    p = SPEC.parse_problem(None, options)
    assert SPEC.constraint(p, GroupedConfig(**{**WIDE, **broken}), H200).startswith(f"{name}: ")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("align", [1, 128])
@pytest.mark.parametrize("family", ["persistent_tma", "warp_specialized"])
def test_hopper_kernels_use_its_instructions_and_do_not_spill(compile_pool, family, align):
    p = problem((8192, 14336, 4096, 8), {"align": align})
    (found,) = compile_pool("H200").compile(SPEC, p, [GroupedConfig(family=family, **WIDE)])
    assert (found.status, found.spill_bytes) == ("correct", 0), found.reason
    assert found.tensor_core == "wgmma"
    assert found.tma


ON_GPU = {
    "ragged": ((1000, 328, 192, 9), {"align": 1}),
    "ragged, skewed": ((3000, 512, 320, 64), {"align": 1, "routing": "skewed", "dtype": "fp16"}),
    "padded": ((1536, 520, 256, 12), {"align": 128}),
    "half padded": ((1536, 520, 256, 12), {"align": 64, "routing": "skewed"}),
    "one group": ((900, 256, 72, 5), {"align": 1, "routing": "single"}),
    "row-major B": ((777, 264, 128, 6), {"b_layout": "row"}),
    "most groups empty, others of a row or two": ((40, 264, 128, 64), {"align": 1}),
    "fp8 by row": ((1000, 336, 256, 9), {"align": 1, "dtype": "fp8", "scales": "row"}),
    "fp8": ((1024, 336, 256, 9), {"align": 16, "dtype": "fp8"}),
}


FAMILIES = [
    GroupedConfig(**{**WIDE, **config})
    for config in (
        {"family": "pointer", "BLOCK_N": 128},
        {"family": "tma", "BLOCK_N": 128},
        {"family": "persistent_tma", "EPILOGUE_SUBTILE": 2},
        {"family": "warp_specialized", "EPILOGUE_SUBTILE": 4, "num_stages": 4},
        {"family": "warp_specialized", "EPILOGUE_SUBTILE": 4, "CONSUMERS": 2},
        {"family": "warp_specialized", "BLOCK_N": 128, "EPILOGUE_SUBTILE": 2, "CONSUMERS": 2},
        {"family": "warp_specialized"},
        {"family": "trimmed", "EPILOGUE_SUBTILE": 4, "num_stages": 4, "CONSUMERS": 2},
        {"family": "trimmed", "BLOCK_N": 128, "EPILOGUE_SUBTILE": 2, "CONSUMERS": 2, "OVERLAP": True},
        {"family": "trimmed", "BLOCK_M": 64, "num_warps": 4},
    )
]


def here():
    return hardware_for(torch.cuda.get_device_name())


@pytest.fixture(scope="module")
def ahead(compile_ahead):
    problems = [problem(*case) for case in ON_GPU.values()]
    return compile_ahead(SPEC, [(p, c) for p in problems for c in FAMILIES if SPEC.constraint(p, c, here()) is None])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("config", FAMILIES, ids=lambda c: " ".join(map(str, c.model_dump().values())))
@pytest.mark.parametrize("name", ON_GPU)
def test_every_family_is_right_on_a_gpu(ahead, name, config):
    p, hardware = problem(*ON_GPU[name]), here()
    why_not = SPEC.constraint(p, config, hardware)
    if why_not:
        pytest.skip(why_not)
    ahead.wait(p, config)
    inputs = SPEC.inputs(p, torch.Generator("cuda").manual_seed(5), "cuda")
    out = SPEC.output(p, "cuda").fill_(float("nan"))
    for _ in range(3):
        SPEC.launch(p, config, inputs, out, hardware)
    why, found, bound = fault(SPEC, p, out, inputs)
    assert not why, (why, found, bound)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ON_GPU)
def test_every_baseline_is_right_on_a_gpu(name):
    p = problem(*ON_GPU[name])
    inputs = SPEC.inputs(p, torch.Generator("cuda").manual_seed(6), "cuda")
    for baseline in SPEC.baselines(p):
        if baseline.name != "compiled" and baseline.missing(p) is None:
            why, found, bound = fault(SPEC, p, baseline.prepare(p, inputs)(), inputs)
            assert not why, (baseline.name, why, found, bound)
