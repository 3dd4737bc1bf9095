"""``python -m kernels``: the way in to :mod:`evals.bench.commands`."""

from evals.bench.commands import main

if __name__ == "__main__":
    main()
