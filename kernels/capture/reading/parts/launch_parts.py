"""Launches of a capture, what was seen of them, how often they were made, and the processes that made them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from kernels.capture.reading.parts.argument_parts import Argument, Storage, TensorArgument
from kernels.capture.reading.parts.function_parts import HookedConfig
from kernels.capture.reading.parts.plain_fields import Milliseconds, Number, Option, Part, Plain, Size
from kernels.capture.reading.parts.value_parts import Values

Extent = Annotated[int, Field(ge=0, lt=2**31)]
"""Programs along a dimension of the grid."""
Programs = Annotated[list[Extent], Field(min_length=1, max_length=3)]


class AskedGrid(Part):
    """What the program's function answered for other values."""

    values: dict[str, Plain]
    grid: Programs = Field(default_factory=list)
    refused: str = ""

    @model_validator(mode="after")
    def _has_answer(self) -> Self:
        if not {"grid", "refused"} & self.model_fields_set:
            raise ValueError("there should be the field grid or refused")
        return self


class Grid(Part):
    callable: bool
    came_out: Programs
    changes: bool = False
    reads: list[str] = Field(default_factory=list)
    table: list[AskedGrid] = Field(default_factory=list)
    cannot_be_asked: str = ""


class Options(Part):
    """Launch options that were passed, with others of the backend's beside them."""

    num_warps: Option | None = None
    num_stages: Option | None = None
    num_ctas: Option | None = None
    maxnreg: Option | None = None

    __pydantic_extra__: dict[str, Plain] = Field(init=False)


class Device(Part):
    kind: str | None
    arch: Size | str | None = None
    warp_size: Size | None = None
    name: str | None = None
    triton: str | None = None
    torch: str | None = None


class Launch(Part):
    name: str
    function: str
    decorators: str | None
    arguments: dict[str, Argument]
    passed: dict[str, Argument] = Field(default_factory=dict)
    storages: list[Storage]
    grid: Grid
    options: Options
    config: HookedConfig | None
    device: Device

    @model_validator(mode="after")
    def _fits_storages(self) -> Self:
        for path, tensor in self.tensors():
            if tensor.storage >= len(self.storages):
                raise ValueError(f"{path} lies in storage {tensor.storage}, and there are {len(self.storages)}")
            held = self.storages[tensor.storage].bytes
            if tensor.end > held:
                raise ValueError(f"{path} ends at byte {tensor.end:,} of a storage that has {held:,}")
        return self

    def tensors(self) -> Iterator[tuple[str, TensorArgument]]:
        """(path, tensor) of each tensor that is passed."""
        for name, argument in self.arguments.items():
            yield from argument.tensors(name)


class Observed(Part):
    launch: str
    values: dict[str, Values] = Field(default_factory=dict)
    values_after: bool = False
    no_values: str = ""
    writes: dict[str, list[str]] | None = None
    changed: list[str] = Field(default_factory=list)
    incomplete: str = ""


class Counts(Part):
    process: str
    launches: dict[str, Size]
    ms: dict[str, list[Milliseconds]]
    at: Number = 0.0
    torch_assembler: bool = False


class Unseen(Part):
    process: str = ""
    launches: list[Annotated[tuple[str, str, Size], Strict(False)]]
    at: Number = 0.0


class Note(Part):
    text: str


class Process(Part):
    pid: Size | None = None
    parent: Size | None = None
    argv: list[str] = Field(default_factory=list)
    rank: str | None = None
    python: str = ""
    at: Number = 0.0


class Program(Part):
    """The part with which each program begins."""

    command: list[str] = Field(default_factory=list)
