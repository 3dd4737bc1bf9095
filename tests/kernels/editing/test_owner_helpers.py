"""What is said of the owner's device functions when they are sent back with an edit."""

import inspect

import pytest
import triton
import triton.language as tl

from kernels.editing.fence import fence
from kernels.editing.fencing.abstract_values import whole
from kernels.editing.refused_edit import RefusedEdit
from tests.kernels.editing.owners import P, owner


@triton.jit
def inner(x):
    return x * 2.0


@triton.jit
def outer(x):
    return inner(x) + 1.0


@triton.jit
def typed(x: tl.tensor, y) -> tl.tensor:
    return x + y


@triton.jit(noinline=True)
def apart(x):
    return x + 3.0


@triton.jit
def kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n)
    tl.store(y_ptr + offsets, typed(outer(x), apart(x)), mask=offsets < n)


OWNER = owner(kernel, x_ptr=P, y_ptr=P, BLOCK=whole(128, 4096))
UNCHANGED = "if it is unchanged, because the owner's {} is called then"
NEW = "@triton.jit\ndef fresh(x):\n    return x\n"


def sent(*functions):
    """Their sources, one after another."""
    return "\n".join(f if isinstance(f, str) else inspect.getsource(f.fn) for f in functions)


@pytest.mark.parametrize("functions", [(kernel,), (outer, kernel), (inner, outer, kernel)])
def test_helpers_that_the_source_calls_may_be_sent_back(functions):
    assert "def kernel" in fence(OWNER, sent(*functions)).source


@pytest.mark.parametrize(
    ("functions", "sentence"),
    [
        (
            (inner, kernel),
            "line 2: inner is the owner's, and no function of this source calls it, only the owner's outer: leave "
            "inner out, or send outer too, behind inner",
        ),
        (
            (outer, inner, kernel),
            "line 6: inner stands behind outer, which therefore calls the owner's inner: put inner before outer",
        ),
        (
            (outer, sent(kernel).replace("outer(x)", "x")),
            "line 2: outer is the owner's, and no function of this source calls it: leave outer out",
        ),
        (
            (typed, kernel),
            "line 2: typed has an annotation of what it returns: leave the annotation out, or leave out all of typed "
            + UNCHANGED.format("typed"),
        ),
        (
            (sent(typed).replace(" -> tl.tensor", ""), kernel),
            "line 2: the annotation of x of typed is not tl.constexpr: leave the annotation out, or leave out all of "
            "typed " + UNCHANGED.format("typed"),
        ),
        (
            (apart, kernel),
            "line 1: the decorator @triton.jit(noinline=True) of apart is the owner's to choose: write @triton.jit, or "
            "leave out all of apart " + UNCHANGED.format("apart"),
        ),
        (
            (kernel, inner),
            "line 8: kernel must stand last, behind the device functions that it calls: inner",
        ),
        ((NEW, kernel), "line 2: fresh is never called: leave it out"),
    ],
)
def test_a_helper_that_cannot_be_taken_is_named_with_the_reason_and_what_to_do(functions, sentence):
    with pytest.raises(RefusedEdit) as refused:
        fence(OWNER, sent(*functions))
    assert str(refused.value) == sentence
