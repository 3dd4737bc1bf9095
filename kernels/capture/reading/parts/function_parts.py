"""Triton functions of a capture, what their names stand for, and the decorators around them
(:mod:`kernels.capture.describing.device_closure`, :mod:`kernels.capture.describing.decorators`)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, model_validator

from kernels.capture.reading.parts.argument_parts import Config, Dtype, Enumeration, Member
from kernels.capture.reading.parts.plain_fields import Constant, MayBeMissing, Pair, Part, Size


class HostFunction(Part):
    """A Python function of which the source is kept."""

    source: str
    bindings: dict[str, Binding]
    defaults: dict[str, Binding] = Field(default_factory=dict)


class TupleClass(Part):
    name: str
    fields: list[str]
    defaults: list[Constant]


class BoundRecord(Part):
    fields: list[str]
    items: list[Binding]
    class_: str = Field(alias="class")

    @model_validator(mode="after")
    def _has_fields(self) -> Self:
        if len(self.fields) != len(self.items):
            raise ValueError(f"there are {len(self.items)} items, and {len(self.fields)} fields")
        return self


class Binding(Part):
    """What a name stands for: one of these, which the first key of the object names."""

    function: str = ""
    self_: str = Field("", alias="self")
    constant: Constant = None
    type: Literal["float"] = "float"
    constexpr: MayBeMissing[Binding] = None
    dtype: Dtype = ""
    module: str = ""
    import_: Pair[str] = Field(("", ""), alias="import")
    namespace: dict[str, Binding] = Field(default_factory=dict)
    name: str = ""
    annotation: Literal[True] = True
    list_: list[Binding] = Field(default_factory=list, alias="list")
    dict_: list[Pair[Binding]] = Field(default_factory=list, alias="dict")
    python: MayBeMissing[HostFunction] = None
    tuple_: list[Binding] = Field(default_factory=list, alias="tuple")
    fields: list[str] = Field(default_factory=list)
    tuple_class: MayBeMissing[TupleClass] = Field(default=None, alias="tuple class")
    torch_dtype: Dtype = ""
    enumeration: MayBeMissing[Enumeration] = None
    member: MayBeMissing[Member] = None
    record: MayBeMissing[BoundRecord] = None
    unknown: str = ""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        beside = {"type", "name", "fields"}
        kinds = self.model_fields_set - beside
        if len(kinds) != 1:
            raise ValueError("it should be one of the kinds of bindings")
        (kind,) = kinds
        if kind == "namespace" and "name" not in self.model_fields_set:
            raise ValueError("the field name is missing beside namespace")
        if kind == "tuple_" and "fields" in self.model_fields_set and len(self.fields) != len(self.tuple_):
            raise ValueError(f"there are {len(self.tuple_)} items, and {len(self.fields)} fields")
        if kind == "constant" and "type" in self.model_fields_set:
            float(str(self.constant))  # raises ValueError
        return self


class Parameter(Part):
    name: str
    constexpr: bool


class Function(Part):
    name: str
    qualname: str
    module: str
    file: str
    line: Size
    importable: bool
    kind: Literal["jit", "constexpr_function"]
    language: Literal["triton", "gluon"]
    options: dict[str, Constant | list[Constant]]
    source: str
    parameters: list[Parameter]
    bindings: dict[str, Binding]
    identity: str
    decorated: list[str] = Field(default_factory=list)


class Reference(Part):
    """A Python function that a decorator holds: by name, by source, by both, or local to the program."""

    import_: Pair[str] = Field(("", ""), alias="import")
    source: str = ""
    bindings: dict[str, Binding] = Field(default_factory=dict)
    defaults: dict[str, Binding] = Field(default_factory=dict)
    local: str = ""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if not {"import_", "source", "local"} & self.model_fields_set:
            raise ValueError("there should be the field import, source or local")
        if "source" in self.model_fields_set and "bindings" not in self.model_fields_set:
            raise ValueError("the field bindings is missing beside source")
        return self


class HookedConfig(Config):
    pre_hook: MayBeMissing[Reference] = None


class AutotunerConfig(HookedConfig):
    @model_validator(mode="after")
    def _has_options(self) -> Self:
        for name in ("num_warps", "num_stages"):
            if name not in self.model_fields_set:
                raise ValueError(f"the field {name} is missing")
        return self


class Autotune(Part):
    kind: Literal["autotune"]
    configs: list[AutotunerConfig]
    key: list[str]
    reset_to_zero: list[str] = Field(default_factory=list)
    restore_value: list[str] = Field(default_factory=list)
    early_config_prune: MayBeMissing[Reference] = None
    perf_model: MayBeMissing[Reference] = None
    pre_hook: MayBeMissing[Reference] = None
    post_hook: MayBeMissing[Reference] = None


class Heuristics(Part):
    kind: Literal["heuristics"]
    values: dict[str, Reference]


class Decorators(Part):
    chain: list[Annotated[Autotune | Heuristics, Discriminator("kind")]]


for _model in (HostFunction, BoundRecord, Binding):
    _model.model_rebuild()
