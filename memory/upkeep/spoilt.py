"""Failures in the memory that the machine caused, not the configs: rows of versions that could not tell.

Such a row says that a config does not compile, or crashed, although no compiler or worker could run at all. A run takes
no notice of it, and says how it is removed. They are found by what the machine's own messages look like.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from memory.migrations import DELETE_GUARD, FILL_VERDICTS, statements
from memory.store import Memory

BLAMED = ("compile", "runtime")
"""Statuses under which such rows were written."""
SIGNS = (
    "the compiler crashed: the process died (exit code 1)%",
    "the process died (exit code 1): %Error%",
    "in the interpreter the process died (exit code 1)%",
    "in the interpreter the process died (SIGKILL)%",
    "%[Errno 12] %", "%[Errno 13] %/triton/%", "%[Errno 24] %", "%[Errno 27] %", "%[Errno 28] %", "%[Errno 30] %",
    "%[Errno 122] %",
    "%No space left on device%",
    "%Read-only file system%",
    "%Cannot find ptxas%", "%Cannot find cuobjdump%",
    "%Failed to find C compiler%",
    "%No CUDA GPUs are available%", "%no CUDA-capable device is detected%", "%CUDA driver version is insufficient%",
)  # fmt: skip
"""SQL patterns of reasons. A child process of ours catches what a config raises: if Python itself ended it (exit code
1), it could not import something."""
COMMAND = "python -m memory clean"

_SPOILT = f"a.status IN ({', '.join('?' * len(BLAMED))}) AND ({' OR '.join(['a.reason LIKE ?'] * len(SIGNS))})"


_PATTERN = re.compile("|".join(".*".join(map(re.escape, sign.split("%"))) + "$" for sign in SIGNS), re.I | re.S)
"""What SQL's LIKE makes of SIGNS."""


class Spoilt(NamedTuple):
    """How many attempts are spoilt, and the reason of one of them."""

    attempts: int
    example: str


def is_spoilt(status: str, reason: str | None) -> bool:
    """Whether an attempt that ended like this is one of them."""
    return status in BLAMED and bool(_PATTERN.match(reason or ""))


def find(memory: Memory, problem_id: int | None = None) -> Spoilt:
    """The spoilt attempts of one problem, or of all."""
    where = _SPOILT if problem_id is None else f"a.problem_id = ? AND {_SPOILT}"
    parameters = [*([] if problem_id is None else [problem_id]), *BLAMED, *SIGNS]
    [row] = memory.ask(f"SELECT count(*) AS n, min(a.reason) AS example FROM attempts a WHERE {where}", parameters)
    return Spoilt(int(row["n"]), row["example"] or "")


def describe(memory: Memory, problem_id: int | None = None) -> str:
    """One sentence about the spoilt attempts with the command that removes them; empty if there are none."""
    found = find(memory, problem_id)
    if not found.attempts:
        return ""
    return (
        f"the memory {memory.path} holds {found.attempts} failures that the machine caused and no config "
        f"({found.example[:160]}): remove them with `{COMMAND} --memory {memory.path}`"
    )


def clean(memory: Memory) -> int:
    """Delete the spoilt attempts; the verdicts become those of the attempts that are left. Returns how many went."""
    with memory.write() as c:
        c.execute("DROP TRIGGER attempts_keep_rows")
        c.execute("DELETE FROM verdicts")
        gone = c.execute(
            f"DELETE FROM attempts WHERE id IN (SELECT a.id FROM attempts a WHERE {_SPOILT})", [*BLAMED, *SIGNS]
        ).rowcount
        for statement in statements(FILL_VERDICTS + DELETE_GUARD):
            c.execute(statement)
    return gone
