"""The launches of a capture as objects.

    capture = read_capture("run.capture")
    for launch in capture.launches:           # what costs most first
        print(launch.function, launch.count, launch.config, launch.grid)

Reading needs neither Triton nor the program. Importing this module imports no torch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

from kernels.capture.capture_file import Json, NotACapture, read
from kernels.capture.describing.captured_arguments import ITEM_BYTES
from kernels.capture.reading.tritonparse_trace import is_trace, trace_parts


@dataclass(frozen=True)
class CapturedLaunch:
    """One distinct launch: a function, arguments of one kind and a grid."""

    digest: str
    """Names it in the file, and short in commands."""
    function: Json
    """The part of the Triton function: name, module, source, bindings, identity (``describing/device_closure.py``)."""
    decorators: tuple[Json, ...]
    """Autotune and heuristics around it, the outermost first."""
    arguments: dict[str, Json]
    storages: tuple[Json, ...]
    grid: Json
    options: Json
    """What else was passed: the heuristics' and the owner's launch options, the chosen config's included."""
    config: Json | None
    """The autotuner's choice."""
    device: Json
    observed: Json
    """Values, and what was written."""
    count: int
    readings_ms: tuple[float, ...]
    """GPU times of single launches."""
    processes: int
    """Processes that made this launch."""
    passed: Json = field(default_factory=dict)
    """Arguments that heuristics set, as the program passes them. Empty in older captures."""

    @property
    def name(self) -> str:
        return str(self.function["name"])

    @property
    def ms(self) -> float | None:
        """Median GPU time of a launch."""
        return median(self.readings_ms) if self.readings_ms else None

    @property
    def total_ms(self) -> float | None:
        """Of all its launches, estimated by the median."""
        return None if self.ms is None else self.ms * self.count

    @property
    def autotune(self) -> Json | None:
        return next((d for d in self.decorators if d["kind"] == "autotune"), None)

    @cached_property
    def writes(self) -> dict[str, list[str]] | None:
        """Argument → ``store``, ``atomic``, ``through`` a table, or ``changed`` where only the memory shows it; None if
        nothing is known. ``?`` is a pointer that could not be followed."""
        found: dict[str, list[str]] = {n: list(how) for n, how in (self.observed.get("writes") or {}).items()}
        if "writes" not in self.observed and "changed" not in self.observed:
            return None
        # One storage may hold several arguments; those that the code is known not to write share it with one it does.
        if "writes" not in self.observed or "?" in found:
            for path in self.observed.get("changed", ()):
                found.setdefault(path.partition(".")[0], []).append("changed")
        return found

    @property
    def bytes(self) -> int:
        """Bytes that its tensors hold, those it writes counted once more if they were there before. A kernel that reads
        a part of a tensor needs less."""
        found: dict[tuple[int, int, int], int] = {}
        for name, argument in self.arguments.items():
            for tensor in tensors_of(argument):
                extent = 1 + sum((n - 1) * abs(s) for n, s in zip(tensor["shape"], tensor["stride"], strict=True) if n)
                held = elements(tensor["shape"])
                size = min(extent, held) * ITEM_BYTES.get(tensor["dtype"], 4)
                place = (tensor["storage"], tensor["offset"], size)
                twice = "atomic" in (self.writes or {}).get(name, ())
                found[place] = max(found.get(place, 0), size * (2 if twice else 1))
        return sum(found.values())


@dataclass
class Capture:
    """What a capture file holds."""

    path: str
    launches: list[CapturedLaunch]
    """What costs most GPU time first; without times, what is launched most."""
    unseen: dict[tuple[str, str], int]
    """(reason, kernel) → launches that are listed and not recorded."""
    notes: list[str]
    processes: int
    programs: int
    damaged: int
    """Lines that are cut off or changed."""
    missing: list[str] = field(default_factory=list)
    """Launches that refer to a part that the file has not."""
    torch_assembler: bool = False
    """Whether most launches were made while the process compiled with PyTorch's assembler."""

    @property
    def launched(self) -> int:
        return sum(x.count for x in self.launches)

    def named(self, text: str) -> CapturedLaunch:
        """The launch with this digest, or the start of it. Raises KeyError."""
        found = [x for x in self.launches if x.digest.startswith(text)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} launches of {self.path} begin with {text!r}")
        return found[0]

    def functions(self) -> dict[str, Json]:
        """Every function part that a launch reaches, by digest."""
        return self._functions

    _functions: dict[str, Json] = field(default_factory=dict)


