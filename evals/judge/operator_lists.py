"""Compares the operators of PyTorch that two programs run."""

from __future__ import annotations

from typing import Any

Operator = list[Any]
"""[name, [dtype and shape of each tensor argument]]"""


def repeats(reference: list[Operator], candidate: list[Operator]) -> bool:
    """Whether the candidate runs every operator of the reference again, in order, at the same shapes and dtypes,
    whatever it does beside that."""
    rest = iter(candidate)
    return bool(reference) and all(any(one == other for other in rest) for one in reference)


def names_of(operators: list[Operator]) -> list[str]:
    """Names in the order of their first use."""
    return list(dict.fromkeys(str(name) for name, _ in operators))
