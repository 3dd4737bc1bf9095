"""``python -m evals source`` with paced runs, on a machine without a GPU: ``python -m
tests.evals.source.paced_command SECONDS OPTION ...``."""

import sys
from functools import partial

from evals.commands import commands
from evals.source import parallel_runs, source_command
from memory.command_line import door


def main() -> int:
    source_command._check_device = lambda device: None
    players = [f"sleep:{seconds}" for seconds in sys.argv[1].split(",")]
    source_command._players = lambda text: players
    parallel_runs.ParallelRuns = partial(parallel_runs.ParallelRuns, player="tests.evals.source.paced_player:paced")
    door.import_module = lambda name: commands
    sys.argv[1:2] = ["source"]
    return door.enter("evals.commands.commands")


if __name__ == "__main__":
    sys.exit(main())
