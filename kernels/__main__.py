"""``python -m kernels``: the way in to :mod:`evals.bench.commands`."""

import signal
import sys


def main() -> int:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command line can answer it
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tools.harness.process.own_packages import claim

    claim()
    from memory.command_line.door import enter

    return enter("evals.bench.commands")


if __name__ == "__main__":
    code = main()
    from memory.command_line.door import leave

    leave(code)
