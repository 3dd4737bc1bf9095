"""Tells the machine's trouble from a config's fault: a full disk, a missing tool, a library that does not load.

Every config would meet the same trouble, so it is no verdict on any of them. What a config's own code raises stays with
the config. Only the standard library is used here, because this runs while things are broken.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

NO_ROOM = {
    errno.ENOSPC: "free some space, or set XDG_CACHE_HOME to a folder on another disk",
    errno.EDQUOT: "free some of your quota, or set XDG_CACHE_HOME to a folder on another disk",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "set XDG_CACHE_HOME to a folder that can be written",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs: the system has too many open files",
    errno.ENOMEM: "free some memory, or run fewer programs beside this one",
    errno.EIO: "check the disk",
    errno.ESTALE: "mount the file system again",
}
"""The machine's limits, whoever meets them, and what helps."""
DENIED = "make it writable, or set XDG_CACHE_HOME to a folder that can be written"
REINSTALL = "reinstall Triton: pip install --force-reinstall triton"
TOOLS = {
    r"Cannot find (?:ptxas|ptxas-blackwell|cuobjdump|nvdisasm)": REINSTALL,
    r"Failed to find C compiler": "install one (apt install gcc), or set CC",
}
"""Triton's messages about a missing tool, and what helps."""
ASSEMBLER = "`ptxas` failed with error code"
ASSEMBLER_TROUBLE = re.compile(
    r"No space left on device|Could not open (?:input|output) file|Cannot allocate memory|bad_alloc|"
    r"error while loading shared libraries|Read-only file system|Permission denied|Disk quota exceeded|"
    r"cannot execute",
    re.IGNORECASE,
)
"""In the assembler's log: it met the machine's limits, not bad code."""
NOT_STARTED = (126, 127, -signal.SIGKILL, 128 + signal.SIGKILL)
"""Exit codes of a tool that could not be executed, or that was killed from outside."""


def describe_trouble(error: BaseException) -> str:
    """One sentence if the machine is to blame for `error`, with what helps; else empty."""
    for one in causes(error):
        found = _describe(one)
        if found:
            return found
    return ""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors that it was raised from."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__


def _describe(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return _describe_os_error(error)
    if isinstance(error, MemoryError):
        return "this process is out of memory: free some, or run fewer programs beside this one"
    if isinstance(error, subprocess.CalledProcessError) and raised_by_machinery(error):
        return f"{tool_of(error)} failed ({describe_exit(error.returncode)}){log_of(error)}: check that it works"
    if isinstance(error, ImportError) and raised_by_machinery(error):
        return f"{type(error).__name__}: {text[:200]}: reinstall PyTorch and Triton, and check the driver"
    for pattern, cure in TOOLS.items():
        if match := re.search(pattern, text):
            return f"{match.group()}: {cure}"
    if type(error).__name__ == "PTXASError":
        return _describe_assembler(str(error))
    return ""


def _describe_os_error(error: OSError) -> str:
    what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    cure = NO_ROOM.get(error.errno or 0, "")
    if cure:
        return f"{what} ({cure})"
    if not raised_by_machinery(error):
        return ""
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{what} ({DENIED})"
    return f"{what} (check TMPDIR, the compile cache and Triton's tools)"


def _describe_assembler(text: str) -> str:
    """The assembler fails by exit code 255 for bad code; anything else, and some words in its log, are trouble."""
    log = text.partition("stderr:")[2].partition("Repro command:")[0]
    found = re.search(rf"{re.escape(ASSEMBLER)} (-?\d+)", text)
    if found and int(found[1]) in NOT_STARTED:
        return f"the assembler ptxas could not run ({describe_exit(int(found[1]))}): check memory, and reinstall Triton"
    line = next((line.strip() for line in log.splitlines() if ASSEMBLER_TROUBLE.search(line)), "")
    return (
        f"the assembler ptxas could not work ({line[:200]}): check the disk, TMPDIR and Triton's tools" if line else ""
    )


def describe_exit(code: int) -> str:
    """``exit code 1``, or the signal that ended a process."""
    number = -code if code < 0 else code - 128
    try:
        return signal.Signals(number).name if code < 0 or code > 128 else f"exit code {code}"
    except ValueError:
        return f"exit code {code}"


def tool_of(error: subprocess.CalledProcessError) -> str:
    command = error.cmd if isinstance(error.cmd, str) else " ".join(map(str, error.cmd))
    return os.path.basename(command.split()[0]) if command.split() else "a tool"


def log_of(error: subprocess.CalledProcessError) -> str:
    """The last line that the tool printed, if it was kept."""
    kept = error.stderr or error.output or ""
    text = kept.decode(errors="replace") if isinstance(kept, bytes) else str(kept)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f": {lines[-1][:200]}" if lines else ""


def raised_by_machinery(error: BaseException) -> bool:
    """Whether `error` was raised in Triton, PyTorch or our harness, and not in a kernel's own file. What the standard
    library raises counts as raised by its caller."""
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    own = [path for path in frames if not is_standard(path)]
    return bool(own) and any(folder in own[-1].parents for folder in machinery())


def is_standard(path: Path) -> bool:
    standard = Path(sysconfig.get_paths()["stdlib"])
    return str(path).startswith("<frozen") or (standard in path.parents and "site-packages" not in path.parts)


def machinery() -> list[Path]:
    """The folders of Triton, PyTorch and our harness."""
    found = [Path(__file__).resolve().parents[1]]
    for name in ("triton", "torch"):
        found += [Path(folder) for folder in getattr(sys.modules.get(name), "__path__", ())]
    return found
