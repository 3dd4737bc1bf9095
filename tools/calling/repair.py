"""Arguments of a tool call as a model meant them: what has one meaning is repaired and noted, the rest is quoted.

A config's missing field is not filled in here: a default that the model did not ask for would be measured in its name.
A caller whose schema lets a field be left out fills it in before (``field_defaults.py``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo

from kernels.defaults import Undefined, field_values
from kernels.spec import Config
from memory.shared_models import explain_refusal
from tools.calling import lenient_json

QUOTED = 120
"""Characters of a quoted value."""
UNSET = object()


@dataclass
class Repaired:
    """What became of a call's arguments."""

    parsed: BaseModel | None = None
    """``None`` if nothing can be run."""
    notes: list[str] = field(default_factory=list)
    """What was repaired."""
    problems: list[str] = field(default_factory=list)
    """What was left out of `parsed`, or why there is no `parsed`."""


def repair(model: type[BaseModel], arguments: Mapping[str, Any]) -> Repaired:
    """`arguments` as `model` takes them. In a list of configs, the good ones stand for themselves."""
    found = Repaired()
    values = dict(arguments)
    for name, info in model.model_fields.items():
        config_type, many = config_of(info.annotation)
        if config_type is None:
            continue
        if name not in values:
            _find_elsewhere(name, config_type, values, found.notes, set(model.model_fields))
        if name not in values:
            continue
        if many:
            values[name] = _rows(config_type, values[name], name, _most(info), found, _expects_text(info))
            if not values[name]:
                found.problems = found.problems or [f"{name}: it is empty, give at least one config"]
                return found
        elif values[name] in ("", "null") and not info.is_required():
            values[name] = None
        elif values[name] is not None:
            before = len(found.problems)
            if isinstance(values[name], str):  # the form in which one config is asked for
                values[name] = opened(values[name], name, [])
            values[name] = _row(config_type, values[name], name, found)
            if len(found.problems) > before:
                return found
    _repair_scalars(model, values, found.notes)
    try:
        found.parsed = model.model_validate(values)
    except ValidationError as e:
        found.problems += explain(e)
    return found


def config_of(annotation: Any) -> tuple[type[Config] | None, bool]:
    """The config type that an argument holds, and whether it holds many; ``None`` if it holds none."""
    if get_origin(annotation) is list:
        found, _ = config_of(get_args(annotation)[0])
        return found, True
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((t for t in options if isinstance(t, type) and issubclass(t, Config)), None), False


def quote(value: Any) -> str:
    """A value and its type, for a message: ``'9' (text)``."""
    names = {str: "text", bool: "boolean", int: "number", float: "number", type(None): "null", dict: "object"}
    text = repr(value) if not isinstance(value, dict | list) else json.dumps(value)
    return f"{text if len(text) <= QUOTED else text[:QUOTED] + ' …'} ({names.get(type(value), 'list')})"


def explain(error: ValidationError, limit: int = 5) -> list[str]:
    """A validation error as at most `limit` short sentences: where, what is wrong, and what was given."""
    lines = [
        text if e["type"] == "missing" else f"{text}, got {quote(e['input'])}"
        for text, e in zip(explain_refusal(error, "arguments"), error.errors(), strict=True)
    ]
    return lines[:limit] + ([f"and {len(lines) - limit} more"] if len(lines) > limit else [])


def _most(info: FieldInfo) -> int:
    return next((m.max_length for m in info.metadata if hasattr(m, "max_length")), 32)


def _expects_text(info: FieldInfo) -> bool:
    """Whether the argument's schema asks for a JSON text."""
    return any(isinstance(m, WithJsonSchema) for m in info.metadata)


def _find_elsewhere(
    name: str, config_type: type[Config], values: dict[str, Any], notes: list[str], known: set[str]
) -> None:
    """Take a config that stands beside the argument `name` for it: under the singular or plural of the name, or field
    by field in the place of the arguments."""
    other = next((key for key in (name.rstrip("s"), f"{name}s") if key != name and key in values), None)
    if other is not None:
        values[name] = values.pop(other)
        notes.append(f"{other} was taken as {name}")
        return
    loose = [key for key in values if key not in known and field_of(config_type, key) is not None]
    if loose:
        values[name] = {key: values.pop(key) for key in loose}
        notes.append(f"the config's fields were taken as {name}")


def _rows(
    config_type: type[Config], given: Any, name: str, most: int, found: Repaired, expects_text: bool
) -> list[Any]:
    given = opened(given, name, found.notes if not expects_text else [])
    if isinstance(given, dict):
        table = _of_table(given)
        if table is None:
            found.notes.append(f"{name}: one config was taken as a list of one")
        given = [given] if table is None else table
    if not isinstance(given, list):
        found.problems.append(f"{name}: a list of configs is wanted, got {quote(given)}")
        return []
    rows: list[Any] = []
    for place, item in enumerate(given):
        if len(rows) == most:
            found.problems.append(f"{name}: {len(given) - place} configs beyond the {most} of one call were left out")
            break
        before = len(found.problems)
        row = _row(config_type, item, f"{name}.{place}", found)
        if len(found.problems) == before:
            rows.append(row)
    return rows


def configs_of(given: Any) -> list[Any] | None:
    """The configs that `given` holds: a list, a table, or a JSON text of either; ``None`` if it is none of these."""
    value = opened(given, "", [])
    found = _of_table(value) if isinstance(value, dict) else value
    return found if isinstance(found, list) else None


