"""``python -m memory``: the way in to :mod:`memory.commands`."""

import sys

from memory.commands import main

if __name__ == "__main__":
    sys.exit(main())
