"""From a goal in words and the command line's options to an Objective.

Options win over words, and where the two differ a notice says so. Words that carry no choice are ignored; words that
name another operation, or leave no kernel to tune, are refused with one sentence that lists what can be said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import UsageError
from agent.goal.objective import Limits, Objective
from agent.goal.vocabulary import (
    BARE,
    DTYPES,
    FILLER,
    FOREIGN,
    GPUS,
    METRICS,
    WEAK_METRICS,
    KernelWords,
    longest_first,
    spellings,
    spoken,
)
from agent.models.apis import ApiChoice
from agent.models.effort import Effort
from memory.terms import Metric

SHAPE = re.compile(r"(?<![\w.])\d+(?:\s*[x*,]\s*\d+)+(?![\w.])")
CUBE = re.compile(r"(?<![\w.])(\d+)\s*(?:\^\s*3|cubed)(?!\w)")
SPENDING = re.compile(
    r"(?<![\w.])(\d{1,6}(?:\.\d{1,3})?)\s*(evaluations?|evals?|measurements?|seconds?|secs?|minutes?|mins?)\b"
)
LONGEST_GOAL = 2000
"""Characters; a goal is a sentence, not a document."""


@dataclass(frozen=True)
class Given:
    """What the command line said outright; ``None`` where it said nothing."""

    kernel: str | None = None
    shape: str | None = None
    dtype: str | None = None
    device: str | None = None
    model: str = "embedded"
    effort: Effort | None = None
    max_evals: int | None = None
    max_seconds: float | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_model_calls: int | None = None
    endpoint: str | None = None
    api: ApiChoice = "auto"
    approve: bool = False
    seed: int = 0


class Words:
    """A goal's text, from which readers take what they understand; what is left was not understood."""

    def __init__(self, goal: str) -> None:
        text = goal.lower().replace("×", "x").replace("³", "^3")
        self.left = f" {' '.join(text.replace('_', ' ').replace('-', ' ').split())} "

    def take(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        """Every match in what is left, which loses them."""
        found = list(pattern.finditer(self.left))
        self.left = pattern.sub(lambda match: " " * len(match.group()), self.left)
        return found

    def says(self, phrase: str) -> bool:
        """Whether `phrase` stands in what is left as whole words; takes it."""
        return bool(self.take(re.compile(rf"(?<![\w.]){re.escape(phrase)}(?!\w)")))

    def rest(self) -> list[str]:
        words = re.findall(r"[^\s,.;:!?()\"']+", self.left)
        return [word for word in words if word not in FILLER and len(word) > 1 and re.search(r"\w", word)]


def read_goal(
    goal: str, given: Given, kernels: Sequence[KernelWords], option: KernelWords | None = None
) -> tuple[Objective, list[str]]:
    """The objective, and notices for the user: options that overrule words, words that were not understood.

    `kernels` are the words of every registered kernel, `option` those of the one that ``--kernel`` means. Raises
    UsageError with one sentence."""
    if len(goal) > LONGEST_GOAL:
        raise UsageError(f"The goal has {len(goal)} characters: say it in one sentence of at most {LONGEST_GOAL}.")
    words, notices = Words(goal), list[str]()
    spending = read_spending(words)
    device = [m.group().strip() for m in words.take(re.compile(r"(?<!\w)cuda:\d+(?!\w)|\brecorded\b"))]
    gpu = [name for name in GPUS if words.says(name)]
    shape, cube = [m.group() for m in words.take(SHAPE)], [m.group(1) for m in words.take(CUBE)]
    chosen = choose_kernel(goal, option, words, kernels, notices)
    shape += ["x".join([edge] * len(chosen.dims)) for edge in cube]
    options = read_options(words, chosen)
    metric = read_metric(words)
    regime = one_of("regime", [name for name in ("sustained", "burst") if words.says(name)])
    rest = words.rest()
    foreign = [word for word in rest if word in FOREIGN]
    if foreign or (rest and rest == Words(goal).rest()):
        raise UsageError(cannot_read(goal, kernels, foreign))
    refuse_options_of_others(rest, chosen, kernels)
    if rest:
        notices.append(f"these words of the goal were not understood and change nothing: {', '.join(rest)}")

    if given.dtype is not None:
        word = spoken(given.dtype)
        dtype = next((name for name in DTYPES if word in spellings(name)), given.dtype)
        overrule("--dtype", dtype, options.get("dtype"), notices)
        options["dtype"] = dtype
    if given.shape is not None:
        overrule("--shape", parse_shape(given.shape), parse_shape(shape[0]) if shape else None, notices)
        options = {name: value for name, value in options.items() if name not in chosen.dims}
    read_shape = given.shape or one_of("shape", shape)
    read_device = given.device or one_of("device", device)
    if given.device and device and given.device != device[0]:
        overrule("--device", given.device, device[0], notices)
    allowed = chosen.choices.get("dtype", ())
    if allowed and options.get("dtype", allowed[0]) not in allowed:
        raise UsageError(
            f"{chosen.name} has no dtype {options['dtype']}: it has {', '.join(str(value) for value in allowed)}."
        )
    for name in ("max_evals", "max_seconds", "max_tokens", "max_cost", "max_model_calls"):
        value = getattr(given, name)
        if value is not None:
            overrule(f"--{name.replace('_', '-')}", value, spending.get(name), notices)
            spending[name] = value
    return Objective(
        goal=goal,
        kernel=chosen.name if chosen in kernels else str(given.kernel),
        shape=parse_shape(read_shape) if read_shape else None,
        options=options,
        metric=metric,
        regime="sustained" if regime == "sustained" else "burst",
        device=read_device or "auto",
        gpu=one_of("GPU", gpu[:1] if gpu == ["rtx 4090", "4090"] else gpu),
        model=given.model,
        effort=given.effort,
        endpoint=given.endpoint,
        api=given.api,
        approve=given.approve,
        limits=Limits.model_validate(spending),
        seed=given.seed,
    ), notices


ADJECTIVES = ("fused",)
"""Aliases that other kernels' names are qualified with as well."""


def choose_kernel(
    goal: str, option: KernelWords | None, words: Words, kernels: Sequence[KernelWords], notices: list[str]
) -> KernelWords:
    """The kernel that the option or, failing that, the goal names; of several on the same dimensions the most specific,
    which is the one with the most options: a "fused matrix multiplication" is fused, a "fused softmax" is a softmax."""
    names = {spoken(alias): kernel for kernel in kernels for alias in (*kernel.aliases, kernel.name)}
    said = {name: names[name] for name in longest_first(names) if words.says(name)}
    nouns = [kernel for name, kernel in said.items() if name not in ADJECTIVES]
    shapes = {kernel.dims for kernel in nouns}
    spoken_of = [kernel for kernel in said.values() if not nouns or kernel in nouns or kernel.dims in shapes]
    if option is not None:
        if spoken_of and spoken_of[0].name != option.name:
            notices.append(f"--kernel {option.name} overrules {spoken_of[0].name} in the goal")
        return option
    if not spoken_of:
        raise UsageError(cannot_read(goal, kernels, []))
    if len(shapes) > 1:
        several = ", ".join(dict.fromkeys(kernel.name for kernel in nouns))
        raise UsageError(f"The goal names several kernels ({several}): a run tunes one, so say one.")
    return max(spoken_of, key=lambda kernel: len(kernel.choices))


def read_options(words: Words, kernel: KernelWords) -> dict[str, str | int | bool]:
    """The kernel's own options: named dimensions, words of a closed set, switches."""
    options: dict[str, str | int | bool] = {}
    for dim in kernel.dims:
        named = words.take(re.compile(rf"(?<!\w){re.escape(dim.lower())}\s*=\s*(\d+)(?!\w)"))
        if value := one_of(dim, [m.group(1) for m in named]):
            options[dim] = int(value)
    for field, allowed in kernel.choices.items():
        if True in allowed:
            name = re.escape(spoken(field))
            off = words.take(re.compile(rf"(?<!\w)(?:no|without|without a|w/o)\s+{name}(?!\w)"))
            on = words.take(re.compile(rf"(?<!\w){name}(?!\w)"))
            if on and off:
                raise UsageError(f"The goal asks for {field} and for none: say one.")
            if on or off:
                options[field] = bool(on)
            continue
        values = DTYPES if field == "dtype" else tuple(str(value) for value in allowed)
        ways = {way: value for value in values for way in spellings(value)}
        said = [ways[way] for way in longest_first(ways) if words.says(way)]
        if value := one_of(field, said):
            options[field] = value
    return options


def refuse_options_of_others(rest: Sequence[str], chosen: KernelWords, kernels: Sequence[KernelWords]) -> None:
    """A word that only another kernel understands is no word to pass over."""
    for other in kernels:
        if other is not chosen and (options := read_options(Words(" ".join(rest)), other)):
            named = ", ".join(key if isinstance(value, bool) else str(value) for key, value in options.items())
            raise UsageError(f"{chosen.name} has no {named}: say {other.name}, which has.")


def read_metric(words: Words) -> Metric | None:
    """The unit the goal names; a weak word (``fastest``) only where it names none."""
    named = [metric for metric, ways in METRICS.items() if sum(words.says(way) for way in longest_first(ways))]
    weak = [metric for word, metric in WEAK_METRICS.items() if words.says(word)]
    if len(named) > 1:
        raise UsageError(f"The goal names more than one metric ({', '.join(named)}): say one.")
    return named[0] if named else next(iter(weak), None)


def read_spending(words: Words) -> dict[str, int | float | None]:
    """Limits said in words: ``20 evaluations``, ``5 minutes``."""
    spending: dict[str, int | float | None] = {}
    for match in words.take(SPENDING):
        amount, unit = float(match.group(1)), match.group(2)
        if amount <= 0:
            raise UsageError(f"The goal allows {match.group().strip()}: at least one is needed.")
        if unit.startswith(("eval", "meas")):
            spending["max_evals"] = int(amount)
        else:
            spending["max_seconds"] = amount * (60 if unit.startswith("min") else 1)
    return spending


def parse_shape(text: str) -> tuple[int, ...]:
    """``4096x4096x512`` as numbers. Raises UsageError."""
    parts = re.split(r"\s*[x×*,]\s*", text.strip().lower())
    if not all(re.fullmatch(r"[0-9]{1,9}", part) and int(part) > 0 for part in parts):
        raise UsageError(f"A shape is positive whole numbers joined by x, such as 4096x4096x4096, not {text!r}.")
    return tuple(int(part) for part in parts)


def one_of(what: str, said: Sequence[str]) -> str | None:
    """The single value said, if any. Raises UsageError where two differ."""
    if len(set(said)) > 1:
        raise UsageError(f"The goal names more than one {what} ({', '.join(dict.fromkeys(said))}): say one.")
    return said[0] if said else None


def overrule(option: str, value: object, words: object, notices: list[str]) -> None:
    if words is not None and words != value:
        notices.append(f"{option} {written(value)} overrules {written(words)} in the goal")


def written(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def cannot_read(goal: str, kernels: Sequence[KernelWords], foreign: Sequence[str]) -> str:
    """One sentence that lists what a goal may say."""
    names = "; ".join(f"{k.name} ({', '.join(k.aliases)})" if k.aliases else k.name for k in kernels)
    options = dict.fromkeys(
        field if value is True else spellings(str(value))[0] if value in BARE else str(value)
        for kernel in kernels
        for values in [kernel.choices]
        for field, allowed in values.items()
        for value in allowed
        if value is not False and value not in ("none",)
    )
    why = f"no kernel here does {', '.join(foreign)}" if foreign else "it names no kernel"
    shown = goal if len(goal) <= 60 else goal[:57] + "..."
    return (
        f"Cannot read the goal {shown!r} ({why}): name one of {names}, with a shape like 4096x4096x4096, "
        f"options out of {', '.join(options)}, and a metric out of TFLOPS, bandwidth, latency, TFLOPS per watt, joules."
    )
