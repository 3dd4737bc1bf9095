"""``python -m memory``: the way in to :mod:`memory.commands`."""

from memory.commands import main

if __name__ == "__main__":
    main()
