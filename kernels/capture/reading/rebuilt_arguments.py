"""Makes the arguments of a captured launch anew, seeded, from what the file holds of their values.

Floats are drawn from the captured distribution, in the argument's own dtype, so that the same numbers can be raised to
float64. Integers keep range and order, and marks among them (-100 for a label that is ignored) stay marks. Where
neither is known nothing is made up: an index out of its range would read another's memory. Arguments that shared memory
share it again.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kernels.capture.capture_file import Json
from kernels.capture.describing.captured_arguments import ITEM_BYTES
from kernels.capture.describing.plain_classes import make_member, make_record
from kernels.capture.describing.values import QUANTILES
from kernels.capture.reading.captured_launches import CapturedLaunch, tensors_of
from kernels.capture.reading.rebuilt_functions import CannotRebuild

FLOATS = ("float64", "float32", "float16", "bfloat16")
DRAWN = 1_048_573
"""Floats that are drawn for one tensor; a larger one repeats them. To draw billions would take longer than to tune. A
prime, so that rows and blocks do not repeat."""
STEP = 4.0
"""By which drawn floats are damped once. A program's tensors belong together (a product's factors are normalised, a
state decays): drawn one by one from their distributions, they may make a recurrence overflow."""
SPAN = 16
"""Times as many numbers as are drawn are listed to draw them without repetition."""
MAX_INT64 = 2**63 - 1
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
    return Rebuilt(passed_arguments(launch, tensors, function), tensors, dict(launch.options))


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
    maker = _Maker(launch.observed.get("values", {}), storages, generator, raised, damped)
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
    launch: CapturedLaunch, tensors: Mapping[str, torch.Tensor], function: Callable[[str], Any]
) -> dict[str, Any]:
    """What the kernel is passed, by name, made of the tensors at their paths. Raises CannotRebuild."""
    return {n: _passed(n, a, tensors, function) for n, a in launch.arguments.items()}


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
        return getattr(torch, name.removeprefix("torch."))
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
    if "name" in argument:
        return f"{argument['name']}, and a capture does not hold what its class {kind} computes"
    return f"a {kind}, which a capture does not hold"


def _views(launch: CapturedLaunch, storage: int) -> list[Json]:
    return [t for a in launch.arguments.values() for t in tensors_of(a) if t["storage"] == storage]


def _storage(launch: CapturedLaunch, number: int, device: str, raised: bool) -> torch.Tensor:
    """Memory for a storage, zeroed, as a tensor of bytes; of float64 elements where it holds floats that are raised."""
    size = launch.storages[number]["bytes"]
    dtypes = {v["dtype"] for v in _views(launch, number)}
    if (raised and dtypes & {*FLOATS}) or (raised and any(d.startswith("float8") for d in dtypes)):
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
        values: Mapping[str, Json],
        storages: Mapping[int, torch.Tensor],
        generator: torch.Generator | None,
        raised: bool,
        damped: int,
    ) -> None:
        self._factor = STEP**-damped
        self._values, self._storages, self._raised = values, storages, raised
        self._draws = generator is not None
        self._random: dict[str, Any] = {"generator": generator, "device": generator.device if generator else "cpu"}

    def tensor(self, path: str, described: Json) -> torch.Tensor:
        storage = self._storages[described["storage"]]
        dtype = getattr(torch, described["dtype"])
        raised = storage.dtype == torch.float64 and self._raised and dtype.is_floating_point
        typed = storage if raised else storage[: storage.numel() // dtype.itemsize * dtype.itemsize].view(dtype)
        # A storage that was not aligned lies a few bytes into its memory, and as_strided counts from there.
        offset = described["offset"] + typed.storage_offset()
        view = torch.as_strided(typed, described["shape"], described["stride"], offset)
        numbers = self._numbers(path, described, dtype, typed.device) if self._draws else None
        if numbers is not None and view.numel():
            # An expanded view has fewer places than elements: each place gets one of its numbers.
            places = _places(view, described["stride"])
            chosen = numbers.reshape(described["shape"])[_first(described["stride"])]
            places.copy_(chosen.to(places.dtype))
        return view

    def _numbers(self, path: str, described: Json, dtype: torch.dtype, device: torch.device) -> torch.Tensor | None:
        """Numbers for all elements, in the argument's dtype. Repeated ones are repeated on `device`: to do so here and
        copy all of them takes ten times as long."""
        count = 1
        for n in described["shape"]:
            count *= n
        known = self._values.get(path)
        if count == 0:
            return None
        if known is not None and "whole" in known:
            raw = bytearray(zlib.decompress(base64.b64decode(known["whole"])))
            return torch.frombuffer(raw, dtype=dtype)
        if dtype.is_floating_point:
            block = self._floats(known, min(count, DRAWN)).to(dtype).to(device)
            return block if count <= DRAWN else block.repeat(-(-count // DRAWN))[:count]
        if dtype == torch.bool:
            share = known["true"] if known else 0.5
            return torch.rand(count, **self._random) < share
        if known is None:
            raise CannotRebuild(f"the capture holds no range of the integers in {path}: capture it without --no-values")
        if known["kind"] == "addresses":
            raise CannotRebuild(f"{path} holds addresses, and a capture does not hold what they point to")
        return self._integers(known, count).to(dtype)

    def _floats(self, known: Json | None, count: int) -> torch.Tensor:
        if known is None:
            return torch.randn(count, **self._random) * self._factor
        if "all" in known and len(known["all"]) == count:
            return torch.tensor([float(x) for x in known["all"]], dtype=torch.float64)
        drawn = torch.rand(count, dtype=torch.float64, **self._random)
        if "quantiles" in known:
            drawn = _interpolated(drawn, known["quantiles"])
        drawn *= self._factor
        chance = torch.rand(count, **self._random)
        drawn[chance < known["zero"]] = 0.0
        drawn[chance > 1 - known["inf"]] = float("inf")
        drawn[chance > 1 - known.get("minus_inf", 0.0)] = -float("inf")  # they are among the infinite ones
        drawn[chance > 1 - known["nan"]] = float("nan")
        return drawn

    def _integers(self, known: Json, count: int) -> torch.Tensor:
        low, high, device = known["min"], known["max"], self._random["device"]
        # Differences beyond 64 bits have wrapped around: they say nothing of the order.
        if known["steps"] is not None and known["steps"][0] == known["steps"][1] and high - low <= MAX_INT64:
            step = known["steps"][0]
            return (low if step >= 0 else high) + torch.arange(count, device=device) * step
        marks, others = self._marks(known, count), known.get("others", [low, high])
        free = count - len(marks)
        drawn = marks[:0]
        if others:
            first, last = others
            unique = known["distinct"] == known["of"] == count and last - first + 1 >= free
            drawn = self._unique(first, last, free) if unique else self._uniform(first, last, free)
        if len(marks):
            drawn = torch.cat([marks, drawn])[torch.randperm(count, **self._random)]
        if known["rises"]:
            drawn = drawn.sort().values
            drawn[0], drawn[-1] = low, high
        return drawn

    def _uniform(self, low: int, high: int, count: int) -> torch.Tensor:
        """Whole numbers from `low` to `high`, both of 64 bits."""
        drawn = torch.empty(count, dtype=torch.int64, device=self._random["device"])
        end = None if high == MAX_INT64 else high + 1  # `random_` excludes the end, and None is one beyond 64 bits
        return drawn.random_(low, end, generator=self._random["generator"])

    def _unique(self, low: int, high: int, count: int) -> torch.Tensor:
        """The same, and no number stands twice."""
        span = high - low + 1
        if span <= SPAN * count:
            return low + torch.randperm(span, **self._random)[:count]
        # Identifiers or hashes: one of each of `count` equal parts of the range, which need not be listed.
        part = min(span // count, MAX_INT64)
        first = torch.arange(count, device=self._random["device"]) * part
        return (low + first + self._uniform(0, part - 1, count))[torch.randperm(count, **self._random)]

    def _marks(self, known: Json, count: int) -> torch.Tensor:
        """Each mark as often as it was seen, at least once; `count` of them if there was nothing else."""
        marks = torch.tensor(known.get("marks", ()), dtype=torch.int64, device=self._random["device"]).reshape(-1, 2)
        times = (marks[:, 1] * count / known["of"]).round().long().clamp(min=1)
        found = marks[:, 0].repeat_interleave(times)[:count]
        if known.get("others", ()) is None:
            found = found.repeat(-(-count // len(found)))[:count]
        return found


def _interpolated(uniform: torch.Tensor, quantiles: list[float]) -> torch.Tensor:
    points = torch.tensor(QUANTILES, dtype=uniform.dtype, device=uniform.device)
    heights = torch.tensor(quantiles, dtype=uniform.dtype, device=uniform.device)
    right = torch.searchsorted(points, uniform).clamp(1, len(points) - 1)
    share = (uniform - points[right - 1]) / (points[right] - points[right - 1])
    return heights[right - 1] + share * (heights[right] - heights[right - 1])


def _first(strides: list[int]) -> tuple[Any, ...]:
    return tuple(slice(0, 1) if s == 0 else slice(None) for s in strides)


def _places(view: torch.Tensor, strides: list[int]) -> torch.Tensor:
    return view[_first(strides)]