def _of_table(given: Mapping[str, Any]) -> list[Any] | None:
    """Configs that stand as a table ``{"same": {...}, "columns": [...], "rows": [[...]]}``, as answers show them."""
    columns, rows, same = given.get("columns"), given.get("rows"), given.get("same", {})
    if set(given) - {"same"} != {"columns", "rows"} or not (isinstance(columns, list) and isinstance(rows, list)):
        return None
    return [
        {**same, **dict(zip(columns, row, strict=True))}
        if isinstance(row, list) and len(row) == len(columns) and isinstance(same, dict)
        else row
        for row in rows
    ]


def _row(config_type: type[Config], given: Any, where: str, found: Repaired) -> Any:
    """One config as a dict of its fields. What is wrong with it is added to the problems, in one sentence."""
    given = opened(given, where, found.notes)
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
        found.notes.append(f"{where}: the one config of a list was taken")
    if isinstance(given, dict) and isinstance(given.get("config"), dict) and "config" not in config_type.model_fields:
        given = given["config"]
        found.notes.append(f"{where}: the config inside was taken")
    if not isinstance(given, dict):
        found.problems.append(f"{where}: a config is an object of fields, got {quote(given)}")
        return None
    values, wrong, notes = dict[str, Any](), list[str](), list[str]()
    for key, value in given.items():
        name = field_of(config_type, key)
        if name is None or name in values or (name != key and name in given):
            wrong.append(f"{key} is no field, got {quote(value)}")
            continue
        if name != key:
            notes.append(f"{where}: {key} was taken as {name}")
        repaired = _value(config_type, name, value)
        if repaired is UNSET:
            wrong.append(f"{name} is one of {_choices(config_type, name)}, got {quote(value)}")
        else:
            values[name] = repaired
            if not _same(repaired, value):
                notes.append(f"{where}: {name} {quote(value)} was taken as {json.dumps(repaired)}")
    left_out: frozenset[str] = getattr(config_type, "left_out", frozenset())
    needed = [name for name in config_type.model_fields if name not in left_out]
    missing = [name for name in needed if name not in values and not _mentioned(name, wrong)]
    if missing:
        wrong.append(f"{', '.join(missing)} missing: give every field")
    if not wrong:
        try:
            config_type.model_validate(values)
        except ValidationError as e:  # of fields that do not go together
            wrong += explain(e)
    if wrong:
        found.problems.append(f"{where}: {'; '.join(wrong)}")
        return None
    found.notes += notes
    return values


def _mentioned(name: str, wrong: Sequence[str]) -> bool:
    return any(text.startswith(f"{name} is one of") for text in wrong)


def opened(given: Any, where: str, notes: list[str]) -> Any:
    """`given`, read as JSON if it is a text that holds an object or a list."""
    if not isinstance(given, str) or not given.strip().startswith(("{", "[", "```")):
        return given
    try:
        value, _ = lenient_json.read(given)
    except lenient_json.NotJson:
        return given
    notes.append(f"{where}: a JSON text was read")
    return value


def field_of(config_type: type[Config], key: str) -> str | None:
    """The config's field of this name, whatever the case of its letters."""
    if key in config_type.model_fields:
        return key
    same = [name for name in config_type.model_fields if name.lower() == key.strip().lower()]
    return same[0] if len(same) == 1 else None


def _value(config_type: type[Config], name: str, given: Any) -> Any:
    """The one value of the field that `given` can mean; UNSET if there is none, or more than one."""
    try:
        choices = field_values(config_type, name)
    except Undefined:
        return given  # an open field: its model says what is wrong
    return closest(choices, given)


def closest(choices: Sequence[Any], given: Any) -> Any:
    """The one of `choices` that `given` can mean: itself, a number or flag written as text, a whole float, a word in
    other case, 0 or 1 for a flag. UNSET if there is none, or more than one."""
    if any(_same(choice, given) for choice in choices):
        return given
    meant: list[Any] = []
    if isinstance(given, str):
        word = given.strip().strip("'\"").lower()
        words = {"none": "null"}
        meant = [c for c in choices if (c if isinstance(c, str) else json.dumps(c)).lower() == words.get(word, word)]
    elif isinstance(given, float) and given.is_integer():
        meant = [c for c in choices if _same(c, int(given))]
    elif isinstance(given, int) and not isinstance(given, bool) and given in (0, 1):
        meant = [c for c in choices if _same(c, bool(given))]
    return meant[0] if len(meant) == 1 else UNSET


def _same(a: Any, b: Any) -> bool:
    """Equal and of one type: 1, 1.0 and true are three values."""
    return type(a) is type(b) and a == b


def _choices(config_type: type[Config], name: str) -> str:
    return ", ".join(json.dumps(value) for value in field_values(config_type, name))


def _repair_scalars(model: type[BaseModel], values: dict[str, Any], notes: list[str]) -> None:
    """Numbers and words of a tool's own arguments that were written as something else."""
    for key in list(values):
        name = next((n for n in model.model_fields if n.lower() == key.strip().lower()), None)
        if name is None or (name != key and name in values):
            continue
        value = values.pop(key)
        if name != key:
            notes.append(f"{key} was taken as {name}")
        repaired = _scalar(model.model_fields[name], value)
        if not _same(repaired, value):
            notes.append(f"{name} {quote(value)} was taken as {json.dumps(repaired)}")
        values[name] = repaired


def _scalar(info: FieldInfo, value: Any) -> Any:
    options = get_args(info.annotation) if get_origin(info.annotation) in (Union, UnionType) else (info.annotation,)
    choices = [c for option in options for c in get_args(option)]
    if type(None) in options:
        choices.append(None)
    if choices and not any(option in (int, str, float) for option in options):
        found = closest(choices, value)
        return value if found is UNSET else found
    if int in options and str not in options:
        if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
    return value
