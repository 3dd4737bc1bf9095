"""What the documentation says can be done: fenced blocks of README and docs.

A fenced ``sh`` block holds commands that a reader may paste, one a line, in order; a fenced ``python`` block is a
program. ``test_readme.py`` and ``test_pages.py`` run both. Synopses, output and file formats stand in indented blocks.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "evals").glob("*/README.md")])


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for m in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S):
            if m[1] == language:
                line = text.count("\n", 0, m.start()) + 2
                found.append(Block(path.relative_to(ROOT).as_posix(), line, m[1], m[2]))
    return found


def commands(block: Block) -> list[list[str]]:
    """Words of each command; comments and ``&&`` are taken apart."""
    found: list[list[str]] = []
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        while words:
            at = words.index("&&") if "&&" in words else len(words)
            found.append(words[:at])
            words = words[at + 1 :]
    return found


def links(path: Path) -> list[str]:
    """Targets of Markdown links that are not on the web, without anchors."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [
        t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t and not t.startswith("#")
    ]


def anchors(path: Path) -> list[tuple[Path, str]]:
    """(page, anchor) of links to a heading."""
    text = path.read_text(encoding="utf-8")
    found = [t for t in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", text) if "://" not in t]
    return [((path.parent / t.partition("#")[0]) if t[0] != "#" else path, t.partition("#")[2]) for t in found]


def headings(path: Path) -> set[str]:
    """Anchors a forge makes of the headings."""
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in found}
