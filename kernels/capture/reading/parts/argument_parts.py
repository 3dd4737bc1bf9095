"""Arguments of a launch, as :mod:`kernels.capture.describing.captured_arguments` describes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, model_validator

from kernels.capture.describing.captured_arguments import ITEM_BYTES, MOST_ALIGNMENT
from kernels.capture.reading.parts.plain_fields import Constant, NumberText, Option, Part, Plain, Scalar, Size

TRITON_DTYPES = frozenset(
    (
        "void", "int1", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "fp16", "bf16",
        "fp32", "fp64", "fp8e4b15", "fp8e4nv", "fp8e4b8", "fp8e5", "fp8e5b16",
    )
)  # fmt: skip
TORCH_DTYPES = frozenset(
    (
        *ITEM_BYTES, "quint8", "qint8", "qint32", "quint4x2", "quint2x4", "bits1x8", "bits2x4", "bits4x2", "bits8",
        "bits16", *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
    )
)  # fmt: skip


def _tensors_dtype(name: str) -> str:
    if name not in ITEM_BYTES:
        raise ValueError(f"{name!r} is no dtype of a tensor that Triton takes")
    return name


def _dtype(name: str) -> str:
    if name not in TRITON_DTYPES and name.removeprefix("torch.") not in TORCH_DTYPES:
        raise ValueError(f"{name!r} is no dtype of Triton or PyTorch")
    return name


def _power_of_two(number: int) -> int:
    if number & (number - 1):
        raise ValueError("it should be a power of two")
    return number


Dtype = Annotated[str, AfterValidator(_dtype)]


class Enumeration(Part):
    name: str
    base: Literal["Enum", "IntEnum"]
    mixed: Literal["int", "str", "float"] | None
    members: dict[str, Constant]


class Member(Part):
    name: str
    of: Enumeration
    class_: str = Field(alias="class")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.name not in self.of.members:
            raise ValueError(f"{self.name!r} is no member of {self.of.name}")
        return self


class _Argument(Part):
    constexpr: bool = False
    varies: bool = False

    def tensors(self, path: str) -> Iterator[tuple[str, TensorArgument]]:
        """(path, tensor) of each tensor in it."""
        yield from ()


class _Valued(_Argument):
    """A scalar. One that varied from launch to launch has no value."""

    @model_validator(mode="after")
    def _has_value(self) -> Self:
        if "value" not in self.model_fields_set and not self.varies:
            raise ValueError("the field value is missing")
        return self


class NoneArgument(_Argument):
    type: Literal["none"]


class IntArgument(_Valued):
    type: Literal["int"]
    value: Scalar = 0


class FloatArgument(_Valued):
    type: Literal["float"]
    value: NumberText = "0"


class BoolArgument(_Valued):
    type: Literal["bool"]
    value: bool = False


class StrArgument(_Valued):
    type: Literal["str"]
    value: str = ""


class TensorArgument(_Argument):
    type: Literal["tensor"]
    shape: list[Size]
    stride: list[Size]
    dtype: Annotated[str, AfterValidator(_tensors_dtype)]
    offset: Size
    alignment: Annotated[Size, Field(ge=1, le=MOST_ALIGNMENT), AfterValidator(_power_of_two)]
    storage: Size
    passed_as: Dtype = ""
    unwrapped: str = ""

    @model_validator(mode="after")
    def _has_strides(self) -> Self:
        if len(self.shape) != len(self.stride):
            raise ValueError(f"the shape has {len(self.shape)} dimensions, and there are {len(self.stride)} strides")
        return self

    @property
    def end(self) -> int:
        """The first byte of its storage behind it."""
        last = sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        return (self.offset + last + 1) * ITEM_BYTES[self.dtype] if all(self.shape) else 0

    @property
    def elements(self) -> int:
        return _product(self.shape)

    @property
    def places(self) -> list[int]:
        """Its shape in memory, where a dimension of stride 0 has one place."""
        return [n if step else min(n, 1) for n, step in zip(self.shape, self.stride, strict=True)]

    def tensors(self, path: str) -> Iterator[tuple[str, TensorArgument]]:
        yield path, self


class ReinterpretedArgument(_Argument):
    type: Literal["reinterpreted"]
    dtype: str
    base: Based

    def tensors(self, path: str) -> Iterator[tuple[str, TensorArgument]]:
        yield from self.base.tensors(path)


class DescriptorArgument(_Argument):
    type: Literal["descriptor"]
    base: Based
    shape: list[Size]
    strides: list[Size]
    block_shape: list[Size]
    padding: str
    round_f32_to_tf32: bool = False

    @model_validator(mode="after")
    def _has_strides(self) -> Self:
        if not len(self.shape) == len(self.strides) == len(self.block_shape):
            raise ValueError("shape, strides and block_shape should have as many numbers")
        return self

    def tensors(self, path: str) -> Iterator[tuple[str, TensorArgument]]:
        yield from self.base.tensors(f"{path}.base")


class _Items(_Argument):
    items: list[Argument]
    fields: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_fields(self) -> Self:
        if "fields" in self.model_fields_set and len(self.fields) != len(self.items):
            raise ValueError(f"there are {len(self.items)} items, and {len(self.fields)} fields")
        return self

    def tensors(self, path: str) -> Iterator[tuple[str, TensorArgument]]:
        for i, item in enumerate(self.items):
            yield from item.tensors(f"{path}.{i}")


class TupleArgument(_Items):
    type: Literal["tuple"]


class RecordArgument(_Items):
    type: Literal["record"]
    fields: list[str]
    class_: str = Field(alias="class")


class DtypeArgument(_Argument):
    type: Literal["dtype", "torch_dtype"]
    name: Dtype


class MemberArgument(Member, _Argument):
    type: Literal["member"]


class FunctionArgument(_Argument):
    type: Literal["function"]
    function: str


class UnknownArgument(_Argument):
    type: Literal["unknown"]
    class_: str = Field(alias="class")
    name: str = ""


Based = Annotated[
    TensorArgument | ReinterpretedArgument | UnknownArgument,
    Discriminator("type"),
]
Argument = Annotated[
    NoneArgument
    | IntArgument
    | FloatArgument
    | BoolArgument
    | StrArgument
    | TensorArgument
    | ReinterpretedArgument
    | DescriptorArgument
    | TupleArgument
    | RecordArgument
    | DtypeArgument
    | MemberArgument
    | FunctionArgument
    | UnknownArgument,
    Discriminator("type"),
]


KWARGS = "kwargs"
"""By name: pydantic's plug-in for mypy makes a parameter of a text that stands in the field, and this one is taken."""


class Storage(Part):
    bytes: Size
    device: str


class Config(Part):
    """A ``triton.Config``."""

    values: dict[str, Plain] = Field(alias=KWARGS)
    num_warps: Option = 0
    num_stages: Option = 0
    num_ctas: Option = 0
    maxnreg: Option = 0
    ir_override: str = ""
    unkept: dict[str, str] = Field(default_factory=dict)


def _product(shape: list[int]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


for _model in (ReinterpretedArgument, DescriptorArgument, TupleArgument, RecordArgument):
    _model.model_rebuild()
