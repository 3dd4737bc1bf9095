"""Which kernel a goal means, and the options of its problem."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.errors import UsageError
from agent.goal.goal_errors import cannot_read
from agent.goal.words.numbers import one_of
from agent.goal.words.text import Text
from agent.goal.words.vocabulary import (
    DTYPES,
    OPTION_ONLY,
    SWITCHED_OFF,
    SWITCHES,
    KernelWords,
    longest_first,
    spellings,
    spoken,
)

Options = dict[str, str | int | float | bool]
ADJECTIVES = ("fused",)
"""Aliases that other kernels' names are qualified with as well."""
NOT = r"(?<![\w'])(?:not|no|non|without|w/o|disable|skip|avoid|never|don't|dont)\s+(?:(?:a|an|any|the|use|using)\s+)*"
ON, OFF = "true|on|yes|1|enabled", "false|off|no|0|disabled"


def choose_kernel(
    goal: str, option: KernelWords | None, text: Text, kernels: Sequence[KernelWords], notices: list[str]
) -> KernelWords:
    """The kernel that the option or, failing that, the goal names; of several on the same dimensions the most specific,
    which is the one with the most options: a "fused matrix multiplication" is fused, a "fused softmax" is a softmax."""
    said = kernels_named(text, kernels)
    nouns = [kernel for name, kernel in said.items() if name not in ADJECTIVES]
    named = [k for k in said.values() if not nouns or k in nouns or any(related([k, noun]) for noun in nouns)]
    if option is not None:
        if named and named[0].name != option.name:
            notices.append(f"--kernel {option.name} overrules {named[0].name} in the goal")
        return option
    if not named:
        raise UsageError(cannot_read(goal, kernels, []))
    if len({kernel.name for kernel in nouns}) > 1 and not related(nouns):
        several = ", ".join(dict.fromkeys(kernel.name for kernel in nouns))
        raise UsageError(f"The goal names several kernels ({several}): a run tunes one, so say one.")
    return max(named, key=lambda kernel: len(kernel.choices))


def kernels_named(text: Text, kernels: Sequence[KernelWords]) -> dict[str, KernelWords]:
    """The kernels that the text names, by the words it names them with, longest words first."""
    names = {spoken(alias): kernel for kernel in kernels for alias in (*kernel.aliases, kernel.name)}
    return {name: names[name] for name in longest_first(names) if text.says(name)}


def related(kernels: Sequence[KernelWords]) -> bool:
    """Whether one kernel has the dimensions and all options of the others and its name says theirs, so that naming both
    means that one: a ``fused_matmul`` is a ``matmul``, and a ``fused_linear_cross_entropy`` of the same dimensions is
    none."""
    largest = max(kernels, key=lambda kernel: (len(kernel.choices), len(kernel.name)))
    return all(kernel == largest or _is_a(largest, kernel) for kernel in kernels)


def _is_a(kernel: KernelWords, other: KernelWords) -> bool:
    names = f" {spoken(kernel.name)} ", f" {spoken(other.name)} "
    return names[1] in names[0] and kernel.dims == other.dims and set(other.choices) <= set(kernel.choices)


def read_options(text: Text, kernel: KernelWords) -> Options:
    """The kernel's own options: words of a closed set, switches."""
    options: Options = {}
    for field, allowed in kernel.choices.items():
        if True in allowed:
            value = read_switch(text, field)
            if value is not None:
                options[field] = value
            continue
        values = DTYPES if field == "dtype" else tuple(str(value) for value in allowed)
        ways = {way: value for value in values for way in spellings(value, field)}
        name = re.escape(spoken(field))
        said = []
        for match in text.take(rf"(?<!\w){name}\s*(?:=|:)\s*([\w.]+)"):
            if (given := next((v for v in values if spoken(match[1]) in (v, *spellings(v, field))), None)) is None:
                raise UsageError(f"{kernel.name} has no {field} {match[1]}: it has {', '.join(map(str, allowed))}.")
            said.append(given)
        denied = [ways[way] for way in longest_first(ways) if text.take(rf"{NOT}{re.escape(way)}(?!\w)")]
        denied = [value for value in denied if value != "none"]
        if denied:
            others = ", ".join(str(value) for value in allowed if value not in denied)
            raise UsageError(f"The goal rules {field} {', '.join(denied)} out: say which it wants, one of {others}.")
        said += [ways[way] for way in longest_first(ways) if text.says(way)]
        if field == "dtype" and len(set(said)) > 1:
            several = ", ".join(dict.fromkeys(said))
            raise UsageError(f"The goal names more than one dtype ({several}): say the one that the inputs have.")
        if chosen := one_of(field, said):
            options[field] = chosen
    return options


