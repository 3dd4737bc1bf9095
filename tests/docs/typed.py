"""Runs the blocks of a page: the two files of tests that do so share the work between two processes."""

from __future__ import annotations

import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from tests.docs import reference
from tests.docs.pages import ROOT, Block, commands
from tests.docs.reader import ENOUGH_S, Reader

OPTIONAL = {"litellm", "datasette", "pip", "git", "export", "claude", "codex", "code"}
"""Programs that are not ours: their lines are for the reader's machine."""
SHORTENED = {
    "python -m agent maximise attention TFLOPS": ("--dry-run",),
    "python -m evals run --agents embedded,random --seeds 5 --landscape rms_norm-32768x4096-fp16-h200": (
        "--seeds", "1", "--max-evals", "6",
    ),
}  # fmt: skip
"""Lines that take over 20 s as they are printed: run with these options in place of their own or added, and as printed
on demand (`-m long`)."""

ON_DEMAND = {
    "python -m evals tasks --model embedded",
    "python -m kernels validate softmax",
    "python -m kernels validate examples/add_relu.py:AddRelu",
    "python -m agent maximise fused TFLOPS --max-evals 2 --memory memory.db",
    "python -m tests.bench.bench_fleet simulate --workers 1,2,4,8,16,32,64,128,256 --json fleet.json",
}
"""Blocks with one of these lines take over 10 s: CI sees that their commands and options exist, and they run on demand
(`-m long`)."""

PROGRAMS_ON_DEMAND = ("docs/PYTHON.md", "docs/FLEET.md", "docs/KERNELS.md")
"""Pages with programs that take 30 s to a minute on two cores. CI compiles them; the README's program runs there."""


def is_on_demand(block: Block) -> bool:
    return any(" ".join(words) in ON_DEMAND for words in commands(block))


def needs_more_than_this_machine(words: list[str]) -> bool:
    """A GPU, a cluster, a model's endpoint, the test suite itself, or a server that does not end."""
    text = " ".join(words)
    return bool(
        re.search(r"cuda|--ray|--model |--live|--base-url|pytest|tests\.bench|tools serve|langgraph dev", text)
        or re.search(r"-m (kernels (bench|fusion|sweep)|evals record)(?!.*--help)", text)
    )


@functools.cache
def help_of(*words: str) -> str:
    """What the command of these words says to ``--help``; nothing where there is no such command. Ours are asked in
    this process, where nothing has to be imported anew."""
    if words[2] in reference.COMMANDS or words[2].startswith("tests.bench."):
        module, name = reference.COMMANDS.get(words[2], (words[2], "main"))
        run = CliRunner().invoke(getattr(importlib.import_module(module), name), [*words[3:], "--help"])
        return run.output if run.exit_code == 0 else ""
    told = subprocess.run([sys.executable, *words[1:], "--help"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout if told.returncode == 0 else ""


def understood(words: list[str]) -> bool:
    """Whether the command line that `words` name exists and has every option they use: its help says so."""
    path = words[: next((i for i, w in enumerate(words) if w.startswith("-") and i > 1), len(words))]
    options = [w.partition("=")[0] for w in words[3:] if w.startswith("--")]
    help_ = next(filter(None, (help_of(*path[:end]) for end in range(len(path), 2, -1))), "")
    return bool(help_) and all(option in help_ for option in options)


def shortened(words: list[str]) -> list[str]:
    """The line as it is run here: without options that it is given anew, and with the new ones."""
    new = SHORTENED.get(" ".join(words), ())
    kept = [w for i, w in enumerate(words) if w not in new[::2] and (i == 0 or words[i - 1] not in new[::2])]
    return [*kept, *new]


def run_commands(block: Block, reader: Reader, whole: bool = False) -> None:
    """In order; what needs a GPU or an endpoint must be understood. So must the lines of a block that runs on demand,
    unless it is to be run `whole`."""
    only_understood = is_on_demand(block) and not whole
    for words in commands(block):
        if words[0] in OPTIONAL:
            continue
        if words[0] == "autokernel":
            words = ["python", "-m", "agent", *words[1:]]
        assert words[0] in ("python", "bash"), f"{block}: {words[0]} is no command of ours; say what it is in OPTIONAL"
        if words[0] == "bash":
            assert (ROOT / words[1]).exists()
        elif only_understood or needs_more_than_this_machine(words):
            assert "pytest" in words or understood(words), f"{block}: no such command or option: {' '.join(words)}"
        else:
            done = reader.run(block.page, *shortened(words)[1:])
            assert done.returncode == 0, f"{block}: {' '.join(words)}\n{done.stderr[-2000:]}"


def run_program(block: Block, reader: Reader, folder: Path) -> None:
    program = folder / "program.py"
    program.write_text(block.text, encoding="utf-8")
    run = reader.python.run([str(program)], folder, {**reader.environment, "PYTHONPATH": str(ROOT)}, ENOUGH_S)
    assert run.returncode == 0, f"{block}\n{run.stderr[-2000:]}"
