"""The sentences about values that a model refuses."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from memory.shared_models import Closed, explain_refusal


class Sizes(Closed):
    rows: int = Field(ge=1, le=8)
    dtype: Literal["fp16", "bf16"] = "fp16"
    share: float = Field(default=0.5, gt=0, lt=1, allow_inf_nan=False)
    on: bool = False
    names: tuple[str, ...] = Field(default=(), max_length=1)

    @field_validator("rows")
    @classmethod
    def even(cls, rows: int) -> int:
        if rows % 2:
            raise ValueError("rows come in pairs")
        return rows


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, ["rows: it is missing"]),
        ({"rows": 0}, ["rows: it must be at least 1"]),
        ({"rows": 10, "share": 1.5}, ["rows: it must be at most 8", "share: it must be less than 1"]),
        ({"rows": 2, "share": 0}, ["share: it must be more than 0"]),
        ({"rows": 2, "share": float("nan")}, ["share: it must be a finite number"]),
        ({"rows": "x"}, ["rows: it must be a whole number"]),
        ({"rows": 2.5}, ["rows: it must be a whole number"]),
        ({"rows": 3}, ["rows: rows come in pairs"]),
        ({"rows": 2, "dtype": "fp8"}, ["dtype: it must be 'fp16' or 'bf16'"]),
        ({"rows": 2, "on": "perhaps"}, ["on: it must be true or false"]),
        ({"rows": 2, "names": ("a", "b")}, ["names: it has 2 entries and must have at most 1"]),
        ({"rows": 2, "names": 5}, ["names: it must be a list"]),
        ({"rows": 2, "columns": 2}, ["columns: there is no such field"]),
        (5, ["the sizes: it must be a table of fields"]),
    ],
)
def test_a_refused_value_is_explained_in_words(given, why):
    with pytest.raises(ValidationError) as refused:
        Sizes.model_validate(given)
    assert explain_refusal(refused.value, "the sizes") == why
