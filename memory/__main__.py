"""``python -m memory``: calls :mod:`memory.commands`."""

from memory.commands import main

if __name__ == "__main__":
    main()
