"""A reader who types what the documentation says: a home, a checkout for each page, and what running a line gave.

All processes of a test session share one reader. Who reads on has the memory and the compiled code that the lines
before left. The README's main job is run once, whoever asks first: the documents' tests want its exit code, and
``tests/test_main_job.py`` what it found. It is a process from the start; all other lines are forks of one process that
has imported PyTorch.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from tests.docs.pages import ROOT
from tests.loaded_python import LoadedPython

MAIN_JOB = ("-m", "agent", "maximise fused TFLOPS")
ENOUGH_S = 600
"""Seconds after which a command hangs, on a busy machine too."""


@dataclass(frozen=True)
class Ran:
    returncode: int
    stdout: str
    stderr: str


class Reader:
    def __init__(self, common: Path) -> None:
        """`common` is a folder that all processes of the session know."""
        self.home = common / "reader"
        self.home.mkdir(exist_ok=True)
        self._pages = common / "pages"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "AUTOKERNEL_", "XDG_"))}
        cache = os.environ["XDG_CACHE_HOME"]
        self.environment = {**kept, "HOME": str(self.home), "XDG_CACHE_HOME": cache, "COLUMNS": "120"}
        """No keys, models or folders of the developer's; the session's compile cache."""
        self.python = LoadedPython(self.environment)
        self.run = functools.cache(self._run)

    def folder(self, page: str) -> Path:
        """A checkout for the page: who reads it from the top has the files that the commands before left."""
        made = self._pages / page
        if not made.exists():
            made.mkdir(parents=True)
            for entry in ROOT.iterdir():
                if entry.name not in (".git", ".venv", ".env"):
                    (made / entry.name).symlink_to(entry)
        return made

    def _run(self, page: str, *words: str) -> Ran:
        """``python`` with `words` in the page's folder. A line that stands on a page twice is not run again."""
        if words != MAIN_JOB:
            return self._start(page, words)
        kept = self.home / "main_job.json"
        with FileLock(self.home / "main_job.lock"):
            if not kept.exists():
                kept.write_text(json.dumps(asdict(self._start(page, words))))
        return Ran(**json.loads(kept.read_text()))

    def _start(self, page: str, words: tuple[str, ...]) -> Ran:
        here, target = self.folder(page), None
        if ">" in words:
            words, target = words[: words.index(">")], words[words.index(">") + 1]
        if words == MAIN_JOB:
            command = [sys.executable, *words]
            done = subprocess.run(
                command, cwd=here, env=self.environment, capture_output=True, timeout=ENOUGH_S, text=True
            )
        else:
            done = self.python.run(words, here, self.environment, ENOUGH_S)
        if target is not None:
            (here / target).write_text(done.stdout)
        return Ran(done.returncode, done.stdout, done.stderr)
