"""The facts of a GPU for a run: the published ones, or what its driver says and what is measured on it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kernels.hardware import Hardware, hardware_named, kept_gpus, known_hardware
from kernels.hardware.asked_gpu import complete
from kernels.hardware.gpu_facts import from_json
from memory.shared_models import DeviceInfo
from tools.harness.device import DeviceError
from tools.harness.process.machine_trouble import describe_trouble

Answer = dict[str, Any]
CEILINGS_S = 120.0
"""For two large copies and four products, on a card of which nothing is known."""


def find_facts(answer: Answer, measure: Callable[[], Answer]) -> Hardware:
    """The facts of the GPU that a worker described. `measure` gives the card's ceilings in fp16; it is called the first
    time that a GPU without published facts is used, and again if its driver says something else than then.

    Raises DeviceError."""
    name = answer["name"]
    known = known_hardware(name)
    if known is not None:
        return known
    if not answer.get("facts"):
        raise DeviceError(f"the driver of {name} was not asked for its facts: add an entry for it in kernels/hardware")
    asked = from_json(answer["facts"])
    kept = kept_gpus.find(name)
    if kept is not None and _still_stated(kept, asked):
        return kept
    ceilings = measure()
    if not {"copy_bytes_per_s", "matmul_flops_per_s"} <= set(ceilings):
        raise DeviceError(f"the ceilings of {name} could not be measured: {ceilings.get('reason', 'no reason given')}")
    found = complete(asked, ceilings)
    _keep(found)
    return found


def adopt_facts(info: DeviceInfo) -> Hardware:
    """The facts of a GPU that is somewhere else. Those that came with `info` are kept, so that the compilers and
    interpreters of this machine find them.

    Raises ValueError if there are none, and DeviceError if they cannot be kept."""
    known = known_hardware(info.name)
    if known is not None and known.name == info.hardware:
        return known
    if info.facts is None or kept_gpus.find(info.hardware or "") is not None:
        return hardware_named(info.hardware or "")
    found = from_json(info.facts)
    if found.bandwidth <= 0:
        raise ValueError(f"the facts of {found.name!r} hold no bandwidth")
    if found.name != info.hardware:
        raise ValueError(f"the facts of {found.name!r} came with a reading of {info.hardware!r}")
    _keep(found)
    return found


def _still_stated(kept: Hardware, asked: Hardware) -> bool:
    """Whether the driver states now what `kept` was made of, apart from what was measured."""
    facts = [fact for fact in ("bandwidth", "peak") if kept.origin(fact) == "measured"]
    measured: dict[str, Any] = {fact: getattr(asked, fact) for fact in facts}
    return replace(kept, **measured, origins=asked.origins, sources=asked.sources) == asked


def _keep(hardware: Hardware) -> None:
    try:
        kept_gpus.keep(hardware)
    except OSError as e:
        why = describe_trouble(e) or str(e)
        raise DeviceError(f"the facts of {hardware.name} cannot be kept in {kept_gpus.folder()}: {why}") from e
