"""Makes live arguments of a description: memory, contents, views.

Contents depend on the generator alone; on ``meta`` there are none. Memory of which only outputs and scratch are views
is left as it was allocated.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch

from kernels.launches.argument_models import (
    Argument,
    DescriptorArgument,
    FunctionArgument,
    PointerTableArgument,
    ScalarArgument,
    SeedArgument,
    TensorArgument,
    TupleArgument,
    Values,
    tensors,
)
from kernels.launches.leaves import PointerTable
from kernels.spec import DTYPES

Drawn = tuple[dict[str, Any], dict[str, Any]]
"""Arguments by name: those given, and those with nothing but outputs and scratch in memory of their own."""


def torch_dtype(name: str) -> torch.dtype:
    """Raises ValueError for a name that PyTorch does not have."""
    found = getattr(torch, DTYPES.get(name, name), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"PyTorch has no dtype {name!r}: use {', '.join(DTYPES)} or PyTorch's own name, e.g. int32")
    return found


def draw(arguments: Mapping[str, Argument], generator: torch.Generator | None, device: str) -> Drawn:
    """Live values of the arguments that are not fixed. A descriptor is its base tensor here: :func:`passed` makes
    descriptors, and knows what is fixed."""
    storages = _storages(arguments, generator, device)
    free = {n: a for n, a in arguments.items() if not isinstance(a, ScalarArgument | FunctionArgument)}
    made = {name: _live(name, argument, storages, generator) for name, argument in free.items()}
    written = set(separate_outputs(arguments))
    return {n: v for n, v in made.items() if n not in written}, {n: v for n, v in made.items() if n in written}


def outputs(arguments: Mapping[str, Argument], device: str) -> dict[str, Any]:
    """Uninitialised memory for the arguments that are outputs or scratch in memory of their own."""
    own = {n: arguments[n] for n in separate_outputs(arguments)}
    storages = _storages(own, None, device)
    return {name: _live(name, argument, storages, None) for name, argument in own.items()}


def separate_outputs(arguments: Mapping[str, Argument]) -> list[str]:
    """Names of the arguments whose tensors are all outputs or scratch, in memory that no other argument uses."""
    users: dict[str, set[str]] = {}
    for path, tensor in tensors(arguments):
        users.setdefault(tensor.storage or path, set()).add(path.partition(".")[0])
    found = []
    for name, argument in arguments.items():
        own = list(tensors({name: argument}))
        apart = all(t.role in ("out", "scratch") and users[t.storage or p] == {name} for p, t in own)
        if own and apart and not isinstance(argument, PointerTableArgument):
            found.append(name)
    return found


def written_paths(arguments: Mapping[str, Argument], roles: tuple[str, ...] = ("out", "inout")) -> list[str]:
    """Paths of the tensors of these roles."""
    return [path for path, tensor in tensors(arguments) if tensor.role in roles]


def passed(name: str, argument: Argument, live: Any, meta: Mapping[str, Any]) -> Any:
    """What the kernel is passed for `argument`, made of its live value and the config's values `meta`."""
    match argument:
        case DescriptorArgument():
            from triton.tools.tensor_descriptor import TensorDescriptor

            unknown = [b for b in argument.block_shape if isinstance(b, str) and b not in meta]
            if unknown:
                raise ValueError(f"the block shape of {name} names {unknown[0]}, which the config has not")
            block = [b if isinstance(b, int) else meta[b] for b in argument.block_shape]
            return TensorDescriptor.from_tensor(live, block, argument.padding)
        case PointerTableArgument():
            return live.addresses
        case ScalarArgument():
            return argument.value
        case FunctionArgument():
            return _function(argument.name)
        case TupleArgument():
            pairs = zip(argument.items, live, strict=True)
            return tuple(passed(f"{name}.{i}", a, v, meta) for i, (a, v) in enumerate(pairs))
    return live


def _storages(arguments: Mapping[str, Argument], generator: Any, device: str) -> dict[str, torch.Tensor]:
    """The memory of all tensors, flat, by storage. One that is read is filled by the first tensor that reads it."""
    views: dict[str, list[TensorArgument]] = {}
    for path, tensor in tensors(arguments):
        views.setdefault(tensor.storage or path, []).append(tensor)
    made = {}
    for name, users in views.items():
        kinds = {u.dtype for u in users}
        if len(kinds) > 1:
            raise ValueError(f"the storage {name} is viewed as {' and '.join(sorted(kinds))}: give it one dtype")
        dtype, size = torch_dtype(users[0].dtype), max(u.extent() for u in users)
        first = next((u for u in users if u.role in ("in", "inout")), None)
        if first is None or device == "meta":
            made[name] = torch.empty(size, dtype=dtype, device=device)
        else:
            made[name] = drawn_values(first.values, (size,), dtype, generator, device)
    return made


def _live(path: str, argument: Argument, storages: Mapping[str, torch.Tensor], generator: Any) -> Any:
    match argument:
        case TensorArgument():
            flat = storages[argument.storage or path]
            return flat.as_strided(argument.shape, argument.strides(), argument.offset)
        case DescriptorArgument():
            return _live(path, argument.base, storages, generator)
        case PointerTableArgument():
            return PointerTable(_live(f"{path}.{i}", a, storages, generator) for i, a in enumerate(argument.items))
        case TupleArgument():
            return tuple(_live(f"{path}.{i}", a, storages, generator) for i, a in enumerate(argument.items))
        case SeedArgument():
            return 0 if generator is None else _integer(argument.high, generator)
        case ScalarArgument():
            return argument.value
        case FunctionArgument():
            return _function(argument.name)


def _function(reference: str) -> Any:
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _integer(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(0, high + 1, (), generator=generator, device=generator.device))


def drawn_values(
    values: Values, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator | None, device: str
) -> torch.Tensor:
    """A contiguous tensor with contents as `values` says. Raises ValueError for what the dtype cannot hold."""
    count, low, high = torch.Size(shape).numel(), values.low, values.high
    where: dict[str, Any] = {"generator": generator, "device": device}
    match values.draw:
        case "normal" if dtype.is_floating_point:
            return torch.randn(shape, **where).mul_(values.scale).add_(low).to(dtype)
        case "normal":
            raise ValueError(f"{dtype} takes no normal numbers: say how its values are drawn, e.g. integers")
        case "uniform":
            return torch.rand(shape, **where).mul_(high - low).add_(low).to(dtype)
        case "integers":
            return torch.randint(int(low), int(high) + 1, shape, **where).to(dtype)
        case "permutation":
            return (torch.randperm(count, **where) + int(low)).to(dtype).reshape(shape)
        case "sorted":
            return torch.randint(int(low), int(high) + 1, (count,), **where).sort().values.to(dtype).reshape(shape)
        case "offsets":
            inner = torch.randint(int(low), int(high) + 1, (max(count - 2, 0),), **where).sort().values
            ends = [torch.tensor([int(x)], device=device) for x in (low, high)]
            return torch.cat([ends[0], inner, ends[1]])[:count].to(dtype).reshape(shape)
        case "constant":
            return torch.full(shape, low, dtype=dtype, device=device)
        case "given":
            if len(values.numbers) != count:
                raise ValueError(f"{len(values.numbers)} numbers are given for {count} elements")
            return torch.tensor(values.numbers, dtype=torch.float64, device=device).to(dtype).reshape(shape)
