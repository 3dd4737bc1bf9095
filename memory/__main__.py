"""``python -m memory``: calls :mod:`memory.commands`."""

import sys

from memory.commands import main

if __name__ == "__main__":
    sys.exit(main())
