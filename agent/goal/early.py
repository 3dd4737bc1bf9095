"""What a command can do before its goal is read, which takes seconds, because the kernels import PyTorch."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.harness.process.prestart import Prestart

DEVICE_IN_GOAL = re.compile(r"(?<!\w)(cuda:\d+|recorded)(?!\w)")


def named_device(option: str | None, goal: str) -> str:
    """The device of ``--device``, else of the goal's words, else ``auto``. More words than are known here name one,
    such as ``all GPUs``."""
    said = DEVICE_IN_GOAL.search(goal.lower())
    return option or (said.group() if said else "auto")


def start_early(device: str, kernel: str, edit: bool) -> AbstractContextManager[Prestart | None]:
    """As `start_processes`, while the goal is read; None if this machine has fewer cores than the imports of all these
    processes keep busy. There they would double the time until a goal is refused."""
    from tools.harness.process.prestart import LEAST_CORES

    early = len(os.sched_getaffinity(0)) >= LEAST_CORES
    return start_processes(device, kernel, edit) if early else nullcontext()


def start_processes(device: str, kernel: str, edit: bool) -> Prestart:
    """Start the processes of a run on `device`, if that is a single GPU. `kernel`: its name, or the goal's words: a
    captured launch (``CAPTURE#LAUNCH``) has no baseline for torch.compile. `edit`: whether device code may be
    edited."""
    from tools.harness.process.prestart import Prestart

    return Prestart.of(device, edit, torch_compile="#" not in kernel)
