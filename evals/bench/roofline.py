"""``roofline``: the kernels' results under the roofs of a GPU (Williams et al., 2009). Roofs are measured if possible,
and every answer names the sources of its roofs and results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels.hardware import Hardware, hardware_named
from kernels.ops.tuned_files import Entry, load
from kernels.registry import get

Row = dict[str, Any]
PROBE_KERNEL = "matmul"
"""The kernel whose worker measures a live GPU's ceilings. The ceilings do not depend on it."""


@dataclass(frozen=True)
class Roofs:
    """A GPU's ceilings."""

    hardware: Hardware
    bandwidth: float
    """Bytes a second, read plus written."""
    peaks: dict[str, float]
    """dtype → operations a second."""
    source: str
    """``measured on NVIDIA H200 now``, ``measured when ... was recorded``, or ``the datasheet's``."""

    def peak(self, dtype: str) -> float | None:
        return self.peaks.get(dtype)


def roofs(device: str, gpu: str | None) -> Roofs:
    """Roofs of the live GPU, of the recorded one, or, if `gpu` is given, of its datasheet. Raises DeviceError and
    ValueError with one sentence."""
    from tools.harness.measuring.telemetry import gpus_present

    if gpu is not None:
        return of_datasheet(hardware_named(gpu))
    if device == "auto":
        device = "cuda:0" if gpus_present() else "recorded"
    return of_recorded() if device == "recorded" else of_live(device)


def of_live(device: str) -> Roofs:
    """Measure the roofs of a live GPU with a large copy and large matrix products."""
    from tools.harness.devices.live import LiveDevice

    spec = get(PROBE_KERNEL)
    live = LiveDevice.open(device, spec, spec.default_problem())
    try:
        return _measured(live.hardware, live.ceilings(), f"measured on {live.info.name} now")
    finally:
        live.close()


def of_recorded() -> Roofs:
    """The ceilings that were measured when a landscape was recorded; the datasheet's if no landscape has them."""
    from tools.harness.landscapes.named import list_landscapes

    landscapes = [x for x in list_landscapes(heads_only=True) if x.device.hardware]
    for x in landscapes:
        if x.ceilings:
            source = f"measured on {x.device.name} when {x.name} was recorded; no GPU is used now"
            return _measured(hardware_named(str(x.device.hardware)), x.ceilings, source)
    return of_datasheet(hardware_named(str(landscapes[0].device.hardware) if landscapes else "H200"))


def of_datasheet(hardware: Hardware) -> Roofs:
    source = f"the {hardware.name} datasheet's, not measured"
    if hardware.origins:
        origins = f"memory {hardware.describe_origin('bandwidth')}, peaks {hardware.describe_origin('peak')}"
        source = f"{hardware.name}: {origins}"
    return Roofs(hardware, hardware.bandwidth, dict(hardware.peak), source)


def _measured(hardware: Hardware, ceilings: dict[str, float], source: str) -> Roofs:
    """Roofs from measured ceilings. The probe multiplies 16-bit floats; the peaks of other dtypes are scaled by the
    datasheet's ratio."""
    share = ceilings["matmul_flops_per_s"] / hardware.peak["fp16"]
    peaks = {dtype: peak * share for dtype, peak in hardware.peak.items()}
    return Roofs(hardware, ceilings["copy_bytes_per_s"], peaks, source)


def results(path: Path | None, hardware: Hardware) -> tuple[list[Entry], str]:
    """The best known config of each problem on `hardware`, and the source: the file at `path` (a memory or a file of
    ``bench --out``), the user's own memory, or the recorded landscapes. Raises ValueError."""
    from memory.file import default_path

    own = default_path()
    if path is not None or own.is_file():
        found = [e for e in load(path or own) if e.hardware == hardware.name]
        if path is not None or found:
            return _fastest(found), str(path or own)
    return _fastest([e for e in _landscapes() if e.hardware == hardware.name]), "the recorded landscapes"


def _landscapes() -> list[Entry]:
    from tools.harness.landscapes.named import list_landscapes

    found = []
    for x in list_landscapes():
        times = [(ms, e.config) for e in x.correct() if (ms := x.ms(e)) is not None]
        if x.problem is not None and times:
            ms, config = min(times, key=lambda t: t[0])
            found.append(Entry(x.kernel, x.device.hardware or "", x.problem, config, ms, recorded=True))
    return found


def _fastest(entries: list[Entry]) -> list[Entry]:
    best: dict[tuple[str, str], Entry] = {}
    for e in sorted(entries, key=lambda e: e.ms):
        best.setdefault((e.kernel, str(sorted(e.problem.items()))), e)
    return list(best.values())


def named(row: Row) -> str:
    """The problem of a row, and that its time was looked up."""
    return f"{row['problem']} (recorded)" if row["recorded"] else str(row["problem"])


def rows(entries: list[Entry], roofs: Roofs) -> list[Row]:
    """A row per problem, sorted by intensity: TFLOP/s, TB/s, FLOP per byte, the share of the roof, and whether the time
    was looked up in a recording. The roof is the lower of the peak and of bandwidth times intensity. It is the
    bandwidth's alone if the kernel counts no operations or its dtype has no peak.

    A share above 1 means that the kernel is faster than the probe, which is a product or a copy by PyTorch."""
    found = []
    for e in entries:
        try:
            spec = get(e.kernel)
            problem = spec.problem_type.model_validate(e.problem)
        except ValueError:
            continue  # a user's kernel that is not registered here, or a problem of an older version of a kernel
        flops, moved, seconds = spec.flops(problem), spec.bytes(problem), e.ms * 1e-3
        intensity, peak = flops / moved, roofs.peak(problem.dtype)
        by_memory = moved / roofs.bandwidth
        by_compute = flops / peak if peak else 0.0
        found.append(
            {
                "kernel": e.kernel,
                "problem": problem.label(),
                "recorded": e.recorded,
                "ms": e.ms,
                "intensity": intensity,
                "tflops": flops / seconds / 1e12,
                "tb_per_s": moved / seconds / 1e12,
                "bound": "compute" if by_compute > by_memory else "memory",
                "share_of_roof": max(by_compute, by_memory) / seconds,
                "dtype": problem.dtype,
                "config": e.config,
            }
        )
    return sorted(found, key=lambda row: (row["intensity"], row["problem"]))
