"""The space: never empty, of a size that can be searched, and every rejection has a name."""

import pytest
from pydantic import ValidationError

from kernels import registry
from kernels.gemm.space import GemmConfig, programs, tiles
from kernels.hardware import ALL, hardware_named

H200 = hardware_named("H200")
SHAPES = [
    (1, 1, 1),
    (1, 4096, 4096),
    (4096, 1, 4096),
    (1, 1, 2**20),
    (2**20, 1, 1),
    (8, 8, 8),
    (17, 33, 65),
    (129, 257, 96),
    (136, 264, 104),
    (1024, 1024, 1024),
    (64, 8192, 8192),
    (16384, 4096, 1024),
    (4096, 14336, 4096),
    (4096, 4096, 4097),
    (65536, 65536, 64),
]


def problem(m=4096, n=4096, k=4096, **options):
    spec = registry.get("fused_matmul")
    return spec.parse_problem((m, n, k), options)


def config(**fields):
    base = {"family": "tma", "BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64, "GROUP_M": 8}
    return GemmConfig(**{**base, "num_warps": 8, "num_stages": 3, **fields})


@pytest.mark.sampled(5)
@pytest.mark.parametrize("hardware", ALL, ids=lambda h: h.name)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_space_is_never_empty_and_default_config_breaks_no_constraint(shape, hardware):
    spec = registry.get("fused_matmul")
    for layout in ("row", "col"):
        p = problem(*shape, b_layout=layout)
        assert spec.space(p, hardware)
        assert spec.constraint(p, spec.default_config(p, hardware), hardware) is None


def test_default_space_has_some_hundred_configs_of_all_families_that_share_no_k_and_the_best_known_one():
    spec = registry.get("fused_matmul")
    space = spec.space(spec.default_problem(), H200)
    assert 400 <= len(space) <= 900
    assert {c.family for c in space} == {"pointer", "tma", "persistent_tma", "warp_specialized"}
    assert len(set(space)) == len(space)
    best = config(family="persistent_tma", BLOCK_N=256, EPILOGUE_SUBTILE=2, FLATTEN=True)
    assert best in space


@pytest.mark.parametrize("layout", ["row", "col"])
def test_tiles_are_split_where_they_leave_sms_idle_and_nowhere_else(layout):
    spec = registry.get("fused_matmul")
    for shape in ((64, 8192, 8192), (16, 4096, 16384), (1024, 1024, 1024)):
        split = [c for c in spec.space(problem(*shape, b_layout=layout), H200) if c.family == "split_k"]
        assert 24 <= len(split) <= 200
        for c in split:
            assert tiles(*shape[:2], c) < 2 * H200.sms
            assert 99 <= programs(*shape[:2], c, H200) == c.SPLIT_K * tiles(*shape[:2], c) <= 4 * H200.sms
    for shape in ((4096, 4096, 4096), (64, 8192, 128)):
        assert not any(c.family == "split_k" for c in spec.space(problem(*shape, b_layout=layout), H200))


def test_launches_overlap_where_they_are_short_and_nowhere_else():
    spec = registry.get("fused_matmul")
    short = spec.space(problem(1024, 1024, 1024), H200)
    early = {c.model_copy(update={"OVERLAP": False}) for c in short if c.OVERLAP}
    assert early == {c for c in short if c.family == "tma" and not c.OVERLAP}
    assert not any(c.OVERLAP for c in spec.space(problem(), H200))
    assert "unused_field" in spec.constraint(problem(), config(family="persistent_tma", OVERLAP=True), H200)


def test_fp8_has_the_steps_of_16_bit_types_in_bytes_and_no_gluon():
    spec = registry.get("fused_matmul")
    space = spec.space(problem(dtype="fp8"), H200)
    assert {c.family for c in space} == {"pointer", "tma", "persistent_tma"}
    assert {c.BLOCK_K for c in space if c.family != "pointer"} == {128, 256}
    assert len(space) <= 900


@pytest.mark.parametrize("name", ["A100", "MI300X"])
def test_fp8_is_refused_by_name_where_the_hardware_has_none(name):
    spec = registry.get("matmul")
    p = spec.parse_problem((4096, 4096, 4096), {"dtype": "fp8"})
    assert spec.space(p, hardware_named(name)) == []
    with pytest.raises(ValueError, match="fp8_hardware"):
        spec.default_config(p, hardware_named(name))


@pytest.mark.parametrize("options", [{"dtype": "fp8", "b_layout": "row"}, {"dtype": "bf16", "scales": "row"}])
def test_options_that_do_not_go_together_are_refused(options):
    with pytest.raises(ValidationError, match=r"fp8 needs b_layout col|scales row is for fp8"):
        problem(**options)


def test_fp8_implies_the_layout_that_it_has():
    assert problem(dtype="fp8").b_layout == "col"


def test_space_is_the_same_in_the_same_order_every_time():
    spec = registry.get("matmul")
    p = spec.default_problem()
    assert spec.space(p, H200) == spec.space(p, H200)


def test_odd_rows_leave_the_families_that_can_do_without_descriptors():
    spec = registry.get("fused_matmul")
    for shape in ((4096, 4097, 4096), (4096, 4096, 4097)):
        families = {c.family for c in spec.space(problem(*shape), H200)}
        assert "pointer" in families <= {"pointer", "split_k", "stream_k"}


@pytest.mark.parametrize(
    ("name", "fields", "shape", "hardware"),
    [
        ("unused_field", {"EPILOGUE_SUBTILE": 2}, (4096, 4096, 4096), "H200"),
        ("unused_field", {"family": "pointer", "FLATTEN": True}, (4096, 4096, 4096), "H200"),
        ("unused_field", {"SPLIT_K": 2}, (4096, 4096, 4096), "H200"),
        ("unused_field", {"CONSUMERS": 2}, (4096, 4096, 4096), "H200"),
        ("unused_field", {"family": "split_k", "SPLIT_K": 2, "CONSUMERS": 2}, (4096, 4096, 4096), "H200"),
        ("split", {"family": "split_k"}, (4096, 4096, 4096), "H200"),
        ("split", {"family": "split_k", "SPLIT_K": 8}, (4096, 4096, 256), "H200"),
        ("tma_hardware", {}, (4096, 4096, 4096), "A100"),
        ("tma_hardware", {}, (4096, 4096, 4096), "L40S"),
        ("tma_hardware", {"family": "persistent_tma"}, (4096, 4096, 4096), "MI300X"),
        ("tma_alignment", {}, (4096, 4096, 4097), "H200"),
        ("tma_alignment", {}, (4096, 4092, 4096), "H200"),
        (
            "subtile_width",
            {"family": "persistent_tma", "BLOCK_N": 32, "EPILOGUE_SUBTILE": 4},
            (4096, 4096, 4096),
            "H200",
        ),
        ("tile_M", {"family": "pointer"}, (17, 4096, 4096), "H200"),
        ("tile_N", {"family": "pointer"}, (4096, 17, 4096), "H200"),
        ("tile_K", {"family": "pointer", "BLOCK_K": 128}, (4096, 4096, 17), "H200"),
        ("grid", {"family": "pointer", "BLOCK_M": 16, "BLOCK_N": 16}, (2**20, 2**20, 1), "H200"),
        ("accumulator_registers", {"BLOCK_N": 256, "num_warps": 4}, (4096, 4096, 4096), "H200"),
        ("accumulator_registers", {"BLOCK_M": 256, "BLOCK_N": 256, "num_warps": 16}, (4096, 4096, 4096), "H200"),
        ("shared_memory", {"BLOCK_K": 128, "num_stages": 5}, (4096, 4096, 4096), "H200"),
        ("shared_memory", {"family": "pointer", "num_stages": 5}, (4096, 4096, 4096), "RTX 4090"),
    ],
)
def test_each_broken_constraint_is_named(name, fields, shape, hardware):
    reason = registry.get("fused_matmul").constraint(problem(*shape), config(**fields), hardware_named(hardware))
    assert reason is not None
    assert reason.startswith(f"{name}: ")
    assert "\n" not in reason


def test_persistent_grid_spreads_the_tiles_evenly_over_the_fewest_programs():
    persistent = config(family="persistent_tma", BLOCK_N=256)
    assert programs(4096, 4096, persistent, H200) == 128
    assert programs(128, 256, persistent, H200) == 1
    assert programs(4096, 4096, config(), H200) == 1024


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, -1, 1), (2**31, 1, 1), (2**30, 2**30, 1)])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(ValidationError):
        problem(*shape)


