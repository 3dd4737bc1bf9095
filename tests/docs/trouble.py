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

`python -m tests.faults.walk` starts every command in 81 kinds of wrong world: closed and full streams, damaged, missing
and strange files, a full disk, wrong options, Ctrl-C. It counts tracebacks, wrong exit codes, hangs, half-written files
and failures without a word. Before this walk existed, 600 tries by hand had found about 100 faults.

All 2,570 cases of 52 commands were run on 2026-11-29 (`docs/data/walk.json`). `--heavy`, the 493 cases of the commands
that import PyTorch, found nothing. `--light`, the other 2,077, found 2 tracebacks: Ctrl-C in the first milliseconds of
`python -m agent`. That is fixed, and the 52 cases of Ctrl-C were run once more, without a fault.

What the walk had found until then, all of it fixed for every command:

- Ctrl-C while PyTorch or NumPy was imported was dropped, so that the command went on, or ended in a traceback. While
  the agents' processes of `evals run` started, each of them printed one.
- If the current folder was deleted, Intel's MKL ended a command in words of its own; if no temporary folder could be
  written, the current folder was blamed.
- A path that is empty, and NaN as a limit of time.
- A named pipe in place of a capture was waited for; `--device` beside `--gpu` was ignored; `evals run --out` left half
  a line on a full disk.

Until 2026-11-29 a walk in the background of a shell sent Ctrl-C to commands that did not hear it: a shell starts
background processes with SIGINT ignored. The walk restores it.
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
