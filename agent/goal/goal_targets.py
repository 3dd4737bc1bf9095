"""Targets of a goal: ``800 TFLOPS``, ``under 0.2 ms``, ``90 % of peak``, ``faster than torch.compile``.

A target is judged when the run has ended, by the final sitting. It does not end the search."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from agent.errors import UsageError
from agent.goal.objective import Target
from agent.goal.words.text import NUMBER, START, Text
from agent.goal.words.vocabulary import longest_first
from memory.terms import Metric

UNDER = r"(?<!\w)(?:under|below|at most|less than|no more than|not more than|within|up to|max|<=?)"
OVER = r"(?<!\w)(?:over|above|at least|more than|no less than|not less than|beyond|exceed(?:ing)?|>=?|min)"
UNITS: dict[str, tuple[Metric, float]] = {
    "gflops/w": ("tflops_per_watt", 1e-3), "gflops per watt": ("tflops_per_watt", 1e-3),
    "tflops/w": ("tflops_per_watt", 1.0), "tflops per watt": ("tflops_per_watt", 1.0),
    "tflop/s/w": ("tflops_per_watt", 1.0), "tflop/s per watt": ("tflops_per_watt", 1.0),
    "gb/s/w": ("gbps_per_watt", 1.0), "gb/s per watt": ("gbps_per_watt", 1.0), "gbps per watt": ("gbps_per_watt", 1.0),
    "pflops": ("tflops", 1e3), "pflop/s": ("tflops", 1e3), "petaflops": ("tflops", 1e3),
    "tflops": ("tflops", 1.0), "tflop/s": ("tflops", 1.0), "tflops/s": ("tflops", 1.0), "tflop": ("tflops", 1.0),
    "teraflops": ("tflops", 1.0), "gflops": ("tflops", 1e-3), "gflop/s": ("tflops", 1e-3),
    "gb/s": ("gbps", 1.0), "gbps": ("gbps", 1.0), "tb/s": ("gbps", 1e3),
    "ms": ("latency", 1.0), "milliseconds": ("latency", 1.0), "millisecond": ("latency", 1.0),
    "msec": ("latency", 1.0), "usec": ("latency", 1e-3),
    "us": ("latency", 1e-3), "microseconds": ("latency", 1e-3), "microsecond": ("latency", 1e-3),
    "ns": ("latency", 1e-6), "nanoseconds": ("latency", 1e-6), "nanosecond": ("latency", 1e-6),
    "mj": ("joules", 1.0), "millijoules": ("joules", 1.0), "joules": ("joules", 1e3), "joule": ("joules", 1e3),
}  # fmt: skip
"""Unit → metric and factor to the metric's own unit."""
DOWNWARD: tuple[Metric, ...] = ("latency", "joules")
"""Metrics of which less is better."""
RIVALS: dict[str, tuple[str, ...]] = {
    "torch.compile": ("compiled",), "torch compile": ("compiled",), "inductor": ("compiled",),
    "cublaslt": ("cublaslt",), "cublas": ("cublas",), "cudnn": ("cudnn",),
    "flash attention 2": ("flash",), "flashattention 2": ("flash",), "flash attention": ("flash",),
    "flashattention": ("flash",), "sdpa": ("sdpa",), "eager pytorch": ("unfused", "sdpa"),
    "pytorch eager": ("unfused", "sdpa"), "eager": ("unfused", "sdpa"), "pytorch": ("unfused", "sdpa"),
    "torch": ("unfused", "sdpa"),
}  # fmt: skip
"""What a goal may be faster than → the baseline's name."""
EAGER_OF = {"cublas": "matmul"}
"""A rival → the kernel whose eager PyTorch it is."""
PEAK = r"(?:the )?(?:theoretical |datasheet )?(?:peak|roofline|roof|hardware limit|speed of light)"
_RIVAL = "|".join(re.escape(name) for name in longest_first(RIVALS))
FASTER = (
    r"faster than|quicker than|better than|beats?|beating|outperforms?|outperforming|as fast as|on par with|"
    r"speed ?up over"
)
SHARE_OF_PEAK = re.compile(
    rf"(?:(?P<under>{UNDER})\s+|(?:{OVER})\s+)?{START}(?P<share>{NUMBER})\s*(?:%|percent)\s*(?:of\s+)?{PEAK}(?!\w)"
)
SHARE_OF_RIVAL = re.compile(
    rf"(?:(?P<under>{UNDER})\s+|(?:{OVER})\s+)?{START}(?P<share>{NUMBER})\s*(?:%|percent)\s*of\s+(?P<rival>{_RIVAL})(?![\w.]*\w)"
)
FASTER_THAN = re.compile(
    rf"(?:(?:(?P<under>{UNDER})\s+|(?:{OVER})\s+)?{START}(?P<factor>{NUMBER})\s*(?P<kind>x|times|%|percent)\s+)?"
    rf"(?<!\w)(?:{FASTER})\s+(?:the\s+)?(?P<rival>{_RIVAL})(?!\w)(?!\.\w)"
    rf"(?:\s+by\s+(?:at least\s+)?(?P<by>{NUMBER})\s*(?P<by_kind>x|%|percent)(?!\w))?"
)
TIMES_OVER = re.compile(
    rf"{START}(?P<factor>{NUMBER})\s*(?:x|times)\s+over\s+(?:the\s+)?(?P<rival>{_RIVAL})(?!\w)(?!\.\w)"
)
AMOUNT = re.compile(
    rf"(?:(?:(?P<under>{UNDER})|(?P<over>{OVER}))\s*)?{START}(?P<value>{NUMBER})\s*"
    rf"(?P<unit>{'|'.join(re.escape(unit) for unit in longest_first(UNITS))})(?![\w/])"
    r"(?:\s+or\s+(?:(?P<or_less>less|lower|faster)|(?P<or_more>more|higher|better))(?!\w))?"
)

