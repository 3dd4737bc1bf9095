"""From a goal in words and the command line's options to an Objective.

1. Targets are read, then the kernel, dimensions, limits, device, shape, options, metric. Each rule takes its words out
   of the text.
2. What is left must be words that carry no choice. Anything else refuses the goal, with what would be understood.
   ``--yes`` leaves the words out and says so in a notice; it does not excuse a negation or another operation.
3. Options win over words, and a notice says so if the two differ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.errors import UsageError
from agent.goal.early import devices_named
from agent.goal.goal_errors import cannot_read, not_understood
from agent.goal.goal_targets import read_targets
from agent.goal.objective import Limits, Objective, Target
from agent.goal.options import (
    Options,
    choose_kernel,
    kernels_named,
    parse_options,
    read_options,
    refuse_options_of_others,
)
from agent.goal.words.metrics import read_metric
from agent.goal.words.numbers import one_of, parse_shape, read_dimensions, read_shape, read_spending
from agent.goal.words.pairs import pad, read_pairs, read_shared_heads, share_heads
from agent.goal.words.text import Text
from agent.goal.words.vocabulary import (
    DTYPES,
    FIELD_WORDS,
    FOREIGN,
    GPU,
    IMPLIED,
    NEGATIONS,
    OPTION_ONLY,
    OTHER_FUNCTIONS,
    SHARED_HEADS,
    KernelWords,
    spellings,
    spoken,
)
from agent.models.apis import ApiChoice
from agent.models.effort import Effort
from agent.models.waiting import Waiting
from kernels.registry import aliases

LONGEST_GOAL = 2000
"""Characters; a goal is a sentence, not a document."""
LIMITS = ("max_evals", "max_seconds", "max_tokens", "max_cost", "max_model_calls", "max_model_seconds")


@dataclass(frozen=True)
class Given:
    """What the command line said outright; ``None`` if it said nothing."""

    kernel: str | None = None
    shape: str | None = None
    dtype: str | None = None
    options: tuple[str, ...] = ()
    """Fields of the kernel's problem as ``NAME=VALUE``."""
    device: str | None = None
    model: str = "embedded"
    effort: Effort | None = None
    max_evals: int | None = None
    max_seconds: float | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_model_calls: int | None = None
    max_model_seconds: float | None = None
    waiting: Waiting = field(default_factory=Waiting)
    endpoint: str | None = None
    api: ApiChoice = "auto"
    approve: bool = False
    yes: bool = False
    """Whether words that are not understood are left out."""
    against: tuple[str, ...] = ()
    """The only baselines that the verdict is judged by."""
    bitwise: bool = False
    """Whether the winner must give the bits of the owner's launch."""
    seed: int = 0


def read_goal(
    goal: str, given: Given, kernels: Sequence[KernelWords], option: KernelWords | None = None
) -> tuple[Objective, list[str]]:
    """The objective, and notices for the user: options that overrule words, words that were left out.

    `kernels` are the words of every registered kernel, `option` those of the one that ``--kernel`` means. Raises
    UsageError with one sentence."""
    text, targets = read_beginning(goal, kernels)
    notices = list[str]()
    gpu = one_of("GPU", [" ".join(m.group().split()) for m in text.take(rf"(?<![\w.]){GPU}(?!\w)")])
    before = text.left
    chosen = choose_kernel(goal, option, text, kernels, notices)
    pairs, kv_heads = read_pairs(text, before, chosen), read_shared_heads(text, chosen)
    options = read_dimensions(text, chosen)
    for name, value in pairs.items():
        if options.setdefault(name, value) != value:
            raise UsageError(f"The goal names more than one {name} ({options[name]}, {value}): say one.")
    spending, device = read_spending(text, chosen), read_device(text)
    shapes = read_shape(text, chosen)
    options |= read_options(text, chosen)
    options = implied(before, chosen) | options
    pad(options, pairs, chosen, any(spoken(one).startswith("padding") for one in given.options), notices)
    metric = read_metric(text, targets)
    regime = one_of("regime", [name for name in ("sustained", "burst") if text.says(name)])
    refuse_rest(goal, text, given, chosen, kernels, describe(chosen, shapes, options), notices)

    shape = choose_shape(given, shapes, options, chosen, notices)
    choose_options(given, options, chosen, notices)
    if kv_heads is not None:
        share_heads(options, kv_heads, query_heads(chosen, shape, options), chosen)
    if given.device and device:
        overrule("--device", given.device, device, notices)
    for name in LIMITS:
        value = getattr(given, name)
        if value is not None:
            overrule(f"--{name.replace('_', '-')}", value, spending.get(name), notices)
            spending[name] = value
    return Objective(
        goal=goal,
        kernel=chosen.name if chosen in kernels else str(given.kernel),
        shape=shape,
        options=options,
        metric=metric,
        targets=tuple(targets),
        against=given.against,
        bitwise=given.bitwise,
        regime="sustained" if regime == "sustained" else "burst",
        device=given.device or device or "auto",
        gpu=gpu,
        model=given.model,
        effort=given.effort,
        endpoint=given.endpoint,
        api=given.api,
        waiting=given.waiting,
        approve=given.approve,
        limits=Limits.model_validate(spending),
        seed=given.seed,
    ), notices


