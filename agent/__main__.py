"""``python -m agent``."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tools.harness.process.own_packages import claim

    claim()
    from agent.cli.commands import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
