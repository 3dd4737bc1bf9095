"""The first line of a run: on what it will be made. It is known long before the kernels are loaded, so that the user
does not wait to learn that no GPU is used."""

from __future__ import annotations

from agent.errors import UsageError
from agent.goal.early import named_device


def device_line(option: str | None, goal: str) -> str | None:
    """``device: recorded NVIDIA H200 (…)``, from ``--device`` or the goal's words; ``None`` where that is for the
    opening to say. Loads neither PyTorch nor Triton. Raises UsageError if a GPU is named and there is none."""
    from tools.harness.device import DeviceError
    from tools.harness.measuring.telemetry import gpus_present
    from tools.harness.open_device import WITHOUT_GPU

    kind, _, which = named_device(option, goal).partition(":")
    auto = kind == "auto"
    if auto:
        kind, which = ("cuda", "0") if gpus_present() else ("recorded", "")
    if kind == "cuda" and not gpus_present():
        raise UsageError(f"{kind}{':' * bool(which)}{which} names a GPU and this machine has none: {WITHOUT_GPU}.")
    if kind == "cuda" and which.startswith("all"):
        return "device: all GPUs of this machine"
    if kind == "cuda" and (which or "0").isdecimal():
        return f"device: this machine's GPU {which or 0}"
    if kind != "recorded":
        return None
    from tools.harness.landscapes.named import list_landscapes, named_landscape

    try:
        there = [named_landscape(which)] if which else list_landscapes(heads_only=True)
    except DeviceError:
        return None
    names = " or ".join(dict.fromkeys(landscape.device.name for landscape in there))
    here = "this machine has none" if auto else "no GPU is used"
    return f"device: recorded {names} ({here}: times are looked up)" if names else None