FRACTION_OF_A_SECOND = re.compile(
    rf"(?:(?:(?P<under>{UNDER})|(?P<over>{OVER}))\s*)?{START}(?P<value>0?\.\d+)\s*(?:s|secs?|seconds?)(?![\w/])"
)
"""The time of a launch: a run has whole seconds."""


def read_targets(text: Text) -> list[Target]:
    """The targets; a rival stands by its words until the kernel is known. Raises UsageError."""
    found = []
    for match in text.take(SHARE_OF_PEAK):
        found.append(Target(words=written(match), kind="roofline", value=share(match)))
    for match in text.take(SHARE_OF_RIVAL):
        found.append(Target(words=written(match), kind="baseline", baseline=match["rival"], value=share(match)))
    for match in text.take(FASTER_THAN):
        if match["under"]:
            raise contradiction(match, "faster", "at least")
        if match["factor"] and match["by"]:
            raise UsageError(f"The goal names two factors in {written(match)!r}: say one.")
        value = 1.0
        if match["factor"] or match["by"]:
            value = float(match["factor"] or match["by"])
            value = 1 + value / 100 if (match["kind"] or match["by_kind"]) in ("%", "percent") else value
        found.append(
            Target(words=written(match), kind="baseline", baseline=match["rival"], value=positive(match, value))
        )
    for match in text.take(TIMES_OVER):
        value = positive(match, float(match["factor"]))
        found.append(Target(words=written(match), kind="baseline", baseline=match["rival"], value=value))
    for match in text.take(FRACTION_OF_A_SECOND):
        if match["over"]:
            raise contradiction(match, "a time", "under")
        value = positive(match, float(match["value"]) * 1e3)
        found.append(Target(words=written(match), kind="metric", metric="latency", value=value))
    for match in text.take(AMOUNT):
        metric, factor = UNITS[match["unit"]]
        if metric in DOWNWARD and (match["over"] or match["or_more"]):
            raise contradiction(match, match["unit"], "under")
        if metric not in DOWNWARD and (match["under"] or match["or_less"]):
            raise contradiction(match, match["unit"], "at least")
        value = positive(match, float(match["value"]) * factor)
        found.append(Target(words=written(match), kind="metric", metric=metric, value=value))
    return found


def resolve(target: Target, kernel: str, baselines: tuple[str, ...]) -> Target:
    """`target` with the baseline's own name. Raises UsageError if the kernel is not compared to it."""
    if target.kind != "baseline" or target.baseline is None:
        return target
    found = find_rival(target.baseline, kernel, baselines)
    if found is None:
        known = {way: word for word, ways in reversed(RIVALS.items()) for way in ways if way in baselines}
        raise UsageError(
            f"This problem of {kernel} is not compared to {target.baseline}: name one of {', '.join(known.values())}."
        )
    return target.model_copy(update={"baseline": found})


def find_rival(word: str, kernel: str, baselines: Collection[str]) -> str | None:
    """The name of the baseline that `word` means; ``None`` if the kernel is not compared to it."""
    names = RIVALS.get(word, ())
    if EAGER_OF.get(word) == kernel:
        names = (*names, "unfused")
    return next((name for name in names if name in baselines), None)


def resolve_rival(word: str, kernel: str, baselines: Mapping[str, bool]) -> str:
    """The baseline's own name for a word of ``--against``. `baselines`: whether each computes the same.

    Raises UsageError if it is none of the kernel's, or computes less."""
    found = word if word in baselines else find_rival(" ".join(word.lower().split()), kernel, baselines)
    same = ", ".join(name for name, equivalent in baselines.items() if equivalent)
    if found is None:
        raise UsageError(f"This problem of {kernel} is not compared to {word!r}: --against takes {same}.")
    if not baselines[found]:
        raise UsageError(
            f"{found} computes less than {kernel}, so nothing is proven by it: --against takes {same}. A goal may name "
            f"it as a target."
        )
    return found


def share(match: re.Match[str]) -> float:
    if match["under"]:
        raise contradiction(match, "a share", "at least")
    return positive(match, float(match["share"]) / 100)


def positive(match: re.Match[str], value: float) -> float:
    if value <= 0:
        raise UsageError(f"The target {written(match)!r} is met by anything: name a number above 0.")
    return value


def contradiction(match: re.Match[str], what: str, word: str) -> UsageError:
    return UsageError(
        f"The goal asks for {written(match)!r}, which is slower and not faster: a target of {what} says {word!r}."
    )


def written(match: re.Match[str]) -> str:
    return " ".join(match.group().split())
