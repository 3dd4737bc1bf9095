"""The sentences that refuse a goal: each names what is wrong and what would be understood."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from agent.goal.words.vocabulary import (
    DIMENSION_WORDS,
    DTYPES,
    METRICS,
    NEGATIONS,
    NO_CHOICE,
    WEAK_METRICS,
    KernelWords,
    spellings,
    spoken,
)

SHOWN_WORDS = 8
CURES: tuple[tuple[str, str], ...] = (
    (r"kv|key|gqa|mqa", "GROUP is the query heads that share a head of keys and values: of 32 heads and 8, GROUP=4"),
    (r"\d+(\.\d+)?[km]", "write a number out, 8k is 8000 or 8192"),
    (r"[kmgt]i?b|bytes?|\d+[kmgt]i?b", "a size in bytes is no shape, give the dimensions"),
    (r"tokens?", "tokens are S=… of attention or rows of a norm; --max-tokens limits the model"),
    (r"cpu|tpu|cores?", "kernels run on a GPU: cuda:0, or recorded"),
    (r"seed", "the seed is --seed N"),
    (r"gpt.*|claude.*|gemini.*|llama.*|qwen.*|model|llm|ai", "who decides is --model NAME"),
    (r"%|percent|\d+(\.\d+)?%", "say a share of what: 90 % of peak, 20 % faster than torch.compile"),
    (r"beat|than|outperform|vs|versus", "a rival is torch.compile, cuBLAS, cuDNN, eager or flash attention"),
    (r"square|squared", "write the shape, 4096x4096x4096"),
    (r"accurac.*|tolerance|error|exact|accumulat.*", "the tolerance is the kernel's own and cannot be set"),
    (r"input|inputs|output|outputs", "inputs and result have the dtype that the problem's dtype says"),
    (r"half", "the dtype is half precision or fp16"),
    (r"activation|epilogue|layout|scales|dtype|precision", "name the option's value, such as gelu, fp16, column major"),
    (r"or", "a goal is one problem and one metric, and all its targets shall be reached"),
    (r"gpus|devices", "several GPUs are --device cuda:all"),
    (r"channels?", "channels are C=… of the input or K=… of the result"),
    (r"s|(\d+h)?\d+m(in)?", "write a time out: 2 hours 30 minutes, 90 seconds"),
    (r"under|below", "a launch's time is under 0.2 ms, a run's time is within 90 seconds"),
    (r"window|sliding|mask", "the only mask is causal, which is on or off"),
    (r"image|filter|filters|\d+x\d+", "a 3x3 filter is R=3 S=3, a 56x56 image H=56 W=56"),
)  # fmt: skip
"""Words that were not understood → how to say what they may mean."""
NUMBER_CURE = "give a number its name (M=4096), its unit, or write a shape (4096x4096x4096)"


def not_understood(words: Sequence[str], kernel: KernelWords, kernels: Sequence[KernelWords], known: str) -> str:
    """The refusal of words that no rule took. `known` is what the goal would be without them."""
    negation = next((word for word in words if word in NEGATIONS), None)
    if negation is not None:
        others = ", ".join(word for word in words if word != negation)
        of = f" ({others})" if others else ""
        return (
            f"The goal says {negation!r}{of}: say what it wants and not what it does not want; only a switch (no bias, "
            "not causal) and the activation (no activation) can be denied."
        )
    shown = ", ".join(repr(word) for word in words[:SHOWN_WORDS])
    return f"Not understood: {shown}{cures(words, kernel, kernels)}. Without that it is {known}: --yes runs that."


def cures(words: Sequence[str], kernel: KernelWords, kernels: Sequence[KernelWords]) -> str:
    found = [cure for pattern, cure in CURES if any(re.fullmatch(pattern, word) for word in words)]
    if not found and any(re.fullmatch(r"[\d.]+", word) for word in words):
        found = [f"{NUMBER_CURE}; {kernel.name} has {', '.join((*kernel.dims, *kernel.numbers))}"]
    if not found:
        near = dict.fromkeys(
            match
            for word in words
            for match in difflib.get_close_matches(word, sorted(vocabulary(kernels)), 2, 0.72)
            if match not in words
        )
        found = [f"did you mean {', '.join(near)}?"] if near else []
    return f" ({'; '.join(found)})" if found else " (docs/GOALS.md lists the words of a goal)"


def vocabulary(kernels: Sequence[KernelWords]) -> set[str]:
    """Every word or phrase that a goal may hold."""
    found: set[str] = set(NO_CHOICE.split()) | {*WEAK_METRICS} | {way for ways in METRICS.values() for way in ways}
    for kernel in kernels:
        found |= {spoken(alias) for alias in (kernel.name, *kernel.aliases)} | {*kernel.dims, *kernel.numbers}
        found |= {way for ways in DIMENSION_WORDS.get(kernel.name, {}).values() for way in ways}
        for option, allowed in kernel.choices.items():
            values = DTYPES if option == "dtype" else [value for value in allowed if isinstance(value, str)]
            found |= {spoken(option)} | {way for value in values for way in spellings(value, option)}
    return found


def cannot_read(goal: str, kernels: Sequence[KernelWords], foreign: Iterable[str]) -> str:
    """The refusal of a goal that names no kernel of ours: the nearest names, or all if none is near."""
    shown = goal if len(goal) <= 60 else goal[:57] + "..."
    why = f"no kernel here does {', '.join(foreign)}" if (foreign := list(foreign)) else "it names no kernel"
    names = {spoken(name): kernel.name for kernel in kernels for name in (kernel.name, *kernel.aliases)}
    words = goal.lower().split()
    near = dict.fromkeys(
        names[match]
        for phrase in (*words, *map(" ".join, pairwise(words)))
        for match in difflib.get_close_matches(phrase, names, 1, 0.8)
    )
    if near and not foreign:
        return (
            f"Cannot read the goal {shown!r} ({why}): did you mean {' or '.join(near)}? `python -m kernels list` lists "
            "every kernel, docs/GOALS.md the words of a goal."
        )
    return (
        f"Cannot read the goal {shown!r} ({why}): name one of {', '.join(kernel.name for kernel in kernels)}, as in "
        "'maximise softmax bandwidth' or 'matmul 4096x4096x4096 bf16, 800 TFLOPS', or your own by --kernel "
        "path.py:NAME. docs/GOALS.md lists the words of a goal, `python -m agent --help` the commands."
    )
