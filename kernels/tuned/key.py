"""Computes the key of a launch: what decides which row of the table serves it.

The key is made of what the *program* passes. What its autotuner and heuristics set is left out, so that the key is
known before they run; what the program passes for a heuristic to change counts as it is passed. It holds, by the name
of the argument,

- of a tensor: dtype, whether its address is a multiple of 16, and which earlier argument has the same address. Its
  shape counts if the grid is a function, because such a function may read it; a kernel itself sees no shape. If the
  grid is given as numbers, the numbers count instead;
- of a whole number: its value, or that it varies from launch to launch (a seed, a step);
- of a float its type, and of a compile-time constant its value;
- of a descriptor: base, shape, strides, and the block unless an autotuner's hook may set it;
- of a tuple or a dataclass its parts, of a member of an enumeration its name and value.

Beside the arguments it holds the launch options that the program passes. The values of an autotuner's ``key=`` and the
dtypes of its arguments are all in it. :func:`key_of` reads descriptions of arguments as
``capture/describing/captured_arguments.py`` makes them, so that a captured and a running launch have equal keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..capture.describing.captured_arguments import ITEM_BYTES

Json = dict[str, Any]

AUTOTUNERS_OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg", "ir_override")
"""Launch options that ``triton.Config`` sets."""
VARIES = {"varies": True}
"""Stands for a whole number that takes any value."""


def key_of_captured(launch: Any, functions: Mapping[str, Json]) -> Json:
    """The key of a ``CapturedLaunch``. `functions`: ``Capture.functions()``."""
    grid = None if launch.grid["callable"] else launch.grid["came_out"]
    return key_of(
        {**launch.arguments, **launch.passed},
        launch.options,
        grid,
        launch.decorators,
        lambda digest: str(functions[digest]["identity"]),
        launch.passed,
    )


def key_of(
    arguments: Mapping[str, Json],
    options: Mapping[str, Any],
    grid: Sequence[int] | None,
    decorators: Sequence[Json],
    identity: Callable[[str], str],
    passed: Collection[str] = (),
) -> Json:
    """The key of a launch.

    `arguments`: by name, as ``describe_argument`` describes them. `options`: what else is passed. `grid`: its numbers,
    or None if it is a function. `decorators`: those around the function, as ``describe_chain`` describes them.
    `identity`: the hash of a function that is an argument, by what its description holds. `passed`: names that
    heuristics set, and the program passes as well."""
    left_out = names_set(decorators) - set(passed)
    autotuned = any(d["kind"] == "autotune" for d in decorators)
    addresses: dict[tuple[int, int], str] = {}
    part = _Parts(addresses, grid is None, autotuned, identity)
    # Tensors that are left out have no place among the addresses, so the rest does not depend on the config.
    parts = {name: part.of(name, a) for name, a in arguments.items() if name not in left_out}
    kept = {n: v for n, v in sorted(options.items()) if v is not None and n not in left_out}
    return {"grid": None if grid is None else [int(n) for n in grid], "arguments": parts, "options": kept}


def names_set(decorators: Sequence[Json]) -> set[str]:
    """Arguments and options that autotuner and heuristics set."""
    found: set[str] = set()
    for decorator in decorators:
        if decorator["kind"] == "autotune":
            found.update(AUTOTUNERS_OPTIONS)
            for config in decorator["configs"]:
                found.update(config["kwargs"], config.get("unkept", ()))
        else:
            found.update(decorator["values"])
    return found


def varying(key: Json) -> frozenset[str]:
    """Names of the whole numbers whose value does not count in this key."""
    return frozenset(n for n, part in key["arguments"].items() if part == VARIES)


class _Parts:
    """Makes the key's parts of one launch."""

    def __init__(
        self,
        addresses: dict[tuple[int, int], str],
        shapes: bool,
        autotuned: bool,
        identity: Callable[[str], str],
    ) -> None:
        self._addresses = addresses
        self._shapes, self._autotuned, self._identity = shapes, autotuned, identity

    def of(self, path: str, a: Json, constant: bool = False) -> Any:
        """`constant`: whether it is a part of a compile-time constant."""
        kind, constant = a["type"], constant or bool(a.get("constexpr"))
        if a.get("varies"):
            return dict(VARIES)
        if kind == "int" and not a.get("constexpr"):
            return a["value"]
        if kind == "float" and not constant:
            return "float"
        if kind in ("int", "float", "bool", "str"):
            return {"constexpr" if a.get("constexpr") else kind: a["value"]}
        if kind == "none":
            return None
        if kind == "tensor":
            return self._tensor(path, a)
        if kind == "reinterpreted":
            return {"reinterpreted": a["dtype"], "base": self.of(f"{path}.base", a["base"])}
        if kind == "descriptor":
            about = {n: a[n] for n in ("shape", "strides", "padding", "round_f32_to_tf32")}
            block = {} if self._autotuned else {"block_shape": a["block_shape"]}
            return {"descriptor": self.of(f"{path}.base", a["base"]), **about, **block}
        if kind == "tuple":
            return [self.of(f"{path}.{i}", item, constant) for i, item in enumerate(a["items"])]
        if kind == "record":
            parts = [self.of(f"{path}.{i}", item, constant) for i, item in enumerate(a["items"])]
            return {"record": a["class"].rpartition(".")[2], "fields": dict(zip(a["fields"], parts, strict=True))}
        if kind == "member":
            return {"member": a["name"], "of": a["class"].rpartition(".")[2], "value": a["of"]["members"][a["name"]]}
        if kind == "function":
            return {"function": self._identity(a["function"])}
        return {kind: a.get("name", a.get("class"))}

    def _tensor(self, path: str, a: Json) -> Json:
        address = (a["storage"], a["offset"] * ITEM_BYTES.get(a["dtype"], 4))
        first = self._addresses.setdefault(address, path)
        part: Json = {"dtype": a["dtype"], "aligned": a["alignment"] >= 16}
        if first != path:
            part["same_as"] = first
        if self._shapes:
            part["shape"] = list(a["shape"])
        return part
