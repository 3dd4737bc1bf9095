"""The Gluon families of grouped_matmul under ``emulated_gluon``, and how ``trimmed`` divides tiles."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from kernels import registry
from kernels.grouped import equal_shares
from kernels.grouped.config import GroupedConfig, most_blocks, planned_rows, programs, whole_tiles
from kernels.hardware import hardware_named
from tests.kernels.grouped.emulated_gluon import Emulation
from tests.kernels.grouped.emulated_memory import Descriptor

SPEC = registry.get("grouped_matmul")
H200 = hardware_named("H200")
TRIMMED = {
    "family": "trimmed", "BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 32, "GROUP_M": 2, "num_warps": 8, "num_stages": 3,
    "CONSUMERS": 2,
}  # fmt: skip
CASES = {
    "empty groups and groups of one row": ((0, 1, 0, 130, 1, 64, 0, 70, 1), {"N": 72, "K": 96}, {}),
    "every group is empty but one of one row": ((0, 0, 1, 0), {"N": 64, "K": 40}, {}),
    "one group, half a tile in the last block": ((190,), {"N": 200, "K": 64}, {"GROUP_M": 4}),
    "padded to half a tile": ((64, 192, 0, 128), {"N": 128, "K": 64, "align": 64}, {"EPILOGUE_SUBTILE": 4}),
    "padded to a tile": ((128, 0, 384), {"N": 128, "K": 64, "align": 128, "dtype": "fp16"}, {"EPILOGUE_SUBTILE": 2}),
    "row-major B": ((3, 129, 40), {"N": 80, "K": 64, "b_layout": "row"}, {"EPILOGUE_SUBTILE": 2}),
    "fp8 by row": ((0, 1, 100, 67), {"N": 80, "K": 96, "dtype": "fp8", "scales": "row"}, {"EPILOGUE_SUBTILE": 4}),
    "fp8": ((32, 16, 0, 80), {"N": 48, "K": 64, "dtype": "fp8", "align": 16}, {}),
    "one consumer": ((5, 0, 65, 1), {"N": 72, "K": 64}, {"BLOCK_M": 64, "CONSUMERS": 1, "num_warps": 4}),
}


def blocks_of(sizes, height, count):
    """The table that ``plan_groups`` writes for groups of these sizes: group, first block, first row, end."""
    rows, first, start = [], 0, 0
    for group, size in enumerate(sizes):
        own = -(-size // height)
        rows += [[group, first, start, start + size]] * own
        first, start = first + own, start + size
    assert len(rows) <= count
    total = len(rows)
    return torch.tensor([*rows, *[[-1, -1, -1, -1]] * (count - total), [total, 0, 0, 0]], dtype=torch.int32)


def emulate(monkeypatch, sizes, options, choices, sms):
    """Result, reference, bound and emulation of a launch on a GPU with `sms` SMs."""
    from kernels.grouped import gluon, trimmed

    p = SPEC.parse_problem((sum(sizes), options["N"], options["K"], len(sizes)), {"align": 1, **options})
    c = GroupedConfig(**{**TRIMMED, **choices})
    hardware = replace(H200, sms=sms)
    assert SPEC.constraint(p.model_copy(update={"M": 8192 * p.align, "N": 4096, "K": 4096}), c, hardware) is None
    a, b, _, *scales = SPEC.inputs(p, torch.Generator().manual_seed(7), "cpu")
    ends = torch.tensor(sizes, dtype=torch.int32).cumsum(0, dtype=torch.int32)
    out = SPEC.output(p, "cpu").fill_(float("nan"))
    count = most_blocks(p, c)
    plan = blocks_of(sizes, planned_rows(c), count)
    module = trimmed if c.family == "trimmed" else gluon
    name = "grouped_trimmed" if c.family == "trimmed" else "grouped_warp_specialized"
    emulation = Emulation(getattr(module, name))
    monkeypatch.setattr(module, name, emulation)
    monkeypatch.setattr(module, "_descriptor", Descriptor)
    arguments = (p, c, a, b, out, plan, count, hardware)
    if c.family == "trimmed":
        arguments = (p, c, a, b, tuple(scales) or None, out, plan, count, hardware)
    module.launch(*arguments)
    return out, SPEC.reference(p, (a, b, ends, *scales)), SPEC.tolerance(p), emulation


def error(out, reference):
    return ((out.double() - reference).abs().max() / reference.abs().max()).item()


@pytest.mark.parametrize("sms", [3, 64])
@pytest.mark.parametrize("name", CASES)
def test_trimmed_writes_every_row_of_its_own_group(monkeypatch, name, sms):
    out, reference, bound, _ = emulate(monkeypatch, *CASES[name], sms)
    assert error(out, reference) <= bound  # rows that nobody wrote are NaN


@pytest.mark.parametrize("choices", [{}, {"BLOCK_M": 256, "EPILOGUE_SUBTILE": 4}])
def test_the_emulation_agrees_with_a_family_that_has_run_on_a_gpu(monkeypatch, choices):
    """``warp_specialized`` was right on an H200, taking turns (the first case) and by halves."""
    sizes, options = (0, 1, 0, 130, 1, 64), {"N": 72, "K": 96}
    out, reference, bound, _ = emulate(monkeypatch, sizes, options, {"family": "warp_specialized", **choices}, 3)
    assert error(out, reference) <= bound


@pytest.mark.parametrize("name", ["empty groups and groups of one row", "one group, half a tile in the last block"])
def test_absent_rows_are_neither_loaded_nor_multiplied(monkeypatch, name):
    """Matrix work and bytes are those of the half tiles that have rows, in whole steps along K."""
    sizes, options, choices = CASES[name]
    choices = {**choices, "OVERLAP": True}
    *_, emulation = emulate(monkeypatch, sizes, options, choices, 3)
    c = GroupedConfig(**{**TRIMMED, **choices})
    steps = -(-options["K"] // c.BLOCK_K)
    columns = -(-options["N"] // c.BLOCK_N)
    units = columns * sum(-(-size // 64) for size in sizes)
    assert emulation.multiplied_rows == 64 * units * steps
    a_bytes, b_bytes = 64 * c.BLOCK_K * 2, c.BLOCK_N * c.BLOCK_K * 2
    of_b = (emulation.loaded_bytes - units * steps * a_bytes) / (steps * b_bytes)  # once for each tile, whole or half
    tiles = columns * sum(-(-size // 128) for size in sizes)
    assert tiles <= of_b < units


class Hasty(Emulation):
    """A kernel whose consumers do not wait for the products of the step before, but only for all in the end."""

    def multiply_wait(self, outstanding, deps):
        return super().multiply_wait(2 * outstanding, deps)


def test_the_emulation_sees_a_stage_that_is_released_too_early(monkeypatch):
    monkeypatch.setitem(globals(), "Emulation", Hasty)
    out, reference, bound, _ = emulate(monkeypatch, (300,), {"N": 64, "K": 512}, {"num_stages": 2}, 1)
    assert error(out, reference) > bound


@pytest.mark.parametrize("parts", [1, 2])
def test_shares_are_every_unit_once_and_programs_get_equally_many(parts):
    for units, n in product(range(0, 61), range(1, 13)):
        whole = equal_shares.whole_shares.fn(units, n, parts)
        count = equal_shares.all_shares.fn(units, whole, parts)
        taken = [equal_shares.share.fn(index, units, whole, parts) for index in range(count)]
        assert [first + i for first, size in taken for i in range(size)] == list(range(units))
        busiest = max((sum(size for _, size in taken[p::n]) for p in range(n)), default=0)
        left = units % (n * parts)
        rest = 0 if left == 0 else 1 if left <= n else parts
        assert busiest == units // (n * parts) * parts + rest


def test_the_grid_takes_every_sm_if_the_last_round_can_be_divided():
    default = SPEC.default_problem()
    config = GroupedConfig(**{**TRIMMED, "BLOCK_N": 256, "BLOCK_K": 64, "num_stages": 4, "EPILOGUE_SUBTILE": 4})
    assert whole_tiles(default, config)
    assert programs(default, config, 132) == 132  # 7,168 units: 27 rounds of 264, and 40 units
    assert programs(default, config, 128) == 128  # 28 whole rounds
    assert programs(default.model_copy(update={"M": 128, "N": 2560}), config, 132) == 20  # a program for each unit
    assert programs(default.model_copy(update={"M": 1280, "N": 2560}), config, 132) == 100  # 200 units: two for each
    assert programs(default.model_copy(update={"align": 1}), config, 132) == 132


@pytest.mark.parametrize(
    ("broken", "options", "name"),
    [
        ({"num_warps": 4}, {}, "consumer_warps"),
        ({"BLOCK_M": 64}, {}, "consumer_rows"),
        ({"BLOCK_M": 256, "BLOCK_N": 256}, {}, "consumer_registers"),
        ({"num_stages": 1}, {}, "consumer_stages"),
        ({"BLOCK_N": 256, "BLOCK_K": 128}, {}, "shared_memory"),
        ({"family": "persistent_tma", "CONSUMERS": 1, "OVERLAP": True}, {}, "unused_field"),
    ],
)
def test_what_trimmed_cannot_do_has_a_name(broken, options, name):
    p = SPEC.parse_problem(None, options)
    assert SPEC.constraint(p, GroupedConfig(**{**TRIMMED, **broken}), H200).startswith(f"{name}: ")


@pytest.mark.compile
@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("options", "choices"),
    [
        ({}, {"OVERLAP": True}),
        ({"align": 1}, {}),
        ({"dtype": "fp8", "scales": "row"}, {"BLOCK_K": 128}),
        ({"b_layout": "row"}, {"EPILOGUE_SUBTILE": 1, "num_stages": 3}),
    ],
)
def test_trimmed_compiles_without_spills(compile_pool, options, choices):
    p = SPEC.parse_problem((8192, 14336, 4096, 8), options)
    fields = {**TRIMMED, "BLOCK_N": 256, "BLOCK_K": 64, "num_stages": 4, "EPILOGUE_SUBTILE": 4, **choices}
    (found,) = compile_pool("H200").compile(SPEC, p, [GroupedConfig(**fields)])
    assert (found.status, found.spill_bytes) == ("correct", 0), found.reason
    assert (found.tensor_core, found.tma) == ("wgmma", True)
    assert not found.warnings
