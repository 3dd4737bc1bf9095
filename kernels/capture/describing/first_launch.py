"""Describes the first launch of a key: what is there before it, what it was, what it changed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graphs_in_progress import in_progress
from ..launch_key import KeyMaker
from ..structure.related_tensors import relate
from .captured_arguments import ITEM_BYTES, Storages, describe_argument
from .decorators import describe_chain, describe_config, describe_options, set_by_heuristics
from .device_closure import Keep, describe_function, python_function
from .interpreted_stores import InterpretedStores
from .launch_grid import Probe, describe_grid
from .program_modes import without_modes
from .surroundings import describe_device
from .values import Sums, changed_tensors, extent, memory_sums, places, summarise
from .writes import written_arguments

Json = dict[str, Any]


@dataclass
class Before:
    """Arguments and values before a launch, which may overwrite them."""

    arguments: dict[str, Json]
    storages: Storages
    kept: Json = field(default_factory=dict)
    """``values`` of tensors by path, or why there are none."""
    sums: Sums | None = None
    stores: InterpretedStores | None = None
    """Of an interpreted launch. None for a compiled one, whose code shows what it writes."""

    def is_late(self) -> None:
        """The launch is over already: what was looked at is what it left."""
        self.sums = self.stores = None
        if "values" in self.kept:
            self.kept["values_after"] = True


@without_modes()
def look_before(function: Any, maker: KeyMaker, args: Any, kwargs: Json, values: str, keep: Keep) -> Before:
    """Describe the arguments. `values`: ``no``, ``summary`` or ``whole``. Raises ValueError if a tensor is none that a
    kernel can read."""
    storages = Storages()

    def described(name: str, value: Any) -> Json:
        return describe_argument(name, value, storages, lambda f: describe_function(f, keep))

    before = Before({n: described(n, v) for n, v in bound_arguments(function, args, kwargs).items()}, storages)
    for name in maker.constexprs & before.arguments.keys():
        before.arguments[name]["constexpr"] = True
    for path, tensor in storages.tensors:
        _refuse_unreadable(path, tensor)
    if _capturing_graph(storages):
        before.kept["no_values"] = "a CUDA graph was being captured"
        return before
    if values != "no":
        kept = before.kept["values"] = {path: summarise(t, values == "whole") for path, t in storages.tensors}
        relate(kept, {path: places(t) for path, t in storages.tensors})
    interpreted = not hasattr(function, "params")
    if values != "no" or interpreted:
        before.sums = memory_sums(storages.tensors)
    if interpreted and all(t.device.type == "cpu" for _, t in storages.tensors):  # others it copies to the CPU
        before.stores = InterpretedStores(storages.tensors)
    return before


def describe_launch(
    function: Any,
    maker: KeyMaker,
    chain: Sequence[Any],
    passed: Json,
    grid: Any,
    kwargs: Json,
    probe: Probe | None,
    before: Before,
    keep: Callable[[str, Json], str],
) -> Json:
    """All of a launch that is the same in every process that makes it. `passed`: by name to the outermost decorator of
    the `chain`."""
    arguments = {n: dict(a) for n, a in before.arguments.items()}
    for name in maker.free & arguments.keys():
        arguments[name].pop("value", None)
        arguments[name]["varies"] = True
    tuner = next((d for d in reversed(chain) if hasattr(d, "configs")), None)
    described = describe_chain(chain)
    both = {
        n: {**describe_argument(n, passed[n], Storages(), lambda f: describe_function(f, keep)), "constexpr": True}
        for n in sorted(set_by_heuristics(described) & passed.keys())
        if not hasattr(passed[n], "data_ptr")
    }
    return {
        "decorators": keep("decorators", {"chain": described}) if chain else None,
        **({"passed": both} if both else {}),
        "arguments": arguments,
        "storages": before.storages.described,
        "grid": describe_grid(grid, probe, tuner, maker.constexprs),
        "options": describe_options(kwargs, arguments),
        "config": describe_config(tuner.best_config) if tuner is not None else None,
        "device": describe_device(before.storages.tensors, function),
    }


@without_modes()
def look_after(names: Sequence[str], before: Before, result: Any) -> Json:
    """Values, and what the launch wrote: as its code says or the interpreter's stores, and as checksums of the memory
    show."""
    found = dict(before.kept)
    asm = getattr(result, "asm", None)
    if asm is not None and "ttir" in asm:
        signature = getattr(getattr(result, "src", None), "signature", None) or {}
        constants = {n for n, kind in signature.items() if kind == "constexpr"}
        constants |= {n for n, a in before.arguments.items() if a.get("constexpr")}
        found["writes"] = written_arguments(asm["ttir"], [n for n in names if n not in constants])
    elif before.stores is not None:
        found["writes"] = {name: sorted(how) for name, how in sorted(before.stores.found.items())}
    if before.sums is not None:
        found["changed"] = changed_tensors(before.storages.tensors, before.sums)
    return found


def bound_arguments(function: Any, args: Any, kwargs: Json) -> Json:
    """Arguments by name, defaults included, launch options left out."""
    parameters = inspect.signature(python_function(function)).parameters
    given = {**dict(zip(parameters, args, strict=False)), **{n: v for n, v in kwargs.items() if n in parameters}}
    for name, p in parameters.items():
        if name not in given and p.default is not p.empty:
            given[name] = p.default
    return {n: given[n] for n in parameters if n in given}


def _refuse_unreadable(path: str, tensor: Any) -> None:
    """Raise ValueError if the memory of the tensor was given back (``resize_(0)``), or if its dtype has no size."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in ITEM_BYTES:
        raise ValueError(f"{path} is a tensor of {dtype}")
    last, held = extent(tensor)[1], tensor.untyped_storage().nbytes()
    if tensor.numel() and last > held:
        raise ValueError(f"{path} ends at byte {last:,} of a storage that has {held:,}")


def _capturing_graph(storages: Storages) -> bool:
    if not any(t.is_cuda for _, t in storages.tensors):
        return False
    return in_progress() or bool(sys.modules["torch"].cuda.is_current_stream_capturing())