def read_capture(path: str) -> Capture:
    """Read what is whole of a capture, or of a trace of tritonparse. Raises NotACapture, also for a part that is whole
    and has not the fields of its kind."""
    # What imports this module has mostly read no file: the models take a tenth of a second to build.
    from kernels.capture.reading.parts.checked_parts import check_parts

    parts, damaged = trace_parts(path) if is_trace(path) else read(path)
    check_parts(path, parts)
    by_kind: dict[str, dict[str, Json]] = defaultdict(dict)
    counts: Counter[str] = Counter()
    readings: dict[str, list[float]] = defaultdict(list)
    makers: dict[str, set[str]] = defaultdict(set)
    unseen: Counter[tuple[str, str]] = Counter()
    observed: dict[str, Json] = {}
    programs = by_torch = 0
    for digest, kind, body in parts:
        programs += kind == "capture"
        if kind == "counts":
            counts.update(body["launches"])
            by_torch += sum(body["launches"].values()) if body.get("torch_assembler") else 0
            for launch, ms in body["ms"].items():
                readings[launch] += ms
            for launch in body["launches"]:
                makers[launch].add(body["process"])
        elif kind == "unseen":
            unseen.update({(reason, name): n for reason, name, n in body["launches"]})
        elif kind == "observed":
            observed.setdefault(body["launch"], body)
        else:
            by_kind[kind][digest] = body
    functions = by_kind["function"]
    launches, missing = [], []
    for digest, body in by_kind["launch"].items():
        gone = [d for d in _needed(body, functions) if d not in functions]
        decorators = by_kind["decorators"].get(body["decorators"]) if body["decorators"] else {"chain": []}
        if gone or decorators is None:
            missing.append(f"{body['name']} ({digest[:8]})")
            continue
        launches.append(
            CapturedLaunch(
                digest=digest,
                function=functions[body["function"]],
                decorators=tuple(decorators["chain"]),
                arguments=_in_order(body["arguments"], functions[body["function"]]),
                storages=tuple(body["storages"]),
                grid=body["grid"],
                options=body["options"],
                config=body["config"],
                device=body["device"],
                observed=observed.get(digest, {}),
                count=counts[digest],
                readings_ms=tuple(readings[digest]),
                processes=len(makers[digest]),
                passed=body.get("passed", {}),
            )
        )
    missing += [f"a launch ({d[:8]})" for d in counts if d not in by_kind["launch"]]
    launches.sort(key=lambda x: (-(x.total_ms or 0.0), -x.count, x.name, x.digest))
    notes = [n["text"] for n in by_kind["note"].values()]
    return Capture(
        path,
        launches,
        dict(unseen),
        notes,
        len(by_kind["process"]),
        programs,
        damaged,
        missing,
        torch_assembler=2 * by_torch > sum(counts.values()),
        _functions=functions,
    )


def _in_order(arguments: dict[str, Json], function: Json) -> dict[str, Json]:
    return {p["name"]: arguments[p["name"]] for p in function["parameters"] if p["name"] in arguments}


def _needed(launch: Json, functions: dict[str, Json]) -> set[str]:
    """Digests of all functions that the launch reaches."""
    found: set[str] = set()
    todo = [launch["function"], *digests_in(launch["arguments"])]
    while todo:
        digest = todo.pop()
        if digest not in found:
            found.add(digest)
            todo += digests_in(functions.get(digest, {}).get("bindings", {}))
    return found


def digests_in(value: Any) -> list[str]:
    """Digests of the functions that bindings or arguments name."""
    if isinstance(value, dict):
        own = [value["function"]] if isinstance(value.get("function"), str) else []
        return own + [d for v in value.values() for d in digests_in(v)]
    return [d for v in value for d in digests_in(v)] if isinstance(value, list) else []


def tensors_of(argument: Json) -> list[Json]:
    """The tensors in an argument: itself, a descriptor's base, the items of a tuple."""
    if argument["type"] == "tensor":
        return [argument]
    if argument["type"] in ("descriptor", "reinterpreted"):
        return tensors_of(argument["base"])
    return [t for item in argument.get("items", ()) for t in tensors_of(item)]


def elements(shape: list[int]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


__all__ = ["Capture", "CapturedLaunch", "NotACapture", "read_capture"]
