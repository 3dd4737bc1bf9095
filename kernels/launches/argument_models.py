"""One launch's arguments by name, as plain data that survives JSON.

A captured launch and a kernel that is described by hand (:class:`kernels.launches.described.DescribedKernel`) both
give a ``dict[str, Argument]``, in the order of the kernel's parameters; :mod:`kernels.launches.drawn` makes live
tensors of it. Memory is described apart from its views: tensors that name one ``storage`` share it, so an alias stays
an alias and an output may lie inside an input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Protocol

from pydantic import Field, TypeAdapter, model_validator

from memory.shared_models import Closed

Role = Literal["in", "out", "inout", "scratch"]
"""``in``: read alone. ``out``: written whole, verified. ``inout``: read and written in place, verified. ``scratch``:
written, and nobody reads it after the launch."""


class Values(Closed):
    """How the contents of a tensor or a scalar are drawn, anew for every phase."""

    draw: Literal["normal", "uniform", "integers", "permutation", "sorted", "offsets", "constant", "given"] = "normal"
    """``normal``: times `scale`, plus `low`. ``uniform``: in [low, high). ``integers``: low … high, both included.
    ``permutation``: low, low + 1, …, shuffled. ``sorted``: integers in rising order. ``offsets``: rising, from `low`
    to `high`, as the row starts of ragged batches. ``constant``: `low`. ``given``: `numbers`."""
    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0
    numbers: tuple[float, ...] = ()
    """Row-major, as many as the tensor has elements."""


class TensorArgument(Closed):
    """A view of a storage. Strides and offset count elements."""

    kind: Literal["tensor"] = "tensor"
    shape: tuple[int, ...]
    dtype: str = "fp16"
    """``fp16``, ``bf16``, ``fp32``, or PyTorch's own name."""
    stride: tuple[int, ...] | None = None
    """``None``: contiguous. 0 along a dimension that is expanded."""
    offset: int = Field(0, ge=0)
    storage: str = ""
    """Name of the memory that this is a view of; empty: memory of its own."""
    role: Role = "in"
    values: Values = Values()
    unwritten: bool = False
    """The kernel leaves some elements as they are: those that the reference gives as NaN are not compared."""

    @model_validator(mode="after")
    def _one_stride_a_dimension(self) -> TensorArgument:
        if self.stride is not None and len(self.stride) != len(self.shape):
            raise ValueError(f"a tensor of shape {self.shape} has strides {self.stride}: give one a dimension")
        if min((*self.shape, *(self.stride or ())), default=0) < 0:
            raise ValueError("shapes and strides must not be negative")
        return self

    def strides(self) -> tuple[int, ...]:
        """As given, or those of a contiguous tensor."""
        if self.stride is not None:
            return self.stride
        found, step = [], 1
        for size in reversed(self.shape):
            found.append(step)
            step *= max(size, 1)
        return tuple(reversed(found))

    def extent(self) -> int:
        """Elements of the storage up to the end of this view."""
        if 0 in self.shape:
            return self.offset
        return self.offset + 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides(), strict=True))


class ScalarArgument(Closed):
    """A number, bool, string or None that is passed as it is; also a fixed constexpr."""

    kind: Literal["scalar"] = "scalar"
    value: bool | int | float | str | None


class SeedArgument(Closed):
    """The seed of a random kernel. It is drawn anew; equal seeds must give equal numbers, whatever the config."""

    kind: Literal["seed"] = "seed"
    high: int = 2**31 - 1


class TupleArgument(Closed):
    """A tuple argument, nested if need be."""

    kind: Literal["tuple"] = "tuple"
    items: tuple[Argument, ...]


class DescriptorArgument(Closed):
    """A host tensor descriptor over `base`. A hook or the config may change its block shape."""

    kind: Literal["descriptor"] = "descriptor"
    base: TensorArgument
    block_shape: tuple[int | str, ...]
    """Numbers, or names of the config's values."""
    padding: Literal["zero", "nan"] = "zero"


class PointerTableArgument(Closed):
    """An int64 tensor of the addresses of other tensors, which belong to the launch as well."""

    kind: Literal["pointers"] = "pointers"
    items: tuple[TensorArgument, ...]


class FunctionArgument(Closed):
    """A JIT function that is passed as a constexpr."""

    kind: Literal["function"] = "function"
    name: str
    """``module:qualified.name``."""


Argument = Annotated[
    TensorArgument
    | ScalarArgument
    | SeedArgument
    | TupleArgument
    | DescriptorArgument
    | PointerTableArgument
    | FunctionArgument,
    Field(discriminator="kind"),
]
TupleArgument.model_rebuild()

Arguments = dict[str, Argument]
"""By parameter name, in the kernel's order."""
ARGUMENTS: TypeAdapter[Arguments] = TypeAdapter(Arguments)
"""To and from JSON: ``ARGUMENTS.dump_python(arguments, mode="json")``, ``ARGUMENTS.validate_python(found)``."""


class Described(Protocol):
    """Who can say what a launch is given: a kernel described by hand, or a captured launch."""

    def described(self) -> Mapping[str, Argument]: ...


def tensors(arguments: Mapping[str, Argument]) -> Iterator[tuple[str, TensorArgument]]:
    """Every tensor with its path: ``x``, ``pair.0``, ``table.3``; a descriptor's base has the descriptor's name."""
    for name, argument in arguments.items():
        yield from _tensors(name, argument)


def _tensors(path: str, argument: Argument) -> Iterator[tuple[str, TensorArgument]]:
    match argument:
        case TensorArgument():
            yield path, argument
        case DescriptorArgument():
            yield path, argument.base
        case TupleArgument() | PointerTableArgument():
            for i, item in enumerate(argument.items):
                yield from _tensors(f"{path}.{i}", item)
