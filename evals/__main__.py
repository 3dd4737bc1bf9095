"""``python -m evals``: the way in to :mod:`evals.commands.commands`."""

import sys

from evals.commands.commands import main

if __name__ == "__main__":
    sys.exit(main())
