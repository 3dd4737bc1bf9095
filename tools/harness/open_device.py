"""Opens the device that a run names: a GPU, many GPUs, or a recording of one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tools.harness.device import DeviceError

if TYPE_CHECKING:
    from pathlib import Path

    from kernels.hardware import Hardware
    from kernels.spec import KernelSpec, Problem
    from memory.terms import Regime
    from tools.harness.device import Device
    from tools.harness.process.prestart import Prestart

WITHOUT_GPU = "--device recorded looks times up that a GPU measured, `python -m agent doctor` says what is missing"
"""What to do without a GPU."""


def open_device(
    device: str,
    spec: KernelSpec[Any, Any],
    problem: Problem,
    regime: Regime = "burst",
    prestart: Prestart | None = None,
    lock: Path | None = None,
    ends_at: float = math.inf,
) -> tuple[Device, Hardware]:
    """Open `device` for one kernel and problem.

    `device` is ``auto`` (a GPU if there is one, else a recorded one), ``cuda:N``, ``recorded[:NAME or path]``, or many
    GPUs: ``cuda:all``, ``ray:ADDRESS``. A single GPU takes its processes from `prestart`, if that has some.
    `lock` is the file by which devices of several processes take turns on a single GPU. `ends_at`:
    ``time.monotonic()`` after which a single GPU begins no further step of a proof.

    Raises DeviceError with one sentence if the device cannot be used."""
    from tools.fleet.address import parse

    fleet = parse(device)
    if fleet is not None and spec.shut_in:
        raise DeviceError("edited code runs on one GPU of this machine: use --device cuda:0")
    if fleet is not None:
        from tools.fleet.device import FleetDevice

        check_device(device)
        opened = FleetDevice.open(fleet, spec, problem)
        return opened, opened.hardware
    kind, which = _kind_of(device)
    if kind == "cuda":
        from tools.harness.devices.live import LiveDevice

        live = LiveDevice.open(f"cuda:{which or 0}", spec, problem, lock=lock, prestart=prestart)
        live.ends_at = ends_at
        return live, live.hardware
    from tools.harness.checking.interpreter import Interpreter
    from tools.harness.devices.recorded import RecordedDevice
    from tools.harness.landscapes.named import find_landscape

    landscape = find_landscape(which or None, spec.name, problem, regime)
    recorded = RecordedDevice(landscape, spec, problem, Interpreter(spec.shut_in))
    return recorded, recorded.facts


def check_device(device: str) -> None:
    """Raise DeviceError with one sentence if no problem of any kernel can be tuned on `device`. Opens nothing."""
    from tools.fleet.address import gpus_of_host, load_ray, parse
    from tools.harness.landscapes.named import named_landscape

    fleet = parse(device)
    if fleet is not None:
        if fleet.cluster is None:
            gpus_of_host()
        load_ray()
        return
    kind, which = _kind_of(device)
    if kind == "recorded" and which:
        named_landscape(which)


def _kind_of(device: str) -> tuple[str, str]:
    """``("cuda", "1")`` or ``("recorded", "softmax-h200")`` of a single device. Raises DeviceError if it is neither, or
    a GPU that is not there."""
    from tools.harness.measuring.telemetry import gpus_present

    kind, _, which = device.partition(":")
    if kind == "auto":
        kind, which = ("cuda", "0") if gpus_present() else ("recorded", "")
    if kind not in ("cuda", "recorded"):
        raise DeviceError(f"there is no device {device!r}: use auto, cuda:N, cuda:all or recorded[:LANDSCAPE]")
    if kind == "cuda" and not gpus_present():
        raise DeviceError(f"{device} names a GPU and this machine has none that works: {WITHOUT_GPU}")
    return kind, which
