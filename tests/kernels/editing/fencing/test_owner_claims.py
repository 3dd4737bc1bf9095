"""A claim is the owner's only if it is about the same value: made by the same statements, in the same order."""

import time
from textwrap import indent

import pytest

from kernels.editing.fence import fence
from kernels.editing.fencing.abstract_values import NUMBER, POINTER, whole
from kernels.editing.owner_function import owner_of
from kernels.editing.refused_edit import RefusedEdit
from tests.exploits.test_edit_doors import defined

SOURCE = """
@triton.jit
def spread(v, by, TO: tl.constexpr = 16):
    return tl.multiple_of(v * by, TO)


@triton.jit
def pointed(v, at):
    return tl.load(v.to(tl.pointer_type(tl.float32)) + at)


@triton.jit
def applied(f, v, w):
    return f(v, w)


@triton.jit
def claims(x_ptr, y_ptr, n, stride, BLOCK: tl.constexpr, HALF: tl.constexpr):
    pid = tl.program_id(0)
    tl.assume(pid * BLOCK < n)
    if stride % 16 != 0:
        return
    tl.assume(stride > 8)
    at = pid * BLOCK + tl.arange(0, BLOCK)
    at = tl.max_contiguous(tl.multiple_of(at, HALF), HALF)
    at = at + 1
    if HALF == 32:
        tl.assume(n > 9)
    size = 16
    found = spread(stride, size)
    for i in range(0, n, HALF):
        i = tl.multiple_of(i, HALF)
        found += applied(tl.maximum, i, 5)
    z = pointed(tl.load(x_ptr), at) + found
    tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < n) + z, mask=at < n)
"""
KERNEL = "def claims" + SOURCE.partition("def claims")[2]
AT = "    at = pid * BLOCK + tl.arange(0, BLOCK)\n"
POINTED = "pointed(tl.load(x_ptr), at)"
CLAIM = "    at = tl.max_contiguous(tl.multiple_of(at, HALF), HALF)\n"
REST = AT + KERNEL.partition(AT)[2]
LOOP = "    for pid in tl.range(tl.program_id(0), n, 8, num_stages=2):\n"
EVEN = "    if HALF == 32:\n        tl.assume(n > 9)\n"
SPREAD = "def spread(v, by, TO: tl.constexpr = 16):\n    return tl.multiple_of(v * by, TO)\n\n\n"


@pytest.fixture(scope="module")
def claims(tmp_path_factory):
    given = {"x_ptr": POINTER, "y_ptr": POINTER, "n": NUMBER, "stride": NUMBER, "BLOCK": whole(64), "HALF": whole(32)}
    return owner_of(defined(SOURCE, "claims", tmp_path_factory), given)


def changed(*pairs, before=""):
    source = KERNEL
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return before + source


