"""``python -m kernels``: the way in to :mod:`evals.bench.commands`."""

import sys

from evals.bench.commands import main

if __name__ == "__main__":
    sys.exit(main())
