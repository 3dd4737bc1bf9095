"""What a captured program gets of the signals that are sent to the command."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernels.capture.start import run_captured, run_with

pytestmark = pytest.mark.process
PROGRAM = """
import os, signal, sys, time
number, leaves = int(sys.argv[1]), sys.argv[2:]
got = []
signal.signal(number, lambda *_: got.append(number))
if leaves:
    os.setsid()
print("ready", flush=True)
while not got:
    time.sleep(0.01)
time.sleep(0.6)
sys.exit(10 + len(got))
"""
"""Exit code: 10 and how often it got the signal, within 0.6 s of the first."""
COMMAND = "import sys; from kernels.capture.start import run_with; sys.exit(run_with(sys.argv[1:], {}))"
CAPTURED = """
import sys
from kernels.capture.start import run_captured
done = run_captured(sys.argv[1:], {})
print(done.returncode, done.stdout, done.stderr)
"""
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


def hear_ctrl_c():
    """A shell starts what it runs in the background without it, and tests may be run there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(number, *leaves):
    words = [sys.executable, "-c", COMMAND, sys.executable, "-c", PROGRAM, str(int(number)), *leaves]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hear_ctrl_c)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_program_gets_what_was_sent_to_the_command(number):
    with started(number) as command:
        assert command.stdout.readline() == "ready\n"
        command.send_signal(number)
        assert command.wait(20) == 11


@pytest.mark.parametrize("number", NUMBERS[:3])
def test_what_was_sent_to_the_group_reaches_the_program_once(number):
    with started(number) as command:
        assert command.stdout.readline() == "ready\n"
        os.killpg(command.pid, number)
        assert command.wait(20) == 11


def test_a_program_that_left_the_group_gets_what_was_sent_to_the_group():
    with started(signal.SIGINT, "leaves") as command:
        assert command.stdout.readline() == "ready\n"
        os.killpg(command.pid, signal.SIGINT)
        assert command.wait(20) == 11


def test_ctrl_c_of_a_terminal_reaches_the_program_once():
    pid, terminal = pty.fork()
    if pid == 0:
        hear_ctrl_c()
        os.execv(
            sys.executable, [sys.executable, "-c", COMMAND, sys.executable, "-c", PROGRAM, str(int(signal.SIGINT))]
        )
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 11
    os.close(terminal)


def test_what_the_command_was_told_to_ignore_is_not_passed_on():
    end = PROGRAM.replace("while not got:", "if True:")
    words = [sys.executable, "-c", f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {COMMAND}"]
    with subprocess.Popen([*words, sys.executable, "-c", end, "1"], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout.readline() == "ready\n"
        command.send_signal(signal.SIGHUP)
        assert command.wait(20) == 10


def test_a_program_that_ended_leaves_no_process_behind():
    words = [sys.executable, "-c", f"{COMMAND.replace('sys.exit(', 'print(')}; import os; os.wait()"]
    ended = subprocess.run([*words, "true"], capture_output=True, text=True)
    assert ended.stdout == "0\n"
    assert "ChildProcessError" in ended.stderr


def test_the_program_gets_what_came_before_its_start():
    early = """
import os, signal, subprocess
begin = subprocess.Popen
def begin_late(*given, **more):
    if given[0][0] == "sleep":
        os.kill(os.getpid(), signal.SIGUSR1)
    return begin(*given, **more)
subprocess.Popen = begin_late
"""
    ended = subprocess.run([sys.executable, "-c", early + COMMAND, "sleep", "20"], timeout=15)
    assert ended.returncode == 128 + signal.SIGUSR1


def told(tmp_path, number, act):
    """What a program that is waited for, with its output kept, gets of a signal; the command's outcome."""
    note = tmp_path / "note"
    os.mkfifo(note)
    program = PROGRAM.replace('print("ready", flush=True)', f"open({str(note)!r}, 'w').write('ready')")
    program = program.replace("sys.exit(10", f"open({str(tmp_path / 'got')!r}, 'w').write(str(len(got))); sys.exit(10")
    words = [sys.executable, "-c", CAPTURED, sys.executable, "-c", program, str(int(number))]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as command:
        assert note.read_text() == "ready"
        act(command.pid, number)
        out, err = command.communicate(timeout=20)
    return (tmp_path / "got").read_text(), out, err


@pytest.mark.parametrize("act", [os.kill, os.killpg])
def test_a_program_whose_output_is_kept_gets_notices_too(tmp_path, act):
    assert told(tmp_path, signal.SIGUSR1, act) == ("1", "11  \n", "")


@pytest.mark.parametrize("act", [os.kill, os.killpg])
def test_a_command_that_was_hung_up_ends_after_its_program(tmp_path, act):
    got, out, err = told(tmp_path, signal.SIGHUP, act)
    assert (got, out) == ("1", "")
    assert err.strip().endswith("KeyboardInterrupt")


STARTING = """
import importlib, os, runpy, signal, sys
from kernels.capture.start import SITE

def importing(name):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    raise ImportError(name)

importlib.import_module = importing
runpy.run_path(str(SITE / "sitecustomize.py"), run_name="sitecustomize")
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_ctrl_c_while_the_recorder_is_imported_ends_the_program_as_ctrl_c_does():
    """Not with an error of Python's in lines that are not the program's."""
    environment = {**os.environ, "AUTOKERNEL_CAPTURE_FILE": "/dev/null"}

    def started(name):
        command = [
            sys.executable,
            "-c",
            f"import signal; signal.signal(2, signal.default_int_handler)\n{STARTING}",
            name,
        ]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    done = started("SIGINT")
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    done = started("SIGCONT")
    assert done.stdout == "True\n"
    assert "is not captured (ImportError" in done.stderr


def test_a_program_may_be_run_by_any_thread():
    """Python lets the main thread alone have handlers."""
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(run_with, [sys.executable, "-S", "-c", "raise SystemExit(3)"], {}).result() == 3
        done = threads.submit(run_captured, [sys.executable, "-S", "-c", "print(4)"], {}).result()
    assert done.stdout == "4\n"


@pytest.mark.parametrize("run", [run_with, run_captured])
def test_a_program_has_what_a_shell_opened_for_it(run):
    """A file of ``<(…)``, and the pipes of make."""
    read, write = os.pipe()
    try:
        os.set_inheritable(write, True)
        run([sys.executable, "-S", "-c", f"import os; os.write({write}, b'there')"], {})
        os.set_blocking(read, False)
        assert os.read(read, 10) == b"there"
    finally:
        os.close(read)
        os.close(write)
