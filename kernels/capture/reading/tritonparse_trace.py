"""Reads a trace of tritonparse (``.ndjson``, plain or gzip) as the parts of a capture.

A trace holds each launch with shapes, scalars and numbers of the grid, and each compilation with the kernel's source
and Triton IR. It holds less than a capture:

    values               none, so integers cannot be made up, and floats are drawn from the normal distribution
    times                none
    the GPU's name       only its architecture
    the grid's function  only its numbers, so no constant can move; a program whose grid is a function does not find
                         the rows that are made of a trace
    names around it      only ``tl``, ``triton``, ``math`` and builtins are known: a kernel that uses others (functions
                         of its own, global constants) is shown and not rebuilt
    its autotuner        only the config that each launch ran with: a kernel with an autotuner or heuristics is shown
                         and not tuned, because a table knows a launch by what the program passes

What a launch writes is read from the Triton IR. Launches that the autotuner made to time a config are listed, not kept.
"""

from __future__ import annotations

import ast
import builtins
import gzip
import json
import re
import textwrap
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kernels.capture.capture_file import Json, NotACapture, line_of
from kernels.capture.describing.captured_arguments import ITEM_BYTES, MOST_ALIGNMENT
from kernels.capture.describing.device_closure import OPTIONS, identity_of_source, names_read
from kernels.capture.describing.writes import written_arguments

Parts = list[tuple[str, str, Json]]
EVENTS = ("compilation", "launch", "launch_diff", "autotune", "ir_analysis", "roofline")
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
MODULES = {"tl": "triton.language", "triton": "triton", "math": "math"}
"""What these names stand for in every program."""
BENCHMARK = "the autotuner's benchmark"
NO_SOURCE = "the trace holds no compilation of it: record the program with an empty Triton cache"
NO_ARGUMENTS = "the trace holds no arguments of it: it was launched while a CUDA graph was captured"
DECORATORS = ("autotune", "heuristics")
LAUNCH_OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")
DEFAULTS = {"num_warps": 4, "num_stages": 3, "num_ctas": 1, "maxnreg": None}
"""What Triton takes if the program passes nothing, which a trace does not tell from the program passing just this."""
LACKS = (
    "This is a trace of tritonparse: it holds no values, no times, no name of the GPU, no function of the grid and no "
    "configs of an autotuner beside those that ran. Only launch options can be tuned, and a row serves launches whose "
    "grid the program gives as numbers."
)


def is_trace(path: str) -> bool:
    """Whether the file's first line is an event of tritonparse, or the file is compressed as its traces are."""
    if not Path(path).is_file():  # a pipe would be waited for without end
        return False
    try:
        with open(path, "rb") as f:
            head = f.read(4)
            if head == ZSTD:
                raise NotACapture(f"{path} is compressed with zstd: unpack it first (zstd -d {path})")
            if not head.startswith((GZIP, b"{")):
                return False
        return next((_event(line) is not None for line in _lines(path)), False)
    except OSError:  # whoever reads it next says so
        return False


def trace_parts(path: str) -> tuple[Parts, int]:
    """(digest, kind, body) of every part, as :func:`kernels.capture.capture_file.read` gives them, and how many lines
    are damaged. Raises NotACapture."""
    return _Reader(path).parts()


