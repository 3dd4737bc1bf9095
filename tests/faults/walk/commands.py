"""Every command that the walk tries, with arguments that work in a sound world.

``{memory}`` and the like name a file of :mod:`tests.faults.walk.fixtures`; ``{out}`` is a path in an empty folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Command:
    """One command line that works."""

    words: str
    """Door and command, such as ``memory best``."""
    arguments: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    """Names of files among the arguments."""
    writes: tuple[str, ...] = ()
    """Options whose value is a file to write; the walk adds them."""
    suffix: str = ".html"
    """How the file's name ends."""
    heavy: bool = False
    """Whether it imports PyTorch, which takes seconds: only worlds that reach what the import serves are tried."""
    parse_only: bool = False
    """Whether it takes minutes or a GPU: only worlds that end while arguments are read are tried."""
    codes: tuple[int, ...] = (0,)
    """Exit codes in a sound world."""
    has_key: bool = True

    @property
    def argv(self) -> list[str]:
        return [*self.words.split(), *self.arguments]


RUN = ("maximise rms_norm bandwidth", "--device", "recorded", "--max-evals", "2")
TINY = ("--landscape", "{landscape}", "--seeds", "1", "--max-evals", "2")
COMMANDS = (
    Command("agent run", (*RUN, "--memory", "{memory}"), ("memory",), heavy=True, codes=(0, 3)),
    Command("agent resume", ("nothing",), codes=(2,)),
    Command("agent replay", ("{trace}",), ("trace",), heavy=True, codes=(0, 3)),
    Command("agent runs"),
    Command("agent show", ("{trace}",), ("trace",)),
    Command("agent fork", ("{trace}", "--at", "1"), ("trace",), parse_only=True),
    Command("agent export", ("{trace}",), ("trace",), ("--output",)),
    Command("agent export", ("{trace}", "--format", "atif"), ("trace",), ("--output",), ".json"),
    Command("agent export", ("{trace}", "--format", "otel"), ("trace",), ("--output",), ".json"),
    Command("agent export", ("{trace}", "--format", "triton"), ("trace",)),
    Command("agent doctor", heavy=True, codes=(0, 1)),
    Command("agent completion", ("bash",)),
    Command("agent campaign", ("{campaign}", "--device", "recorded"), ("campaign",), parse_only=True),
    Command("agent capture", ("-o", "{out}.capture", "--", "true"), codes=(0,)),
    Command("agent apply", ("no-such.json", "true"), parse_only=True),
    Command("agent compare", ("no-such.json", "--", "true"), parse_only=True),
    Command("agent table show", ("no-such.json",), parse_only=True),
    Command("agent table export", ("no-such.json",), parse_only=True),
    Command("agent table import", ("no-such.json",), parse_only=True),
    Command("agent improve", ("no-such.py",), parse_only=True),
    Command("agent patch", ("no-such.json",), parse_only=True),
    Command("agent captures show", ("{capture}",), ("capture",), heavy=True),
    Command("agent captures compile", ("no-such.capture",), parse_only=True),
    Command("memory best", ("--memory", "{memory}"), ("memory",)),
    Command("memory failures", ("--memory", "{memory}"), ("memory",)),
    Command("memory history", ("--memory", "{memory}", "--json"), ("memory",)),
    Command("memory runs", ("--memory", "{memory}", "--csv"), ("memory",)),
    Command("memory lessons", ("--memory", "{memory}"), ("memory",)),
    Command("memory stats", ("--memory", "{memory}"), ("memory",)),
    Command("memory report", ("--memory", "{memory}", "--html", "{out}.html"), ("memory",), ("--html",)),
    Command("memory metadata", ("--memory", "memory.db")),
    Command("memory export", ("--memory", "{memory}"), ("memory",), ("--output",), ".json"),
    Command("memory import", ("--memory", "{memory}", "{t4}"), ("memory", "t4")),
    Command("memory merge", ("--memory", "{memory}", "{other}"), ("memory", "other")),
    Command("memory prune", ("--memory", "{memory}", "--older-than", "1"), ("memory",)),
    Command("memory clean", ("--memory", "{memory}"), ("memory",)),
    Command("memory recover", ("{memory}",), ("memory",), ("--output",), ".db"),
    Command("kernels list", ("softmax",), heavy=True),
    Command("kernels validate", ("softmax",), parse_only=True),
    Command("kernels bench", ("softmax",), writes=("--out", "--json"), suffix=".json", parse_only=True, codes=(2,)),
    Command("kernels fusion", (), writes=("--out",), suffix=".json", parse_only=True, codes=(2,)),
    Command("kernels sweep", ("softmax",), writes=("--out",), suffix=".json", parse_only=True, codes=(2,)),
    Command("kernels roofline", ("--gpu", "H200", "--from", "{memory}"), ("memory",), ("--svg", "--html"), heavy=True),
    Command("kernels explain", ("softmax",), parse_only=True),
    Command("tools list", heavy=True),
    Command("tools serve", ("--goal", "maximise softmax bandwidth"), parse_only=True),
    Command(
        "evals run", ("--agents", "random", *TINY), ("landscape",), ("--html", "--leaderboard", "--out"), heavy=True
    ),
    Command("evals compare", ("{runs}",), ("runs",)),
    Command("evals report", ("{runs}",), ("runs",), ("--html", "--leaderboard")),
    Command("evals tasks", (), parse_only=True),
    Command("evals source", (), parse_only=True, codes=(2,)),
    Command("evals leaderboard", ("--runs", "{runs}"), ("runs",), ("--leaderboard",), ".md"),
    Command("evals judge", parse_only=True),
    Command("evals list", heavy=True),
    Command("evals record", ("--kernel", "softmax", "--out", "{out}.json"), parse_only=True, codes=(2,)),
)
"""Of ``agent capture`` the program's own exit code counts."""


def doors() -> dict[str, click.Group]:
    """Each room's command line."""
    from agent.cli.commands import commands
    from agent.serve.commands import cli as tools
    from evals.bench.commands import cli as kernels
    from evals.commands.commands import cli as evals
    from memory.commands import cli as memory

    return {"agent": commands, "memory": memory, "kernels": kernels, "tools": tools, "evals": evals}


def leaves() -> dict[str, click.Command]:
    """Every command that does something, by door and name."""
    found: dict[str, click.Command] = {}

    def walk(name: str, command: click.Command) -> None:
        if isinstance(command, click.Group):
            for each, below in command.commands.items():
                walk(f"{name} {each}", below)
        else:
            found[name] = command

    for door, group in doors().items():
        walk(door, group)
    return found


def campaign_text() -> str:
    """Two small problems that recorded devices have."""
    rows = [("rms_norm", [32768, 4096]), ("fused_matmul", [4096, 4096, 4096])]
    body = "\n".join(f"[[problem]]\nkernel = {json.dumps(k)}\nshape = {json.dumps(s)}" for k, s in rows)
    return f'name = "walk"\n{body}\n'
