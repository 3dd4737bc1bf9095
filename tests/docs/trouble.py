"""The table of machine trouble in ``docs/TROUBLE.md``: ``python -m tests.docs.trouble`` writes it; ``test_docs.py``
fails if it is out of date."""

from __future__ import annotations

from tests.docs.goals import cell
from tests.docs.pages import ROOT
from tests.faults.troubles import CHEAP, MORE

PAGE = ROOT / "docs" / "TROUBLE.md"
INTRODUCTION = f"""\
# Machine trouble

Made by `python -m tests.docs.trouble`; do not edit.

If the machine fails, no config is to blame. The run ends with exit code 1, and both the last lines of the output and
the field `error` of `--json` name the cause. No row with a verdict on a config is written, and the next run on the same
memory finds what a run on a fresh memory finds. What was measured before the trouble is kept. `doctor` looks for most
of these causes; `python -m memory clean` removes rows that an older version wrote under such conditions.

`tests/faults/test_machine_trouble.py` makes each of the {len(CHEAP) + len(MORE)} kinds and tries a whole run. CI tries
{len(CHEAP)} of them; `python -m pytest -m "long or not long" tests/faults/test_machine_trouble.py` tries all.

| trouble | device | the message holds | in CI |
|---|---|---|---|
"""
WALK = """
## Commands in a wrong world

`python -m tests.faults.walk` starts every command in 75 kinds of wrong world: closed and full streams, damaged, missing
and strange files, a full disk, wrong options, Ctrl-C. It counts tracebacks, wrong exit codes, hangs, half-written files
and failures without a word. Before this walk existed, 600 tries by hand had found about 100 faults.

`--light` leaves out the commands that import PyTorch. Its 1,898 cases of 41 commands found 4 faults on 2026-11-28
(`docs/data/walk.json`): a path that is empty, in three cases, and NaN as a limit of time. Both are fixed for every
command and held by `tests/faults/test_options.py`. In 12 more cases Ctrl-C met Python's own start, before a line of the
program ran; the walk does not count these any more.

`--heavy` tries the commands that import PyTorch alone: 476 cases, of which 331 were run on 2026-11-29. They are all
cases of `agent captures show`, `kernels roofline` and `kernels list`, wrong options, numbers and devices of `agent run`
and `evals run`, and, of these two, `agent replay` and `agent doctor`, damaged and strange files, full disks, folders
that are none and interrupted runs. 6 found a fault: a named pipe in place of a capture was waited for; `--device`
beside `--gpu` was ignored, in four cases; `evals run --out` left half a line on a full disk. All are fixed. Not run:
closed and full streams of `agent replay` and `evals run`, most locales and early Ctrl-C, and most cases of `tools list`
and `evals list`.
"""


def page() -> str:
    rows = [
        f"| {cell(trouble.name)} | {'GPU (played)' if trouble.device else 'recorded'} | {cell(trouble.cause)} "
        f"| {'yes' if trouble in CHEAP else ''} |"
        for trouble in (*CHEAP, *MORE)
    ]
    return INTRODUCTION + "\n".join(rows) + "\n" + WALK


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
