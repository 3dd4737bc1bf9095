"""Progress: plain lines without a terminal, rich's drawing on one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from evals.progress_bar import ProgressBar

BAR = (
    "from evals.progress_bar import ProgressBar\n"
    "with ProgressBar() as bar:\n"
    "    for i in range(101):\n"
    "        bar.show('runs', i, 100)\n"
)


def on_a_terminal(code: str) -> str:
    """What `code` writes to stdout and stderr if both are a terminal of 40 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait() == 0, written
    return written.decode()


def test_progress_without_a_terminal_is_a_line_at_the_start_and_one_at_the_end(capsys):
    with ProgressBar() as bar:
        for i in range(101):
            bar.show("pass A", i, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["pass A: 0 of 100, 0 s left", "pass A: 100 of 100, 0 s left"]


def test_progress_on_a_terminal_is_a_bar_that_ends_complete():
    written = on_a_terminal(BAR)
    assert "100/100" in written
    assert "\x1b[?25h" in written  # the cursor is back


def test_what_was_finished_before_says_nothing_about_the_pace(capsys, monkeypatch):
    clock = iter([100.0, 110.0])
    monkeypatch.setattr("evals.progress_bar.time.monotonic", lambda: next(clock))
    with ProgressBar(finished=50) as bar:
        bar.show("runs", 50, 100)
        bar.show("runs", 60, 100)
    assert capsys.readouterr().err.splitlines()[-1] == "runs: 60 of 100, 40 s left"


def test_a_line_beside_the_bar_and_an_error_in_the_work_leave_the_terminal_in_order():
    code = (
        "import click\n"
        "from evals.progress_bar import ProgressBar\n"
        "try:\n"
        "    with ProgressBar() as bar:\n"
        "        bar.show('runs', 1, 2)\n"
        "        click.echo('a line beside it', err=True)\n"
        "        raise KeyboardInterrupt\n"
        "except KeyboardInterrupt:\n"
        "    click.echo('stopped', err=True)\n"
    )
    written = on_a_terminal(code)
    assert "a line beside it\r\n" in written
    assert written.rstrip().endswith("stopped")
    assert written.index("\x1b[?25h") < written.index("stopped")