def read_switch(text: Text, field: str) -> bool | None:
    """Whether the goal switches `field` on or off; ``None`` if it does not speak of it. Raises UsageError for both."""
    names = "|".join(re.escape(way) for way in longest_first((spoken(field), *SWITCHES.get(field, ()))))
    off = text.take(rf"(?<!\w)(?:{names})\s*(?:=|:|\bis\b)?\s*(?:{OFF})(?!\w)(?!\s+(?:{names}))")
    off += text.take(rf"{NOT}(?:{names})(?!\w)")
    off += [match for way in SWITCHED_OFF.get(field, ()) for match in text.take(rf"(?<!\w){way}(?!\w)")]
    on = text.take(rf"(?<!\w)(?:{names})(?:\s*(?:=|:)\s*(?:{ON}))?(?!\w)(?!\s*[=:])")
    if other := text.take(rf"(?<!\w)(?:{names})\s*[=:]\s*(\w+)"):
        raise UsageError(f"{field} is true or false, not {other[0][1]}.")
    if on and off:
        raise UsageError(f"The goal asks for {field} and for none: say one.")
    return bool(on) if on or off else None


def refuse_options_of_others(rest: Sequence[str], chosen: KernelWords, kernels: Sequence[KernelWords]) -> None:
    """A word that only another kernel understands is no word to pass over."""
    for other in kernels:
        if other is not chosen and (options := read_options(Text(" ".join(rest)), other)):
            named = ", ".join(key if isinstance(value, bool) else str(value) for key, value in options.items())
            raise UsageError(f"{chosen.name} has no {named}: say {other.name}, which has.")


def parse_options(given: Sequence[str], kernel: KernelWords) -> Options:
    """The values of ``--option NAME=VALUE``. Raises UsageError with the names or values that there are."""
    options: Options = {}
    known = {name.lower(): name for name in (*kernel.choices, *kernel.dims, *kernel.numbers)}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        field = name if name in known.values() else known.get(name.lower().replace("-", "_"))
        if not equals or not value:
            raise UsageError(f"--option {text} is not NAME=VALUE, such as --option {next(iter(known.values()))}=….")
        if field is None:
            raise UsageError(f"{kernel.name} has no option {name}: it has {', '.join(known.values())}.")
        if field in options:
            raise UsageError(f"--option {field} is given twice: give it once.")
        options[field] = parse_value(field, value, kernel)
    return options


def parse_value(field: str, value: str, kernel: KernelWords) -> str | int | float | bool:
    allowed = kernel.choices.get(field, ())
    if True in allowed:
        if value.lower() not in f"{ON}|{OFF}".split("|"):
            raise UsageError(f"--option {field}={value}: it is true or false.")
        return value.lower() in ON.split("|")
    if allowed:
        word = OPTION_ONLY.get(spoken(value), spoken(value))
        values = DTYPES if field == "dtype" else tuple(str(v) for v in allowed)
        found = next((v for v in values if word in (spoken(v), *spellings(v, field))), None)
        if found is None:
            raise UsageError(f"{kernel.name} has no {field} {value}: it has {', '.join(map(str, allowed))}.")
        return found
    kind = kernel.numbers.get(field, int)
    try:
        return kind(value)
    except ValueError as e:
        raise UsageError(f"--option {field}={value}: it is a {'whole ' if kind is int else ''}number.") from e
