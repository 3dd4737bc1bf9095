"""Makes the arguments of a captured launch anew, seeded, from what the file holds of their values.

Numbers are drawn by :mod:`kernels.capture.reading.drawn_values`, floats in the argument's own dtype, so that the same
numbers can be raised to float64. Arguments that shared memory share it again.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kernels.capture.capture_file import Json
from kernels.capture.describing.captured_arguments import ITEM_BYTES
from kernels.capture.describing.plain_classes import make_member, make_record
from kernels.capture.reading.captured_launches import CapturedLaunch, elements, tensors_of
from kernels.capture.reading.drawn_values import Drawer
from kernels.capture.reading.rebuilt_functions import CannotRebuild

FLOATS = ("float64", "float32", "float16", "bfloat16")
PAD_BYTES = 64
"""Torch aligns storages on the CPU to this; an argument that was not aligned to 16 bytes is moved by its remainder."""


@dataclass
class Rebuilt:
    """Arguments of a launch."""

    arguments: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    """Every tensor by its path (``x``, ``pair.0``, ``desc.base``)."""
    options: dict[str, Any]
    """Launch options that were passed."""


def rebuild_arguments(
    launch: CapturedLaunch,
    seed: int,
    function: Callable[[str], Any],
    device: str = "cpu",
    raised: bool = False,
    damped: int = 0,
) -> Rebuilt:
    """`function` makes a Triton function of the digest of its part. With `raised`, tensors of floats are float64 and
    hold the same numbers. Drawn floats are ``STEP ** -damped`` times as large as the program's. Equal seeds make equal
    arguments on every device. Raises CannotRebuild."""
    tensors = rebuild_tensors(launch, torch.Generator().manual_seed(seed), device, raised, damped=damped)
    return Rebuilt(passed_arguments(launch.arguments, tensors, function), tensors, dict(launch.options))


def rebuild_tensors(
    launch: CapturedLaunch,
    generator: torch.Generator | None,
    device: str,
    raised: bool = False,
    without: Collection[str] = (),
    damped: int = 0,
) -> dict[str, torch.Tensor]:
    """The tensors by path, but for those at the paths `without`. Numbers are drawn where `generator` is; without one,
    as on ``meta``, memory is left as it is. Raises CannotRebuild."""
    wanted = {path: t for path, t in described_tensors(launch) if path not in without}
    used = {t["storage"] for t in wanted.values()}
    storages = {i: _storage(launch, i, device, raised) for i in range(len(launch.storages)) if i in used}
    maker = _Maker(launch, storages, generator, raised, damped)
    return {path: maker.tensor(path, described) for path, described in wanted.items()}


def described_tensors(launch: CapturedLaunch) -> Iterator[tuple[str, Json]]:
    """(path, description) of every tensor: ``x``, ``pair.0``, ``desc.base``."""
    for name, argument in launch.arguments.items():
        yield from _tensors_at(name, argument)


def _tensors_at(path: str, argument: Json) -> Iterator[tuple[str, Json]]:
    if argument["type"] == "tensor":
        yield path, argument
    elif argument["type"] == "descriptor":
        yield from _tensors_at(f"{path}.base", argument["base"])
    for i, item in enumerate(argument.get("items", ())):
        yield from _tensors_at(f"{path}.{i}", item)


def passed_arguments(
    arguments: Mapping[str, Json], tensors: Mapping[str, torch.Tensor], function: Callable[[str], Any]
) -> dict[str, Any]:
    """What the kernel is passed, by name, made of the tensors at their paths. Raises CannotRebuild."""
    return {n: _passed(n, a, tensors, function) for n, a in arguments.items()}


def _passed(path: str, argument: Json, tensors: Mapping[str, torch.Tensor], function: Callable[[str], Any]) -> Any:
    match argument["type"]:
        case "none":
            return None
        case "int" | "bool" | "str":
            if "value" not in argument:
                return 7  # a number that varied with every launch: a seed or a step
            return argument["value"]
        case "float":
            return float(argument["value"])
        case "dtype" | "torch_dtype":
            return _dtype(argument["name"])
        case "member":
            return make_member(argument)
        case "record":
            values = [_passed(f"{path}.{i}", x, tensors, function) for i, x in enumerate(argument["items"])]
            return make_record(argument, values)
        case "function":
            return function(argument["function"])
        case "tuple":
            items = [_passed(f"{path}.{i}", x, tensors, function) for i, x in enumerate(argument["items"])]
            if "fields" in argument:
                from collections import namedtuple

                return namedtuple("captured", argument["fields"])(*items)
            return tuple(items)
        case "tensor" if "passed_as" in argument:
            import triton

            return triton.reinterpret(tensors[path], _dtype(argument["passed_as"]))
        case "tensor":
            return tensors[path]
        case "descriptor":
            from triton.tools.tensor_descriptor import TensorDescriptor

            shape, strides, block = argument["shape"], argument["strides"], argument["block_shape"]
            base = _passed(f"{path}.base", argument["base"], tensors, function)
            return TensorDescriptor(base, shape, strides, list(block), argument["padding"])
    raise CannotRebuild(f"{path} is {_unknown(argument)}")


def _dtype(name: str) -> Any:
    """PyTorch's dtype ``torch.float16``, or Triton's ``fp16``."""
    if name.startswith("torch."):
        found = getattr(torch, name.removeprefix("torch."), None)
        if not isinstance(found, torch.dtype):
            raise CannotRebuild(f"this version of PyTorch has no {name}")
        return found
    import triton.language as tl

    return tl.dtype(name)


def refuse_unknown(launch: CapturedLaunch) -> None:
    """Raises CannotRebuild for an argument that no values can make anew."""
    todo = [*launch.arguments.items()]
    for path, argument in todo:
        if argument["type"] in ("unknown", "reinterpreted"):
            raise CannotRebuild(f"{path} is {_unknown(argument)}")
        todo += [(f"{path}.{i}", item) for i, item in enumerate(argument.get("items", ()))]
        todo += [(f"{path}.base", argument["base"])] if argument["type"] == "descriptor" else []


def _unknown(argument: Json) -> str:
    if argument["type"] == "reinterpreted":
        return f"triton.reinterpret of a tensor, as {argument['dtype']}, of which no values are known"
    kind = argument.get("class", argument["type"])
    if kind == "builtins.int":
        return f"{argument['name']}, and a capture holds whole numbers of at most 64 bits"
    if "name" in argument:
        return f"{argument['name']}, and a capture does not hold what its class {kind} computes"
    return f"a {kind}, which a capture does not hold"


def raised_bytes(launch: CapturedLaunch) -> int:
    """Bytes of all arguments when their floats are float64."""
    total = 0
    for number, storage in enumerate(launch.storages):
        dtypes = {v["dtype"] for v in _views(launch, number)}
        narrowest = min((ITEM_BYTES[d] for d in dtypes if _is_raised(d)), default=8)
        total += storage["bytes"] * 8 // narrowest
    return total


def _is_raised(dtype: str) -> bool:
    return dtype in FLOATS or dtype.startswith("float8")


def _views(launch: CapturedLaunch, storage: int) -> list[Json]:
    return [t for a in launch.arguments.values() for t in tensors_of(a) if t["storage"] == storage]


def _storage(launch: CapturedLaunch, number: int, device: str, raised: bool) -> torch.Tensor:
    """Memory for a storage, zeroed, as a tensor of bytes; of float64 elements where it holds floats that are raised."""
    size = launch.storages[number]["bytes"]
    dtypes = {v["dtype"] for v in _views(launch, number)}
    if raised and any(map(_is_raised, dtypes)):
        if len(dtypes) > 1:
            raise CannotRebuild(f"one memory is used as {' and '.join(sorted(dtypes))}, which float64 cannot stand for")
        count = size // ITEM_BYTES[next(iter(dtypes))]
        return torch.zeros(count, dtype=torch.float64, device=device)
    aligned = min((v["alignment"] for v in _views(launch, number)), default=16)
    whole = torch.zeros(size + PAD_BYTES, dtype=torch.uint8, device=device)
    return whole[aligned % 16 :] if aligned < 16 and not any(v["offset"] for v in _views(launch, number)) else whole


class _Maker:
    def __init__(
        self,
        launch: CapturedLaunch,
        storages: Mapping[int, torch.Tensor],
        generator: torch.Generator | None,
        raised: bool,
        damped: int,
    ) -> None:
        self._storages, self._raised = storages, raised
        values = launch.observed.get("values", {})
        shapes = {p: _once(t["shape"], t["stride"]) for p, t in described_tensors(launch)}
        self._values = values
        self._drawer = Drawer(values, shapes, generator, damped) if generator is not None else None

    def tensor(self, path: str, described: Json) -> torch.Tensor:
        storage = self._storages[described["storage"]]
        dtype = getattr(torch, described["dtype"])
        raised = storage.dtype == torch.float64 and self._raised and dtype.is_floating_point
        typed = storage if raised else storage[: storage.numel() // dtype.itemsize * dtype.itemsize].view(dtype)
        # A storage that was not aligned lies a few bytes into its memory, and as_strided counts from there.
        offset = described["offset"] + typed.storage_offset()
        view = torch.as_strided(typed, described["shape"], described["stride"], offset)
        if self._drawer is not None and view.numel():
            # An expanded view has fewer places than elements: each place gets one of its numbers.
            places = view[_first(described["stride"])]
            places.copy_(self._numbers(path, described, dtype, typed.device).to(places.dtype).reshape(places.shape))
        return view

    def _numbers(self, path: str, described: Json, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        assert self._drawer is not None
        known = self._values.get(path, {})
        if "whole" not in known:
            return self._drawer.numbers(path, dtype, device)
        try:
            raw = bytearray(zlib.decompress(base64.b64decode(known["whole"], validate=True)))
        except (ValueError, zlib.error) as e:
            raise CannotRebuild(f"the values of {path} in the capture cannot be unpacked ({e})") from e
        if len(raw) != elements(described["shape"]) * dtype.itemsize:
            raise CannotRebuild(f"the values of {path} in the capture are not as many as the tensor has elements")
        return torch.frombuffer(raw, dtype=dtype).reshape(described["shape"])[_first(described["stride"])]


def _once(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The shape of an expanded tensor's places in memory: 1 in place of a dimension of stride 0."""
    return [n if step else min(n, 1) for n, step in zip(shape, strides, strict=True)]


def _first(strides: list[int]) -> tuple[Any, ...]:
    return tuple(slice(0, 1) if s == 0 else slice(None) for s in strides)
