"""What the fields of a capture's parts are made of. No value is taken for one of another kind."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

MOST = 2**63 - 1
"""PyTorch counts in signed 64 bits."""


class Part(BaseModel):
    """Some fields of an object; those that this version does not know are left alone. A field with a default may be
    missing, and is not null unless its type says so."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def _written_number(text: str) -> str:
    try:
        float(text)
    except ValueError:
        raise ValueError("it should be a number as Python writes it") from None
    return text


def _ordered(ends: list[int]) -> list[int]:
    if ends[0] > ends[1]:
        raise ValueError("the first number should not be above the second")
    return ends


def _no_wide_integer(value: object) -> object:
    if type(value) is int and abs(value) > MOST:
        raise ValueError("it should be a number of 64 bits")
    return value


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("it should not be null")
    return value


T = TypeVar("T")
MayBeMissing = Annotated[T | None, BeforeValidator(_not_null)]
"""With None as the default."""
Size = Annotated[int, Field(ge=0, le=MOST)]
Count = Annotated[int, Field(ge=1, le=MOST)]
Whole = Annotated[int, Field(ge=-MOST - 1, le=MOST)]
Option = Annotated[int, Field(ge=0, lt=2**31)]
"""``num_warps`` and the like."""
Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, lt=1e12)]
"""Finite, and so small that its sum over all launches is finite."""
Number = Annotated[float, BeforeValidator(_no_wide_integer)]
NumberText = Annotated[str, AfterValidator(_written_number)]
"""A float as text: JSON has no NaN and no infinity."""
Range = Annotated[list[Whole], Field(min_length=2, max_length=2), AfterValidator(_ordered)]
Pair = Annotated[tuple[T, T], Strict(False)]
"""JSON has lists alone, which a strict tuple refuses."""
Scalar = Annotated[int, Field(ge=-MOST - 1, lt=2**64)]
Plain = bool | Scalar | Number | str | None
"""What a launch may be passed as it is."""
Constant = bool | int | float | str | None
"""What a name in a program may stand for: Python's whole numbers have no end."""
