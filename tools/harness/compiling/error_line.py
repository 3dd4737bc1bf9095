"""The line of a compiler's error that tells what is wrong. Only the standard library is used here."""

from __future__ import annotations

import os
import re
import stat

TELLING = re.compile(r"(?:^|\W)(?:\w*error|fatal)\s*:\s*(?=\S)", re.IGNORECASE)
"""An assembler's or MLIR's line about an error."""
EMPTY_WORDS = re.compile(
    r"Internal Triton PTX codegen error|aborted due to errors|PassManager::run failed|Repro command:|"
    r"failed to (?:translate|legalize) module|Pipeline failed while executing"
)
"""Lines that say that something failed and not what."""
PLACE = re.compile(r"at (\d+):\d+:")
"""The first line of an error of Triton's front end."""
TEMPORARY = re.compile(r"\S*/tmp\w+\.ptx, line \d+; ")


def reason(error: BaseException, printed: str = "") -> str:
    """One line of a compiler's exception: the line that tells what is wrong, with the error's type. `printed` is what
    the compiler wrote beside it: MLIR names the cause there and raises ``PassManager::run failed``. Triton's front end
    begins with a place, goes on with source up to a caret, and ends with what is wrong, or has that as its cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and (place := PLACE.fullmatch(lines[0])):
        said = lines[-1]
        if set(said) <= {"^"}:
            cause = error.__cause__
            said = reason(cause) if cause is not None else " ".join(lines[-2:-1])
        return f"{type(error).__name__}: {said} (line {place[1]} of the function)"[:300]
    telling = next(filter(is_telling, lines), "") or next(filter(is_telling, printed.splitlines()), "")
    if not telling:
        telling = next((x for x in lines if "error" in x.lower() or "assert" in x.lower()), lines[0] if lines else "")
    return f"{type(error).__name__}: {TEMPORARY.sub('', telling.strip())}"[:300]


def is_telling(line: str) -> bool:
    return bool(TELLING.search(line)) and not EMPTY_WORDS.search(line)


def printed(size: int = 20_000) -> str:
    """The end of what this process and its compiler wrote to stderr during the job, if that is a file."""
    try:
        status = os.fstat(2)
        if not stat.S_ISREG(status.st_mode):
            return ""
        return os.pread(2, size, max(0, status.st_size - size)).decode(errors="replace")
    except OSError:
        return ""