HONEST = {
    "unchanged": changed(),
    "what stands behind it": changed("    z = pointed(tl.load(x_ptr), at)", "    at += 2\n    z = tl.load(x_ptr)"),
    "another way to the same number of a program": changed(
        AT, "    pid = min(pid, 7) * 2 + tl.num_programs(0) % 3\n" + AT
    ),
    "by a device function": changed(
        AT, "    pid = turned(pid, n)\n" + AT, before="def turned(v, n):\n    return n - 1 - v\n\n\n"
    ),
    "a loop around it": changed(REST, LOOP + indent(REST, "    ")),
    "a while around it": changed(
        REST, "    while pid < n:\n" + indent(REST.replace(POINTED, "1"), "    ") + "        pid += 9\n"
    ),
    "more conditions": changed(REST, "    if pid < n:\n" + indent(REST, "    ")),
    "more returns": changed("    tl.assume(stride", "    if stride > n:\n        return\n    tl.assume(stride"),
    "options of the loop": changed("range(0, n, HALF)", "tl.range(0, n, HALF, num_stages=3)"),
    "its device function": changed(before=SPREAD),
    "its name for a function that claims nothing": changed(
        "spread(stride, size)", "spread(n, 7)", before="def spread(v, by):\n    return v * by\n\n\n"
    ),
    "a function that claims nothing is given": changed("applied(tl.maximum", "applied(tl.minimum"),
}
DISHONEST = {
    "after it has changed": changed("    at = at + 1\n", "", CLAIM, "    at = at + 1\n" + CLAIM),
    "again after it has changed": changed("    size = 16\n", "    size = 16\n" + CLAIM),
    "in turns that change it": changed(CLAIM, f"    for j in range(4):\n    {CLAIM}        at += 1\n"),
    "made under another condition": changed(AT, AT + "    if n > 5:\n        at = at * 2\n"),
    "made in more turns": changed("    size = 16\n", "    size = 16\n    for j in range(n):\n        size = 16 + j\n"),
    "of a block beside the factor": changed(AT, "    pid = tl.arange(0, BLOCK)\n" + AT),
    "of a block from a device function": changed(
        AT, "    pid = spun(pid)\n" + AT, before="def spun(v):\n    return v + tl.arange(0, 64)\n\n\n"
    ),
    "beside another factor": changed(AT, "    BLOCK = 3\n" + AT),
    "of another number of a program": changed("tl.program_id(0)\n", "tl.program_id(0) * 2\n"),  # by assume
    "in turns of a while that change it": changed(CLAIM, f"    while n > 5:\n    {CLAIM}        at += 1\n"),
    "without its condition": changed(EVEN, EVEN.replace("    if HALF == 32:\n    ", "")),
    "in the other branch": changed(EVEN, EVEN.replace(":\n", ":\n        size = 16\n    else:\n")),
    "under its condition of another value": changed(EVEN, "    HALF = 32\n" + EVEN),
    "without the return before": changed("    if stride % 16 != 0:\n        return\n", ""),
    "the return behind it": changed(
        "    if stride % 16 != 0:\n        return\n    tl.assume(stride > 8)\n",
        "    tl.assume(stride > 8)\n    if stride % 16 != 0:\n        return\n",
    ),
    "arguments in another order": changed(before=SPREAD.replace("v, by", "by, v")),
    "another default": changed(before=SPREAD.replace("= 16", "= 32")),
    "another step": changed("range(0, n, HALF)", "range(0, n, 1)"),
    "given to a device function": changed("applied(tl.maximum, i, 5)", "applied(tl.multiple_of, i, 5)"),
    "given as one of several": changed("applied(tl.maximum", "applied(tl.maximum if n > 5 else tl.multiple_of"),
    "of the owner's, given": changed("applied(tl.maximum", "applied(spread"),
    "of an own function, given": changed("applied(tl.maximum", "applied(own", before=SPREAD.replace("spread", "own")),
    "given to an own function": changed(
        "applied(tl.maximum, i, 5)", "with_it(spread, i)", before="def with_it(f, v):\n    return f(v, 5)\n\n\n"
    ),
    "in a reduction": changed("size = 16", "size = tl.reduce(at, 0, spread)"),
}


@pytest.mark.parametrize("source", HONEST.values(), ids=HONEST)
def test_the_same_claim_passes(source, claims):
    assert fence(claims, source).source


@pytest.mark.parametrize("source", DISHONEST.values(), ids=DISHONEST)
def test_a_claim_of_another_value_is_refused(source, claims):
    with pytest.raises(RefusedEdit, match=r"line .* claims what the owner's code does not claim"):
        fence(claims, source)


@pytest.mark.parametrize(
    "source",
    [
        changed("applied(tl.maximum", "applied(pointed"),
        changed("applied(tl.maximum, i, 5)", "by(pointed, i)", before="def by(f, v):\n    return f(v, 5)\n\n\n"),
        changed("applied(tl.maximum, i, 5)", "by(i)", before="def by(v):\n    return pointed(v, 5)\n\n\n"),
        changed("    z = pointed", "    x_ptr = y_ptr\n    z = pointed"),
    ],
)
def test_a_pointer_of_another_number_is_refused_whoever_makes_it(source, claims):
    with pytest.raises(RefusedEdit, match=r"line .* makes a pointer from what"):
        fence(claims, source)


def test_many_claims_in_loops_are_compared_in_time(claims):
    """They took 16 seconds."""
    heads = [f"{'    ' * (i + 1)}for i{i} in range(n):\n" for i in range(8)]
    inside = ["    " * 9 + "tl.multiple_of(at, HALF)\n"] * 150 + ["    " * 9 + "pid = pid + 1\n"] * 60
    started = time.monotonic()
    assert fence(claims, changed(AT, AT + "".join([*heads, *inside]))).source
    assert time.monotonic() - started < 10