class _Reader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._parts: dict[str, tuple[str, str, Json]] = {}
        self._functions: dict[str, tuple[str, Json]] = {}
        """Compilation's hash → (digest of the function's part, the event's payload)."""
        self._counts: dict[str, Counter[str]] = {}
        self._unseen: Counter[tuple[str, str]] = Counter()

    def parts(self) -> tuple[Parts, int]:
        damaged, launches = 0, []
        self._keep("capture", {"format": "tritonparse"})
        self._keep("note", {"text": LACKS})
        for line in _lines(self._path):
            event = _event(line)
            if event is None:
                damaged += 1
            elif event["event_type"] == "compilation":
                self._compilation(event)
            elif event["event_type"] == "launch":
                launches.append(event)  # a parsed trace may hold a compilation behind its launches
        for event in launches:
            self._launch(event)
        for process, counts in self._counts.items():
            self._keep("counts", {"process": process, "launches": dict(counts), "ms": {}})
        if self._unseen:
            self._keep("unseen", {"launches": [[reason, name, n] for (reason, name), n in self._unseen.items()]})
        if not launches:
            text = "No launch stands in the trace: record it with tritonparse's enable_trace_launch=True."
            self._keep("note", {"text": text})
        return list(self._parts.values()), damaged

    def _keep(self, kind: str, body: Json) -> str:
        digest, _ = line_of(kind, body)
        self._parts.setdefault(digest, (digest, kind, body))
        return digest

    def _compilation(self, event: Json) -> None:
        payload = event.get("payload") or {}
        metadata, source = payload.get("metadata") or {}, payload.get("python_source") or {}
        name, code = metadata.get("name"), source.get("code")
        if not isinstance(metadata.get("hash"), str) or not isinstance(name, str) or not isinstance(code, str):
            return
        body = _function(name, code, source)
        if body is not None:
            self._functions[metadata["hash"]] = self._keep("function", body), payload

    def _launch(self, event: Json) -> None:
        metadata = event.get("compilation_metadata") or {}
        given = event.get("extracted_args") or {}
        name = str(event.get("name") or metadata.get("name") or "?")
        reason = self._why_not(event, metadata, given)
        if reason:
            self._unseen[reason, name] += 1
            return
        function, payload = self._functions[metadata["hash"]]
        part = self._parts[function][2]
        constants = {p["name"] for p in part["parameters"] if p["constexpr"]}
        arguments, storages = described(given, constants)
        target = metadata.get("target") or {}
        body = {
            "name": name,
            "function": function,
            "decorators": None,
            "arguments": arguments,
            "storages": storages,
            "grid": {"callable": False, "came_out": [int(n) for n in event["grid"]]},
            "options": {n: metadata[n] for n in LAUNCH_OPTIONS if metadata.get(n, DEFAULTS.get(n)) != DEFAULTS.get(n)},
            "config": None,
            "device": {
                "kind": target.get("backend"),
                "arch": target.get("arch"),
                "warp_size": target.get("warp_size"),
                "name": None,
                "triton": metadata.get("triton_version"),
                "torch": None,
            },
        }
        launch = self._keep("launch", body)
        writes = _writes(payload, [p["name"] for p in part["parameters"] if p["name"] not in constants])
        observed: Json = {"launch": launch} | ({} if writes is None else {"writes": writes})
        if part["decorated"]:
            observed["incomplete"] = f"the trace does not hold its {' and '.join(part['decorated'])}"
        self._keep("observed", observed)
        process = self._keep("process", {"pid": event.get("pid")})
        self._counts.setdefault(process, Counter())[launch] += 1

    def _why_not(self, event: Json, metadata: Json, given: Json) -> str:
        """Why a launch is listed and not kept; empty if it is kept."""
        stack = event.get("stack") or ()
        if any(frame.get("name") in ("_bench", "do_bench", "do_bench_cudagraph") for frame in stack):
            return BENCHMARK
        if metadata.get("hash") not in self._functions:
            return NO_SOURCE
        wanted = {p["name"] for p in self._parts[self._functions[metadata["hash"]][0]][2]["parameters"]}
        if not given or not wanted <= given.keys() | {"_note"} or "_note" in given:
            return NO_ARGUMENTS
        if not isinstance(event.get("grid"), list) or not event["grid"]:
            return "the trace holds no grid of it"
        return ""


