"""A captured launch's arguments in the words of :mod:`kernels.launches.argument_models`.

What the launch writes is ``inout``: a capture does not tell whether a kernel that stores to a tensor also reads it, and
contents that are drawn suit both. A whole number that varied from launch to launch is a seed. Distributions become the
nearest of those words; :mod:`kernels.capture.reading.rebuilt_arguments` draws from the captured quantiles themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from kernels.capture.capture_file import Json
from kernels.capture.reading.captured_launches import CapturedLaunch, elements
from kernels.capture.reading.rebuilt_functions import CannotRebuild
from kernels.launches.argument_models import (
    Argument,
    Arguments,
    DescriptorArgument,
    FunctionArgument,
    Role,
    ScalarArgument,
    SeedArgument,
    TensorArgument,
    TupleArgument,
    Values,
)

SHORT = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}


def described_arguments(launch: CapturedLaunch, functions: Mapping[str, Json]) -> Arguments:
    """Every argument by name. `functions`: the parts of the capture. Raises CannotRebuild if one cannot be described,
    or if nothing is known of what the launch writes."""
    if launch.writes is None or "?" in launch.writes:
        raise CannotRebuild(f"it is not known which arguments {launch.name} writes")
    shared = [t["storage"] for t in _tensors(launch)]
    maker = _Maker(launch, functions, {s for s in shared if shared.count(s) > 1})
    return {n: maker.argument(n, a, "inout" if n in launch.writes else "in") for n, a in launch.arguments.items()}


def _tensors(launch: CapturedLaunch) -> list[Json]:
    from kernels.capture.reading.captured_launches import tensors_of

    return [t for a in launch.arguments.values() for t in tensors_of(a)]


class _Maker:
    def __init__(self, launch: CapturedLaunch, functions: Mapping[str, Json], shared: set[int]) -> None:
        self._values: Mapping[str, Json] = launch.observed.get("values", {})
        self._functions, self._shared = functions, shared

    def argument(self, path: str, argument: Json, role: Role) -> Argument:
        match argument["type"]:
            case "tensor":
                return self._tensor(path, argument, role)
            case "none":
                return ScalarArgument(value=None)
            case "int" if "value" not in argument:
                return SeedArgument()
            case "int" | "bool" | "str":
                return ScalarArgument(value=argument["value"])
            case "float":
                return ScalarArgument(value=float(argument["value"]))
            case "tuple":
                items = enumerate(argument["items"])
                return TupleArgument(items=tuple(self.argument(f"{path}.{i}", x, role) for i, x in items))
            case "descriptor":
                padding = "nan" if "nan" in argument["padding"].lower() else "zero"
                base = self._tensor(f"{path}.base", argument["base"], role)
                return DescriptorArgument(base=base, block_shape=tuple(argument["block_shape"]), padding=padding)
            case "function":
                part = self._functions[argument["function"]]
                if part["importable"]:
                    return FunctionArgument(name=f"{part['module']}:{part['qualname']}")
        raise CannotRebuild(f"{path} is a {argument.get('class', argument['type'])}, which has no description")

    def _tensor(self, path: str, tensor: Json, role: Role) -> TensorArgument:
        return TensorArgument(
            shape=tuple(tensor["shape"]),
            dtype=SHORT.get(tensor["dtype"], tensor["dtype"]),
            stride=tuple(tensor["stride"]),
            offset=tensor["offset"],
            storage=f"storage {tensor['storage']}" if tensor["storage"] in self._shared else "",
            role=role,
            values=self._drawn(path, tensor),
        )

    def _drawn(self, path: str, tensor: Json) -> Values:
        known = self._values.get(path)
        if known is None:
            if "float" in tensor["dtype"]:
                return Values()
            raise CannotRebuild(f"the capture holds no range of the integers in {path}: capture it without --no-values")
        match known.get("kind"):
            case "float":
                return _floats(known, elements(tensor["shape"]))
            case "int":
                return _integers(known, elements(tensor["shape"]))
            case "bool":
                return Values(draw="integers", low=0, high=1)
            case "addresses":
                raise CannotRebuild(f"{path} holds addresses, and a capture does not hold what they point to")
        return Values()  # no elements


def _floats(known: Json, count: int) -> Values:
    if "all" in known and len(known["all"]) == count:
        numbers = tuple(float(x) for x in known["all"])
        if all(map(math.isfinite, numbers)):
            return Values(draw="given", numbers=numbers)
    if "std" not in known:
        return Values()
    if known["std"] == 0:
        return Values(draw="constant", low=known["mean"])
    return Values(draw="normal", scale=known["std"], low=known["mean"])


def _integers(known: Json, count: int) -> Values:
    # A description has no words for marks (-1, -100): numbers between them and the others may be no indices at all.
    low, high = known.get("others") or (known["min"], known["min"] if "marks" in known else known["max"])
    if low == high:
        return Values(draw="constant", low=low)
    if known["rises"] and "marks" not in known:
        return Values(draw="offsets", low=low, high=high)
    if known["distinct"] == known["of"] == count == high - low + 1:
        return Values(draw="permutation", low=low)
    return Values(draw="integers", low=low, high=high)
