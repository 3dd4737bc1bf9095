"""The models that every room shares."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from memory.terms import canonical


class Closed(BaseModel):
    """A frozen model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def key(self) -> str:
        """Canonical JSON: equal values give equal text, in any process and on any machine."""
        return canonical(self.model_dump(mode="json"), finite=False)


class DeviceInfo(BaseModel):
    """What the numbers were made on. Goes into memory, the trace and the result."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["live", "recorded"]
    name: str
    """As the driver reports it, e.g. ``NVIDIA H200``."""
    hardware: str | None
    """Name in ``kernels.hardware``; ``None`` for a card whose facts are not known."""
    driver: str | None = None
    cuda: str | None = None
    torch: str | None = None
    triton: str | None = None
    landscape: str | None = None
    """Recorded devices: file name and checksum of the landscape."""
    recorded_at: str | None = None
    host: str | None = None
    power_limit_w: float | None = None
    assembler: str | None = None
    """Name and version of what Triton turned PTX into machine code with, such as ``ptxas 13.4``; ``None`` if it was not
    recorded, or if Triton needs none for this GPU. The same Triton with another assembler makes another kernel."""

    overrides: str | None = None
    """Variables that change what the compiler makes, ``NAME=value NAME=value``; ``None`` if none was set."""
    facts: dict[str, Any] | None = None
    """What the driver said and what was measured of a GPU that has no published facts
    (:func:`kernels.hardware.gpu_facts.to_json`). No part of an environment's identity: it is measured."""

    def toolchain(self) -> str:
        """Triton and its assembler, for people: ``Triton 3.6.0, ptxas 12.8``. A file from before the assembler was
        recorded has an unknown one."""
        unknown = "an unknown assembler" if self.name.startswith("NVIDIA") else None
        triton = f"Triton {self.triton or 'of an unknown version'}"
        return ", ".join(filter(None, [triton, self.assembler or unknown, self.overrides]))