def described(given: Json, constants: set[str]) -> tuple[dict[str, Json], list[Json]]:
    """Arguments as a capture describes them, and the memory that their tensors lie in: equal beginnings are one."""
    numbers: dict[int, int] = {}
    storages: list[Json] = []

    def tensor(about: Json) -> Json:
        dtype, offset = str(about["dtype"]).removeprefix("torch."), int(about.get("storage_offset") or 0)
        size = ITEM_BYTES.get(dtype, 4)
        address = int(str(about.get("data_ptr") or 0), 0)
        start = address - offset * size
        shape, stride = [int(n) for n in about["shape"]], [int(n) for n in about["stride"]]
        last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) if all(shape) else offset - 1
        if start not in numbers:
            numbers[start] = len(storages)
            storages.append({"bytes": 0, "device": str(about.get("device") or "cuda").partition(":")[0]})
        held = storages[numbers[start]]
        held["bytes"] = max(held["bytes"], (last + 1) * size)
        alignment = min(address & -address, MOST_ALIGNMENT) if address else MOST_ALIGNMENT
        return {
            "type": "tensor",
            "shape": shape,
            "stride": stride,
            "dtype": dtype,
            "offset": offset,
            "alignment": alignment,
            "storage": numbers[start],
        }

    def argument(about: Json) -> Json:
        kind = about.get("type")
        if kind == "tensor":
            return tensor(about)
        if kind == "TensorDescriptor" and isinstance(about.get("base"), dict):
            numbers_of = {n: [int(x) for x in about[n]] for n in ("shape", "strides", "block_shape")}
            padding = str(about.get("padding") or "zero")
            base = tensor(about["base"])
            return {"type": "descriptor", "base": base, **numbers_of, "padding": padding, "round_f32_to_tf32": False}
        if kind in ("int", "bool", "str"):
            return {"type": kind, "value": about["value"]}
        if kind == "float":
            return {"type": "float", "value": repr(float(about["value"]))}
        if kind == "NoneType":
            return {"type": "none"}
        if kind == "dtype":
            return {"type": "dtype", "name": str(about.get("repr"))}
        return {"type": "unknown", "class": str(kind)}

    found = {}
    for name, about in given.items():
        found[name] = argument(about) | ({"constexpr": True} if name in constants else {})
    return found, storages


def _function(name: str, code: str, source: Json) -> Json | None:
    """The part of a kernel's function, made of its source as it stands in the program's file; None if it is no Triton
    function of Python."""
    text = textwrap.dedent(code)
    try:
        node = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef))
    except (SyntaxError, StopIteration):
        return None
    start = re.search(r"^def\s+\w+\s*\(", text, re.MULTILINE)
    if start is None or any("gluon" in ast.unparse(d) for d in node.decorator_list):
        return None
    bare = ast.parse(text[start.start() :]).body[0]
    bindings = {n: _binding(n) for n in names_read(bare) if not hasattr(builtins, n)}
    options = _options(node)
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return {
        "name": node.name,
        "qualname": node.name,
        "module": str(source.get("file_path") or "?"),
        "file": str(source.get("file_path") or "?"),
        "line": int(source.get("start_line") or 0),
        "importable": False,
        "kind": "jit",
        "language": "triton",
        "options": options,
        "source": text[start.start() :],
        "parameters": [
            {"name": a.arg, "constexpr": a.annotation is not None and "constexpr" in ast.unparse(a.annotation)}
            for a in arguments
        ],
        "bindings": bindings,
        "decorated": [d for d in DECORATORS if any(f".{d}(" in f".{ast.unparse(x)}" for x in node.decorator_list)],
        "identity": identity_of_source(bare, bindings, ["jit", "triton", options]),
    }


def _binding(name: str) -> Json:
    if name in MODULES:
        return {"module": MODULES[name]}
    return {"unknown": "name outside the kernel's own source"}


def _options(node: ast.FunctionDef) -> Json:
    """Options of ``@triton.jit(…)`` that are written out."""
    found: Json = {}
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rpartition(".")[2] == "jit":
            for keyword in decorator.keywords:
                try:
                    value = ast.literal_eval(keyword.value)
                except ValueError:
                    continue
                if keyword.arg in OPTIONS and value:
                    found[keyword.arg] = list(value) if isinstance(value, tuple | set) else value
    return {n: found[n] for n in OPTIONS if n in found}


def _writes(payload: Json, names: list[str]) -> dict[str, list[str]] | None:
    """What the compiled kernel writes; None if the trace holds no Triton IR that can be read."""
    files = payload.get("file_content") or {}
    ttir = next((text for name, text in files.items() if name.endswith(".ttir") and isinstance(text, str)), None)
    try:
        return None if ttir is None else written_arguments(ttir, names)
    except ValueError:
        return None


def _lines(path: str) -> Iterator[bytes]:
    """Whole lines. Traces of several members of gzip are read to the end; one that is cut off to the cut."""
    with open(path, "rb") as plain:
        packed = plain.read(2) == GZIP
    try:
        with gzip.open(path, "rb") if packed else open(path, "rb") as f:
            for line in f:
                if line.strip():
                    yield line
    except (EOFError, gzip.BadGzipFile, zlib.error):
        yield b"cut off"


def _event(line: bytes) -> Json | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("event_type") in EVENTS else None
