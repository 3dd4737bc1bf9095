"""A config space in words: what its fields mean, which family uses what, and which static rules its configs obey.

Everything is read from the kernel: meanings from the texts under the fields of its config class, rules from what its
``constraint`` says of random combinations."""

from __future__ import annotations

import ast
import inspect
import random
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

from kernels.hardware import Hardware
from kernels.spec import Config, KernelSpec, Problem
from tools.session.neighbourhood import field_values_of

DRAWS = 1000
"""Random combinations whose refusals are collected."""
MOST_RULES = 8
"""Rules that are told, those that refuse most first."""
RULE_CHARS = 160
"""Characters of a rule's example. The shortest one is told, so that few are cut."""


def describe_fields(config_type: type[Config], space: Sequence[Config] = ()) -> dict[str, str]:
    """Field → its meaning, as the text under it says, and its default. A field that has one value in `space` is not
    explained: there is nothing to choose."""
    meanings: dict[str, str] = {}
    for base in reversed(config_type.__mro__):
        if issubclass(base, Config):
            meanings |= _texts_under_fields(base)
    found = {}
    for name, info in config_type.model_fields.items():
        if len(space) > 1 and len({getattr(config, name) for config in space}) == 1:
            continue
        meaning = " ".join((info.description or meanings.get(name) or "").replace("``", "").split())
        default = "" if info.is_required() else f"default {info.default}"
        if meaning or default:
            found[name] = "; ".join(filter(None, (meaning.rstrip("."), default)))
    return found


def _texts_under_fields(config_type: type[Config]) -> dict[str, str]:
    """Field → the string that stands under it in the class; empty if the source cannot be had."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(config_type)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, text in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[field.target.id] = text.value.value
    return found


def describe_rules(
    spec: KernelSpec[Any, Any], problem: Problem, hardware: Hardware, space: Sequence[Config]
) -> list[str]:
    """The static rules that refuse random combinations of the values that occur in `space`, each with one of its
    refusals as the example. The same each time."""
    config_type, rng = spec.config_type, random.Random(0)
    rows = [field_values_of(config) for config in space]
    values = {name: _ordered({row[name] for row in rows}) for name in config_type.model_fields} if rows else {}
    if not values:
        return []
    refused, examples = Counter[str](), dict[str, str]()
    for _ in range(min(DRAWS, 4 * prod(map(len, values.values())))):
        config = config_type(**{name: rng.choice(choices) for name, choices in values.items()})
        if (reason := spec.constraint(problem, config, hardware)) is not None:
            rule = reason.partition(":")[0]
            refused[rule] += 1
            examples[rule] = min(examples.get(rule, reason), reason, key=lambda text: (len(text), text))
    return [
        textwrap.shorten(examples[rule], RULE_CHARS, placeholder=" …") for rule, _ in refused.most_common(MOST_RULES)
    ]


def describe_families(space: Sequence[Config]) -> dict[str, Any]:
    """For the first field of words (the family): value → how many configs it has, and the fields that have only some of
    their values with it. Empty if there is no such field."""
    rows = [field_values_of(config) for config in space]
    names = list(rows[0]) if rows else []
    all_values = {name: _ordered({row[name] for row in rows}) for name in names}
    chosen = next((n for n in names if len(all_values[n]) > 1 and all(isinstance(v, str) for v in all_values[n])), None)
    if chosen is None:
        return {}
    found: dict[str, Any] = {}
    for value in all_values[chosen]:
        own = [row for row in rows if row[chosen] == value]
        limited = {
            name: values
            for name in names
            if name != chosen and (values := _ordered({row[name] for row in own})) != all_values[name]
        }
        found[value] = {"configs": len(own), "only": limited}
    return {chosen: found}


def count_combinations(space: Sequence[Config]) -> int:
    """Combinations of the values that occur in the space."""
    rows = [field_values_of(config) for config in space]
    return prod(len({row[name] for row in rows}) for name in rows[0]) if rows else 0


def _ordered(values: set[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (str(type(value)), value))
