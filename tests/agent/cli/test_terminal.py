"""What is shown while a run goes on, on a terminal and elsewhere."""

from __future__ import annotations

import io
import time

from agent.cli import result_panel, terminal
from agent.cli.terminal import Terminal
from agent.loop.actions import Left
from tests.agent.fake_actions import SETTING


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_what_goes_on_the_best_and_what_is_left(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    screen = Screen()
    with Terminal(stream=screen) as shown:
        shown.record_budget(Left(10, 4, 300.0))
        shown.record_answer("run_benchmark", {"best": {"ms": 0.2}, "evaluations_left": 8}, SETTING)
        shown.begin_step("measuring 5 configs")
        shown.notify("[3] Measure 5.\x1b[2J")
        time.sleep(0.6)
    drawn = screen.getvalue()
    assert "measuring 5 configs · best 1000.0 TFLOP/s, 75.0% of the r…" in drawn
    assert "[3] Measure 5.?[2J" in drawn
    assert "\x1b[?25h" in drawn  # the cursor is back


def test_no_terminal_is_told_in_lines_that_a_long_step_goes_on(monkeypatch):
    monkeypatch.setattr(terminal, "HEARTBEAT", 0.5)
    stream = io.StringIO()
    with Terminal(stream=stream) as shown:
        shown.begin_step("compiling 8 configs")
        time.sleep(1.3)
        shown.record_words("Measured.")
        time.sleep(1.3)
    assert [line.split(" 1 s")[0] for line in stream.getvalue().splitlines()] == ["    … compiling 8 configs"]


def test_the_seconds_left_run_down_while_a_step_goes_on(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    shown = Terminal("quiet")
    shown.record_budget(Left(10, 4, 60.0))
    shown.record_answer("run_benchmark", {"best": {"ms": 0.2}, "evaluations_left": 8}, SETTING)
    shown.begin_step("measuring 2 configs")
    clock[0] += 7
    best = "best 1000.0 TFLOP/s, 75.0% of the roofline"
    assert shown.status() == f"measuring 2 configs 7 s · {best} · 8 evaluations, 53 s left"
    assert shown.standing.evaluations == 6
    shown.begin_step("checking 1 config")
    assert shown.standing.seconds_left == 53.0


def test_the_time_of_a_language_models_answer_takes_no_seconds_of_the_search(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    shown = Terminal("quiet")
    shown.record_budget(Left(1, 9, 60.0))
    shown.begin_step("gpt decides", counted=False)
    clock[0] += 90
    assert shown.status() == "gpt decides 90 s · 1 evaluation, 60 s left"
    shown.record_words("Measure it.")
    assert shown.standing.seconds_left == 60.0
    shown.begin_step("measuring 1 config")
    clock[0] += 7
    assert shown.status() == "measuring 1 config 7 s · 1 evaluation, 53 s left"


def test_the_first_line_comes_early_and_not_before_a_mistake(monkeypatch):
    stream = io.StringIO()
    shown = Terminal(stream=stream)
    with shown.opening("device: here", after=0.1):
        time.sleep(0.5)
        assert stream.getvalue() == "device: here\n"
    assert stream.getvalue() == "device: here\n"
    try:
        with shown.opening("device: there", after=5.0):
            raise ValueError
    except ValueError:
        pass
    assert stream.getvalue() == "device: here\n"


def test_a_result_keeps_its_command_whole_on_a_narrow_terminal(monkeypatch, capsys):
    replay = f"replay     {'y' * 100}"
    text = f"PROVEN: 1.1x over eager\ntime       0.2 ms\n\n  1.1x over {'x' * 100}\ntrace      /t\n{replay}"
    result_panel.print_report(text, True)
    assert capsys.readouterr().out == f"{text}\n"
    monkeypatch.setattr(result_panel, "is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "60")
    result_panel.print_report(text, True)
    out = capsys.readouterr().out
    assert f"{replay}\n" in out
    assert "│ PROVEN 1.1x over eager" in out