def read_beginning(goal: str, kernels: Sequence[KernelWords]) -> tuple[Text, list[Target]]:
    """The text without its targets, and the targets. Raises UsageError for a function that no kernel computes."""
    if len(goal) > LONGEST_GOAL:
        raise UsageError(f"The goal has {len(goal)} characters: say it in one sentence of at most {LONGEST_GOAL}.")
    text = Text(goal)
    targets = read_targets(text)
    if other := [phrase for phrase in OTHER_FUNCTIONS if text.says(phrase)]:
        raise UsageError(cannot_read(goal, kernels, other))
    return text, targets


def require_kernel(goal: str) -> None:
    """Raise UsageError for a goal that names no built-in kernel, such as a misspelt command, without the seconds in
    which kernels are imported."""
    kernels = [KernelWords(name, words, (), {}) for name, words in aliases().items()]
    text, _ = read_beginning(goal, kernels)
    if not kernels_named(text, kernels):
        raise UsageError(cannot_read(goal, kernels, []))


def implied(before: str, kernel: KernelWords) -> Options:
    """What a kernel's name in the goal says of its options."""
    said = [options for name, options in IMPLIED.items() if re.search(rf"(?<![\w.]){name}(?!\w)", before)]
    return {name: value for options in said for name, value in options.items() if value in kernel.choices.get(name, ())}


def query_heads(kernel: KernelWords, shape: tuple[int, ...] | None, options: Options) -> int:
    """The query heads of the problem that the goal means so far."""
    heads, _ = SHARED_HEADS[kernel.name]
    if shape is not None and len(shape) == len(kernel.dims):
        return shape[kernel.dims.index(heads)]
    return int(options.get(heads, kernel.defaults[heads]))


def read_device(text: Text) -> str | None:
    """``cuda:0``, ``GPU 0``, ``all GPUs`` or ``recorded``."""
    return one_of("device", devices_named(text.take))


def refuse_rest(
    goal: str,
    text: Text,
    given: Given,
    chosen: KernelWords,
    kernels: Sequence[KernelWords],
    known: str,
    notices: list[str],
) -> None:
    """Raise UsageError for words that no rule took, or note them if the user confirmed that they are left out."""
    everything = Text(goal).rest()
    rest = text.rest(frozenset(word for name in chosen.choices for word in FIELD_WORDS.get(name, ()) if name in known))
    foreign = [word for word in rest if word in FOREIGN]
    denied = [word for word in rest if word in NEGATIONS]
    if foreign and not denied:
        raise UsageError(cannot_read(goal, kernels, foreign))
    if rest and rest == everything:
        raise UsageError(cannot_read(goal, kernels, []))
    if not rest:
        return
    if not denied:
        refuse_options_of_others(rest, chosen, kernels)
    if denied or foreign or not given.yes:
        raise UsageError(not_understood(list(dict.fromkeys(rest)), chosen, kernels, known))
    notices.append(f"these words of the goal were not understood and change nothing: {', '.join(rest)}")


def describe(kernel: KernelWords, shapes: Sequence[str], options: Options) -> str:
    """``matmul 64x64x64, dtype bf16``: what the goal is so far."""
    said = [f"{name} {str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]
    return ", ".join([f"{kernel.name} {shapes[0] if shapes else 'of its own shape'}", *said])


def choose_shape(
    given: Given, shapes: Sequence[str], options: Options, kernel: KernelWords, notices: list[str]
) -> tuple[int, ...] | None:
    """The shape of the option or of the words. Named dimensions in `options` are removed if ``--shape`` overrules
    them. Raises UsageError if the words name a shape and other dimensions."""
    words = one_of("shape", shapes)
    named = [name for name in kernel.dims if name in options]
    if given.shape is not None:
        overrule("--shape", parse_shape(given.shape), parse_shape(words) if words else None, notices)
        for name in named:
            notices.append(f"--shape {given.shape} overrules {name}={options.pop(name)} in the goal")
        return parse_shape(given.shape)
    if words is None:
        return None
    shape = parse_shape(words)
    if len(shape) == len(kernel.dims):
        for name, value in zip(kernel.dims, shape, strict=True):
            if options.get(name, value) != value:
                raise UsageError(f"The goal names the shape {words} and {name}={options[name]}: say one.")
    return shape


def choose_options(given: Given, options: Options, kernel: KernelWords, notices: list[str]) -> None:
    """Put the command line's options over those of the words. Raises UsageError for a dtype that the kernel lacks."""
    if given.dtype is not None:
        word = spoken(given.dtype)
        word = OPTION_ONLY.get(word, word)
        dtype = next((name for name in DTYPES if word in spellings(name)), given.dtype)
        overrule("--dtype", dtype, options.get("dtype"), notices)
        options["dtype"] = dtype
    for name, value in parse_options(given.options, kernel).items():
        if name == "dtype" and given.dtype is not None and options["dtype"] != value:
            raise UsageError(f"--dtype {given.dtype} and --option dtype={value} differ: give one.")
        overrule(f"--option {name}", value, options.get(name), notices)
        options[name] = value
    allowed = kernel.choices.get("dtype", ())
    if allowed and options.get("dtype", allowed[0]) not in allowed:
        raise UsageError(
            f"{kernel.name} has no dtype {options['dtype']}: it has {', '.join(str(value) for value in allowed)}."
        )


def overrule(option: str, value: object, words: object, notices: list[str]) -> None:
    if words is not None and words != value:
        notices.append(f"{option} {written(value)} overrules {written(words)} in the goal")


def written(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
