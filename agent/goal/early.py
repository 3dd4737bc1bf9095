"""What a command can do before its goal is read, which takes seconds, because the kernels import PyTorch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.harness.process.prestart import Prestart

AMOUNT = r"[x*%]|\.\d|[gt]b|tflop|percent|times|ms\b|us\b|evals|configs"
"""Makes a number one of something else than a GPU's: ``on this GPU 90 % of the roofline``."""


def named_device(option: str | None, goal: str) -> str:
    """The device of ``--device``, else of the goal's words, else ``auto``."""
    words = goal.lower()
    return option or next(iter(devices_named(lambda pattern: re.finditer(pattern, words))), "auto")


def devices_named(find: Callable[[str], Iterable[re.Match[str]]]) -> list[str]:
    """The devices that a goal names: ``cuda:0``, ``GPU 0``, ``all GPUs`` or ``recorded``. `find` gives the places in
    it that match a pattern."""
    said = [m.group().strip() for m in find(r"(?<!\w)cuda:(?:\d+|all)(?!\w)|\brecorded\b")]
    said += [f"cuda:{m.group(1)}" for m in find(rf"(?<!\w)gpu\s+(\d{{1,2}})(?!\w)(?!\s*(?:{AMOUNT}))")]
    said += ["cuda:all" for _ in find(r"(?<!\w)all (?:the )?gpus(?!\w)")]
    return said


def start_early(device: str, kernel: str, edit: bool) -> AbstractContextManager[Prestart | None]:
    """As `start_processes`, while the goal is read; None if this machine has few cores. There the imports of all these
    processes would double the time until a goal is refused."""
    from tools.harness.process.prestart import has_spare_cores

    return start_processes(device, kernel, edit) if has_spare_cores() else nullcontext()


def start_processes(device: str, kernel: str, edit: bool) -> Prestart:
    """Start the processes of a run on `device`, if that is a single GPU. `kernel`: its name, or the goal's words: a
    captured launch (``CAPTURE#LAUNCH``) has no baseline for torch.compile. `edit`: whether device code may be
    edited."""
    from tools.harness.process.prestart import Prestart

    return Prestart.of(device, edit, torch_compile="#" not in kernel)
