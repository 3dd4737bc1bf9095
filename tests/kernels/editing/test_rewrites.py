"""Each rewrite changes what it is for, passes the fence, and leaves other kernels alone."""

import pytest

from kernels.editing.fence import fence
from kernels.editing.rewrites import BY_NAME, REWRITES, rewritten
from tests.kernels.editing import owners
from tools.edit_kernel import REWRITE_NAMES


@pytest.mark.parametrize(
    ("name", "owner", "holds", "lacks"),
    [
        ("pipelined loops", owners.LAYER_NORM, "tl.range(start, end, num_stages=PIPELINE)", " range("),
        ("unrolled loops", owners.JSD, "loop_unroll_factor=UNROLL)", " range("),
        ("streaming", owners.SOFTMAX, "eviction_policy='evict_first'", ""),
        ("streaming", owners.SCALE, "cache_modifier='.cs'", ""),
        ("base two", owners.CROSS_ENTROPY, "tl.log2(d) * 0.693", "tl.exp("),
    ],
)
def test_a_rewrite_changes_what_it_is_for(name, owner, holds, lacks):
    rewrite = BY_NAME[name]
    source = rewritten(owner, rewrite)
    passed = fence(owner, source, dict(rewrite.meta))
    assert holds in passed.source
    assert not lacks or lacks not in passed.source
    assert dict(passed.meta) == dict(rewrite.meta)


def test_a_root_and_a_division_become_one_function():
    source = owners.RMS_NORM.part["source"].replace("tl.rsqrt(tl", "1.0 / tl.sqrt(tl")
    part = {**owners.RMS_NORM.part, "source": source}
    owner = type(owners.RMS_NORM)("d", {"d": part}, owners.RMS_NORM.arguments)
    assert "rstd = tl.rsqrt(tl.sum(" in rewritten(owner, BY_NAME["reciprocal roots"])


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
