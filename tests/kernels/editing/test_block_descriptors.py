"""Tiles go through descriptors where the tree and the owner's launch show that they are tiles of an aligned matrix."""

from contextlib import closing
from dataclasses import replace

import pytest
import triton
import triton.language as tl
from triton.runtime import _allocation

from examples.autotuned_scale import Scale
from kernels.editing.editable import editable
from kernels.editing.fence import fence
from kernels.editing.fencing.abstract_values import POINTER, whole
from kernels.editing.owner_function import OwnerFunction
from kernels.editing.rewrites import BY_NAME, rewritten
from kernels.editing.variants import keep, launch_instead, make_variant, text_of
from kernels.hardware import hardware_named
from kernels.slow_kernels.layouts import Transposition
from kernels.triton.scratch_memory import scratch_memory
from tests.captures import ROOT
from tests.kernels.editing import owners
from tools.harness.checking.interpreter import Interpreter
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.process import sandbox

REWRITE = BY_NAME["block descriptors"]
H200 = hardware_named("H200")


@triton.jit
def copied(X, Y, M, N, first, stride, rows_ptr, BLOCK: tl.constexpr, WIDTH: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = (rows[:, None] < M) & (columns[None, :] < N)
    x = tl.load(X + rows[:, None] * stride + columns[None, :], mask=inside, other=0.0)
    tl.store(Y + rows[:, None] * stride + columns[None, :], x, mask=inside)


COPIED = owners.owner(
    copied, {"M": 50, "N": 60, "first": 3, "stride": 64}, {"X": 2, "Y": 2}, X=POINTER, Y=POINTER, rows_ptr=POINTER,
    BLOCK=whole(16, 64), WIDTH=whole(16, 64),
)  # fmt: skip


ROWS = "rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)"


def changed(before: str, after: str, **more: object) -> OwnerFunction:
    """The kernel `copied` with another text."""
    assert before in COPIED.part["source"]
    part = {**COPIED.part, "source": COPIED.part["source"].replace(before, after)}
    return replace(COPIED, parts={**COPIED.parts, COPIED.digest: part}, **more)


def test_each_matrix_has_one_descriptor_and_the_fence_lets_it_pass():
    made = rewritten(COPIED, REWRITE)
    passed = fence(COPIED, made.source, made.meta)
    assert (
        "tl.make_tensor_descriptor(X, shape=[M, N], strides=[stride, 1], block_shape=[BLOCK, WIDTH])" in passed.source
    )
    assert passed.source.count("make_tensor_descriptor") == 2
    assert ".load([tl.program_id(0) * BLOCK, tl.program_id(1) * WIDTH])" in passed.source
    assert "tl.load(" not in passed.source
    assert "tl.store(" not in passed.source


@pytest.mark.parametrize(
    "owner",
    [
        changed(ROWS, f"{ROWS}[:, None]"),
        changed(ROWS, "rows = tl.arange(0, BLOCK)[:, None] + BLOCK * tl.program_id(0).to(tl.int64)"),
    ],
)
def test_an_index_may_have_its_dimension_before_its_offset(owner):
    text = owner.part["source"].replace("rows[:, None]", "rows")
    owner = replace(owner, parts={**owner.parts, owner.digest: {**owner.part, "source": text}})
    made = rewritten(owner, REWRITE)
    assert made.source.count("make_tensor_descriptor") == 2
    assert "tl.load(" not in made.source


def test_the_example_with_one_matrix_and_two_dimensions_in_its_indices_is_rewritten(tmp_path):
    spec = Scale()
    owner = editable(spec, tmp_path, "examples/autotuned_scale.py:Scale").owner(spec.default_problem(), H200)
    made = rewritten(owner, REWRITE)
    assert (
        "tl.make_tensor_descriptor(x_ptr, shape=[M, N], strides=[N, 1], block_shape=[BLOCK_M, BLOCK_N])" in made.source
    )
    fence(owner, made.source, made.meta)


@pytest.mark.process
@pytest.mark.compile
@pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")
def test_it_compiles_to_copies_of_tiles_and_computes_the_same_where_it_is_shut_in(tmp_path):
    spec = editable(Scale(), tmp_path / "variants", f"{ROOT / 'examples' / 'autotuned_scale.py'}:Scale")
    problem = spec.default_problem()
    owner = spec.owner(problem, H200)
    variant = make_variant(owner, rewritten(owner, REWRITE).source)
    keep(variant, spec.folder)
    config = spec.config_with(variant, problem, H200, None).model_copy(update={"edit": text_of(variant, {})})
    with closing(LocalCompilePool(H200, workers=1, cache=tmp_path / "cache", shut_in=True)) as pool:
        (compiled,) = pool.compile(spec, problem, [config])
    assert (compiled.status, compiled.tma) == ("correct", True)
    with closing(Interpreter(shut_in=True)) as interpreter:
        (checked,) = interpreter.check(spec, problem, [config], H200.name)
        unaligned = problem.model_copy(update={"N": 300})
        (refused,) = interpreter.check(spec, unaligned, [config], H200.name)
    assert checked.status == "correct", checked
    assert refused.status == "runtime"
    assert "stride must be 16-byte aligned" in refused.reason


def test_a_matrix_whose_columns_lie_one_behind_the_other_is_turned():
    made = rewritten(owners.PRODUCT, REWRITE)
    assert (
        "tl.make_tensor_descriptor(B, shape=[N, K], strides=[stride_b, 1], block_shape=[BLOCK_N, BLOCK_K])"
        in made.source
    )
    assert "b = tl.trans(tiles_2.load([tl.program_id(1) * BLOCK_N, k]))" in made.source


def test_only_the_stores_of_a_product_that_wraps_its_rows_are_changed():
    names = ("stride_am", "stride_bk", "stride_cm")
    numbers = (
        {"M": 100, "N": 96, "K": 64}
        | dict.fromkeys(names, 96)
        | {n[:-1] + s: 1 for n, s in zip(names, "knn", strict=True)}
    )
    owner = replace(owners.MATMUL, numbers=numbers, element_bytes=dict.fromkeys(("a_ptr", "b_ptr", "c_ptr"), 2))
    made = rewritten(owner, REWRITE)
    assert made.source.count("make_tensor_descriptor") == 1
    assert "a = tl.load(a_ptrs" in made.source
    assert ".store([pid_m * BLOCK_M, pid_n * BLOCK_N]" in made.source


WALKED = "x_ptrs = X + rows\n    x_ptrs += first\n    tl.store(x_ptrs, rows)"
LOAD = "tl.load(X + rows[:, None] * stride + columns[None, :], mask=inside, other=0.0)"


@pytest.mark.parametrize(
    ("owner", "left"),
    [
        (replace(COPIED, numbers={**COPIED.numbers, "stride": 60}), "XY"),  # 120 bytes are no multiple of 16
        (replace(COPIED, numbers={}), "XY"),  # nothing is known of the launch
        (replace(COPIED, element_bytes={}), "XY"),
        (replace(COPIED, numbers={**COPIED.numbers, "stride": -64}), "XY"),
        (replace(COPIED, arguments={**COPIED.arguments, "WIDTH": whole(4, 64)}), "XY"),  # 8 bytes at least
        (changed("columns[None, :], mask", "columns[None, :] * 2, mask"), "X"),  # every second column
        (changed("other=0.0", "other=-float('inf')"), "X"),
        (changed("other=0.0", "other=1.0"), "X"),
        (changed("other=0.0", "other=0.0, volatile=True"), "X"),
        (changed(LOAD, LOAD.replace("mask=inside", "mask=rows[:, None] < M")), "X"),  # as long as nobody knows
        (changed(LOAD, LOAD.replace("mask=inside", "mask=inside & (columns[None, :] > 1)")), "X"),
        (changed(LOAD, LOAD.replace("mask=inside", "mask=inside | (rows[:, None] < 4)")), "X"),
        (changed("rows[:, None] < M", "rows[:, None] + 1 < M"), "XY"),  # another index than the address has
        (changed("X + rows", "X + first + rows"), "X"),  # begins at 6 bytes
        (changed("tl.program_id(0) * BLOCK", "(tl.program_id(0) - 1) * BLOCK"), "XY"),  # may be negative
        (changed("tl.program_id(1) * WIDTH", "tl.program_id(1) * 8"), "XY"),  # a tile begins anywhere
        (changed(ROWS, ROWS.replace("= ", "= (") + ") % M"), "XY"),
        (changed(ROWS, ROWS.replace("= ", "= tl.load(rows_ptr + ") + ")"), "XY"),  # a gather
        (changed(ROWS, f"{ROWS}\n    {ROWS}"), "XY"),  # bound twice
        (changed(", x, mask", ", 0.0, mask"), "Y"),  # a number is no tile
        (changed("tl.store(Y", "tl.store(X"), "XY"),  # read and written
        (changed("tl.store(Y", f"{WALKED}\n    tl.store(Y"), "X"),  # written elsewhere
        (changed("tl.store(Y", "tl.store(tl.where(rows < first, X, Y), rows)\n    tl.store(Y"), "XY"),  # unknown
        (changed("tl.store(Y", "tl.atomic_add(Y"), "XY"),
    ],
)  # fmt: skip
def test_what_is_no_tile_of_an_aligned_matrix_stays_as_it_is(owner, left):
    made = rewritten(owner, REWRITE)
    described = {p for p in "XY" if made is not None and f"tl.make_tensor_descriptor({p}" in made.source}
    assert described == set("XY") - set(left)
    if made is not None:
        fence(owner, made.source, made.meta)


@pytest.mark.parametrize("owner", [owners.SOFTMAX, owners.ATTENTION, owners.TILES])
def test_kernels_of_rows_and_tiles_without_masks_are_left_alone(owner):
    known = replace(owner, numbers=dict.fromkeys(owner.arguments, 64), element_bytes=dict.fromkeys(owner.arguments, 2))
    assert rewritten(known, REWRITE) is None


def test_sizes_and_strides_come_from_the_owners_launch(tmp_path):
    spec = Transposition()
    owner = editable(spec, tmp_path, spec.name).owner(spec.default_problem(), H200)
    assert {owner.numbers[n] for n in ("M", "N")} == {8192}
    assert set(owner.element_bytes.values()) == {2}


def test_a_variant_is_launched_with_scratch_memory_and_the_programs_own_allocator_stays():
    made = rewritten(owners.PRODUCT, REWRITE)
    instead = launch_instead(make_variant(owners.PRODUCT, made.source, made.meta, made.grid), {})
    seen = []

    def go_on(function, grid, **named):
        seen.append(_allocation._allocator.get())

    instead(owners.product, (), (3, 2, 2), {}, go_on)
    assert not isinstance(seen[0], _allocation.NullAllocator)
    assert isinstance(_allocation._allocator.get(), _allocation.NullAllocator)
    own = object()
    before = _allocation._allocator.set(own)
    try:
        with scratch_memory():
            assert _allocation._allocator.get() is own
    finally:
        _allocation._allocator.reset(before)
