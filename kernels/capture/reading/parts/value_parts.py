"""What a capture holds of the values of a tensor (:mod:`kernels.capture.describing.values`), and whether it goes
together: numbers are drawn from it, which fails far from the capture if it does not."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Strict, Tag, model_validator

from kernels.capture.describing.values import QUANTILES
from kernels.capture.reading.parts.plain_fields import (
    MOST,
    Count,
    MayBeMissing,
    Number,
    NumberText,
    Part,
    Range,
    Share,
    Size,
    Whole,
)

Piece = Annotated[list[Whole], Field(min_length=5, max_length=5)]
"""``[rows, first, its step, end, its step]``."""
Matrix = Annotated[tuple[Count, list[Piece]], Strict(False)]


class Pattern(Part):
    """Where marked elements are (:mod:`kernels.capture.structure.mask_pattern`): lengths of runs, or matrices."""

    runs: list[Size] = Field(default_factory=list)
    columns: Count = 1
    marked_inside: bool = False
    matrices: list[Matrix] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if "runs" in self.model_fields_set:
            return self
        for name in ("columns", "marked_inside", "matrices"):
            if name not in self.model_fields_set:
                raise ValueError(f"the field {name} is missing")
        if any(piece[0] < 1 for _, pieces in self.matrices for piece in pieces):
            raise ValueError("each piece should have a row or more")
        return self

    @property
    def size(self) -> int:
        """Elements, marked or not."""
        if "runs" in self.model_fields_set:
            return sum(self.runs)
        return self.columns * sum(times * sum(piece[0] for piece in pieces) for times, pieces in self.matrices)


class _Values(Part):
    elements: Size
    whole: str = ""
    where: MayBeMissing[Pattern] = None

    def patterns(self) -> list[Pattern]:
        return [self.where] if self.where is not None else []


class UnknownValues(_Values):
    """Of no elements, or of complex numbers."""

    kind: Literal[None] = None


class Mask(Part):
    low: NumberText
    high: NumberText
    share: Share
    where: MayBeMissing[Pattern] = None


class FloatValues(_Values):
    kind: Literal["float"]
    nan: Share
    inf: Share
    minus_inf: Share = 0.0
    zero: Share
    quantiles: Annotated[list[Number], Field(min_length=len(QUANTILES), max_length=len(QUANTILES))] = Field(
        default_factory=list
    )
    mean: Number = 0.0
    std: Number = 0.0
    all: list[NumberText] = Field(default_factory=list)
    mask: MayBeMissing[Mask] = None

    def patterns(self) -> list[Pattern]:
        return [self.mask.where] if self.mask is not None and self.mask.where is not None else []


class BoolValues(_Values):
    kind: Literal["bool"]
    true: Share


class AddressValues(_Values):
    kind: Literal["addresses"]
    distinct: Size


class Rows(Part):
    """What holds within each row of a table."""

    columns: Count
    distinct: Literal[True] = True
    steps: Range = Field(default_factory=list)
    ends: Annotated[list[Range], Field(min_length=2, max_length=2)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_steps(self) -> Self:
        if "distinct" not in self.model_fields_set:
            if not {"steps", "ends"} <= self.model_fields_set:
                raise ValueError("there should be the field distinct, or steps and ends")
            if self.steps[0] < 0 < self.steps[1]:
                raise ValueError("the steps of a row should all rise or all fall")
        return self


class Order(Part):
    """How whole numbers are ordered."""

    min: Whole
    max: Whole
    distinct: Size
    of: Count
    rises: bool | None = None
    steps: Range | None = None
    rows: MayBeMissing[Rows] = None
    runs: list[Annotated[tuple[Count, Whole], Strict(False)]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        span = self.max - self.min
        if span < 0:
            raise ValueError("min should not be above max")
        if self.runs and sum(count for count, _ in self.runs) != self.of:
            raise ValueError(f"the runs should have {self.of} numbers together")
        if self.rows is not None and (self.of % self.rows.columns or span + 1 < self._in_a_row(self.rows)):
            raise ValueError(f"rows of {self.rows.columns} numbers do not go together with min, max and of")
        # In captures of before, the differences of numbers beyond 64 bits wrapped around.
        if self.steps is not None and span * self.of <= MOST:
            least, most = self.steps if self.steps[0] >= 0 else (-self.steps[1], -self.steps[0])
            if least >= 0 and not least * (self.of - 1) <= span <= most * (self.of - 1):
                raise ValueError("the steps do not lead from min to max")
        return self

    @staticmethod
    def _in_a_row(rows: Rows) -> int:
        """Numbers that the range has at least."""
        if "distinct" in rows.model_fields_set:
            return rows.columns
        return 1 + min(abs(step) for step in rows.steps) * (rows.columns - 1)


class SameAs(Part):
    path: str
    after: Literal[0, 1]


class DifferencesOf(Part):
    path: str
    last: Whole = 0


class RowsOf(Part):
    path: str
    per: Count


class IntValues(_Values, Order):
    kind: Literal["int"]
    marks: Annotated[list[Annotated[tuple[Whole, Count], Strict(False)]], Field(min_length=1)] = Field(
        default_factory=list
    )
    others: Range | None = None
    rest: MayBeMissing[Order] = None
    same_as: MayBeMissing[SameAs] = None
    differences_of: MayBeMissing[DifferencesOf] = None
    rows_of: MayBeMissing[RowsOf] = None

    @model_validator(mode="after")
    def _has_others(self) -> Self:
        if self.marks and "others" not in self.model_fields_set:
            raise ValueError("the field others is missing beside marks")
        if self.marks and self.others is None and (self.where is not None or self.rows_of is not None):
            raise ValueError("others should be a range, for some numbers are no marks")
        if self.rows_of is not None and not self.marks:
            raise ValueError("the field marks is missing beside rows_of")
        return self

    @property
    def source(self) -> str | None:
        """The path of the tensor that this one is made of."""
        relation = self.same_as or self.differences_of or self.rows_of
        return relation.path if relation is not None else None


def _kind(values: Any) -> str | None:
    kind = values.get("kind", "unknown") if isinstance(values, dict) else None
    return kind if isinstance(kind, str) else None


Values = Annotated[
    Annotated[UnknownValues, Tag("unknown")]
    | Annotated[FloatValues, Tag("float")]
    | Annotated[BoolValues, Tag("bool")]
    | Annotated[IntValues, Tag("int")]
    | Annotated[AddressValues, Tag("addresses")],
    Discriminator(_kind),
]


def fault_of_values(
    values: UnknownValues | FloatValues | BoolValues | IntValues | AddressValues,
    dtype: str,
    elements: int,
    places: list[int],
) -> str | None:
    """Why these cannot be values of such a tensor; None if they can."""
    kinds = ["float"] if "float" in dtype else ["bool"] if dtype == "bool" else ["int", "addresses"]
    if elements != values.elements:
        return f"elements should be {elements}, as the tensor has"
    if elements and not dtype.startswith("complex") and values.kind not in kinds:
        return f"kind should be {' or '.join(kinds)}, because the tensor is of {dtype}"
    if any(pattern.size != math.prod(places) for pattern in values.patterns()):
        return f"where should have a place for each of {math.prod(places)} elements"
    return None


def fault_of_relation(values: IntValues, places: list[int], theirs: list[int]) -> str | None:
    """Why a tensor with such places in memory is not made of another one, as `values` has it; None if it is."""
    own, source = math.prod(places), math.prod(theirs)
    if values.same_as is not None:
        fits = own + values.same_as.after <= source
    elif values.differences_of is not None:
        fits = own == source - 1 + ("last" in values.differences_of.model_fields_set)
    else:
        fits = bool(places) and own == source * places[-1]
    return None if fits else f"{values.source} has not the elements that this tensor is made of"
