"""The fields that a caller left out of a config, where its schema says that those with a default may be left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from kernels.spec import Config
from tools.calling.repair import config_of, configs_of, field_of, opened


def fill_defaults(model: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` of the tool whose arguments are a `model`. Every config among them gets its left-out fields that have
    a default. What is no config stays as it is: :func:`tools.calling.repair.repair` explains it."""
    filled = dict(arguments)
    for name, info in model.model_fields.items():
        config_type, many = config_of(info.annotation)
        if config_type is None or name not in filled:
            continue
        given = filled[name]
        if not many:
            filled[name] = _whole(config_type, opened(given, name, []))
        elif (rows := configs_of(given)) is not None:
            filled[name] = [_whole(config_type, row) for row in rows]
    return filled


def _whole(config_type: type[Config], given: Any) -> Any:
    """`given` with the defaults of its missing fields; as it is, if it names no field of a config."""
    if not isinstance(given, dict):
        return given
    named = {field_of(config_type, str(key)) for key in given} - {None}
    if not named:
        return given
    left_out: frozenset[str] = getattr(config_type, "left_out", frozenset())
    missing = {name: info for name, info in config_type.model_fields.items() if name not in named | left_out}
    return given | {name: info.default for name, info in missing.items() if not info.is_required()}
