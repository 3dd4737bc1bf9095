"""Dimensions that a goal names together: a 3x3 filter, a 56x56 image, 8 heads of keys and values."""

from __future__ import annotations

import re

from agent.errors import UsageError
from agent.goal.words.numbers import one_of
from agent.goal.words.text import START, Text
from agent.goal.words.vocabulary import PAIRS, SHARED_HEADS, KernelWords, longest_first, spoken

LARGEST_FILTER = 15
"""A pair of larger numbers beside a convolution's name may as well be the image."""
PAIR = r"(?P<pair>(?P<a>\d{1,9})\s*(?:x|by)\s*(?P<b>\d{1,9}))(?!\w)(?!\s*(?:[x*]|by\b)\s*\d)(?!\.\d)"
NOT_INSIDE = r"(?<![\w.,-])(?<!x )(?<!by )"
KV_HEADS = r"(?:kv|key value|key/value|key and value|key-value) heads?"
MULTI_QUERY = r"multi query|mqa"

Options = dict[str, str | int | float | bool]


def read_pairs(text: Text, before: str, kernel: KernelWords) -> Options:
    """``3x3 filter``, ``filter size 3``, ``3x3 convolution``, ``56x56 image``. `before` is what was left of the goal
    when it still held the kernel's name. A filter alone keeps the image's size, if it can: half of it is padding.

    Raises UsageError if a goal names two."""
    said: dict[str, list[str]] = {}
    claimed: list[tuple[int, int]] = []
    kinds = PAIRS.get(kernel.name, {})
    for dims, words in kinds.items():
        for match in _beside(before, words):
            _claim(text, match, dims, said, claimed)
        for match in re.finditer(
            rf"(?<!\w)(?:{_any(words)}) size\s*(?:=|:|of)?\s*(\d+)(?!\w)(?!\s*(?:x|by)\s*\d)", before
        ):
            text.take(re.escape(match.group()))
            for name in dims:
                said.setdefault(name, []).append(match[1])
    names = tuple(spoken(name) for name in (kernel.name, *kernel.aliases))
    for match in _beside(before, names) if kinds else ():
        free = not any(start < match.end("pair") and match.start("pair") < end for start, end in claimed)
        if free and max(int(match["a"]), int(match["b"])) <= LARGEST_FILTER:
            _claim(text, match, next(iter(kinds)), said, claimed)
    return {name: int(value) for name, several in said.items() if (value := one_of(name, several)) is not None}


def pad(options: Options, pairs: Options, kernel: KernelWords, padding_is_given: bool, notices: list[str]) -> None:
    """Add the padding that keeps the image's size to `options`, if a filter was named and no padding was.

    Raises UsageError for a filter with which none does."""
    if not {"R", "S"} <= set(pairs) or "padding" in options or padding_is_given:
        return
    rows, columns = int(pairs["R"]), int(pairs["S"])
    if rows != columns or rows % 2 == 0:
        raise UsageError(f"No padding keeps the image's size with a filter of {rows}x{columns}: say which, padding=0.")
    if kernel.defaults.get("padding") != rows // 2:
        options["padding"] = rows // 2
        notices.append(f"padding {rows // 2} keeps the image's size: another is --option padding=N")


def read_shared_heads(text: Text, kernel: KernelWords) -> int | None:
    """The heads of keys and values: ``8 kv heads``; one of ``multi-query``."""
    if SHARED_HEADS.get(kernel.name, ("", ""))[1] not in kernel.numbers:
        return None
    said = [match[1] for match in text.take(rf"{START}(\d+)\s+{KV_HEADS}(?!\w)")]
    said += [match[1] for match in text.take(rf"(?<!\w){KV_HEADS}\s*(?:=|:|of|is)?\s*(\d+)(?!\w)")]
    said += ["1" for _ in text.take(rf"(?<!\w)(?:{MULTI_QUERY})(?!\w)")]
    if said:
        text.take(r"(?<!\w)(?:grouped query|gqa)(?!\w)")
    heads = one_of("number of kv heads", said)
    return None if heads is None else int(heads)


def share_heads(options: Options, heads: int, query_heads: int, kernel: KernelWords) -> None:
    """Add the size of a group of query heads to `options`. Raises UsageError if `heads` do not divide them."""
    _, group = SHARED_HEADS[kernel.name]
    if heads < 1 or query_heads % heads:
        raise UsageError(f"{query_heads} query heads cannot share {heads} kv heads: say e.g. 32 heads, 8 kv heads.")
    size = query_heads // heads
    if options.get(group, size) != size:
        raise UsageError(f"The goal names {heads} kv heads and {group}={options[group]}: say one.")
    options[group] = size


def _any(words: tuple[str, ...]) -> str:
    plain = {word.removesuffix(" size") for word in words}
    return "|".join(re.escape(word) for word in longest_first(plain))


def _beside(text: str, words: tuple[str, ...]) -> list[re.Match[str]]:
    """Every pair of numbers right before or after one of `words`."""
    names = "|".join(re.escape(word) for word in longest_first(words))
    after = re.finditer(rf"{NOT_INSIDE}{PAIR}\s+(?P<word>{names})(?!\w)", text)
    return [*after, *re.finditer(rf"(?<![\w.])(?P<word>{names})\s*(?:=|:|of)?\s+{PAIR}", text)]


def _claim(
    text: Text, match: re.Match[str], dims: tuple[str, str], said: dict[str, list[str]], claimed: list[tuple[int, int]]
) -> None:
    if any(start < match.end("pair") and match.start("pair") < end for start, end in claimed):
        return
    claimed.append(match.span("pair"))
    text.take(rf"(?<![\w.]){re.escape(match['pair'])}(?!\w)(?!\s*[x*]\s*\d)")
    text.says(match["word"])
    for name, value in zip(dims, (match["a"], match["b"]), strict=True):
        said.setdefault(name, []).append(value)