def test_a_config_is_closed():
    with pytest.raises(ValidationError):
        config(BLOCK_M=96)
    with pytest.raises(ValidationError):
        config(warp_specialize=True)
    with pytest.raises(ValidationError):
        config(CLUSTER=2)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_reduced_problem_is_small_keeps_its_edges_and_breaks_no_new_constraint(shape):
    spec = registry.get("fused_matmul")
    p = problem(*shape, activation="silu", bias=True, b_layout="col", dtype="bf16")
    for c in spec.space(p, H200):
        small = spec.reduced(p, c)
        assert spec.constraint(small, c, H200) is None
        for size, true, block, most in (
            (small.M, p.M, c.BLOCK_M, 2),
            (small.N, p.N, c.BLOCK_N, 4 if c.family == "stream_k" and tiles(1, p.N, c) > 3 else 2),
            (small.K, p.K, c.BLOCK_K, 3 * c.SPLIT_K),
        ):
            assert size % block == true % block
            assert min(true, (most - 1) * block) <= size <= most * block
        assert small.model_dump(exclude={"M", "N", "K"}) == p.model_dump(exclude={"M", "N", "K"})


@pytest.mark.parametrize(
    ("version", "refused"), [("3.6.0", False), ("3.7.0", False), ("3.7.1", True), ("3.10.0", True)]
)
def test_sixteen_warps_on_blackwell_are_refused_where_triton_leaves_them_32_registers(monkeypatch, version, refused):
    monkeypatch.setattr("triton.__version__", version)
    wide = {"family": "persistent_tma", "BLOCK_N": 256, "BLOCK_K": 128, "num_warps": 16, "EPILOGUE_SUBTILE": 2}
    spec = registry.get("fused_matmul")
    why = spec.constraint(problem(), config(**wide), hardware_named("B200"))
    assert (why or "").startswith("blackwell_registers: Triton") == refused
    assert spec.constraint(problem(), config(**wide | {"BLOCK_K": 64}), hardware_named("B200")) is None
    assert "blackwell" not in (spec.constraint(problem(), config(**wide), H200) or "")


@pytest.mark.parametrize(("version", "refused"), [("3.7.1", False), ("3.8.0", True), ("3.9.0", True)])
def test_cdna4_holds_every_stage_in_shared_memory_from_triton_3_8_on(monkeypatch, version, refused):
    monkeypatch.setattr("triton.__version__", version)
    deep = config(family="pointer", BLOCK_N=256, num_warps=8, num_stages=4)  # 4 x 48 KiB; a CU has 160
    why = registry.get("fused_matmul").constraint(problem(), deep, hardware_named("MI355X"))
    assert (why or "").startswith("shared_memory") == refused
