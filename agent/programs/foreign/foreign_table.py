"""What a table of another project holds, whatever its format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""Names in a config that are launch options of Triton; all others are constants of the kernel, or options of a
backend."""


class NotReadable(ValueError):
    """The file is not of this format; the message is a clause that says why."""


@dataclass(frozen=True)
class ForeignRow:
    """One config."""

    key: Json
    """For what: ``{"M": 16}``, ``{"M_LEQ": 64}``, ``{"key": […]}``, ``{"kernel": …, "signature": …}``."""
    config: Json
    """Constants and launch options by the format's own names, in the file's order."""
    ms: tuple[float, ...] = ()
    """Median, and the 0.2 and 0.8 quantiles, if the format holds times."""
    constants: tuple[str, ...] | None = None
    """Names in `config` that are constants of the kernel, if the format tells them from launch options."""

    def split(self) -> tuple[Json, Json]:
        """Constants and launch options."""
        constants = [n for n in self.config if n not in OPTIONS] if self.constants is None else self.constants
        rest = {n: v for n, v in self.config.items() if n not in constants}
        return {n: self.config[n] for n in constants}, rest


@dataclass(frozen=True)
class ForeignTable:
    """A file."""

    about: Json
    """What file name and head say of all rows: sizes, device, dtype, Triton's version."""
    rows: tuple[ForeignRow, ...] = ()
    more: Json = field(default_factory=dict)
    """What else is needed to write the same file again."""


def parse(text: str) -> Any:
    """JSON. Raises NotReadable."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise NotReadable(f"it is no JSON ({e})") from e


def parse_object(text: str) -> Json:
    """A JSON object. Raises NotReadable."""
    found = parse(text)
    if not isinstance(found, dict):
        raise NotReadable("it is no JSON object")
    return found


def check_config(config: Any, where: str) -> Json:
    """A config as it stands in a file. Raises NotReadable."""
    if not isinstance(config, dict) or not config:
        raise NotReadable(f"{where} is no config")
    odd = [n for n, v in config.items() if not isinstance(v, bool | int | float | str | type(None))]
    if odd:
        raise NotReadable(f"{odd[0]} of {where} is neither a number nor a word")
    return config


def row_of_nested(key: Json, config: Any, where: str, ms: tuple[float, ...] = ()) -> ForeignRow:
    """A row whose config is written ``{"kwargs": {…}, "num_warps": …}``. Raises NotReadable."""
    if not isinstance(config, dict) or not isinstance(config.get("kwargs"), dict):
        raise NotReadable(f"{where} has no kwargs")
    kwargs, rest = config["kwargs"], {n: v for n, v in config.items() if n != "kwargs"}
    if kwargs.keys() & rest.keys():
        raise NotReadable(f"{where} sets {min(kwargs.keys() & rest.keys())} twice")
    return ForeignRow(key, check_config({**kwargs, **rest}, where), ms, tuple(kwargs))


def nested(row: ForeignRow) -> Json:
    """The config as :func:`row_of_nested` reads it."""
    constants, rest = row.split()
    return {"kwargs": constants, **rest}


def fields_of_name(name: str, separator: str = ",") -> Json:
    """``E=8,N=7168,device_name=NVIDIA_H200.json`` by field; a value may hold the separator. Raises NotReadable."""
    stem = name.removesuffix(".json")
    parts = re.split(rf"{re.escape(separator)}(?=[A-Za-z_]+=)", stem)
    found: Json = {}
    for part in parts:
        field_name, equals, value = part.partition("=")
        if not equals or not value:
            raise NotReadable(f"its name has no value in {part!r}")
        found[field_name] = int(value) if value.isdigit() else value
    return found
