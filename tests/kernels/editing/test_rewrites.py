"""Each rewrite changes what it is for, passes the fence, and leaves other kernels alone."""

import json
import subprocess
import sys

import pytest

from kernels.editing.fence import fence
from kernels.editing.rewrites import BY_NAME, REWRITES, rewritten
from kernels.editing.variants import make_variant
from tests.captures import ROOT
from tests.kernels.editing import owners
from tests.kernels.editing.launched.launched_kernels import owner_of_launch
from tests.kernels.editing.launched.more_kernels import MORE
from tests.kernels.editing.tempting_owners import TEMPTING
from tests.kernels.editing.tempting_owners import owner as tempting
from tools.edit_kernel import REWRITE_NAMES


@pytest.mark.parametrize(
    ("name", "owner", "holds", "lacks"),
    [
        ("split rows", owners.GEGLU, "tl.program_id(0) % tl.cdiv(BLOCK_SIZE, TILE) * TILE + tl.arange(0, TILE)", ""),
        ("smaller blocks", owners.JSD, "for i in range(0, n_cols, TILE)", "BLOCK)"),
        ("pipelined loops", owners.LAYER_NORM, "tl.range(start, end, num_stages=PIPELINE)", " range("),
        ("unrolled loops", owners.JSD, "loop_unroll_factor=UNROLL)", " range("),
        ("split loops", owners.JSD, "for i in range(part * BLOCK, n_cols, BLOCK * PARTS)", "range(0, n_cols"),
        ("one reduction", owners.MOMENTS, "squares += tl.sum(squares_parts)", "+= tl.sum(x * x)"),
        ("second pass backwards", owners.CROSS_ENTROPY, "i = (tl.cdiv(n_cols, BLOCK) - 1) * BLOCK - i_turn", ""),
        ("streaming", owners.SOFTMAX, "eviction_policy='evict_first'", ""),
        ("streaming", owners.SCALE, "cache_modifier='.cs'", ""),
        ("persistent", owners.RMS_NORM, "row = row_here.to(tl.int64)", "tl.program_id(0).to"),
        ("several rows", owners.SOFTMAX, "if row_here < GRID_0:", ""),
        ("wider blocks", owners.SCALE, "tl.program_id(0) * (BLOCK * WIDE) + tl.arange(0, BLOCK * WIDE)", ""),
        ("swizzled order", owners.TILES, "tl.swizzle2d(tl.program_id(1), tl.program_id(0)", ""),
        ("block descriptors", owners.COLUMN_SUMS, "tiles_0.load([i, 0])", "tl.load("),
        ("base two", owners.CROSS_ENTROPY, "tl.log2(d) * 0.693", "tl.exp("),
        ("exponential tanh", owners.GEGLU, "1.0 - 2.0 / (tl.exp2(", "tanh("),
        ("single divisions", owners.CROSS_ENTROPY, "* (1.0 / d)", ""),
    ],
)
def test_a_rewrite_changes_what_it_is_for(name, owner, holds, lacks):
    made = rewritten(owner, BY_NAME[name])
    passed = fence(owner, made.source, made.meta)
    assert holds in passed.source
    assert not lacks or lacks not in passed.source
    assert dict(passed.meta) == made.meta


def test_two_loops_over_the_same_memory_become_one():
    made = rewritten(owners.MOMENTS, BY_NAME["one pass"])
    assert made.source.count("for i in") == 1
    assert made.source.count("tl.load(X + offs") == 1


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("split rows", owners.SOFTMAX),  # reduces the row
        ("split loops", owners.MOMENTS),  # carries the sum
        ("one pass", owners.CROSS_ENTROPY),  # the second pass needs the first one's sum
        ("persistent", owners.CROSS_ENTROPY),  # returns, and loads in loops of its own
        ("persistent", owners.MATMUL),
        ("wider blocks", owners.SOFTMAX),
        ("swizzled order", owners.MATMUL),  # has an order of its own
    ],
)
def test_a_rewrite_that_would_be_wrong_is_not_made(name, owner):
    assert rewritten(owner, BY_NAME[name]) is None


@pytest.mark.parametrize(
    ("name", "function"), TEMPTING, ids=[f"{name} of {function.fn.__name__}" for name, function in TEMPTING]
)
def test_a_rewrite_that_looks_right_and_would_be_wrong_is_not_made(name, function):
    assert rewritten(tempting(function), BY_NAME[name]) is None


def test_what_other_programs_read_too_stays_in_the_cache():
    source = rewritten(owners.RMS_NORM, BY_NAME["streaming"]).source
    assert "tl.load(X_ptr + row * stride + cols, mask=mask, other=0, eviction_policy='evict_first')" in source
    assert "tl.load(W_ptr + cols, mask=mask, other=0)" in source


def test_only_the_innermost_loops_that_load_are_pipelined():
    source = rewritten(owner_of_launch(MORE["CONVOLVE"]), BY_NAME["pipelined loops"]).source
    assert source.count("num_stages=PIPELINE") == 1
    assert "for j in tl.range(0, S, num_stages=PIPELINE)" in source


def test_a_variant_is_rewritten_further():
    first = rewritten(owners.JSD, BY_NAME["smaller blocks"])
    parent = make_variant(owners.JSD, first.source, first.meta, first.grid)
    second = rewritten(owners.JSD, BY_NAME["split loops"], parent)
    assert "range(part * TILE, n_cols, TILE * PARTS)" in second.source
    assert second.meta.keys() == {"TILE", "PARTS"}
    assert second.grid == "grid_0 * PARTS, grid_1, grid_2"
    child = make_variant(owners.JSD, second.source, second.meta, second.grid)
    assert rewritten(owners.JSD, BY_NAME["split loops"], child) is None


def results(*of):
    words = [sys.executable, "-m", "tests.kernels.editing.rewritten_results", *of]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.process
@pytest.mark.long
def test_what_two_rewrites_of_launched_kernels_compute_is_what_the_owner_computes():
    found = results("launched")
    assert len(found) > 200
    assert {key: error for key, error in found.items() if error > 1e-5} == {}


@pytest.mark.process
def test_what_every_rewrite_computes_is_what_the_owner_computes():
    found = results()
    assert {key.partition(" + ")[2] for key in found} == set(REWRITE_NAMES) - {"reciprocal roots"}
    assert {key: error for key, error in found.items() if error > 1e-5} == {}


def test_a_root_and_a_division_become_one_function():
    source = owners.RMS_NORM.part["source"].replace("tl.rsqrt(tl", "1.0 / tl.sqrt(tl")
    part = {**owners.RMS_NORM.part, "source": source}
    owner = type(owners.RMS_NORM)("d", {"d": part}, owners.RMS_NORM.arguments)
    assert "rstd = tl.rsqrt(tl.sum(" in rewritten(owner, BY_NAME["reciprocal roots"]).source


@pytest.mark.parametrize("name", ["pipelined loops", "unrolled loops", "base two", "reciprocal roots"])
def test_a_kernel_without_the_habit_is_left_alone(name):
    assert rewritten(owners.SCALE, BY_NAME[name]) is None


def test_the_owners_tree_stays_as_it_is():
    before = owners.JSD.part["source"]
    for rewrite in REWRITES:
        rewritten(owners.JSD, rewrite)
    assert rewritten(owners.JSD, BY_NAME["base two"]) == rewritten(owners.JSD, BY_NAME["base two"])
    assert owners.JSD.part["source"] == before


def test_the_tool_offers_all_of_them():
    assert tuple(r.name for r in REWRITES) == REWRITE_NAMES
