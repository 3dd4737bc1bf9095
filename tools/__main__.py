"""``python -m tools``: the way in to :mod:`agent.serve.commands`."""

from agent.serve.commands import main

if __name__ == "__main__":
    main()
