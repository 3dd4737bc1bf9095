"""The models that every room shares, and the sentences about a value that a model refuses."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

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


REFUSALS = {
    "missing": "it is missing",
    "extra_forbidden": "there is no such field",
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "multiple_of": "it must be a multiple of {multiple_of}",
    "finite_number": "it must be a finite number",
    "literal_error": "it must be {expected}",
    "enum": "it must be {expected}",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_parsing_size": "it has too many digits",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "string_type": "it must be a text",
    "list_type": "it must be a list",
    "tuple_type": "it must be a list",
    "dict_type": "it must be a table of names and values",
    "model_type": "it must be a table of fields",
    "model_attributes_type": "it must be a table of fields",
    "none_required": "it must be left out",
    "too_short": "it has {actual_length} entries and must have at least {min_length}",
    "too_long": "it has {actual_length} entries and must have at most {max_length}",
    "string_too_short": "it must have at least {min_length} characters",
    "string_too_long": "it must have at most {max_length} characters",
    "string_pattern_mismatch": "it must match the pattern {pattern}",
    "value_error": "{error}",
    "assertion_error": "{error}",
}
"""Kind of a refusal (docs.pydantic.dev/latest/errors/validation_errors) to its words. What is not here keeps pydantic's
words."""


def explain_refusal(error: ValidationError, whole: str = "") -> list[str]:
    """What is wrong with the refused value, as ``where: why`` for each wrong field. A refusal of the value as a whole
    stands behind `whole`, or alone."""
    found = []
    for e in error.errors():
        where = ".".join(map(str, e["loc"])) or whole
        words = REFUSALS.get(e["type"])
        context = {name: _plain(value) for name, value in e.get("ctx", {}).items()}
        why = e["msg"].replace("Input should be", "it must be") if words is None else words.format_map(context)
        found.append(f"{where}: {why}" if where else why)
    return found


def _plain(bound: Any) -> Any:
    """A bound as people write it: 1 for 1.0."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound
