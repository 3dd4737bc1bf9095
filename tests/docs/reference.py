"""The reference, made of the command lines and the public docstrings: ``python -m tests.docs.reference``.

Writes ``docs/REFERENCE.md``; ``test_docs.py`` fails where it is out of date.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator

import click

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "REFERENCE.md"
COMMANDS = {
    "agent": ("agent.cli.commands", "commands"),
    "kernels": ("evals.bench.commands", "cli"),
    "tools": ("agent.serve.commands", "cli"),
    "memory": ("memory.commands", "cli"),
    "evals": ("evals.commands.commands", "cli"),
}
PUBLIC = {
    "agent": ("optimise",),
    "agent.result": ("Result",),
    "agent.campaign": ("matmul_shapes", "write_campaign"),
    "kernels.ops": (
        "use", "config_of", "matmul", "fused_matmul", "softmax", "rms_norm", "layer_norm", "swiglu", "attention",
        "conv2d", "rms_norm_backward", "layer_norm_backward", "fused_linear_cross_entropy",
        "grouped_matmul", "attention_backward",
    ),
    "kernels.spec": ("Problem", "Config", "Baseline", "KernelSpec"),
    "kernels.autotuned": ("AutotunedKernel",),
    "evals.contest.game": ("Game",),
}  # fmt: skip


def page() -> str:
    lines = ["# Reference", "", "Made by `python -m tests.docs.reference`; do not edit.", ""]
    for room, (module, name) in COMMANDS.items():
        lines += command(getattr(importlib.import_module(module), name), f"python -m {room}", 2)
    lines += ["## In Python", ""]
    for module, names in PUBLIC.items():
        there = importlib.import_module(module)
        for name in names:
            lines += documented(f"{module}.{name}", getattr(there, name))
    return "\n".join(lines).rstrip() + "\n"


def command(c: click.Command, path: str, depth: int) -> Iterator[str]:
    arguments = [p.make_metavar(click.Context(c)) for p in c.params if isinstance(p, click.Argument)]
    yield from ("#" * min(depth, 4) + f" `{' '.join([path, *arguments])}`", "", prose(c.help or ""), "")
    options = [p for p in c.params if isinstance(p, click.Option) and not p.hidden]
    if options:
        yield from ("| option | default | |", "|---|---|---|")
        yield from map(row, options)
        yield ""
    if isinstance(c, click.Group):
        for name in sorted(c.commands):
            yield from command(c.commands[name], f"{path} {name}", depth + 1)


def row(o: click.Option) -> str:
    kind = "" if o.is_flag or o.count else f" {o.metavar or kind_of(o.type)}"
    shown = o.default if o.show_default and isinstance(o.default, int | float | str) and not o.is_flag else ""
    cells = (f"`{', '.join([*o.opts, *o.secondary_opts])}{kind}`", f"{shown}", prose(o.help or ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def kind_of(t: click.ParamType) -> str:
    return "|".join(map(str, t.choices)) if isinstance(t, click.Choice) else t.name.upper().split()[0]


def documented(name: str, thing: object) -> Iterator[str]:
    members = []
    if inspect.isclass(thing):
        yield from (f"### `{name}`", "", text(thing), "")
        members = [
            (n, m) for n, m in vars(thing).items() if not n.startswith("_") and callable(getattr(thing, n)) and text(m)
        ]
    else:
        yield from (f"### `{name}{signature(thing)}`", "", text(thing), "")
    for n, m in members:
        yield f"- `{n}{signature(getattr(thing, n))}`: {' '.join(text(m).split())}"
    if members:
        yield ""


def signature(thing: object) -> str:
    """As it is written; defaults that have no short form are an ellipsis."""
    s = inspect.signature(thing)
    parameters = [p.replace(annotation=p.empty, default=p.empty) for p in s.parameters.values()]
    named = [
        str(p)
        if old.default is p.empty
        else f"{p}={old.default if isinstance(old.default, int | float | str | None) else '…'}"
        for p, old in zip(parameters, s.parameters.values(), strict=True)
    ]
    return f"({', '.join(named)})"


def text(thing: object) -> str:
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "")


def prose(words: str) -> str:
    """A help text as Markdown: what click is told not to wrap is a block."""
    parts = inspect.cleandoc(words).split("\n\n")
    return "\n\n".join("\n".join(f"    {line}" for line in p.splitlines()[1:]) if p[0:1] == "\b" else p for p in parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
