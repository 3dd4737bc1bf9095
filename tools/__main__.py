"""``python -m tools``: the way in to :mod:`agent.serve.commands`."""

import sys

from agent.serve.commands import main

if __name__ == "__main__":
    sys.exit(main())
