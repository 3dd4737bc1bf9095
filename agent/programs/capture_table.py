"""A capture as a table for people and as JSON."""

from __future__ import annotations

from typing import Any

from kernels.capture.reading.captured_launches import Capture, CapturedLaunch, tensors_of
from kernels.hardware import hardware_for
from memory.formats.tables import table
from memory.terms import count_of, printable

COLUMNS = ("launch", "kernel", "launches", "gpu_ms", "share", "bytes_ms", "writes", "config", "arguments")
MOST_CONFIG = 60


def rows(capture: Capture) -> list[dict[str, Any]]:
    """One row a distinct launch. ``bytes_ms``: the time that its tensors' bytes need at the GPU's bandwidth, for all
    its launches; None on a GPU that is not known. ``bytes_ms_from``: where that bandwidth comes from."""
    total = sum(x.total_ms or 0.0 for x in capture.launches)
    return [_row(x, total) for x in capture.launches]


def _row(launch: CapturedLaunch, total: float) -> dict[str, Any]:
    hardware = hardware_for(str(launch.device.get("name")))
    bandwidth = hardware.bandwidth if hardware else None
    writes = launch.writes
    return {
        "launch": launch.digest[:8],
        "kernel": launch.name,
        "launches": launch.count,
        "gpu_ms": launch.total_ms,
        "share": f"{launch.total_ms / total:.1%}" if total and launch.total_ms is not None else None,
        "bytes_ms": launch.bytes / bandwidth * 1e3 * launch.count if bandwidth else None,
        "bytes_ms_from": hardware.describe_origin("bandwidth") if hardware else None,
        "bytes": launch.bytes,
        "writes": ", ".join(_written(launch, n, how) for n, how in writes.items())
        if writes is not None
        else "not known",
        "config": _config(launch),
        "arguments": " ".join(_shape(t) for a in launch.arguments.values() for t in tensors_of(a)),
        "grid": "x".join(map(str, launch.grid["came_out"])),
        "function": f"{launch.function['module']}:{launch.function['qualname']}",
        "identity": launch.function["identity"],
    }


def _written(launch: CapturedLaunch, name: str, how: list[str]) -> str:
    interpreted = launch.device["kind"] == "interpreter"
    unknown = "memory of none of its arguments" if interpreted else "a pointer that could not be followed"
    shown = unknown if name == "?" else name
    return shown if how in (["store"], ["changed"]) else f"{shown} ({', '.join(how)})"


def _config(launch: CapturedLaunch) -> str:
    config = launch.config
    if config is None:
        return " ".join(f"{n}={v}" for n, v in launch.options.items() if v is not None)[:MOST_CONFIG]
    values = {
        **config["kwargs"],
        **config.get("unkept", {}),
        **{n: v for n, v in config.items() if n in ("num_warps", "num_stages")},
    }
    return " ".join(f"{n}={v}" for n, v in values.items())[:MOST_CONFIG]


def _shape(tensor: dict[str, Any]) -> str:
    short = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64"}
    return f"{'x'.join(map(str, tensor['shape'])) or 'scalar'}:{short.get(tensor['dtype'], tensor['dtype'])}"


def render(capture: Capture, ended: str = "") -> str:
    """Table of what was recorded, then what was not, with reasons. `ended`: how the program ended if it failed."""
    distinct = len(capture.launches)
    functions = count_of(len({x.function["identity"] for x in capture.launches}), "function")
    launches, processes = (
        count_of(capture.launched, "launch", "launches"),
        count_of(capture.processes, "process", "processes"),
    )
    lines = [f"{capture.path}: {launches}, {distinct} distinct, of {functions}, by {processes}"]
    if capture.launches:
        found = rows(capture)
        shown = [c for c in COLUMNS if any(r[c] is not None for r in found)]
        lines += ["", table(found, shown)]
        if origins := sorted({str(r["bytes_ms_from"]) for r in found if r["bytes_ms"] is not None}):
            lines += ["", f"bytes_ms is by the GPU's bandwidth ({', '.join(origins)})."]
    if capture.unseen:
        listed = [
            {"kernel": name, "launches": n, "not_recorded_because": reason}
            for (reason, name), n in sorted(capture.unseen.items(), key=lambda x: -x[1])
        ]
        lines += ["", table(listed, ("kernel", "launches", "not_recorded_because"))]
    kinds = {x.device["kind"] for x in capture.launches}
    if kinds == {"interpreter"}:
        lines += ["", "The launches ran in Triton's interpreter: there are no GPU times."]
    held = {v for x in capture.launches for v in _holds(x)}
    if capture.launches:
        lines += ["", f"Of values the file holds: {', '.join(sorted(held)) or 'nothing'}."]
    if capture.missing:
        lines += [f"Parts are missing of: {', '.join(capture.missing[:5])}. Capture the program again to have them."]
    if capture.damaged:
        left_out = "1 damaged line was" if capture.damaged == 1 else f"{capture.damaged} damaged lines were"
        lines += [f"{left_out} left out: the file was cut off or changed, and launches and counts may be too low."]
    lines += [printable(f"note: {n}") for n in capture.notes]
    if not capture.launches and not capture.unseen and not capture.damaged:
        why = "the program made none, or started Python with -S, -I or -E"
        lines += [f"No Triton launch was seen{f' before the program {ended}' if ended else f': {why}'}."]
    return "\n".join(lines)


def _holds(launch: CapturedLaunch) -> set[str]:
    found = launch.observed.get("values", {}).values()
    whole = {"the values themselves"} if any("whole" in v for v in found) else set()
    return whole | {
        {"float": "distributions of floats", "int": "range and order of integers"}.get(v["kind"], v["kind"])
        for v in found
        if "kind" in v
    }


def as_json(capture: Capture) -> dict[str, Any]:
    return {
        "capture": capture.path,
        "launches": rows(capture),
        "not_recorded": [{"kernel": n, "launches": c, "reason": r} for (r, n), c in capture.unseen.items()],
        "processes": capture.processes,
        "damaged_lines": capture.damaged,
        "missing": capture.missing,
        "notes": capture.notes,
    }
