"""The page of goals, made of the vocabulary and of the tests' table: ``python -m tests.docs.goals``.

Writes ``docs/GOALS.md``; ``test_docs.py`` fails if it is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.goal.goal_targets import RIVALS, UNITS
from agent.goal.words.chinese import CHINESE
from agent.goal.words.translations import GERMAN, SPANISH
from agent.goal.words.vocabulary import (
    DIMENSION_WORDS,
    DTYPES,
    METRICS,
    NO_CHOICE,
    WEAK_METRICS,
    KernelWords,
    registered,
    spellings,
    spoken,
)
from tests.agent.goal.meaning import REFUSED, meaning, table
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "GOALS.md"
INTRODUCTION = """\
# Goals

Made by `python -m tests.docs.goals`; do not edit.

A goal is one sentence. Each of its words is understood by a rule, or carries no choice ("please", "the"), or is
unknown. A goal with an unknown word is refused with exit code 2, and the message says what would be understood. `--yes`
leaves unknown words out and prints a notice. It does not excuse a negation, a contradiction or another operation.

- `--dry-run` prints the problem as it is understood, also as `--json`, and opens no device.
- `--option NAME=VALUE` sets any field of the kernel's problem. Options overrule words, and a notice says so.
- A negation is understood of a switch ("no bias", "not causal") and of the activation ("no activation"). Any other is
  refused.
- A direction must fit its metric: "minimise TFLOPS" is refused.
- A number needs a name or a unit: `M=64`, `32 heads`, `hidden 8192`, `800 TFLOPS`, `20 evaluations`. Named dimensions
  that the goal leaves out are those of the kernel's default problem.
- Two numbers are a filter or an image by the word beside them: "3x3 convolution", "filter size 5", "56x56 image". If no
  padding is named, the filter is padded so that the image keeps its size.
- Heads of keys and values ("8 kv heads", "multi-query") set GROUP, the query heads that share one of them.
- A linear layer has no activation, unless the goal names one.
- A target ("800 TFLOPS", "under 0.2 ms", "90 % of peak", "faster than torch.compile") is judged by the final sitting.
  It is reached if its whole 95 % interval is. A win that misses a target stays PROVEN; the verdict says that the target
  was not reached, and the exit code is 3. A target does not end the search. It adds to the verdict, which asks for a
  win over every equivalent baseline anyway; `--against NAME` narrows the verdict.
- "Peak" is the time that the roofline of the datasheet allows for this problem.
- A limit of time ("for 1 hour") is the time of the search.
- A GPU's name is a condition: a run on another device is refused.
"""


def page() -> str:
    return "\n".join([INTRODUCTION, *words(), *goals()]).rstrip() + "\n"


def words() -> Iterator[str]:
    yield from (
        "## Kernels, dimensions and options",
        "",
        "| kernel | other names | dimensions | options |",
        "|---|---|---|---|",
    )
    for kernel in registered():
        dims = ", ".join(dimension(kernel, name) for name in kernel.dims)
        options = "; ".join(
            [*(option(kernel, name) for name in kernel.choices), *(number(kernel, n) for n in kernel.numbers)]
        )
        yield f"| {kernel.name} | {', '.join(kernel.aliases)} | {dims} | {options} |"
    yield from ("", "## Other words", "", "| what | words |", "|---|---|")
    for dtype in dict.fromkeys(v for kernel in registered() for v in kernel.choices["dtype"]):
        yield f"| dtype {dtype} | {', '.join(spellings(str(dtype)))} |"
    unavailable = [name for name in DTYPES if all(name not in kernel.choices["dtype"] for kernel in registered())]
    yield f"| dtypes that no kernel has | {', '.join(unavailable)} |"
    for metric, ways in METRICS.items():
        yield f"| metric {metric} | {', '.join(dict.fromkeys(ways))} |"
    weak = [f"{word} ({metric or 'that of the kernel'})" for word, metric in WEAK_METRICS.items()]
    yield f"| if no metric is named | {', '.join(weak)} |"
    yield f"| units of a target | {', '.join(UNITS)} |"
    yield f"| what a target may be faster than | {', '.join(RIVALS)} |"
    yield "| regime | sustained, burst |"
    yield "| limits | evaluations, measurements, seconds, minutes, hours, days, dollars |"
    yield "| device | cuda:0, GPU 0, all GPUs, recorded; a GPU's name such as H200, RTX 4090, MI300X |"
    yield f"| carry no choice | {' '.join(NO_CHOICE.split())} |"
    yield f"| German | {', '.join(GERMAN)} |"
    yield f"| Spanish | {', '.join(SPANISH)} |"
    yield f"| Chinese | {', '.join(CHINESE)} |"
    yield ""


def dimension(kernel: KernelWords, name: str) -> str:
    ways = DIMENSION_WORDS.get(kernel.name, {}).get(name, ())
    return f"{name} ({', '.join(ways)})" if ways else name


def option(kernel: KernelWords, name: str) -> str:
    allowed = kernel.choices[name]
    if True in allowed:
        return f"{spoken(name)}, no {spoken(name)}"
    return f"{name}: {', '.join(str(value) for value in allowed)}"


def number(kernel: KernelWords, name: str) -> str:
    return f"{dimension(kernel, name)}=number"


def goals() -> Iterator[str]:
    """Every goal of the table with what it means now."""
    yield from ("## Goals and what they mean", "", "The tests hold each of them (`tests/agent/goal/goals.toml`).", "")
    for section, rows in table().items():
        yield from (f"### {section}", "", "| goal | means |", "|---|---|")
        for goal in rows:
            said = meaning(goal)
            if said.startswith(REFUSED):
                said = f"*refused*: {rows[goal].removeprefix(REFUSED)}"
            yield f"| {cell(goal)} | {cell(said)} |"
        yield ""


def cell(text: str) -> str:
    """`text` in a table: nothing in it is Markdown but a leading ``*refused*``."""
    lead = "*refused*" if text.startswith("*refused*") else ""
    return lead + re.sub(r"([|*<_])", r"\\\1", text.removeprefix(lead))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
