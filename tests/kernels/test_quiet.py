"""What user code prints stays out of answers, however many threads run it."""

import sys
import threading

from kernels.quiet import output_to_stderr


def test_stdout_is_back_when_the_last_of_overlapping_threads_leaves(capsys):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with output_to_stderr():
            entered.set()
            leave.wait(10)
            print("second")

    before = sys.stdout
    thread = threading.Thread(target=other)
    with output_to_stderr():
        thread.start()
        assert entered.wait(10)
        print("first")
    leave.set()
    thread.join()
    assert sys.stdout is before
    print("answer")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("answer\n", "first\nsecond\n")
