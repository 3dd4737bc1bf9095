"""A grid is arithmetic over named numbers, and nothing else."""

import inspect
import sys

import numpy
import pytest
import torch

from kernels.editing.grid_expression import GridExpression
from kernels.editing.refused_edit import RefusedEdit

NAMES = frozenset({"M", "N", "BLOCK", "grid_0"})
VALUES = {"M": 1000, "N": 7, "BLOCK": 128, "grid_0": 8}


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ("grid_0", (8,)),
        ("M // 100,", (10,)),
        ("cdiv(M, BLOCK)", (8,)),
        ("(cdiv(M, BLOCK), N)", (8, 7)),
        ("min(M, 132), max(N - 9, 1), 2 * N", (132, 1, 14)),
        ("(M + BLOCK - 1) // BLOCK", (8,)),
        ("-(-M // BLOCK)", (8,)),
    ],
)
def test_a_grid_is_evaluated(text, programs):
    assert GridExpression(text, NAMES).programs(VALUES) == programs


@pytest.mark.parametrize(
    "text",
    [
        "", "()", "M, N, 1, 1", "__import__('os')", "M.bit_length()", "M ** 2", "M / 2", "M % 2", "M << 2",
        "pow(M, 2)",         "cdiv(M)", "cdiv(*[M, N])", "min(M, key=N)", "[M]", "'8'", "8.0", "True", "lambda: 8",
        "M if N else 8", "x",
        "M; N",         "(n := 8)", "f'{M}'", "cdiv", "cdiv(cdiv, 1)", "M" + " + 1" * 60, "9" * 400, "M\n\nimport os",
        "M" + ".a" * 240, "M" + "()" * 240, "M[" * 120 + "M" + "]" * 120, "not " * 120 + "M", "M\ud800", "M\0",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(RefusedEdit) as refused:
        GridExpression(text, NAMES)
    assert "\n" not in str(refused.value)


def test_a_deep_text_is_refused_though_its_caller_stands_deep():
    def at(depth):
        return at(depth - 1) if depth else GridExpression("M" + ".a" * 240, NAMES)

    with pytest.raises(RefusedEdit, match="nested more than"):
        at(sys.getrecursionlimit() - len(inspect.stack()) - 150)


def test_a_grid_takes_the_whole_numbers_of_numpy_and_no_tensor():
    assert GridExpression("M * 2", NAMES).programs({"M": numpy.int64(4)}) == (8,)
    for value in (torch.tensor([3]), 4.0, "4", None):
        with pytest.raises(RefusedEdit, match=r"which is no whole number here but a \w+$"):
            GridExpression("M * 2", NAMES).programs({"M": value})


@pytest.mark.parametrize("text", ["N - 7", "N - 100", "M // (N - 7)", "cdiv(M, N - 7)", "M * M * M * M", "1, 70000"])
def test_a_grid_that_cannot_be_launched_is_refused(text):
    with pytest.raises(RefusedEdit):
        GridExpression(text, NAMES).programs(VALUES)
